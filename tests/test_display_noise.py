"""Noise of developed pictures, unsharp masking, and kernels as the classical chains take them, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage, special, stats
from skimage import data

from degrade import Frame, Integer, Sensor, Space, testing
from degrade.maths.display import FEW_COUNTS, colour_mix, gaussian, poisson, poisson_of_normal
from degrade.maths.noise import poisson_quantile
from degrade.operators.display_noise import CorrelatedNoise, GaussianNoise, PoissonNoise, SpeckleNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.sharpen import UnsharpMask


def test_a_reflected_border_and_a_window_are_scipys() -> None:
    frame = testing.frame(Space.DISPLAY, 2, (20, 9), margin=0)
    kernel = {"psf": "anisotropic_gaussian", "sigma_x": 3.0, "sigma_y": 1.0, "rotation": 30.0, "point": True}
    op = PsfBlur(kernels=(kernel,), radius=10, window=3, border="reflect")
    y, x = np.mgrid[-3:4, -3:4]
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    weight = np.exp(-0.5 * (((c * x + s * y) / 3) ** 2 + (c * y - s * x) ** 2))
    weight /= weight.sum()
    for b in range(2):
        for k in range(3):
            wanted = ndimage.convolve(frame.data[b, k].double().numpy(), weight, mode="mirror")
            np.testing.assert_allclose(op.apply(frame).data[b, k], wanted, atol=2e-6)


def test_the_sinc_is_the_published_one() -> None:
    cutoff, side = 1.3, 13
    y, x = np.mgrid[-6:7, -6:7].astype(float)
    r = np.hypot(x, y)
    r[6, 6] = 1
    wanted = cutoff * special.j1(cutoff * r) / (2 * np.pi * r)
    wanted[6, 6] = cutoff**2 / (4 * np.pi)
    kernel = PsfBlur(kernels=({"psf": "sinc", "cutoff": cutoff},), radius=10, window=side // 2)
    got = kernel.kernel(Sensor.make())
    assert got is not None
    np.testing.assert_allclose(got[0, 0, 4:17, 4:17], wanted / wanted.sum(), atol=1e-6)
    assert got[0, 0, 3].abs().max() == 0


def test_a_window_wider_than_its_radius_is_refused() -> None:
    with pytest.raises(ValidationError, match="a window of 12 pixels is wider than the radius of 10"):
        PsfBlur(kernels=({"psf": "sinc", "cutoff": 2.0},), radius=10, window=Integer(3, 12))


def test_unsharp_masking_is_the_published_one() -> None:
    picture = torch.from_numpy(data.astronaut()[:96, :96].copy()).permute(2, 0, 1)[None].float() / 255
    frame = Frame(picture.contiguous(), Space.DISPLAY, Sensor.make())
    line = np.exp(-0.5 * (np.arange(-25, 26) / 8.0) ** 2)
    line /= line.sum()

    def blurred(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            x = ndimage.correlate1d(x, line, axis, mode="mirror")
        return x

    x = frame.data[0, 1].double().numpy()
    residual = x - blurred(x)
    mask = blurred((np.abs(residual) * 255 > 10).astype(float))
    wanted = mask * np.clip(x + 0.5 * residual, 0, 1) + (1 - mask) * x
    got = UnsharpMask().apply(frame).data[0, 1]
    assert np.abs(wanted - x).max() > 0.05
    # a detail of almost exactly the threshold may count on either side
    assert np.percentile(np.abs(got.numpy() - wanted), 99) < 1e-5


def flat(level: float, b: int = 1) -> Frame:
    return Frame(torch.full((b, 3, 128, 128), level), Space.DISPLAY, Sensor.make(b))


@pytest.mark.parametrize("grey", [0.0, 0.3, 1.0])
def test_grey_is_the_correlation_of_the_channels(grey: float) -> None:
    x = GaussianNoise(sigma=20.0, grey=grey, seed=3).apply(flat(0.5)).data[0].flatten(1).double() - 0.5
    correlation = torch.corrcoef(x)
    assert (x.std(1) * 255 / 20 - 1).abs().max() < 0.03
    assert (correlation[[0, 0, 1], [1, 2, 2]] - grey).abs().max() < 0.03


def test_speckle_grows_with_the_signal() -> None:
    for level in (0.25, 0.75):
        noisy = SpeckleNoise(sigma=20.0, seed=3).apply(flat(level)).data
        assert noisy.std().item() * 255 == pytest.approx(20 * level, rel=0.02)


@pytest.mark.parametrize("level", [0.0, 0.01, 0.2, 0.9])
@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_poisson_noise_is_counted(level: float, grey: float) -> None:
    done = PoissonNoise(scale=1.0, grey=grey, seed=4).apply(flat(level)).data.double()
    mean = level * (0.9999 if grey else 1) * 256  # the weights of luma add up to 0.9999
    expected = mean / 256**2
    assert done.mean().item() == pytest.approx(level, abs=4 * math.sqrt(expected / 128**2) + 1e-6)
    assert done.var().item() == pytest.approx(expected, rel=0.05, abs=1e-12)
    if not grey:
        counts = done * 256
        assert (counts - counts.round()).abs().max() < 1e-3


@pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, FEW_COUNTS - 0.01, FEW_COUNTS, 40.0, 1000.0])
def test_poisson_numbers_are_those_of_their_quantiles(mean: float) -> None:
    z = torch.linspace(-4, 4, 20001)
    got = poisson_of_normal(z, torch.tensor(mean))
    exact = torch.from_numpy(stats.poisson(mean).ppf(stats.norm.cdf(z.double().numpy()))).clamp(min=0).float()
    likely = torch.exp(-0.5 * z * z)
    assert (got - exact).abs().max() <= 1
    assert ((got != exact) * likely).sum() / likely.sum() < 1e-3
    if mean < FEW_COUNTS:
        again = poisson_quantile(torch.special.ndtr(z.double()), torch.tensor(mean))
        assert (got != again).double().mean() < 1e-3


def test_correlated_noise_has_the_covariance_drawn() -> None:
    mix = colour_mix(torch.tensor([9]))[0]
    x = CorrelatedNoise(sigma=25.0, colours=9, seed=1).apply(flat(0.5)).data[0].flatten(1).double() - 0.5
    torch.testing.assert_close(torch.cov(x) * (255 / 25) ** 2, mix @ mix.mT, atol=0.03, rtol=0)
    variances = torch.diagonal(colour_mix(torch.arange(500)) @ colour_mix(torch.arange(500)).mT, dim1=1, dim2=2)
    assert 0 < variances.min() < variances.max() <= 1.5


def test_known_noise_is_kept_in_mind() -> None:
    frame = testing.frame(Space.DISPLAY, 2)
    assert frame.noise is not None
    more = GaussianNoise(sigma=25.5, seed=1).apply(frame).noise
    counted = PoissonNoise(scale=2.0, seed=1).apply(frame).noise
    assert more is not None
    assert counted is not None
    torch.testing.assert_close(more[:, 1], frame.noise[:, 1] + 0.01)
    torch.testing.assert_close(counted[:, 0], frame.noise[:, 0] + 4 / 256)


@pytest.mark.parametrize("start", [(0, 0), (-3, -5)])
@pytest.mark.parametrize("grey", [(0.0, 1.0), (0.3, 0.6)])
def test_compiled_noise_is_that_for_all_devices(grey: tuple[float, float], start: tuple[int, int]) -> None:
    x = torch.rand(2, 3, 61, 50, generator=torch.Generator().manual_seed(5)) ** 3 * 1.1 - 0.02  # much of it dark
    learnt = x.clone().requires_grad_()  # gradients take the tensor way
    share, seeds = torch.tensor(grey), torch.tensor([3, 4])
    sigma, levels = torch.tensor([0.1, 0.02]), torch.tensor([256.0, 64.0])
    both = [gaussian(v, sigma, share, seeds, start) for v in (x, learnt)]
    assert (both[0] - both[1]).abs().max() < 1e-6
    both = [poisson(v, 10 * sigma, levels, share, seeds, start) for v in (x, learnt)]
    assert (both[0] - both[1]).abs().max() < 1e-6

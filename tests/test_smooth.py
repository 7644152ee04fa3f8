"""Smoothing against its formulas written out, SciPy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.restoration import denoise_bilateral

from degrade.maths import smooth


def noise(b: int = 2, h: int = 40, w: int = 50, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((b, 3, h, w)).astype(np.float32))


def test_gaussian_is_scipys() -> None:
    x, sigma = noise(), torch.tensor([0.7, 2.0])
    ours = smooth.gaussian_smoothed(x, sigma, 8)
    for row, s, found in zip(x, sigma.tolist(), ours, strict=True):
        theirs = ndimage.gaussian_filter(row.double().numpy(), (0, s, s), radius=8, mode="nearest")
        np.testing.assert_allclose(found, theirs, atol=1e-6)


def test_bilateral_is_its_formula() -> None:
    x, radius = noise(1, 12, 14), 3
    ours = smooth.bilateral(x, torch.tensor([1.5]), torch.tensor([0.4]), radius)[0].double().numpy()
    wide = np.pad(x[0].double().numpy(), ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    for y in range(12):
        for z in range(14):
            part = wide[:, y : y + 2 * radius + 1, z : z + 2 * radius + 1]
            dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
            off = ((part - wide[:, y + radius, z + radius][:, None, None]) ** 2).sum(0)
            weight = np.exp(-(dy**2 + dx**2) / (2 * 1.5**2) - off / (2 * 0.4**2))
            np.testing.assert_allclose(ours[:, y, z], (part * weight).sum((1, 2)) / weight.sum(), atol=2e-6)


@pytest.mark.parametrize(("contrast", "radius"), [(0.1, 4), (0.4, 2)])
def test_bilateral_over_values_is_scikit_images(contrast: float, radius: int) -> None:
    """In an even window: its table of a Gaussian one begins a pixel early. It divides distances by the channels."""
    x, wide = noise(1), 1e6
    ours = smooth.bilateral(x, torch.tensor([wide]), torch.tensor([contrast]), radius)[0]
    theirs = denoise_bilateral(
        x[0].double().numpy(),
        win_size=2 * radius + 1,
        sigma_color=contrast / 3,
        sigma_spatial=wide,
        bins=10**6,
        mode="edge",
        channel_axis=0,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_guided_is_its_formula() -> None:
    x, r, contrast = noise(1), 4, 0.2
    p = x[0].double().numpy()
    # windows reach beyond the border twice: the picture is repeated there first
    wide = np.pad(p, ((0, 0), (2 * r, 2 * r), (2 * r, 2 * r)), mode="edge")

    def mean(v: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(v, (1, 2 * r + 1, 2 * r + 1))

    m = mean(wide)
    variance = mean(wide**2) - m**2
    a = variance / (variance + contrast**2)
    q = (mean(a) * wide + mean(m - a * m))[:, 2 * r : -2 * r, 2 * r : -2 * r]
    np.testing.assert_allclose(smooth.guided(x, torch.tensor([contrast]), r)[0], q, atol=1e-6)


def test_edges_stay_where_they_should() -> None:
    """A noisy step: all three smooth its sides, only the Gaussian its edge."""
    step = torch.full((1, 3, 64, 64), 0.2)
    step[..., 32:] = 0.8
    x = step + 0.04 * (noise(1, 64, 64) - 0.5)
    one = torch.ones(1)
    found = {
        "gaussian": smooth.gaussian_smoothed(x, 3 * one, 9),
        "bilateral": smooth.bilateral(x, 3 * one, 0.1 * one, 9),
        "guided": smooth.guided(x, 0.05 * one, 4),
    }
    for name, y in found.items():
        assert y[..., 12:20].std() < 0.4 * x[..., 12:20].std(), name
        height = (y[..., 32] - y[..., 31]).mean().item()
        assert (height > 0.5) == (name != "gaussian"), name


@pytest.mark.parametrize("name", ["gaussian_smoothed", "bilateral", "guided"])
def test_strips_make_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(1, 57, 31)
    arguments = {"gaussian_smoothed": (torch.tensor([1.5]), 5), "bilateral": (torch.ones(1), torch.ones(1), 3)}
    call = arguments.get(name, (torch.tensor([0.1]), 3))
    whole = getattr(smooth, name)(x, *call)
    monkeypatch.setattr(smooth, "STRIP", 1)
    cut = smooth.strips(x, 2, lambda p: p[..., 2:-2, 2:-2], 1)
    assert torch.equal(cut, x)
    plain = smooth.strips
    monkeypatch.setattr(smooth, "strips", lambda x, reach, f, pixels=1: plain(x, reach, f, 1))
    torch.testing.assert_close(getattr(smooth, name)(x, *call), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("radius", [1, 7])
def test_flat_stays_flat(radius: int) -> None:
    x, one = torch.full((1, 3, 20, 20), 0.3), torch.ones(1)
    found = (
        smooth.gaussian_smoothed(x, one, radius),
        smooth.bilateral(x, one, one, radius),
        smooth.guided(x, one, radius),
    )
    for y in found:
        torch.testing.assert_close(y, x, atol=1e-6, rtol=0)

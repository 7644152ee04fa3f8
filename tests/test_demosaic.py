"""Demosaicing against published filters written out photosite by photosite, known pictures, and theory of its noise."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve

from degrade.maths import bayer
from degrade.maths.demosaic import REACH, demosaic
from degrade.maths.philox import normal_field

INSIDE = np.s_[..., 16:-16, 16:-16]
PICTURES = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}


def rgb(image: NDArray[np.uint8]) -> torch.Tensor:
    h, w = (n - n % 2 for n in image.shape[:2])
    return torch.from_numpy(image[:h, :w].copy()).permute(2, 0, 1)[None].double() / 255


def masks(h: int, w: int) -> NDArray[np.float64]:
    """(3, h, w) where red, green and blue are sampled."""
    y, x = np.mgrid[:h, :w]
    return np.stack([(y % 2 == 0) & (x % 2 == 0), (y + x) % 2 == 1, (y % 2 == 1) & (x % 2 == 1)]).astype(float)


def written_out(raw: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """The published filters over the whole mosaic, then the right one picked at each photosite."""
    mask = masks(*raw.shape)
    red, green, blue = mask.astype(bool)
    if method == "bilinear":
        cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
        square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
        kernels = (square, cross, square)
        return np.stack([convolve(raw * m, k, mode="mirror") for m, k in zip(mask, kernels, strict=True)])
    at_other = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
    own_row = np.array(
        [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
    ) / 8  # fmt: skip
    opposite = np.array(
        [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
    ) / 8  # fmt: skip
    g, row, column, far = (convolve(raw, k, mode="mirror") for k in (at_other, own_row, own_row.T, opposite))
    red_row = np.broadcast_to((np.arange(raw.shape[0]) % 2 == 0)[:, None], raw.shape)
    return np.stack(
        [
            np.where(red, raw, np.where(blue, far, np.where(red_row, row, column))),
            np.where(green, raw, g),
            np.where(blue, raw, np.where(red, far, np.where(red_row, column, row))),
        ]
    )


def psnr(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return -10 * (found - wanted)[INSIDE].square().mean().log10().item()


@pytest.mark.parametrize("method", ["bilinear", "malvar"])
@pytest.mark.parametrize("name", PICTURES)
def test_linear_methods_are_the_published_filters(name: str, method: str) -> None:
    packed = bayer.mosaic(rgb(PICTURES[name]))
    wanted = written_out(bayer.unpack(packed)[0].numpy(), method)
    np.testing.assert_allclose(demosaic(packed, method)[0].numpy(), wanted, atol=1e-12)
    np.testing.assert_allclose(demosaic(packed.float(), method)[0].numpy(), wanted, atol=1e-6)


#: Peak signal-to-noise ratio [dB] of the published method, by colour-demosaicing 0.2.7, 16 pixels of the edge left out.
MENON = {"astronaut": 35.75, "chelsea": 40.82, "coffee": 34.16, "rocket": 31.95}


@pytest.mark.parametrize("name", PICTURES)
def test_the_better_the_method_the_nearer_the_picture(name: str) -> None:
    picture = rgb(PICTURES[name])
    bilinear, malvar, menon = (psnr(demosaic(bayer.mosaic(picture), m), picture) for m in REACH)
    assert bilinear + 0.8 < malvar < menon - 1.0
    assert menon == pytest.approx(MENON[name], abs=0.03)


@pytest.mark.parametrize("method", REACH)
def test_smooth_pictures_return(method: str) -> None:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(60.0), indexing="ij")
    plane = 0.1 + 0.004 * y + 0.006 * x
    picture = torch.stack((0.8 * plane, plane, 0.5 * plane + 0.1))[None].double()
    error = (demosaic(bayer.mosaic(picture), method) - picture)[INSIDE]
    assert error.abs().max() < 1e-3 if method == "menon" else error.abs().max() < 1e-6


@pytest.mark.parametrize("method", REACH)
def test_samples_of_green_or_all_stay(method: str) -> None:
    packed = bayer.mosaic(rgb(PICTURES["coffee"]))
    again = bayer.mosaic(demosaic(packed, method))
    kept = (again - packed)[..., 8:-8, 8:-8].abs()
    assert kept[:, [0, 3]].max() < 1e-12
    assert kept[:, [1, 2]].max() < 1e-12


def test_menon_keeps_an_edge_along_its_direction() -> None:
    """Stripes of one row: interpolated along them they are exact, by a fixed filter they are not."""
    y = torch.arange(64.0).reshape(-1, 1).expand(64, 64)
    grey = (0.5 + 0.4 * torch.sin(y * 2.4)).expand(1, 3, 64, 64).double()
    for picture in (grey, grey.mT.contiguous()):
        errors = {m: (demosaic(bayer.mosaic(picture), m) - picture)[INSIDE].abs().max().item() for m in REACH}
        assert errors["menon"] < 1e-12
        assert errors["malvar"] > 0.02


def test_menon_turns_with_the_picture() -> None:
    """Transposed, RGGB stays RGGB: rows and columns are treated alike, but where both vary exactly as much."""
    rng = np.random.default_rng(1)
    picture = torch.from_numpy(rng.random((1, 3, 64, 80)))
    found = demosaic(bayer.mosaic(picture), "menon")
    turned = demosaic(bayer.mosaic(picture.mT.contiguous()), "menon").mT
    torch.testing.assert_close(found[INSIDE], turned[INSIDE], atol=1e-12, rtol=0)


def test_noise_is_correlated_as_bilinear_weights_say() -> None:
    """Variance and neighbours' covariance of white noise, averaged over photosites: the autocorrelation of the filter
    times the share of photosites that sample the colour."""
    white = normal_field(torch.tensor([5]), 4, (0, 0), (512, 512))
    noise = demosaic(white, "bilinear")[0].double()
    square, cross = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4, np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    for channel, kernel, share in ((0, square, 0.25), (1, cross, 0.5), (2, square, 0.25)):
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 2), (0, 3)):
            wide = np.pad(kernel, 4)
            theory = share * (wide * np.roll(wide, (dy, dx), (0, 1))).sum()
            a, b = noise[channel, : 1024 - dy, : 1024 - dx], noise[channel, dy:, dx:]
            assert (a * b).mean().item() == pytest.approx(theory, abs=0.008), (channel, dy, dx)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="unknown demosaicing 'ahd', must be one of bilinear, malvar, menon"):
        demosaic(torch.zeros(1, 4, 8, 8), "ahd")
    with pytest.raises(ValueError, match=r"expected \(b, 4, h, w\), got \(1, 3, 8, 8\)"):
        demosaic(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="menon demosaicing needs more than 12 photosites each way, got 12 x 16"):
        demosaic(torch.zeros(1, 4, 6, 8), "menon")

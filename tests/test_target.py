"""A known kernel comes back from a target and its mosaic; another target is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from degrade.maths.fourier import convolve
from degrade.maths.target import Fit, centroid, misregistration, moved, psf_from_target

RADIUS = 5


def known(radius: int = RADIUS) -> Tensor:
    """A lopsided kernel: a Gaussian with a tail to the lower right, sum 1, its centroid elsewhere."""
    k = torch.arange(-radius, radius + 1, dtype=torch.float64)
    y, x = k[:, None], k[None, :]
    blob = torch.exp(-(y**2 + x**2) / (2 * 0.9**2)) + 0.2 * torch.exp(-((y - 1.5) ** 2 + (x - 1) ** 2) / (2 * 1.2**2))
    return blob / blob.sum()


def texture(n: int) -> Tensor:
    return torch.rand(n, n, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def leaves(n: int) -> Tensor:
    """Dead leaves: discs of all sizes, the later hide the earlier."""
    draw = torch.rand(4000, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float64)] * 2, indexing="ij")
    picture = torch.full((n, n), 0.5, dtype=torch.float64)
    for cy, cx, size, grey in draw.tolist():
        r = 1.5 / math.sqrt(size + 0.002)
        top, left = max(int(cy * n - r), 0), max(int(cx * n - r), 0)
        part = (slice(top, int(cy * n + r) + 2), slice(left, int(cx * n + r) + 2))
        picture[part][(y[part] - cy * n) ** 2 + (x[part] - cx * n) ** 2 < r * r] = grey
    return picture


def photographed(target: Tensor, kernel: Tensor, noise: float, seed: int = 6) -> Tensor:
    blurred = 0.02 + 0.7 * convolve(target[None, None], kernel[None, None])[0, 0]
    return blurred + noise * torch.randn(
        blurred.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def sites(n: int, row: int, column: int) -> Tensor:
    mask = torch.zeros(n, n, dtype=torch.bool)
    mask[row::2, column::2] = True
    return mask


def off(fit: Fit) -> float:
    """Largest error, as a part of the peak."""
    truth = known(len(fit.kernel) // 2)
    return float((fit.kernel - truth).abs().max() / truth.max())


@pytest.mark.parametrize(
    ("target", "noise", "error"),
    [(texture, 0.0, 1e-6), (leaves, 0.0, 1e-4), (texture, 0.005, 0.015), (texture, 0.02, 0.05), (leaves, 0.005, 0.06)],
)
@pytest.mark.parametrize("site", [(0, 0), (1, 1)])
def test_a_known_kernel_comes_back(target: object, noise: float, error: float, site: tuple[int, int]) -> None:
    assert callable(target)
    scene = target(200)
    fit = psf_from_target(scene, photographed(scene, known(), noise), sites(200, *site), RADIUS)
    assert off(fit) < error
    assert (fit.gain, fit.offset) == (pytest.approx(0.7, rel=0.02), pytest.approx(0.02, abs=0.01))
    assert fit.noise == pytest.approx(noise, rel=0.05, abs=1e-4)
    assert float(fit.kernel.sum()) == pytest.approx(1)


@pytest.mark.parametrize("target", [texture, leaves])
def test_errors_hold_what_they_say(target: object) -> None:
    assert callable(target)
    scene = target(160)
    inside: list[float] = []
    for seed in range(8):
        fit = psf_from_target(scene, photographed(scene, known(), 0.01, seed), sites(160, 0, 0), RADIUS)
        inside.append(float(((fit.kernel - known()).abs() < 1.96 * fit.error).double().mean()))
    assert 0.9 < sum(inside) / len(inside) < 0.995


def test_a_stated_strength_is_used_and_smooths() -> None:
    scene = texture(120)
    capture = photographed(scene, known(), 0.02)
    soft = psf_from_target(scene, capture, sites(120, 0, 0), RADIUS, 0.3)
    assert soft.strength == 0.3
    free = psf_from_target(scene, capture, sites(120, 0, 0), RADIUS)
    assert free.strength < 0.1
    assert soft.gain < 0.9 * free.gain


def test_many_samples_are_thinned_evenly() -> None:
    scene = texture(400)
    fit = psf_from_target(scene, photographed(scene, known(), 0.0), torch.ones(400, 400, dtype=torch.bool), RADIUS)
    assert 65000 < fit.count <= 65540
    assert off(fit) < 1e-6


@pytest.mark.parametrize("shift", [(0, 0), (3, -7), (-8, 8)])
def test_misregistration_is_found_in_a_mosaic(shift: tuple[int, int]) -> None:
    for scene in (texture(160), leaves(160)):
        capture = photographed(scene, known(), 0.01).roll(shift, (0, 1))
        mask = sites(160, 0, 1) | sites(160, 1, 0)
        assert misregistration(scene, capture, mask, 8) == shift


def test_kernels_are_moved_by_fractions() -> None:
    kernel = torch.nn.functional.pad(known(), (6, 6, 6, 6))
    y, x = centroid(kernel)
    there = moved(kernel, (-y, -x))
    assert centroid(there) == (pytest.approx(0, abs=0.01), pytest.approx(0, abs=0.01))
    assert (moved(there, (y, x)) - kernel).abs().max() < 1e-3


def test_another_target_is_refused() -> None:
    scene = texture(160)
    capture = photographed(scene, known(), 0.01)
    mask = sites(160, 0, 0)
    with pytest.raises(ValueError, match=r"explains \d+% of the capture's variance, needs 50%: it is another target"):
        psf_from_target(scene.flip(0), capture, mask, RADIUS)
    with pytest.raises(ValueError, match="does not show the target within 8 pixels"):
        misregistration(scene.flip(0), capture, mask, 8)
    with pytest.raises(ValueError, match="does not show the target within 8 pixels"):
        misregistration(scene, capture.roll(20, 0), mask, 8)
    with pytest.raises(ValueError, match="is even"):
        psf_from_target(torch.ones_like(scene), capture, mask, RADIUS)
    with pytest.raises(ValueError, match=r"too few samples: \d+ for 961 unknowns, needs 1922"):
        psf_from_target(scene[:60, :60], capture[:60, :60], mask[:60, :60], 15)
    with pytest.raises(ValueError, match="one shape"):
        psf_from_target(scene[1:], capture, mask, RADIUS)

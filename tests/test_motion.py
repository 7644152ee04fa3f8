"""Paths on pixels, the Gaussian process, and shapes given in space against the formulas they were published with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from torch import Tensor

from degrade.maths import motion, psf, shapes

N = 64


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def moments(field: Tensor) -> tuple[float, float, float, float, float]:
    """Sum, centroid (y, x) and variances along y and x of a field about its origin."""
    a = field.numpy()
    p = np.arange(len(a)) - len(a) // 2
    y, x = (a.sum(1) * p).sum(), (a.sum(0) * p).sum()
    return a.sum(), y, x, (a.sum(1) * p**2).sum() - y**2, (a.sum(0) * p**2).sum() - x**2


@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=1, max_size=9))
def test_a_path_keeps_its_centroid(points: list[tuple[float, float]]) -> None:
    field = motion.on_grid(torch.tensor([points], dtype=torch.float64), N)[0]
    total, y, x, *_ = moments(field)
    assert field.min() >= 0
    assert total == pytest.approx(1, abs=1e-9)
    assert (y, x) == pytest.approx(tuple(np.mean(points, axis=0)), abs=1e-9)


def test_what_runs_off_the_field_stays_on_its_border() -> None:
    field = motion.on_grid(torch.tensor([[[0.0, 500.0], [-500.0, 0.0]]]), N)[0]
    assert field[N // 2, N - 1] == field[0, N // 2] == 0.5


def test_a_line_lies_along_its_azimuth() -> None:
    """x right, y down: at 30 degrees it falls to the right; its variance is L^2 / 12 and that of a bilinear dot."""
    length, angle = 12.0, math.radians(30)
    field = motion.on_grid(motion.line(t(length), t(angle)), N)[0]
    _, y, x, vy, vx = moments(field)
    assert (y, x) == pytest.approx((0, 0), abs=1e-9)
    assert vx == pytest.approx(length**2 / 12 * math.cos(angle) ** 2 + 1 / 6, abs=0.01)
    assert vy == pytest.approx(length**2 / 12 * math.sin(angle) ** 2 + 1 / 6, abs=0.02)
    p = torch.arange(N) - N // 2
    assert (field * p[:, None] * p).sum() == pytest.approx(length**2 / 24 * math.sin(2 * angle), abs=0.01)


def test_a_level_line_is_exact() -> None:
    row = motion.on_grid(motion.line(t(4.0), t(0.0), steps=4000), N)[0, N // 2, N // 2 - 3 : N // 2 + 4]
    # four pixels long between two half ones, each end shared bilinearly with the next
    assert row.tolist() == pytest.approx([0, 1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8, 0], abs=1e-4)


def test_two_lines_are_two_lines() -> None:
    field = motion.on_grid(motion.lines(t(0.0, 6.0), t(8.0, 8.0), t(0.0, math.pi / 2)), N)
    assert field[0, N // 2 - 4, N // 2] == field[0, N // 2 + 4, N // 2] == pytest.approx(0.5)
    upright = field[1]
    assert upright[:, N // 2 - 4].sum().item() == pytest.approx(0.5)
    assert upright[:, N // 2 + 4].sum().item() == pytest.approx(0.5)
    assert moments(upright)[1:3] == pytest.approx((0, 0), abs=1e-9)


@pytest.mark.parametrize("scale", [0.02, 0.3, 2.0])
def test_covariance_of_the_process(scale: float) -> None:
    """sigma^2 exp(-d^2 / 2 l^2), seen through differences, from which the taken-off mean drops out."""
    n, sigma = 4000, 1.7
    path = motion.wander(torch.arange(n), torch.full((n,), scale), torch.full((n,), sigma))
    assert path.shape == (n, 1000, 2)
    assert path.mean(1).abs().max() < 1e-10
    for lag in (5, 20, 100, 300, 900):
        expected = 2 * sigma**2 * (1 - math.exp(-((lag / 1000 / scale) ** 2) / 2))
        for start in (0, 40):
            for axis in (0, 1):
                found = (path[:, start + lag, axis] - path[:, start, axis]).square().mean().item()
                assert found == pytest.approx(expected, rel=5 * math.sqrt(2 / n))
    cross = (path[:, 900] - path[:, 0]).prod(-1)
    assert abs(cross.mean()) < 5 * cross.std() / math.sqrt(n)


def test_a_seed_is_a_path() -> None:
    one, again, other = (motion.wander(torch.tensor([s]), t(0.3), t(2.0)) for s in (5, 5, 6))
    assert torch.equal(one, again)
    assert (one - other).abs().max() > 0.1


# -- shapes -----------------------------------------------------------------------------------------------------------


def published(k: int, sx: float, sy: float, theta: float, beta: float, kind: str) -> np.ndarray:
    """The classical chains' formula, written out: covariance matrix, grid, normalisation in the window."""
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    inverse = np.linalg.inv(turn @ np.diag([sx**2, sy**2]) @ turn.T)
    p = np.arange(-(k // 2), k // 2 + 1)
    grid = np.stack(np.meshgrid(p, p), axis=-1)
    q = np.einsum("hwi,ij,hwj->hw", grid, inverse, grid)
    kernel = np.exp(-0.5 * q**beta) if kind == "generalised" else 1 / (q**beta + 1)
    return kernel / kernel.sum()


@pytest.mark.parametrize("kind", ["generalised", "plateau"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 4.0])
def test_bells_are_the_published_ones(kind: str, beta: float) -> None:
    sx, sy, theta, radius = 2.3, 0.9, 0.6, 10
    profile = {"generalised": shapes.generalised, "plateau": shapes.plateau}[kind]
    field = shapes.on_pixels(
        lambda y, x: profile(shapes.distance(y, x, t(sx), t(sy), t(theta)), t(beta)), 2 * N, point=True
    )
    found, _ = psf.kernel_from_transfer(psf.field_transfer(field), radius)
    np.testing.assert_allclose(found.numpy(), published(2 * radius + 1, sx, sy, theta, beta, kind), atol=1e-7)


def test_sinc_is_the_published_one() -> None:
    cutoff, radius = 1.3, 10
    p = np.arange(-radius, radius + 1)
    r = np.hypot(p[:, None], p)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = cutoff * special.j1(cutoff * r) / (2 * np.pi * r)
    expected[radius, radius] = cutoff**2 / (4 * np.pi)
    field = shapes.on_pixels(lambda y, x: shapes.low_pass(y, x, t(cutoff)), 2 * N, point=True)
    found, _ = psf.kernel_from_transfer(psf.field_transfer(field), radius)
    np.testing.assert_allclose(found.numpy(), expected / expected.sum(), atol=1e-7)


@pytest.mark.parametrize("sigma", [0.5, 0.8, 2.0])
def test_a_bell_of_exponent_one_is_the_gaussian_on_pixels(sigma: float) -> None:
    field = shapes.on_pixels(
        lambda y, x: shapes.generalised(shapes.distance(y, x, t(sigma), t(sigma), t(0.0)), t(1.0)), N
    )
    expected = psf.gaussian_transfer(t(sigma), N)
    assert (psf.field_transfer(field) - expected[0]).abs().max() < 2e-6


def test_bells_turn_with_their_azimuth() -> None:
    field = shapes.on_pixels(
        lambda y, x: shapes.generalised(shapes.distance(y, x, t(4.0), t(1.5), t(math.radians(60))), t(1.0)), 2 * N
    )
    total, y, x, vy, vx = moments(field)
    c2 = math.cos(math.radians(60)) ** 2
    assert total == pytest.approx(1)
    assert (y, x) == pytest.approx((0, 0), abs=1e-12)
    assert vx == pytest.approx(16 * c2 + 2.25 * (1 - c2) + 1 / 12, abs=1e-4)
    assert vy == pytest.approx(16 * (1 - c2) + 2.25 * c2 + 1 / 12, abs=1e-4)


def test_a_ring_is_a_disc_less_a_disc() -> None:
    whole = torch.fft.fftshift(torch.fft.irfft2(psf.annular_transfer(t(9.0), t(0.6), N), s=(N, N))[0])
    assert whole.min() > -1e-12
    assert whole[N // 2, N // 2].abs() < 1e-12
    assert whole[N // 2, N // 2 + 7].item() == pytest.approx(1 / (math.pi * 81 * (1 - 0.36)), rel=1e-9)
    assert moments(whole)[0] == pytest.approx(1)


def test_four_dots() -> None:
    whole = torch.fft.fftshift(torch.fft.irfft2(psf.four_dot_transfer(t(2.0), N), s=(N, N))[0])
    expected = torch.zeros(N, N, dtype=torch.float64)
    expected[N // 2 - 1 : N // 2 + 2 : 2, N // 2 - 1 : N // 2 + 2 : 2] = 0.25
    torch.testing.assert_close(whole, expected, atol=1e-12, rtol=0)

"""The photon-transfer fit: unbiased, with intervals that hold what they promise, not led astray by outliers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from degrade.maths.transfer import Line, fit, inliers, pair_points, picture_points

K1, K0 = 0.2, 0.5


def simulated(rng: np.random.Generator, dof: float, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Means, a tenth of them dark, and variances with the spread of a chi square."""
    mean = rng.uniform(0, 4000, n)
    mean[: n // 10] = 0
    return mean, (K1 * mean + K0) * rng.chisquare(dof, n) / dof


@pytest.mark.parametrize("dof", [15, 100, 1023])
def test_unbiased_with_honest_intervals(dof: int) -> None:
    rng = np.random.default_rng(dof)
    lines = [fit(*simulated(rng, dof), dof) for _ in range(300)]
    for name, truth in (("k1", K1), ("k0", K0)):
        values = np.array([getattr(line, name) for line in lines])
        assert abs(values.mean() / truth - 1) < 4 * values.std() / truth / np.sqrt(300) + 0.004
        held = np.mean([low <= truth <= high for low, high in (line.interval(name) for line in lines)])
        assert 0.90 < held < 0.985


def test_outliers_do_not_lead_it_astray() -> None:
    rng = np.random.default_rng(2)
    mean, variance = simulated(rng, 1023)
    spoilt = rng.choice(len(mean), 60, replace=False)
    variance[spoilt] *= rng.uniform(2, 50, 60)
    line = fit(mean, variance, 1023)
    plain = np.polyfit(mean, variance, 1)
    assert abs(line.k1 / K1 - 1) < 0.02
    assert abs(line.k0 / K0 - 1) < 0.1
    assert abs(plain[0] / K1 - 1) > 0.2


@given(
    k1=st.floats(1e-3, 10),
    k0=st.floats(1e-2, 1e3),
    top=st.floats(50, 60000),
    rounding=st.floats(0, 0.1),
)
def test_a_straight_line_is_found(k1: float, k0: float, top: float, rounding: float) -> None:
    mean = np.linspace(0, top, 40)
    line = fit(mean, k1 * mean + k0, 1e9, rounding)
    assert line.at(mean) == pytest.approx(k1 * mean + k0, rel=1e-6)


@given(scale=st.floats(1e-3, 1e3))
def test_units_do_not_matter(scale: float) -> None:
    mean, variance = simulated(np.random.default_rng(3), 200, 100)
    one, other = fit(mean, variance, 200), fit(mean * scale, variance * scale**2, 200)
    np.testing.assert_allclose(other, np.array(one) * [scale, scale**2, scale, scale**2], rtol=1e-5)


@pytest.mark.parametrize("mean", [[], [1.0, 2.0], [3.0, 3.0, 3.0]])
def test_too_little_for_a_line(mean: list[float]) -> None:
    with pytest.raises(ValueError, match=f"a line needs 3 points or more at different means, got {len(mean)}"):
        fit(mean, np.ones(len(mean)), 10)


def test_pairs_forget_what_stands_still_and_hot_pixels() -> None:
    rng = np.random.default_rng(4)
    still = 1000 + 100 * rng.standard_normal((4, 128, 128)) + np.linspace(0, 500, 128)
    a, b = (still + 7 * rng.standard_normal(still.shape) for _ in range(2))
    b += 15  # the lamp was a little brighter
    b[:, ::31, ::37] += 5000  # and a cosmic shower came down
    points = pair_points(a, b, 32)
    assert points.mean.shape == points.variance.shape == points.dof.shape == (4, 16)
    assert points.variance.mean() == pytest.approx(49, rel=4 * np.sqrt(2 / (4 * 128 * 128)))
    assert points.mean.mean() == pytest.approx(1257.5, abs=2)
    assert points.dof.max() < 1023  # what was left out is not counted


def test_pairs_must_fit() -> None:
    with pytest.raises(ValueError, match=r"equal shapes, got \(1, 8, 8\) and \(1, 8, 9\)"):
        pair_points(np.zeros((1, 8, 8)), np.zeros((1, 8, 9)), 8)
    with pytest.raises(ValueError, match="8 x 8 holds no tile of 16 x 16"):
        pair_points(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)), 16)


def test_nothing_is_left_out_of_pure_noise() -> None:
    samples = np.random.default_rng(5).standard_normal((10, 10000))
    assert inliers(samples).mean() > 0.9999


def test_a_picture_shows_its_structure() -> None:
    rng = np.random.default_rng(6)
    noise = 5 * rng.standard_normal((1, 400, 400))
    points, structure = picture_points(noise)
    spread = points.variance.std() / points.variance.mean()
    assert points.variance.mean() == pytest.approx(25, rel=0.01)
    assert spread == pytest.approx(np.sqrt(2 / points.dof.mean()), rel=0.1)  # the degrees of freedom are true
    assert structure.mean() == pytest.approx(25, rel=0.03)
    slope = noise + np.linspace(0, 2000, 400)  # 5 DN a pixel: coarse structure, and little between neighbours
    _, steep = picture_points(slope)
    assert steep.mean() > 4 * structure.mean()


def test_interval_is_about_the_value() -> None:
    low, high = Line(2.0, 10.0, 0.1, 1.0).interval("k0")
    assert (low, high) == (8.04, 11.96)

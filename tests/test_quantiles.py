"""Counts and tails against scipy, moments of whole operators against theory, and units there and back."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from degrade import Frame, Sensor, Space
from degrade.maths import noise
from degrade.maths.philox import uniform_field
from degrade.operators.noise import PhotonNoise, SensorNoise

SIGMAS = 4.0
EDGE = 2.0**-25  #: uniforms are float32: what lies nearer to 0 or 1 is taken as this


def uniforms(n: int, seed: int = 1) -> torch.Tensor:
    return uniform_field(torch.tensor([seed]), 1, (0, 0), (1, n)).flatten()


# -- quantiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 1e-3, 0.1, 1.0, 5.0, 20.0, 63.9])
def test_low_counts_are_scipys(mean: float) -> None:
    u = uniforms(200_000)
    ours = noise.poisson_quantile(u, torch.tensor(mean)).numpy()
    assert np.array_equal(ours, stats.poisson.ppf(u.double().clamp(EDGE, 1 - EDGE).numpy(), mean))


@pytest.mark.parametrize("mean", [64.1, 200.0, 3e3, 1e5])
def test_many_counts_are_scipys_but_for_one_in_ten_thousand(mean: float) -> None:
    u = uniforms(200_000)
    ours = noise.poisson_quantile(u, torch.tensor(mean)).numpy()
    theirs = stats.poisson.ppf(u.double().clamp(EDGE, 1 - EDGE).numpy(), mean)
    assert (ours != theirs).mean() < 1e-4
    assert abs(ours - theirs).max() <= 1


def test_counts_at_the_ends_of_the_uniforms() -> None:
    counts = noise.poisson_quantile(torch.tensor([0.0, 1.0]), torch.tensor([[0.5], [63.0], [1e4]]))
    assert counts.isfinite().all()
    expected = stats.poisson.ppf([[EDGE, 1 - EDGE]], [[0.5], [63.0], [1e4]])
    assert np.array_equal(counts.numpy(), expected)


def test_shared_uniforms_give_more_photons_to_more_light() -> None:
    u = uniforms(50_000)
    counts = [noise.poisson_quantile(u, torch.tensor(m)) for m in (0.3, 4.0, 4.1, 63.99, 64.01, 80.0)]
    assert all((a <= b).all() for a, b in itertools.pairwise(counts))
    assert (counts[1] != counts[2]).float().mean() < 0.11  # a tenth of an electron more changes a tenth of the counts


@pytest.mark.parametrize("shape", [-0.3, -0.1, -1e-7, 0.0, 1e-4, 0.14, 1.0, 2.0])
def test_tukey_lambda_is_scipys_at_variance_one(shape: float) -> None:
    u = uniforms(10_000).double().clamp(EDGE, 1 - EDGE)
    ours = noise.tukey_lambda(u, torch.tensor(shape, dtype=torch.float64)).double().numpy()
    theirs = stats.tukeylambda.ppf(u.numpy(), shape) / stats.tukeylambda.std(shape)
    assert ours == pytest.approx(theirs, rel=2e-6, abs=1e-6)


# -- moments ----------------------------------------------------------------------------------------------------------

BLACK, FULL, ISO = 512.0, 4000.0, 400.0
K1, K0 = (0.4, 0.8, 1.0, 1.2), (3.0, 5.0, 8.0, 12.0)


def theory(op: Any, signal: float) -> list[tuple[float, float, float]]:
    """Variance [DN^2], skewness and excess kurtosis of each channel: cumulants of light and read noise add up."""
    found: list[tuple[float, float, float]] = []
    tails = getattr(op, "tails", None)
    excess = 0.0 if tails is None else float(stats.tukeylambda.stats(tails, moments="k"))
    for k1, k0 in zip(K1, K0, strict=True):
        gain, read = k1 * ISO / 100, k0 * ISO / 100
        electrons = signal * FULL / gain
        counted = isinstance(op, PhotonNoise) and op.shot == "poisson"
        two = gain**2 * electrons + read
        three, four = (gain**3 * electrons, gain**4 * electrons) if counted else (0.0, 0.0)
        found.append((two, three / two**1.5, (four + excess * read**2) / two**2))
    return found


def agrees(x: NDArray[np.float64], variance: float, skew: float, excess: float) -> None:
    """Mean 0 and these moments, within 4 standard errors, which follow from each moment's influence function."""
    root = math.sqrt(x.size)
    assert abs(x.mean()) < SIGMAS * math.sqrt(variance) / root
    z = (x - x.mean()) / x.std()
    assert abs(x.var() / variance - 1) < SIGMAS * (z**2).std() / root
    s, k = (z**3).mean(), (z**4).mean()
    assert abs(s - skew) < SIGMAS * (z**3 - 3 * z - 1.5 * s * (z**2 - 1)).std() / root
    assert abs(k - 3 - excess) < SIGMAS * (z**4 - 4 * s * z - 2 * k * (z**2 - 1)).std() / root


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """In standard errors of independent samples."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * math.sqrt(a.size)


@pytest.mark.parametrize("side", [500, pytest.param(1600, marks=pytest.mark.slow)], ids=["10^6", "10^7"])
@pytest.mark.parametrize("signal", [0.0015, 0.4])
@pytest.mark.parametrize(
    "op",
    [
        SensorNoise(iso=ISO, seed=5),
        PhotonNoise(iso=ISO, seed=6),
        PhotonNoise(iso=ISO, seed=7, tails=0.0),
        PhotonNoise(iso=ISO, seed=8, tails=0.14, shot="gaussian"),
    ],
    ids=["sensor_noise", "photon_noise", "logistic", "tukey"],
)
def test_moments_and_correlations(op: SensorNoise | PhotonNoise, signal: float, side: int) -> None:
    """4 side^2 samples at 4 to 1000 electrons: mean to kurtosis, neighbours, and the four planes among each other."""
    sensor = Sensor.make(black=BLACK, white=BLACK + FULL, k1=K1, k0=K0)
    frame = Frame(torch.full((1, 4, side, side), signal), Space.MOSAIC, sensor)
    residual = ((op.apply(frame).data - frame.data)[0].double() * FULL).numpy()
    for x, expected in zip(residual, theory(op, signal), strict=True):
        agrees(x, *expected)
        assert abs(correlation(x[:, 1:], x[:, :-1])) < SIGMAS
        assert abs(correlation(x[1:], x[:-1])) < SIGMAS
    for i in range(4):
        for j in range(i):
            assert abs(correlation(residual[i], residual[j])) < SIGMAS


# -- units ------------------------------------------------------------------------------------------------------------

positive = st.floats(1e-3, 1e3)


@given(positive, positive, st.floats(50, 1e5))
def test_gain_and_read_noise_there_and_back(k1: float, k0: float, iso: float) -> None:
    gain, read = noise.to_gain(k1, k0, iso)
    assert noise.from_gain(gain, read, iso) == pytest.approx((k1, k0))
    electrons = 1000.0  # of light: shot noise is its root, in electrons
    assert k1 * (electrons * gain) * iso / 100 == pytest.approx((gain * math.sqrt(electrons)) ** 2)
    assert k0 * iso / 100 == pytest.approx(read**2)


@given(positive, positive, st.floats(100, 65535), st.floats(50, 1e5))
def test_noise_profile_there_and_back(k1: float, k0: float, span: float, iso: float) -> None:
    shot, offset = noise.to_profile(k1, k0, span, iso)
    assert noise.line_of_profile(shot, offset, span, iso) == pytest.approx((k1, k0))
    assert shot * 0.3 + offset == pytest.approx((k1 * 0.3 * span + k0) * iso / 100 / span**2)


@given(positive, positive, st.floats(0.5, 1.5))
def test_elds_line_there_and_back(k1: float, k0: float, exponent: float) -> None:
    gain, slope, bias = noise.to_eld(k1, k0, exponent)
    assert noise.from_eld(gain, slope, bias) == pytest.approx((k1, k0, exponent))
    for iso in (100, 1600):
        sigma = math.exp(slope * math.log(gain * iso / 100) + bias)
        assert k0 * (iso / 100) ** exponent == pytest.approx(sigma**2)

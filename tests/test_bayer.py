"""Bayer geometry: packing, and resampling at the true sample positions against areas computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from degrade.maths import bayer, cfa

phases = st.sampled_from(sorted(cfa.PHASES))
shrinks = st.sampled_from([2, 4, 6, 8])


def overlap(sample: float, pixel: int, shrink: int) -> float:
    """Length that a sample (2 photosites about its centre) and an output pixel share."""
    low, high = shrink * pixel - 0.5, shrink * pixel + shrink - 0.5
    return max(0.0, min(high, sample + 1) - max(low, sample - 1))


def weights(count: int, odd: int, pixel: int, shrink: int) -> NDArray[np.float64]:
    """What each of ``count`` samples of one axis gives to a pixel."""
    return np.array([overlap(2 * j + odd, pixel, shrink) for j in range(count)]) / shrink


@given(st.integers(3, 12), st.integers(3, 12), phases)
def test_packing_keeps_every_photosite_of_a_whole_square(h: int, w: int, phase: str) -> None:
    mosaic = torch.arange(h * w).reshape(h, w)
    top, left = cfa.PHASES[phase].phase
    packed = bayer.pack(mosaic, phase)
    inner = mosaic[top:, left:]
    inner = inner[: inner.shape[0] // 2 * 2, : inner.shape[1] // 2 * 2]
    assert torch.equal(bayer.unpack(packed), inner)
    assert torch.equal(bayer.pack(bayer.unpack(packed)), packed)


@pytest.mark.parametrize("phase", sorted(cfa.PHASES))
def test_packing_puts_each_colour_into_its_channel(phase: str) -> None:
    colours = np.array([ord(c) for c in phase], np.uint16).reshape(2, 2)
    packed = bayer.pack(torch.from_numpy(np.tile(colours, (3, 4))), phase).numpy()
    for channel, colour in zip(packed, "RGGB", strict=True):
        assert set(channel.ravel().tolist()) == {ord(colour)}


def test_green_one_shares_reds_row() -> None:
    rows = torch.arange(6)[:, None].expand(6, 6)
    for phase in cfa.PHASES:
        red, one, two, blue = bayer.pack(rows, phase)
        assert torch.equal(red, one)
        assert torch.equal(two, blue)
        assert torch.equal(two, red + 1)


@given(st.integers(2, 24), shrinks)
def test_pixels_kept_are_those_that_every_colour_covers_but_the_first_of_even_ones(n: int, shrink: int) -> None:
    whole = [i for i in range(n) if all(np.isclose(weights(n, odd, i, shrink).sum(), 1) for odd in (0, 1))]
    assert whole == list(range(1, 1 + cfa.BAYER.resampled(2 * n, shrink)))


@given(st.integers(0, 2**31), shrinks, st.integers(5, 14), st.integers(5, 14))
def test_planes_are_area_means_at_the_true_positions(seed: int, shrink: int, h: int, w: int) -> None:
    h, w = h + shrink, w + shrink
    packed = np.random.default_rng(seed).integers(0, 65536, (4, h, w)).astype(np.uint16)
    got = bayer.planes(torch.from_numpy(packed), shrink).numpy()
    rows, columns = cfa.BAYER.resampled(2 * h, shrink), cfa.BAYER.resampled(2 * w, shrink)
    for c, (y, x) in enumerate(cfa.BAYER.sites):
        down = np.stack([weights(h, y, 1 + i, shrink) for i in range(rows)])
        across = np.stack([weights(w, x, 1 + i, shrink) for i in range(columns)])
        np.testing.assert_allclose(got[c], down @ packed[c].astype(float) @ across.T, rtol=2e-7)


def test_the_weights_of_the_rule() -> None:
    assert [weights(4, 0, 1, 2).tolist(), weights(4, 1, 1, 2).tolist()] == [[0, 0.75, 0.25, 0], [0.25, 0.75, 0, 0]]
    assert weights(5, 0, 1, 4).tolist() == [0, 0, 0.375, 0.5, 0.125]
    assert weights(5, 1, 1, 4).tolist() == [0, 0.125, 0.5, 0.375, 0]


@given(phases, st.sampled_from([2, 4, 6]), st.floats(-3, 3), st.floats(-3, 3), st.integers(22, 31), st.integers(22, 31))
def test_a_ramp_keeps_its_value_at_every_grid_position(
    phase: str, shrink: int, dy: float, dx: float, h: int, w: int
) -> None:
    y, x = torch.meshgrid(torch.arange(h).double(), torch.arange(w).double(), indexing="ij")
    ramp = (5 + dy * y + dx * x).float()
    got = bayer.linear(bayer.pack(ramp, phase), shrink)
    top, left = cfa.PHASES[phase].phase
    rows = shrink * (torch.arange(got.shape[1]).double() + 0.5) - 0.5 + shrink + top
    columns = shrink * (torch.arange(got.shape[2]).double() + 0.5) - 0.5 + shrink + left
    wanted = 5 + dy * rows[:, None] + dx * columns[None]
    assert torch.allclose(got.double(), wanted.expand(3, -1, -1), atol=1e-4)


@given(st.floats(-10, 1000, width=32), shrinks)
def test_a_constant_picture_stays_constant(value: float, shrink: int) -> None:
    got = bayer.linear(torch.full((1, 4, 20, 20), value), shrink)
    assert torch.allclose(got, torch.full_like(got, value), rtol=1e-6)


@pytest.mark.parametrize("shrink", [2, 4, 6, 10])
def test_variance_gain_is_the_sum_of_squared_weights(shrink: int) -> None:
    packed = torch.zeros(4, 24, 24, dtype=torch.float64, requires_grad=True)
    linear = bayer.linear(packed, shrink)
    for c, gain in enumerate(cfa.BAYER.variance_gain(shrink)):
        (slope,) = torch.autograd.grad(linear[c, 1, 1], packed, retain_graph=True)
        assert float(slope.sum()) == pytest.approx(1)
        assert float(slope.square().sum()) == pytest.approx(gain, rel=1e-6)


def test_sums_of_dn_are_the_same_bits_alone_in_a_batch_and_with_threads() -> None:
    packed = np.random.default_rng(1).integers(0, 65536, (3, 4, 203, 307)).astype(np.uint16)
    batch = bayer.planes(torch.from_numpy(packed), 4)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        many = bayer.planes(torch.from_numpy(packed), 4)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(batch, many)
    for one, row in zip(packed, batch, strict=True):
        assert torch.equal(bayer.planes(torch.from_numpy(one), 4), row)


def test_mosaic_samples_each_colour_at_its_site() -> None:
    rgb = torch.from_numpy(np.random.default_rng(2).random((2, 3, 6, 8), np.float32))
    raw = bayer.unpack(bayer.mosaic(rgb))
    assert torch.equal(raw[:, 0::2, 0::2], rgb[:, 0, 0::2, 0::2])
    assert torch.equal(raw[:, 0::2, 1::2], rgb[:, 1, 0::2, 1::2])
    assert torch.equal(raw[:, 1::2, 0::2], rgb[:, 1, 1::2, 0::2])
    assert torch.equal(raw[:, 1::2, 1::2], rgb[:, 2, 1::2, 1::2])


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="even height and width, got 3 x 4"):
        bayer.mosaic(torch.zeros(1, 3, 3, 4))
    with pytest.raises(ValueError, match="no whole RGGB square"):
        bayer.pack(torch.zeros(2, 9), "BGGR")
    with pytest.raises(ValueError, match="even and at least 2, got 3"):
        bayer.planes(torch.zeros(4, 9, 9), 3)
    with pytest.raises(ValueError, match="10 x 10 is too small for shrink 6: need 14 x 14"):
        bayer.linear(torch.zeros(4, 5, 5), 6)
    with pytest.raises(ValueError, match=r"expected \(..., 4, h, w\)"):
        bayer.unpack(torch.zeros(1, 3, 2, 2))

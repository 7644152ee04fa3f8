"""Colour filter arrays: their geometry, and one place and no fringe for a grey edge in every phase."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from degrade.maths import bayer, cfa
from degrade.maths.cfa import BAYER, XTRANS, Cfa

QUAD = Cfa(("RRGG", "RRGG", "GGBB", "GGBB"))
ARRAYS = [Cfa(a.tile, at) for a in (BAYER, XTRANS) for at in itertools.product(*map(range, a.size))]
arrays = st.sampled_from([*ARRAYS, QUAD])
ANGLES = (3, 20, 45, 70, 87)
STEP = 0.25  # of the edge's position [photosites]

Resampler = Callable[[Cfa, Tensor, int], Tensor]


def named(array: Cfa) -> str:
    return f"{array.size[0]}x{array.size[1]} {array.phase}"


def colours(array: Cfa, h: int, w: int) -> Tensor:
    """(h, w) colour of each photosite."""
    found = torch.full((h, w), -1)
    for colour, (y, x) in zip(array.colours, array.sites, strict=True):
        found[y :: array.size[0], x :: array.size[1]] = colour
    assert bool((found >= 0).all())
    return found


# -- geometry ---------------------------------------------------------------------------------------------------------


def test_the_four_bayer_arrays_have_the_colours_of_their_names() -> None:
    for name, array in cfa.PHASES.items():
        assert "".join("RGB"[c] for c in colours(array, 2, 2).ravel()) == name
        assert tuple(colours(array, 2, 2).eq(0).nonzero()[0].tolist()) == array.phase == array.sites[0]


def test_the_tile_of_xtrans_has_every_colour_in_every_row_and_column() -> None:
    assert [XTRANS.colours.count(c) for c in range(3)] == [8, 20, 8]
    tile = colours(XTRANS, 6, 6)
    assert all(set(line.tolist()) == {0, 1, 2} for line in (*tile, *tile.T))
    assert np.array_equal(colours(XTRANS, 6, 6), colours(Cfa(XTRANS.tile, (3, 3)), 6, 6))


@given(arrays, st.integers(-9, 9), st.integers(-9, 9))
def test_a_phase_moves_the_tile(array: Cfa, y: int, x: int) -> None:
    moved = Cfa(array.tile, (array.phase[0] + y, array.phase[1] + x))
    assert torch.equal(colours(moved, 12, 12), colours(array, 12, 12).roll((y, x), (0, 1)))


def test_offsets_are_those_of_packed_pixels() -> None:
    assert BAYER.offsets == ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25))
    assert np.allclose(np.mean(XTRANS.offsets, 0), 0)


@given(arrays, st.sampled_from([-3, -2, -1, 0, 1, 2]))
def test_what_is_spread_merges_to_itself(array: Cfa, axis: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 99, (3, 3, 3)).astype(np.float64)
    four = array.spread(rgb, axis)
    assert four.shape[axis] == len(array.colours)
    np.testing.assert_allclose(array.merge(four, axis), rgb)
    assert np.array_equal(array.spread(torch.from_numpy(rgb), axis).numpy(), four)
    assert np.array_equal(array.merge(torch.from_numpy(four), axis).numpy(), array.merge(four, axis))


# -- a grey edge ------------------------------------------------------------------------------------------------------


@functools.cache
def edges(side: int, middle: float, angle: float, sigma: float) -> Tensor:
    """(p, side, side) photosites of edges that pass ``middle`` at p distances, blurred by a Gaussian.

    A photosite of sides a, b across the edge holds the twofold integral of the profile, a sum of four.
    """
    a, b = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64) - middle] * 2, indexing="ij")
    distance = torch.arange(-side, side, STEP, dtype=torch.float64)[:, None, None]

    def integral(d: Tensor) -> Tensor:
        if sigma == 0:
            return d.clamp(min=0).square() / 2
        bell = torch.exp(-((d / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
        return (d * d + sigma**2) / 2 * torch.special.ndtr(d / sigma) + d * sigma / 2 * bell

    total = torch.zeros(())
    for s, t in itertools.product((1, -1), repeat=2):
        total = total + s * t * integral(a * x + b * y - distance + s * a / 2 + t * b / 2)
    return total / (a * b)


def fringe(resample: Resampler, array: Cfa, shrink: int, sigma: float) -> tuple[float, float]:
    """Distance of the centroids of R and B from G's [photosites], and the largest difference, over all `ANGLES`."""
    side = 2 * shrink + array.reach // 2
    apart, most = 0.0, 0.0
    for angle in ANGLES:
        light = edges(side, shrink + (shrink - 1) / 2, angle, sigma)
        off = resample(array, light.float(), shrink)[..., 0, 0].double()
        off = off[:, ::2] - off[:, 1:2]
        apart = max(apart, off.sum(0).abs().max().item() * STEP)
        most = max(most, off.abs().max().item())
    return apart, most


def plain(array: Cfa, mosaic: Tensor, shrink: int) -> Tensor:
    """Means of each colour over the second pixel."""
    own = colours(array, *mosaic.shape[-2:])
    inside = mosaic[..., shrink : 2 * shrink, shrink : 2 * shrink]
    own = own[shrink : 2 * shrink, shrink : 2 * shrink]
    return torch.stack([inside[..., own == c].mean(-1) for c in range(3)], -1)[..., None, None]


@pytest.mark.parametrize("array", ARRAYS, ids=named)
def test_a_grey_edge_has_one_place_and_no_fringe(array: Cfa) -> None:
    """As soft as a lens leaves it, at twice the tile of X-Trans; softer, at the tile."""
    for shrink, sigma in ((12, 0.5), (6, 0.8), *(((4, 1.0), (2, 1.5)) if array.tile == BAYER.tile else ())):
        apart, most = fringe(Cfa.linear, array, shrink, sigma)
        assert apart < 1e-3
        assert most <= 0.02


@pytest.mark.parametrize("array", ARRAYS, ids=named)
def test_plain_means_fail_on_the_same_edges(array: Cfa) -> None:
    apart, most = fringe(plain, array, 6, 0.8)
    assert apart > 1e-3 or most > 0.02


def test_equal_centroids_alone_do_not_keep_means_of_a_tile_from_painting_a_fringe() -> None:
    found = [fringe(plain, array, 6, 0.0) for array in ARRAYS if array.tile == XTRANS.tile]
    assert min(most for apart, most in found if apart < 1e-3) > 0.08


# -- the weights ------------------------------------------------------------------------------------------------------


@given(arrays, st.integers(1, 2))
def test_a_pixel_takes_samples_of_its_colour_alone_and_moments_of_all_agree(array: Cfa, times: int) -> None:
    shrink = times * array.size[0]
    side = 2 * shrink + array.reach // 2
    given_by_each = array.linear(torch.eye(side * side).reshape(-1, side, side), shrink)
    assert given_by_each.shape == (side * side, 3, 1, 1)
    place = torch.arange(side).double() - (shrink + (shrink - 1) / 2)
    powers = [torch.ones(side, side), place[:, None], place[None], place[:, None] ** 2, place[None] ** 2]
    second = []
    for c, gain in enumerate(array.variance_gain(shrink)):
        weights = given_by_each[:, c].reshape(side, side)
        assert bool((colours(array, side, side)[weights != 0] == c).all())
        assert weights.min() >= 0
        assert weights.double().square().sum().item() == pytest.approx(gain, rel=1e-6)
        total, y, x, *squares = ((weights.double() * p).sum().item() for p in (*powers, place[:, None] * place[None]))
        assert (total, y, x) == pytest.approx((1, 0, 0), abs=1e-5)
        second.append(squares)
        window = weights[shrink - array.reach // 2 :, shrink - array.reach // 2 :]
        torch.testing.assert_close(window, array.weights(shrink)[c].float())
    assert second[0] == pytest.approx(second[1], abs=1e-4)
    assert second[2] == pytest.approx(second[1], abs=1e-4)


@given(arrays, st.integers(1, 2), st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 9), st.integers(0, 9))
def test_a_ramp_keeps_its_value_at_every_grid_position(
    array: Cfa, times: int, dy: float, dx: float, h: int, w: int
) -> None:
    shrink = times * array.size[0]
    y, x = torch.arange(3 * shrink + 2 + h).double()[:, None], torch.arange(4 * shrink + w).double()
    got = array.linear(5 + dy * y + dx * x, shrink)
    rows, columns = (shrink * (torch.arange(n).double() + 1.5) - 0.5 for n in got.shape[1:])
    wanted = 5 + dy * rows[:, None] + dx * columns
    torch.testing.assert_close(got.double(), wanted.expand(3, -1, -1), atol=2e-4, rtol=1e-5)


@given(st.integers(0, 2**31), st.sampled_from([2, 4, 6, 8, 12]), st.sampled_from(sorted(cfa.PHASES)))
def test_bayer_by_the_general_value_is_bayer(seed: int, shrink: int, phase: str) -> None:
    mosaic = torch.from_numpy(np.random.default_rng(seed).random((2, 41, 54), np.float32))
    wanted = bayer.linear(bayer.pack(mosaic, phase), shrink)
    top, left = cfa.PHASES[phase].phase
    even = mosaic[:, top:, left:][:, : (41 - top) // 2 * 2, : (54 - left) // 2 * 2]
    torch.testing.assert_close(BAYER.linear(even, shrink), wanted, atol=1e-6, rtol=1e-6)
    taps = torch.tensor([1.0] + [4] * (shrink // 2 - 1) + [3])
    axis = torch.zeros(2, shrink + 2, dtype=torch.float64)
    axis[0, 1::2], axis[1, 0::2] = taps.flip(0), taps
    assert torch.equal(BAYER.weights(shrink)[0], axis[0].outer(axis[0]) / (2 * shrink) ** 2)
    assert torch.equal(BAYER.weights(shrink)[2], axis[1].outer(axis[1]) / (2 * shrink) ** 2)


@pytest.mark.parametrize("shrink", range(2, 66, 2))
def test_the_variance_gain_of_bayer_has_a_closed_form(shrink: int) -> None:
    """One axis gives ``(9 + 16 (m - 1) + 1) / (4 m)^2``; green is the mean of two planes. Frames hold it in float32."""
    one = ((8 * shrink - 6) / (2 * shrink) ** 2) ** 2
    assert torch.equal(torch.tensor(BAYER.variance_gain(shrink)), torch.tensor((one, one / 2, one)))


def test_pixels_are_the_same_bits_alone_and_in_a_batch() -> None:
    mosaic = torch.from_numpy(np.random.default_rng(1).integers(0, 65536, (3, 61, 70)).astype(np.uint16))
    batch = XTRANS.linear(mosaic, 12)
    assert batch.shape == (3, 3, 3, 4)
    for one, row in zip(mosaic, batch, strict=True):
        assert torch.equal(XTRANS.linear(one, 12), row)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for tile in (("RG", "B"), ("RG", "GW"), ("GG", "GG"), (), "RGGB"):
        with pytest.raises(ValueError, match="rows of one length that hold R, G and B"):
            Cfa(tile)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="must be a multiple of 6, got 4"):
        XTRANS.linear(torch.zeros(40, 40), 4)
    with pytest.raises(ValueError, match="too few of R for shrink 6, use 12"):
        Cfa(("RBGGGG", *["GGGGGG"] * 5)).weights(6)
    with pytest.raises(ValueError, match="even and at least 2, got 3"):
        BAYER.weights(3)
    with pytest.raises(ValueError, match="13 x 40 is too small for shrink 6: need 14 x 14"):
        XTRANS.linear(torch.zeros(13, 40), 6)
    with pytest.raises(ValueError, match=r"expected 4 values along axis -3, got \(3, 8, 8\)"):
        BAYER.merge(torch.zeros(3, 8, 8), -3)

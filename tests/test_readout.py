"""Rows, dark current, unequal and broken photosites, the full well: amounts, and the same photosite always the same."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from degrade import Frame, Grid, Operator, PhotoError, Recipe, RecipeError, Sensor, Space
from degrade.core.spec import Spec
from degrade.maths import bayer
from degrade.operators.readout import BadPixels, DarkCurrent, FullWell, PixelResponse, RowNoise
from degrade.operators.sensor import Mosaic
from degrade.recipe.render import render

BLACK, FULL = 512.0, 4000.0
MAPS = [
    PixelResponse(prnu=0.02, dsnu=3.0, camera_seed=4),
    BadPixels(hot=0.03, dead=0.02, camera_seed=4),
    RowNoise(row=2.0, column=1.0, band=3.0, period=21.0, seed=4),
]
NAMES = [op.op for op in MAPS]


def camera(b: int = 1, **changes: Any) -> Sensor:
    return Sensor.make(b, **{"black": BLACK, "white": BLACK + FULL, "iso": 200, "k1": 0.5, "k0": 4, **changes})


def flat(value: float, size: int = 64, space: Space = Space.MOSAIC, **sensor: Any) -> Frame:
    return Frame(torch.full((1, space.channels, size, size), value), space, camera(**sensor))


def moved(frame: Frame, y: int, x: int) -> Frame:
    return replace(frame, origin=torch.tensor([[y, x]]).expand(len(frame), 2))


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", MAPS, ids=NAMES)
def test_a_photosite_is_the_same_wherever_the_patch_is_cut(op: Operator) -> None:
    for space, sites in ((Space.MOSAIC, 2), (Space.LINEAR, 1)):
        whole = op.apply(moved(flat(0.5, 40, space), 100, 200)).data
        part = op.apply(moved(flat(0.5, 16, space), 100 + 10 * sites, 200 + 14 * sites)).data
        assert torch.equal(part, whole[..., 10:26, 14:30])
        margin = replace(moved(flat(0.5, 24, space), 100 + 10 * sites, 200 + 14 * sites), grid=Grid(offset=(-4, -4)))
        assert torch.equal(op.apply(margin).trim(4).data, part)
        elsewhere = op.apply(moved(flat(0.5, 16, space), 100 + 10 * sites, 202 + 14 * sites)).data
        assert not torch.equal(elsewhere, part)


@pytest.mark.parametrize("op", MAPS, ids=NAMES)
def test_before_or_behind_the_colour_filters_it_is_the_same_sensor(op: Operator) -> None:
    rgb = moved(flat(0.3, 32, Space.LINEAR), 50, 70)
    torch.testing.assert_close(
        Mosaic().apply(op.apply(rgb)).data, op.apply(Mosaic().apply(rgb)).data, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("op", MAPS, ids=NAMES)
def test_rows_of_a_batch_see_their_own_places(op: Operator) -> None:
    two = Frame(torch.full((2, 4, 8, 8), 0.5), Space.MOSAIC, camera(2), origin=torch.tensor([[10, 20], [400, 36]]))
    both = op.apply(two).data
    for i, (y, x) in enumerate(two.origin.tolist()):
        assert torch.equal(both[i], op.apply(moved(flat(0.5, 8), y, x)).data[0])


@pytest.mark.parametrize("op", [PixelResponse(prnu=0.1), BadPixels(), RowNoise(), DarkCurrent(rate=1, temperature=20)])
def test_they_stand_behind_the_crop(op: Operator) -> None:
    with pytest.raises(RecipeError, match=rf"{op.op} stands behind the crop"):
        op.plan(Spec(Space.LINEAR, 3))


TWO_PHOTOS = """
operators:
  patches: {op: grid_crop, size: 16, margin: 0, per_photo: 9}
  cfa: {op: mosaic}
  response: {op: pixel_response, prnu: 0.05, camera_seed: SEED}
  broken: {op: bad_pixels, hot: 0.05, dead: 0.02, camera_seed: SEED}
planes:
  clean: [patches, cfa]
  unequal: [patches, cfa, response]
  broken: [patches, cfa, broken]
"""


def _maps(name: str, light: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    planes = render(Recipe.parse(TWO_PHOTOS.replace("SEED", str(seed))), flat(light, 60, Space.LINEAR), name)
    clean, unequal, broken = (planes[n].data for n in ("clean", "unequal", "broken"))
    return unequal / clean, broken == 0, broken - clean


def test_one_camera_has_one_map_in_every_photo_and_another_camera_another() -> None:
    (gain, dead, excess), other = _maps("a", 0.25, 3), _maps("b", 0.5, 3)
    torch.testing.assert_close(other[0], gain, atol=1e-6, rtol=0)
    assert torch.equal(other[1], dead)
    torch.testing.assert_close(other[2][~dead], excess[~dead], atol=1e-6, rtol=0)
    assert dead.any()
    assert (excess[~dead] > 0).any()
    third = _maps("a", 0.25, 4)
    assert not torch.equal(third[1], dead)
    assert abs(np.corrcoef(third[0].flatten(), gain.flatten())[0, 1]) < 4 / math.sqrt(gain.numel())


# -- rows -------------------------------------------------------------------------------------------------------------


def test_red_and_the_first_green_share_a_row_red_and_the_second_a_column() -> None:
    sites = bayer.unpack(RowNoise(row=3.0, seed=1).apply(flat(0.0, 600)).data)[0] * FULL
    assert torch.equal(sites, sites[:, :1].expand_as(sites))
    rows = sites[:, 0].double().numpy()
    assert rows.std() == pytest.approx(3.0, rel=4 / math.sqrt(2 * rows.size))
    assert abs(np.corrcoef(rows[1:], rows[:-1])[0, 1]) < 4 / math.sqrt(rows.size)
    sites = bayer.unpack(RowNoise(column=2.0, seed=1).apply(flat(0.0, 600)).data)[0] * FULL
    assert torch.equal(sites, sites[:1].expand_as(sites))
    columns = sites[0].double().numpy()
    assert columns.std() == pytest.approx(2.0, rel=4 / math.sqrt(2 * columns.size))
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 4 / math.sqrt(rows.size)


def test_banding_is_a_wave_down_the_rows() -> None:
    sites = bayer.unpack(RowNoise(band=2.0, period=32.0, seed=1).apply(flat(0.0, 256)).data)[0].double() * FULL
    assert torch.equal(sites, sites[:, :1].expand_as(sites))
    rows = sites[:, 0].numpy()
    power = np.abs(np.fft.rfft(rows)) ** 2
    assert power.argmax() == 512 // 32
    assert power[16] / power.sum() > 0.999
    assert rows.std() == pytest.approx(2.0, rel=1e-3)


def test_patches_of_one_photo_share_a_readout_if_asked() -> None:
    text = """
    operators:
      patches: {op: grid_crop, size: 16, margin: 0, per_photo: 9}
      rows: {op: row_noise, row: 4, PER}
    planes: {noisy: [patches, rows]}
    """
    for per, share in (("per: photo", True), ("per: patch", False)):
        recipe = Recipe.parse(text.replace("PER", per))
        first, second = (render(recipe, flat(0.0, 48, Space.LINEAR), name)["noisy"] for name in "ab")
        left, right = (first.data[first.origin[:, 0] == 16][i] for i in (0, 1))
        assert torch.equal(left, right) is share
        assert not torch.equal(first.data, second.data)


# -- dark current -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", ["keep", "subtract"])
def test_dark_current_is_poisson_of_rate_time_and_temperature(mean: Any) -> None:
    op = DarkCurrent(rate=0.25, temperature=34.0, at=20.0, doubling=7.0, mean=mean, seed=3)
    frame = flat(0.1, 400, exposure=5.0)
    expected = 0.25 * 5 * 4  # two doublings
    electrons = ((op.apply(frame).data - 0.1).double() * FULL / (0.5 * 2)).flatten()
    counts = electrons + (expected if mean == "subtract" else 0)
    assert (counts - counts.round()).abs().max() < 1e-2
    n = counts.numel()
    seen = np.bincount(counts.round().long().numpy(), minlength=20)[:20]
    theory = n * stats.poisson.pmf(np.arange(20), expected)
    assert (abs(seen - theory) < 4 * np.sqrt(theory) + 1).all()


def test_dark_current_of_a_photo_that_says_too_little() -> None:
    op = DarkCurrent(rate=1.0, temperature=20.0, seed=1)
    with pytest.raises(PhotoError, match=r"does not tell its exposure time: give `exposure` in dark_current"):
        op.apply(flat(0.1))
    with pytest.raises(PhotoError, match=r"does not tell its sensor temperature"):
        DarkCurrent(rate=1.0, temperature="photo", exposure=1.0, seed=1).apply(flat(0.1))
    with pytest.raises(PhotoError, match=r"electrons need the camera's gain k1: name a camera in source:, or give"):
        op.apply(flat(0.1, exposure=1.0, k1=math.nan))
    with pytest.raises(PhotoError, match=r"counted at an ISO, which the photo does not tell"):
        op.apply(flat(0.1, exposure=1.0, iso=math.nan))
    told = DarkCurrent(rate=1.0, temperature="photo", gain=0.5, seed=1)
    frame = flat(0.1, exposure=1.0, temperature=20.0)
    assert torch.equal(told.apply(frame).data, op.apply(frame).data)


# -- photosites and the well ------------------------------------------------------------------------------------------


def test_response_and_offset_have_their_spreads() -> None:
    both = PixelResponse(prnu=0.02, dsnu=3.0)
    for light in (0.0, 0.2, 1.0):
        seen = (both.apply(flat(light, 500)).data - light).double() * FULL
        expected = math.hypot(0.02 * light * FULL, 3.0)
        assert seen.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * seen.numel()))
        assert abs(seen.mean().item()) < 4 * expected / 1000


def test_shares_of_broken_photosites_and_the_excess_of_hot_ones() -> None:
    n = 4 * 500 * 500
    y = BadPixels(hot=0.02, dead=0.01, level=0.5).apply(flat(0.25, 500)).data
    dead, hot = (y == 0).sum().item(), y > 0.25
    assert abs(dead - 0.01 * n) < 4 * math.sqrt(0.01 * n)
    assert abs(hot.sum().item() - 0.02 * n) < 4 * math.sqrt(0.02 * n)
    assert stats.kstest((y[hot] - 0.25).numpy(), stats.expon(scale=0.5).cdf).pvalue > 1e-3
    untouched = BadPixels(hot=0.0, dead=0.0).apply(flat(0.25, 50)).data
    assert torch.equal(untouched, torch.full_like(untouched, 0.25))


def test_the_well_cuts_the_signal_before_black_at_the_rows_gain() -> None:
    bright = flat(3.0, 4)
    for iso, level in ((50, 0.25), (100, 0.5), (800, 3.0)):
        frame = replace(bright, sensor=camera(iso=iso, full_well=4000.0))
        assert FullWell().apply(frame).data.max().item() == pytest.approx(level)
    assert FullWell(electrons=2000.0, gain=1.0).apply(bright).data.max().item() == pytest.approx(1.0)
    with pytest.raises(PhotoError, match=r"full well is not known: give `electrons` in full_well"):
        FullWell().apply(bright)


def test_a_fixed_pattern_takes_no_seed_to_draw() -> None:
    with pytest.raises(ValueError, match="camera_seed"):
        Operator.model_validate({"op": "pixel_response", "camera_seed": {"seed": []}})

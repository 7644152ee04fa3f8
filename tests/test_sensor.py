"""The sensor less its noise: levels, the ADC, saturation, and filters in their places."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from degrade import Frame, RecipeError, Space, testing
from degrade.core.spec import Spec
from degrade.operators.noise import SensorNoise
from degrade.operators.sensor import Mosaic, Quantise, Saturate
from tests.test_noise import BLACK, FULL, K0, camera, flat

# -- levels -----------------------------------------------------------------------------------------------------------


def test_a_pedestal_keeps_read_noise_above_zero() -> None:
    low, high = SensorNoise(iso=100), SensorNoise(iso=409600)
    sensor = camera(2)
    assert torch.equal(low.camera(sensor).black, sensor.black)
    raised = SensorNoise(iso=10_000_000.0).camera(sensor)
    rise = raised.black - sensor.black
    sigma = math.sqrt(max(K0) * 1e5)
    assert rise.tolist() == [math.ceil(6 * sigma - BLACK)] * 2
    assert torch.equal(raised.range, sensor.range)
    assert raised.iso.tolist() == [1e7, 1e7]
    assert torch.equal(SensorNoise(iso=1e7, pedestal=False).camera(sensor).black, sensor.black)
    assert torch.equal(high.camera(low.camera(sensor)).black, high.camera(sensor).black)


def test_the_row_is_named_by_the_iso_that_is_simulated() -> None:
    """Also where the photo itself was taken at a higher one."""
    assert SensorNoise(iso=100).camera(camera(1, iso=3200)).iso.tolist() == [100]


def test_quantise_rounds_half_to_even_clamps_and_keeps_what_lies_below_black() -> None:
    frame = flat(0.0, 1)
    dn = torch.tensor([-2000.0, -3.0, -0.5, 0.5, 1.5, 2.5, 10.4, FULL, FULL + 7, 9e6])
    data = (dn / FULL).reshape(1, 1, 1, -1).expand(1, 4, 1, -1)
    sensor = camera(1, black=500.0, white=500.0 + FULL)
    found = Quantise().apply(Frame(data, Space.MOSAIC, sensor)).data * FULL + 500
    expected = [0.0, 497, 500, 500, 502, 502, 510, 500 + FULL, 500 + FULL, 500 + FULL]
    assert found[0, 0, 0].round(decimals=3).tolist() == expected
    assert (found - found.round()).abs().max() < 1e-3
    assert len(frame) == 1


def test_quantise_has_each_rows_own_levels() -> None:
    frame = testing.frame(Space.MOSAIC, 3)
    digital = Quantise().apply(frame)
    dn = digital.data * frame.sensor.range[:, None, None, None] + frame.sensor.black[:, None, None, None]
    assert (dn - dn.round()).abs().max() < 2e-3
    assert dn.amin((1, 2, 3)).min() >= -1e-3
    assert (dn.amax((1, 2, 3)) <= frame.sensor.white + 1e-3).all()
    again = Quantise().apply(digital)
    torch.testing.assert_close(again.data, digital.data, atol=1e-7, rtol=0)


def test_display_has_eight_bits() -> None:
    frame = testing.frame(Space.DISPLAY, 1)
    levels = Quantise().apply(frame).data * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    assert levels.min() >= 0
    assert levels.max() == 255


def test_saturation() -> None:
    frame = testing.frame(Space.LINEAR, 2)
    well = Saturate(level=0.7).apply(frame).data
    assert torch.equal(well, frame.data.minimum(torch.tensor(0.7)))
    assert well.min() < 0


# -- colour filters ---------------------------------------------------------------------------------------------------


def test_each_filter_samples_its_own_place() -> None:
    """A ramp in x and y: packed pixel (i, j) of R G1 G2 B lies at 2 i + (0, 0, 1, 1), 2 j + (0, 1, 0, 1)."""
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    frame = Frame(torch.stack((y, x, y + 100 * x))[None], Space.LINEAR, camera())
    raw = Mosaic().apply(frame)
    i, j = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    r, g1, g2, b = raw.data[0]
    assert torch.equal(r, 2 * i)
    assert torch.equal(g1, 2 * j + 1)
    assert torch.equal(g2, 2 * j)
    assert torch.equal(b, 2 * i + 1 + 100 * (2 * j + 1))
    assert raw.grid.at(3) == (6.5, 6.5)
    assert raw.space is Space.MOSAIC


def test_the_phase_does_not_depend_on_the_margin() -> None:
    frame = testing.frame(Space.LINEAR, 1, (20, 20), margin=4)
    assert torch.equal(Mosaic().apply(frame).trim(2).data, Mosaic().apply(frame.trim(4)).data)
    assert Mosaic().apply(frame).trim(2).grid == Mosaic().apply(frame.trim(4)).grid


def test_mosaic_in_a_plan() -> None:
    after = Mosaic().plan(Spec(Space.LINEAR, 3, (8, 6)))
    assert (after.space, after.channels, after.size) == (Space.MOSAIC, 4, (4, 3))
    with pytest.raises(RecipeError, match=r"mosaic stands behind the crop"):
        Mosaic().plan(Spec(Space.LINEAR, 3))
    with pytest.raises(RecipeError, match=r"even size, got 7 x 8"):
        Mosaic().plan(Spec(Space.LINEAR, 3, (7, 8)))
    with pytest.raises(RecipeError, match=r"mosaic works on LINEAR, but stands where the picture is MOSAIC"):
        Mosaic().plan(after)


def test_noise_line_follows_the_filters() -> None:
    frame = testing.frame(Space.LINEAR, 1)
    frame = replace(frame, noise=torch.tensor([[[1.0, 2, 3], [4, 5, 6]]]))
    raw = Mosaic().apply(frame)
    assert raw.noise is not None
    assert raw.noise.tolist() == [[[1, 2, 2, 3], [4, 5, 5, 6]]]

"""Sampling: area means, and a grid that says where the pixels went."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from degrade import Frame, Grid, Recipe, RecipeError, Sensor, Space, Spec, testing
from degrade.operators.sampling import Downsample
from degrade.recipe.render import render


@given(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4))
def test_each_pixel_is_the_mean_of_its_square(factor: int, h: int, w: int) -> None:
    frame = testing.frame(Space.LINEAR, 2, (h * factor + 1, w * factor), margin=0)
    small = Downsample(factor=factor).apply(frame)
    assert small.size == (h, w)
    for i in range(h):
        for j in range(w):
            square = frame.data[..., i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            torch.testing.assert_close(small.data[..., i, j], square.mean((-2, -1)), atol=1e-6, rtol=1e-6)


@given(st.integers(2, 6), st.integers(0, 4))
def test_a_ramp_lies_where_the_grid_says(factor: int, margin: int) -> None:
    """The value is the column, counted in crop pixels: after downsampling each pixel still tells its own place."""
    side, edge = 6 * factor, margin * factor
    ramp = (torch.arange(side + 2 * edge, dtype=torch.float32) - edge).expand(1, 3, side + 2 * edge, -1)
    frame = Frame(ramp.contiguous(), Space.LINEAR, Sensor.make(), Grid(offset=(-float(edge), -float(edge))))
    small = Downsample(factor=factor).apply(frame)
    for p in range(small.size[1]):
        assert small.data[0, 0, 0, p].item() == pytest.approx(small.grid.at(p)[1], abs=1e-4)
    assert small.grid.start == (-margin, -margin)


def test_noise_falls_with_the_number_of_pixels() -> None:
    frame = testing.frame(Space.LINEAR, 1)
    assert frame.noise is not None
    small = Downsample(factor=3).apply(frame).noise
    assert small is not None
    torch.testing.assert_close(small, frame.noise / 9, rtol=1e-5, atol=0)


def test_a_plan_divides() -> None:
    after = Downsample(factor=4).plan(Spec(Space.LINEAR, 3, (64, 32), digital=True))
    assert (after.size, after.grid.scale, after.digital) == ((16, 8), (4.0, 4.0), False)
    assert Downsample(factor=4).plan(Spec(Space.LINEAR, 3)).size is None
    with pytest.raises(RecipeError, match=r"62 x 32 pixels do not divide by 4"):
        Downsample(factor=4).plan(Spec(Space.LINEAR, 3, (62, 32)))
    with pytest.raises(ValidationError):
        Downsample(factor=1)


SCALES = """
operators:
  patches: {op: crop, size: 48, margin: 16, per_photo: 5}
  soft: {op: psf_blur, radius: 6, kernels: [{psf: gaussian, sigma: 1.5}]}
  half: {op: downsample, factor: 2}
  third: {op: downsample, factor: 3}
  late: {op: psf_blur, radius: 2, kernels: [{psf: gaussian, sigma: 0.8}]}
planes:
  high: [patches]
  low: [patches, soft, half]
  lower: [patches, soft, half, third, late]
"""


def test_low_and_high_resolution_are_aligned_whatever_the_margins() -> None:
    """A plane of the ramp x + 100 y blurs and shrinks into itself: every plane tells the same places."""
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(220.0), indexing="ij")
    ramp = (x + 100 * y).expand(1, 3, 200, 220).contiguous()
    recipe = Recipe.parse(SCALES.replace("margin: 16", "margin: 26"))
    planes = render(recipe, Frame(ramp, Space.LINEAR, Sensor.make()), "p")
    assert {n: f.size[0] for n, f in planes.items()} == {"high": 48, "low": 24, "lower": 8}
    for name in ("low", "lower"):
        frame, high = planes[name], planes["high"]
        for p in (0, frame.size[0] - 1):
            at_y, at_x = frame.grid.at(p)
            expected = high.data[:, 0, 0, 0] + at_x + 100 * at_y
            assert (frame.data[:, 0, p, p] - expected).abs().max() < 0.02


def test_the_margin_asked_for_is_the_sum_along_the_path() -> None:
    with pytest.raises(RecipeError, match=r"look 18 pixels beyond a patch, margin is 16: set margin: 18 or more"):
        Recipe.parse(SCALES)  # 2 after 6 of them: 12, and 6 before
    assert Recipe.parse(SCALES.replace("margin: 16", "margin: 18")).crop.margin == 18

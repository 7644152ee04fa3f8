"""Crops: where patches lie, what they carry along, and which rows stay absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from degrade import Frame, Grid, Key, Patches, PhotoError, Recipe, RecipeError, Sensor, Space, Spec, testing
from degrade.core.patches import ABSENT
from degrade.operators.crop import Crop, GridCrop
from degrade.recipe.render import render

PHOTO = Key(7).at("IMG_0001.DNG")


def places(op: Patches, photo: Frame) -> np.ndarray:
    """(per_photo, 2) top and left."""
    drawn = op.draw(PHOTO.at(np.arange(op.per_photo)), photo)
    assert isinstance(drawn, Patches)
    return np.stack((drawn.top, drawn.left), axis=1)


def photo(h: int = 90, w: int = 120, space: Space = Space.LINEAR, clipped: torch.Tensor | None = None) -> Frame:
    frame = testing.frame(space, 1, (h, w), margin=0)
    return replace(frame, aux={} if clipped is None else {"clipped": clipped})


cases = st.tuples(
    st.sampled_from([Crop, GridCrop]),
    st.integers(1, 30),
    st.integers(0, 8).map(lambda n: 2 * n),
    st.integers(0, 9),
    st.integers(62, 100),
    st.integers(62, 100),
    st.sampled_from([Space.LINEAR, Space.MOSAIC]),
)


@given(cases)
def test_rectangles_with_margin_and_border_lie_inside_the_photo(case: tuple) -> None:
    kind, size, margin, border, h, w, space = case
    if size + 2 * (margin + border + 1) > min(h, w):
        return
    found = places(kind(size=size, margin=margin, border=border, per_photo=40), photo(h, w, space))
    there = found[found[:, 0] != ABSENT]
    assert len(there)
    edge = margin + border
    assert (there >= edge).all()
    assert (there[:, 0] + size + edge <= h).all()
    assert (there[:, 1] + size + edge <= w).all()
    if space is Space.LINEAR:
        assert (there % 2 == 0).all()


def test_uniform_places_are_uniform() -> None:
    op = Crop(size=10, margin=4, per_photo=20_000)
    found = places(op, photo(90, 120))
    for axis, room in ((0, (90 - 18) // 2 + 1), (1, (120 - 18) // 2 + 1)):
        values, counts = np.unique(found[:, axis], return_counts=True)
        assert values.tolist() == list(range(4, 4 + 2 * room, 2))
        assert stats.chisquare(counts).pvalue > 1e-3
    assert abs(np.corrcoef(found.T)[0, 1]) < 4 / np.sqrt(20_000)


def test_a_place_has_an_address() -> None:
    """Neither more rows nor the patch's size in other units moves it; another photo does."""
    few, many = (places(Crop(size=16, margin=4, per_photo=n), photo()) for n in (5, 50))
    assert (few == many[:5]).all()
    alone = Crop(size=16, margin=4, per_photo=50).draw(PHOTO.at(3), photo())
    assert isinstance(alone, Crop)
    assert [alone.top, alone.left] == few[3].tolist()


def test_clipped_places_are_drawn_again_and_then_given_up() -> None:
    clipped = torch.zeros(1, 1, 90, 120)
    clipped[..., 60:] = 1  # the right half
    found = places(Crop(size=16, margin=4, per_photo=200, max_clipped=0.25), photo(clipped=clipped))
    assert (found[:, 0] != ABSENT).all()
    share = np.array([clipped[0, 0, t : t + 16, x : x + 16].mean() for t, x in found])
    assert share.max() == 0.25
    assert (share > 0).any()
    everything = places(Crop(size=16, margin=4, per_photo=9), photo(clipped=torch.ones(1, 1, 90, 120)))
    assert (everything == ABSENT).all()
    free = places(Crop(size=16, margin=4, per_photo=9, max_clipped=1), photo(clipped=torch.ones(1, 1, 90, 120)))
    assert (free == places(Crop(size=16, margin=4, per_photo=9), photo())).all()


def test_the_grid_covers_the_photo_side_by_side() -> None:
    found = places(GridCrop(size=20, margin=4, per_photo=30), photo(90, 120))
    there = found[found[:, 0] != ABSENT]
    tops, lefts = [4, 24, 44, 64], [4, 24, 44, 64, 84]
    assert [tuple(p) for p in there] == [(t, x) for t in tops for x in lefts]
    assert (found[20:] == ABSENT).all()


def test_a_grid_with_more_places_than_rows_is_taken_in_even_steps() -> None:
    every = places(GridCrop(size=8, margin=0, per_photo=1000, stride=6), photo(90, 120))
    every = every[every[:, 0] != ABSENT]
    some = places(GridCrop(size=8, margin=0, per_photo=30, stride=6), photo(90, 120))
    at = [[tuple(p) for p in every].index(tuple(p)) for p in some]
    assert at[0] == 0
    assert set(np.diff(at)) <= {len(every) // 30, len(every) // 30 + 1}


def test_absent_rows_are_left_out_and_the_others_keep_their_numbers() -> None:
    text = """
    operators:
      patches: {op: grid_crop, size: 20, margin: 2, per_photo: 50}
      light: {op: exposure, stops: {uniform: [-1, 1]}}
    planes: {a: [patches, light]}
    block: 4
    """
    recipe = Recipe.parse(text)
    frame = photo(90, 120)
    from degrade.recipe.render import Rendering

    rendering = Rendering(recipe, frame, "p")
    assert rendering.rows.tolist() == list(range(20))
    got = render(recipe, frame, "p", rows=[17, 3])["a"].data
    whole = render(recipe, frame, "p")["a"].data
    assert torch.equal(got, whole[[17, 3]])
    with pytest.raises(IndexError, match=r"row 20 of the photo is absent; present are 20 of 50"):
        render(recipe, frame, "p", rows=[20])


@settings(max_examples=20)
@given(st.sampled_from(list(Space)), st.integers(0, 3), st.integers(0, 2**32))
def test_a_patch_carries_its_place_along(space: Space, margin: int, seed: int) -> None:
    whole = testing.frame(space, 1, (60, 80), margin=0, seed=seed)
    op = Crop(size=12, margin=2 * margin, per_photo=3, max_clipped=1)
    drawn = op.draw(PHOTO.at(np.arange(3)), whole)
    assert isinstance(drawn, Crop)
    done = drawn.apply(whole)
    m = 2 * margin
    for j, (t, x) in enumerate(zip(drawn.top, drawn.left, strict=True)):
        cut = (slice(t - m, t + 12 + m), slice(x - m, x + 12 + m))
        assert torch.equal(done.data[j], whole.data[0, :, cut[0], cut[1]])
        assert torch.equal(done.aux["clipped"][j], whole.aux["clipped"][0, :, cut[0], cut[1]])
        sites = 2 if space is Space.MOSAIC else 1
        assert done.origin[j].tolist() == [sites * t, sites * x]
        middle = np.array([t, x]) + 6 - 0.5
        assert done.field[j].tolist() == pytest.approx((middle / 100).tolist(), abs=1e-6)
    assert done.grid == Grid(offset=(-float(m), -float(m)))
    assert done.trim(m).grid == Grid() if m else True
    assert len(done.sensor) == 3


def test_the_place_in_the_field_counts_raw_pixels() -> None:
    """At shrink 4 a pixel is four raw ones; the centre of a patch in the photo's middle is the optical centre."""
    sensor = Sensor.make(centre=(199.5, 199.5), half_diagonal=282.0)
    frame = Frame(torch.zeros(1, 3, 100, 100), Space.LINEAR, sensor, Grid(scale=(4.0, 4.0)))
    drawn = Crop(size=20, margin=0, per_photo=1).model_copy(update={"top": np.array([40]), "left": np.array([0])})
    assert drawn.field(frame)[0].tolist() == pytest.approx([0, -160 / 282], abs=1e-6)


def test_a_photo_too_small_says_what_it_needs() -> None:
    with pytest.raises(PhotoError, match=r"90 x 120 pixels here; patches of 80 with a margin of 6 need 92 x 92"):
        Crop(size=80, margin=6).draw(PHOTO.at(0), photo())
    assert (places(Crop(size=78, margin=6, per_photo=2), photo())[:, 0] == 6).all()


def test_what_a_crop_refuses() -> None:
    with pytest.raises(ValidationError, match=r"margin must be even, got 3"):
        Crop(size=8, margin=3)
    with pytest.raises(RecipeError, match=r"crop looks at the photo: give draw\(key, frame\)"):
        Crop(size=8).draw(PHOTO.at(0))
    with pytest.raises(RecipeError, match=r"already been cropped; a path has exactly one crop"):
        Crop(size=8).plan(Spec(Space.LINEAR, 3, (16, 16)))

"""Style operators against their definitions written out, whole pictures, and the shipped pipelines."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data

from degrade import Chain, Frame, Key, Operator, Recipe, RecipeError, Sensor, Space
from degrade.core.frame import Grid
from degrade.maths import regions
from degrade.operators.crop import EdgeCrop
from degrade.operators.recolour import DayToNight, Recolour
from degrade.operators.style import DarkenEdges, Edges, ReduceColours, Smooth
from degrade.operators.threads import Threads
from degrade.recipe.render import render

KEY = Key(5).at("photo.png", "it")
WHOLE: list[dict[str, Any]] = [
    {"op": "recolour", "which": "bright", "share": {"uniform": [0.05, 0.2]}},
    {"op": "recolour", "which": "saturated", "turn": 90, "per": "photo"},
    {"op": "reduce_colours", "colours": {"integer": [3, 9]}, "metric": "lab"},
    {"op": "threads", "colours": 5, "least": 4, "chart": [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1]]},
]


def picture(step: int = 2) -> Frame:
    x = torch.from_numpy(np.ascontiguousarray(data.astronaut()[::step, ::step].transpose(2, 0, 1))).float()[None] / 255
    return Frame(x, Space.DISPLAY, Sensor.make())


def drawn(op: Operator, frame: Frame | None = None) -> Any:
    return op.draw(KEY, frame)


@pytest.mark.parametrize("given", WHOLE, ids=lambda w: w["op"])
def test_what_looks_at_whole_pictures_keeps_the_contract(given: dict[str, Any]) -> None:
    """What the contract asks, less what it asks of patches: records survive, apply is pure and gives plain tensors."""
    photo, op = picture(8), Operator.model_validate(given)
    record = drawn(op, photo)
    for value in (op, record):
        assert Operator.model_validate_json(value.model_dump_json()) == value
        assert pickle.loads(pickle.dumps(value)) == value
    assert record.draw(Key(99).at("elsewhere"), photo) == record
    before = photo.data.clone()
    done = record.apply(photo)
    assert torch.equal(done.data, record.apply(photo).data)
    assert torch.equal(photo.data, before)
    assert not torch.equal(done.data, before)
    assert (done.data.dtype, done.data.shape, done.data.is_contiguous()) == (torch.float32, before.shape, True)
    assert 0 <= done.data.min() <= done.data.max() <= 1
    assert done.noise is None


@pytest.mark.parametrize("given", WHOLE, ids=lambda w: w["op"])
def test_what_looks_at_whole_pictures_stands_before_the_crop(given: dict[str, Any]) -> None:
    planes = {"operators": {"patches": {"op": "crop", "size": 16, "margin": 0}, "it": given}, "planes": {}}
    planes |= {"source": {"space": "display"}}
    assert Recipe.model_validate(planes | {"planes": {"a": ["it", "patches"]}})
    with pytest.raises(ValueError, match=r"looks at the whole picture: put it before the crop"):
        Recipe.model_validate(planes | {"planes": {"a": ["patches", "it"]}})


# -- the published chain, step by step --------------------------------------------------------------------------------


def test_the_published_pair() -> None:
    """Smooth, k-means, edges of the original, darkened: as NumPy and SciPy do it with the same palette."""
    photo = picture()
    lines, soft = Edges(threshold=0.15), Smooth(sigma=1.5, radius=6)
    ink = DarkenEdges(factor=0.3)
    softened = soft.apply(lines.apply(photo))
    few = drawn(ReduceColours(colours=20), softened)
    painted = ink.apply(few.apply(softened)).data[0]

    x = photo.data[0].double().numpy()
    luma = np.tensordot([0.2126, 0.7152, 0.0722], x, 1)
    edges = np.hypot(*(ndimage.sobel(luma, axis, mode="nearest") / 4 for axis in (0, 1))) >= 0.15
    smooth = ndimage.gaussian_filter(x, (0, 1.5, 1.5), radius=6, mode="nearest")
    palette = np.array(few.palette)
    assert palette.shape == (20, 3)
    label = ((smooth[None] - palette[:, :, None, None]) ** 2).sum(1).argmin(0)
    expected = palette[label].transpose(2, 0, 1) * np.where(edges, 0.3, 1)
    assert (np.abs(painted.numpy() - expected).max(0) > 1e-5).mean() < 1e-3  # borders between colours, thresholds met


def test_the_palette_is_a_field_and_a_replay_never_looks() -> None:
    photo = picture(4)
    few = drawn(ReduceColours(colours={"integer": [4, 9]}), photo)
    again = Operator.model_validate_json(few.model_dump_json())
    other = photo.with_data(photo.data.flip(1))
    assert torch.equal(again.apply(other).data, few.apply(other).data)
    assert len(few.palette) == few.colours
    assert not torch.equal(drawn(ReduceColours(colours=few.colours), other).apply(other).data, few.apply(other).data)


def test_once_drawn_it_is_pointwise() -> None:
    photo = picture(4)
    few = drawn(ReduceColours(colours=12, metric="lab"), photo)
    part = few.apply(photo.with_data(photo.data[..., 10:50, 20:90].contiguous())).data
    assert torch.equal(part, few.apply(photo).data[..., 10:50, 20:90])


def test_drawn_without_a_picture_it_finds_the_same() -> None:
    """Inside a container nothing is seen when drawing; the palette then follows from seed and picture."""
    photo = picture(4)
    chain = drawn(Chain(steps=[ReduceColours(colours=8)]))
    alone = chain.steps[0]
    assert alone.palette is None
    assert torch.equal(chain.apply(photo).data, alone.looking(photo).apply(photo).data)


def test_a_palette_is_of_one_picture() -> None:
    two = picture(4).map(lambda t: t.expand(2, *t.shape[1:]))
    with pytest.raises(RecipeError, match="a palette is of one picture, got 2"):
        drawn(ReduceColours(colours=4)).apply(two)
    with pytest.raises(RecipeError, match=r"not drawn yet: op.draw\(key, frame\) comes before apply"):
        ReduceColours(colours=4).apply(picture(4))


def test_edges_are_those_of_the_place_in_the_path() -> None:
    photo = picture()
    first = Smooth(radius=6).apply(Edges().apply(photo)).aux["edges"]
    last = Edges().apply(Smooth(radius=6).apply(photo)).aux["edges"]
    assert first.sum() > 1.5 * last.sum()
    both = Edges(aux="late", gradient="prewitt").apply(Edges().apply(photo))
    assert set(both.aux) == {"edges", "late"}
    assert torch.equal(both.data, photo.data)


def test_a_missing_map_is_named() -> None:
    with pytest.raises(RecipeError, match=r"darken_edges reads the map 'lines': put an `edges` operator before it"):
        DarkenEdges(aux="lines").apply(Edges().apply(picture(8)))
    with pytest.raises(RecipeError, match=r"edge_crop reads the map 'edges': .*maps there: none"):
        EdgeCrop(size=16, margin=0).draw(KEY.at(np.arange(4)), picture(8))


def test_a_gaussian_that_does_not_fit_its_radius_says_what_would() -> None:
    with pytest.raises(ValueError, match="sigma 3 reaches 9 pixels, radius is 6: set radius: 9"):
        Smooth(sigma={"uniform": [1, 3]}, radius=6)


def test_smoothing_keeps_account_of_noise() -> None:
    """The variance of smoothed white noise is the one it states; of the others nothing is known."""
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(0.5, 0.1, (1, 3, 300, 300)).astype(np.float32))
    noisy = replace(picture().with_data(x), noise=torch.tensor([[[0.0] * 3, [0.01] * 3]]))
    done = Smooth(sigma=1.2, radius=5).apply(noisy)
    assert done.noise is not None
    assert done.data[..., 9:-9, 9:-9].var().item() == pytest.approx(done.noise[0, 1, 0].item(), rel=0.03)
    assert Smooth(method="guided").apply(noisy).noise is None


def test_on_finer_pixels_lengths_grow() -> None:
    dot = torch.zeros(1, 3, 61, 61)
    dot[..., 30, 30] = 1
    fine = replace(picture(), data=dot, oversample=2, grid=Grid(scale=(0.5, 0.5)))
    wide = Smooth(sigma=3.0, radius=10).apply(picture().with_data(dot)).data
    assert torch.equal(Smooth(sigma=1.5, radius=5).apply(fine).data, wide)


# -- others -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("which", "colour"), [("bright", [0.95, 0.9, 0.9]), ("saturated", [0.6, 0.35, 0.35])])
def test_one_object_changes_its_hue_and_keeps_its_luma(which: str, colour: list[float]) -> None:
    x = torch.full((1, 3, 40, 40), 0.4)
    for box in (np.s_[5:20, 5:20], np.s_[30:34, 30:34]):  # the second is smaller: no object
        x[0][:, *box] = torch.tensor(colour)[:, None, None]
    done = Recolour(which=which, share=0.15, turn=120.0).apply(picture().with_data(x)).data
    changed = (done != x).any(1)[0]
    expected = torch.zeros(40, 40, dtype=torch.bool)
    expected[5:20, 5:20] = True
    assert torch.equal(changed, expected)
    before, after = (np.tensordot([0.2126, 0.7152, 0.0722], v[0, :, 10, 10], 1) for v in (x, done))
    assert after == pytest.approx(before, abs=2e-3)
    red, green, blue = done[0, :, 10, 10].tolist()
    assert green > max(red, blue)


def test_a_full_turn_changes_nothing() -> None:
    photo = picture(4)
    assert torch.allclose(Recolour(share=1.0, turn=360.0).apply(photo).data, photo.data, atol=1e-5)


def test_night_is_dark_and_without_colour() -> None:
    photo = picture(4)
    rods = DayToNight(stops=0.0, rods=1.0).apply(photo).data
    from degrade.maths.colour import srgb_decode

    light = srgb_decode(rods)
    bright = (light.amax(1) < 1) & (light.amin(1) > 0.01)
    ratio = (light[:, 2] / light[:, 0])[bright]
    assert ratio.std() / ratio.mean() < 1e-3  # one hue, blue
    assert ratio.mean() > 1.5
    cones = DayToNight(stops=-2.0, rods=0.0).apply(photo).data
    assert torch.allclose(srgb_decode(cones), srgb_decode(photo.data) / 4, atol=1e-5)


def test_embroidery_has_few_threads_large_regions_and_closed_outlines() -> None:
    chart = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.8, 0.3, 0.1], [0.2, 0.2, 0.6], [0.6, 0.5, 0.4], [0.3, 0.2, 0.2]]
    photo = picture()
    plain = drawn(Threads(colours=12, chart=chart, least=50, width=0)).apply(photo).data[0]
    threads = plain.flatten(1).unique(dim=1).T
    assert all(any(torch.allclose(t, torch.tensor(c)) for c in chart) for t in threads)
    code = (plain * torch.tensor([1.0, 10.0, 100.0])[:, None, None]).sum(0)
    labels = torch.unique(code, return_inverse=True)[1].int()
    assert regions.components(labels.numpy())[1].min() >= 50
    lined = drawn(Threads(colours=12, chart=chart, least=50, width=2)).apply(photo).data[0]
    border = (labels[:, 1:] != labels[:, :-1])[:-1]
    assert border.any()
    darkest = threads[threads.sum(1).argmin()]
    assert torch.equal(lined[:, :-1, :-1][:, border], darkest[:, None].expand(3, int(border.sum())))


@pytest.mark.parametrize("width", [0, 1, 3])
def test_outlines_have_their_width(width: int) -> None:
    labels = torch.zeros(1, 9, 11, dtype=torch.int32)
    labels[..., 5:] = 1
    found = regions.outlines(labels, width)
    assert found[0, 0].sum(1).tolist() == [width] * 9


# -- pipelines --------------------------------------------------------------------------------------------------------


def test_the_shipped_pipeline_paints() -> None:
    photo = picture(1)
    small = Recipe.load("stylise").model_dump(mode="json")
    small["operators"]["patches"] |= {"size": 100, "per_photo": 5}
    planes = render(Recipe.model_validate(small), photo, "astronaut.png", planes=("original", "painted"))
    original, painted = (planes[n].data for n in ("original", "painted"))
    assert original.shape == painted.shape == (5, 3, 100, 100)
    assert len(torch.unique((painted * 255).round().permute(1, 0, 2, 3).flatten(1), dim=1)[0]) <= 2 * 128
    assert 0.02 < (original - painted).abs().mean() < 0.2
    assert np.corrcoef(original.flatten(), painted.flatten())[0, 1] > 0.8


def test_the_whole_picture_pair_is_the_whole_picture() -> None:
    photo = picture(1)
    recipe = Recipe.load("stylise_whole").model_dump(mode="json")
    recipe["operators"]["whole"]["size"] = 128
    planes = render(Recipe.model_validate(recipe), photo, "a.png", planes=("original", "painted", "painted_late"))
    shrunk = torch.nn.functional.avg_pool2d(photo.data, 4)
    assert (planes["original"].data - shrunk).abs().max() <= 0.5 / 255 + 1e-6
    assert not torch.equal(planes["painted"].data, planes["painted_late"].data)
    few = len(torch.unique(planes["painted"].data.flatten(2), dim=2)[0, 0])
    late = len(torch.unique(planes["painted_late"].data.flatten(2), dim=2)[0, 0])
    assert few <= 256 < late  # shrinking mixes colours

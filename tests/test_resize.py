"""Resampling against Pillow, torch and scikit-image, and against the place that the grid says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from skimage.transform import resize as skimage_resize

from degrade import Choice, Frame, Grid, Key, Recipe, RecipeError, Sensor, Space, Spec, Uniform, testing
from degrade.maths.resize import KERNELS, resample, squares, support, taps
from degrade.operators.sampling import Resize
from degrade.recipe.render import render
from degrade.testing import trial

PILLOW = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
sizes = st.integers(3, 70)


def picture(seed: int, h: int, w: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((1, 1, h, w), np.float32))


@pytest.mark.parametrize("kernel", PILLOW)
@given(st.integers(0, 99), sizes, sizes, sizes, sizes)
@settings(max_examples=25)
def test_antialiased_it_is_pillow(kernel: str, seed: int, h: int, w: int, m: int, n: int) -> None:
    x = picture(seed, h, w)
    wanted = np.asarray(Image.fromarray(x[0, 0].numpy()).resize((n, m), PILLOW[kernel]))
    np.testing.assert_allclose(resample(x, taps(h, m, kernel), taps(w, n, kernel))[0, 0], wanted, atol=2e-6)


@pytest.mark.parametrize("kernel", ["nearest", "area", "bilinear", "bicubic"])
@given(st.integers(0, 99), sizes, sizes, sizes, sizes)
@settings(max_examples=25)
def test_not_antialiased_it_is_torch(kernel: str, seed: int, h: int, w: int, m: int, n: int) -> None:
    x = picture(seed, h, w)
    mode = "nearest-exact" if kernel == "nearest" else kernel
    wanted = functional.interpolate(x, size=(m, n), mode=mode)
    got = resample(x, taps(h, m, kernel, antialias=False), taps(w, n, kernel, antialias=False))
    torch.testing.assert_close(got, wanted, atol=3e-5, rtol=0)  # torch reckons its places in float32


@pytest.mark.parametrize(("kernel", "order"), [("bilinear", 1), ("spline", 3)])
@given(st.integers(0, 99), sizes, sizes, sizes, sizes)
@settings(max_examples=15)
def test_with_a_gaussian_before_it_is_scikit_image(
    kernel: str, order: int, seed: int, h: int, w: int, m: int, n: int
) -> None:
    x = picture(seed, h, w)
    wanted = skimage_resize(x[0, 0].double().numpy(), (m, n), order=order, anti_aliasing=True, clip=False)
    axes = [taps(a, b, kernel, gaussian=True) for a, b in ((h, m), (w, n))]
    np.testing.assert_allclose(resample(x, axes[0], axes[1])[0, 0], wanted, atol=2e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_elsewhere_than_on_a_cpu_it_is_the_same(kernel: str) -> None:
    """float64 goes the way of other devices, the products with matrices."""
    x = picture(1, 31, 45)
    for antialias in (True, False):
        axes = taps(31, 17, kernel, antialias), taps(45, 64, kernel, antialias)
        torch.testing.assert_close(resample(x.double(), *axes).float(), resample(x, *axes), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel", KERNELS)
@given(sizes, sizes, st.booleans())
@settings(max_examples=20)
def test_no_weight_lies_beyond_the_support(kernel: str, n: int, m: int, antialias: bool) -> None:
    index, weight = taps(n, m, kernel, antialias)
    place = (np.arange(m)[:, None] + 0.5) * n / m - 0.5
    far = np.where(weight != 0, np.abs(index - place), 0).max()
    assert far <= support(kernel, n / m, antialias) + 0.5
    np.testing.assert_allclose(weight.sum(1), 1, atol=1e-5)


def test_names_and_sizes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"unknown kernel 'cubic', must be one of nearest, area"):
        taps(4, 2, "cubic")
    with pytest.raises(ValueError, match=r"cannot resample 4 samples to 0"):
        taps(4, 0, "area")


# -- where pixels lie -------------------------------------------------------------------------------------------------

SOFT = 6.0  #: width of a dot [pixels]


def dots(side: int) -> tuple[torch.Tensor, list[tuple[float, float]]]:
    """Nine soft dots, and their centres."""
    p = torch.arange(side, dtype=torch.float64)
    at = [(y, x) for y in (60.3, 128.0, 190.6) for x in (58.8, 127.5, 196.2)]
    shapes = [torch.exp(-((p[:, None] - y) ** 2 + (p[None] - x) ** 2) / (2 * SOFT**2)) for y, x in at]
    return torch.stack(shapes).float()[:, None], at


def assert_in_place(frame: Frame, at: list[tuple[float, float]], within: float = 0.01) -> None:
    """Every row holds its dot where the grid says, in pixels of the patch as it was cut."""
    (sy, sx), (oy, ox) = frame.grid.scale, frame.grid.offset
    mass = frame.data[:, 0].double()
    y, x = (torch.arange(n, dtype=torch.float64) for n in frame.size)
    total = mass.sum((1, 2))
    cy, cx = (mass.sum(2) @ y) / total, (mass.sum(1) @ x) / total
    for k, (ty, tx) in enumerate(at):
        assert abs(sy * (cy[k].item() + 0.5) - 0.5 + oy - ty) < within
        assert abs(sx * (cx[k].item() + 0.5) - 0.5 + ox - tx) < within


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("scales", [(0.5,), (0.37, 1.3), (1.5, 0.613, 0.29), (0.3, 2.7)])
def test_dots_stay_where_the_grid_says(kernel: Any, antialias: bool, scales: tuple[float, ...]) -> None:
    data, at = dots(256)
    frame = Frame(data.expand(-1, 3, -1, -1).contiguous(), Space.DISPLAY, Sensor.make(9))
    for scale in scales:
        frame = Resize(scale=scale, filter=kernel, antialias=antialias).apply(frame)
    whole = kernel in ("nearest", "box") or (kernel == "area" and not antialias)
    if not (whole and scales == (0.5,)):  # the later of two middle samples is half a pixel off
        # sums over whole samples, all of one weight, move to and fro by a share of a sample
        assert_in_place(frame, at, 0.35 if whole else 0.05 if kernel == "hamming" else 0.01)
    last = Resize(size=64, filter=kernel, antialias=True).apply(frame)
    assert last.grid == Grid((4.0, 4.0))


def test_a_prefilter_keeps_the_place() -> None:
    data, at = dots(256)
    frame = Frame(data.expand(-1, 3, -1, -1).contiguous(), Space.DISPLAY, Sensor.make(9))
    assert_in_place(Resize(scale=0.41, filter="spline", prefilter="gaussian").apply(frame), at)


# -- margins and noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{"size": 48}, {"size": 96, "filter": "lanczos"}, {"factor": 2, "prefilter": "gaussian"}]
)
def test_a_patch_in_its_surroundings_does_not_see_where_they_end(given: dict[str, Any]) -> None:
    op = Resize(**given)
    spec = Spec(Space.LINEAR, 3, (64, 64))
    need, ratio = op.needs(spec, 0), op.ratio(spec)
    assert need / ratio == round(need / ratio)
    wide = testing.frame(Space.LINEAR, 2, (64 + 4 * need, 64 + 4 * need), 2 * need)
    done, tight = op.apply(wide), op.apply(wide.trim(need))
    a, b = done.trim(round(2 * need / ratio)), tight.trim(round(need / ratio))
    assert a.grid == b.grid == op.plan(spec).grid
    torch.testing.assert_close(a.data, b.data, atol=2e-6, rtol=0)


def test_noise_follows_the_weights() -> None:
    axes = taps(200, 90, "bicubic"), taps(200, 130, "lanczos")
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 1, 200, 200)).astype(np.float32))
    assert resample(noise, *axes).var().item() == pytest.approx(squares(*axes), rel=0.01)
    frame = testing.frame(Space.LINEAR, 1, (48, 48))
    small = Resize(factor=2, filter="area").apply(frame)
    assert small.noise is not None
    assert frame.noise is not None
    torch.testing.assert_close(small.noise, frame.noise / 4)


def test_maps_follow() -> None:
    frame = testing.frame(Space.DISPLAY, 1, (30, 30), margin=0)
    depth = torch.arange(900.0).reshape(1, 1, 30, 30)
    small = Resize(size=20).apply(Frame(frame.data, frame.space, frame.sensor, aux={"depth": depth}))
    assert small.aux["depth"].shape == (1, 1, 20, 20)
    assert set(small.aux["depth"].unique().tolist()) <= set(depth.unique().tolist())  # never averaged


# -- rows of different sizes ------------------------------------------------------------------------------------------

RANDOM = """
source: {space: display}
operators:
  patches: {op: crop, size: 48, margin: 0, per_photo: 9}
  some: {op: resize, scale: {uniform: [0.3, 1.5]}, filter: {choice: [area, bilinear]}, antialias: false}
  soft: {op: psf_blur, border: reflect, radius: 4, kernels: [{psf: gaussian, sigma: 0.7}]}
  one: {op: resize, size: 24}
planes:
  high: [patches]
  low: [patches, some, soft, one]
"""


def test_rows_of_different_sizes_end_in_place() -> None:
    """A plane of the ramp x + 100 y tells its own places after a random resize and another to the size asked for."""
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(130.0), indexing="ij")
    photo = Frame((x + 100 * y).expand(1, 3, 120, 130).contiguous(), Space.DISPLAY, Sensor.make())
    planes = render(Recipe.parse(RANDOM), photo, "p")
    low, high = planes["low"], planes["high"]
    assert low.grid == Grid((2.0, 2.0))
    for p in (8, 15):
        at_y, at_x = low.grid.at(p)
        wanted = high.data[:, 0, 0, 0] + at_x + 100 * at_y
        # a window of torch's area is off by up to half a pixel, of which 100 a row
        assert (low.data[:, 0, p, p] - wanted).abs().max() < 60
    alone = render(Recipe.parse(RANDOM), photo, "p", rows=[5])["low"]
    assert torch.equal(alone.data[0], low.data[5])


@pytest.mark.parametrize("drawn", [Resize(scale=Choice(0.5, 0.75)), Resize(factor=Choice(2, 4 / 3))])
def test_rows_of_one_size_go_together(drawn: Resize) -> None:
    frame = testing.frame(Space.DISPLAY, 8, (32, 32), margin=0)
    parts = trial.groups(drawn.draw(Key(3).at(np.arange(8))), frame)
    assert {p.frame.size for p in parts} == {(16, 16), (24, 24)}
    assert sorted(int(r) for p in parts for r in p.slots) == list(range(8))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("some, soft, one]", "some]", r"plane 'low': its rows end in sizes of their own; resize them to one `size:`"),
        ("border: reflect, ", "", r"psf_blur: a patch is a picture of its own here .* set border: reflect"),
        ("size: 24}", "size: 24, factor: 2}", r"resize takes one of scale, factor and size"),
        ("size: 24}", "size: 24, prefilter: gaussian, filter: area}", r"takes no prefilter"),
        ("low: [patches, some, soft", "low: [some, patches, soft", r"a drawn scale or factor and a size need a patch"),
        ("low: [patches, some, soft", "low: [drawn, patches, soft", r"a drawn scale or factor and a size need a patch"),
        ("some, soft, one]", "drawn]", r"plane 'low': its rows end in sizes of their own; resize them to one `size:`"),
        ("some, soft, one]", "seven]", r"the patch would have 6.85714 x 6.85714 pixels, which must be whole"),
        ("size: 48,", "size: 48, oversample: 2,", r"put a downsample with factor: 2 before it"),
        ("high: [patches]", "high: {path: [patches, one], margin: keep}", r"look \d+ pixels beyond|margin"),
    ],
)
def test_recipes_that_cannot_be(old: str, new: str, said: str) -> None:
    assert old in RANDOM
    text = RANDOM.replace(old, new).replace(
        "planes:", "  seven: {op: resize, factor: 7}\n  drawn: {op: resize, factor: {uniform: [1, 4]}}\nplanes:"
    )
    with pytest.raises(RecipeError, match=said):
        Recipe.parse(text)


def test_a_drawn_factor_divides() -> None:
    """Sizes are those of 48 pixels over the factor, rounded down, and the grid says how far apart pixels lie."""
    drawn = Resize(factor=Uniform(0.8, 8))
    keys = Key(3).at(np.arange(40))
    frame = testing.frame(Space.DISPLAY, 40, (48, 48), margin=0)
    factors = np.array([drawn.draw(keys[i]).factor for i in range(40)])
    parts = trial.groups(drawn.draw(keys), frame)
    assert len(parts) > 10
    for part in parts:
        side = part.frame.size[0]
        assert (np.floor(48 / factors[part.slots]) == side).all()
        assert part.frame.grid == Grid((48 / side, 48 / side))


def test_a_kept_margin_of_a_picture_of_its_own_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"plane 'low': its patches are pictures of their own, so there is no margin"):
        Recipe.parse(
            RANDOM.replace("low: [patches, some, soft, one]", "low: {path: [patches, some, one], margin: keep}")
        )


def test_targets_that_cannot_be() -> None:
    for wrong in (
        {},
        {"scale": 0},
        {"factor": -1},
        {"factor": Uniform(0, 2)},
        {"size": 0},
        {"size": 4, "filter": "sinc"},
    ):
        with pytest.raises(ValidationError):
            Resize(**wrong)

"""Recipes inside a training loop: rendering's own pixels, steps that repeat, gradients that are the formula's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from degrade import Frame, PhotoError, Recipe, RecipeError, Sensor, Space, UnknownName, testing
from degrade.recipe.render import Rendering
from degrade.recipe.transform import transform
from tests.examples import BLUR, EXPOSURE, NOISE

RECIPE: dict[str, Any] = {
    "seed": 11,
    "source": {"camera": "demo-a"},
    "operators": {
        "light": {"op": "exposure", "stops": -0.5},
        "patches": {"op": "crop", "size": 16, "margin": 12, "per_photo": 7},
        "optics": {"op": "psf_blur", "radius": 6, "kernels": [{"psf": "gaussian", "sigma": {"uniform": [0.5, 2]}}]},
        "cfa": {"op": "mosaic"},
        "noise": {"op": "sensor_noise", "iso": {"choice": [100, 800, 6400]}, "reference": "soft"},
        "adc": {"op": "quantise"},
    },
    "planes": {
        "clean": ["light", "patches", "cfa"],
        "sharp": ["light", "patches", "cfa", "noise", "adc"],
        "soft": ["light", "patches", "optics", "cfa", "noise", "adc"],
        "whole": {"path": ["light", "patches"], "margin": "keep"},
    },
}
FINE = {
    "source": {"camera": "demo-a", "field": "unknown"},
    "operators": {
        "patches": {"op": "crop", "size": 8, "margin": 12, "per_photo": 7, "oversample": 2},
        "optics": {"op": "psf_blur", "radius": 5, "kernels": [{"psf": "gaussian", "sigma": {"uniform": [0.5, 2]}}]},
        "back": {"op": "downsample", "factor": 2},
        "noise": {"op": "maybe", "p": 0.5, "do": {"op": "sensor_noise", "iso": 800}},
    },
    "planes": {"sharp": ["patches", "back"], "soft": ["patches", "optics", "back", "noise"]},
}
CHAIN = {
    "source": {"space": "display"},
    "operators": {
        "sharpen": {"op": "usm", "weight": 0.5, "radius": 3, "threshold": 0},
        "patches": {"op": "crop", "size": 32, "margin": 0, "per_photo": 7},
        "blur": BLUR | {"border": "reflect"},
        "smaller": {"op": "resize", "scale": {"uniform": [0.3, 1.2]}, "filter": {"choice": ["area", "bicubic"]}},
        "noise": {"op": "one_of", "ops": [{"op": "gaussian_noise", "sigma": 9}, {"op": "poisson_noise", "scale": 2}]},
        "end": {"op": "resize", "size": 8},
        "file": {"op": "jpeg", "quality": {"integer": [30, 95]}},
    },
    "planes": {"hr": ["sharpen", "patches"], "lr": ["sharpen", "patches", "blur", "smaller", "noise", "end", "file"]},
}
DEEP = {
    "source": {"aux": {"depth": {"file": "{stem}.npy"}}},
    "operators": {
        "patches": {"op": "crop", "size": 16, "margin": 0, "per_photo": 7},
        "fog": {"op": "fog", "beta": {"log_uniform": [0.01, 1]}, "airlight": 0.9},
    },
    "planes": {"clear": ["patches"], "foggy": ["patches", "fog"]},
}
RECIPES = {"raw": RECIPE, "oversampled": FINE, "chain": CHAIN}


def recipe(data: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(data)


def pictures(data: dict[str, Any], n: int = 3, seed: int = 0) -> Tensor:
    """Soft pictures of the wanted size, nowhere black or white."""
    size = transform(recipe(data)).size
    noise = torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.2 * torch.nn.functional.avg_pool2d(noise, 3, 1, 1)


# -- the pixels of rendering ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", RECIPES.values(), ids=RECIPES)
def test_the_photos_own_key_gives_the_rows_that_rendering_gives(data: dict[str, Any]) -> None:
    found = testing.photo(h=140, w=180)
    photo = replace(found, space=recipe(data).source.space, data=found.data.clamp(0.05, 0.95), noise=None)
    rendering = Rendering(recipe(data), photo, "p.dng")
    pairs = transform(recipe(data))
    crop = rendering.crop
    edge = (pairs.size[0] - crop.side) // 2
    starts = zip(np.asarray(crop.top) - edge, np.asarray(crop.left) - edge, strict=True)
    cut = torch.stack([photo.data[0, :, y : y + pairs.size[0], x : x + pairs.size[0]] for y, x in starts])
    frame = Frame(cut, photo.space, photo.sensor, field=rendering.field(np.arange(len(cut))))
    ours, theirs = pairs.frames(frame, "p.dng"), rendering.frames()
    for name, plane in theirs.items():
        bound = 1.5 / 255 if name == "lr" else 1e-6 if name in ("hr", "clean", "whole", "sharp") else 1e-5
        far = (ours[name].data - plane.data).abs()
        assert ours[name].data.shape == plane.data.shape
        assert far.mean() < 1e-6, name
        assert (far > bound).float().mean() < 1e-3, name
        assert ours[name].grid == plane.grid
        assert torch.equal(ours[name].sensor.black, plane.sensor.black)
        assert torch.equal(ours[name].sensor.iso.nan_to_num(), plane.sensor.iso.nan_to_num())


# -- steps and rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", RECIPES.values(), ids=RECIPES)
def test_a_step_repeats_and_another_one_differs(data: dict[str, Any]) -> None:
    pairs, x = transform(recipe(data)), pictures(data)
    first, again, other = (pairs(x, step) for step in (3, 3, 4))
    assert list(first) == list(data["planes"])
    assert all(torch.equal(first[n], again[n]) for n in first)
    drawn = "lr" if "lr" in first else "soft"
    assert not torch.equal(first[drawn], other[drawn])
    assert not torch.equal(transform(recipe(data).changed(seed=12))(x, 3)[drawn], first[drawn])


@pytest.mark.parametrize("data", RECIPES.values(), ids=RECIPES)
def test_a_row_does_not_know_its_neighbours(data: dict[str, Any]) -> None:
    """Before levels are rounded, where 1e-7 may become one."""
    names = [n for n, path in data["planes"].items() if not {"adc", "file"} & set(path)]
    pairs, x = transform(recipe(data)), pictures(data, n=4)
    many, one = pairs(x, 3, names), pairs(x[:1], 3, names)
    for name in names:
        assert (many[name][:1] - one[name]).abs().max() < 1e-6


def test_planes_differ_by_the_same_noise() -> None:
    data = {**RECIPE, "planes": {n: p[:-1] if "adc" in p else p for n, p in RECIPE["planes"].items()}}
    data["planes"]["blur"] = ["light", "patches", "optics", "cfa"]
    found = transform(recipe(data))(pictures(data), 0)
    torch.testing.assert_close(found["sharp"] - found["clean"], found["soft"] - found["blur"], rtol=0, atol=1e-6)


def test_maps_come_along_and_are_used() -> None:
    x = pictures(DEEP)
    near, far = (Frame(x, Space.LINEAR, Sensor.make(), aux={"depth": torch.full_like(x[:, :1], d)}) for d in (0.0, 1e6))
    pairs = transform(recipe(DEEP))
    found = pairs.frames(near, 0)
    torch.testing.assert_close(found["foggy"].data, x)
    assert found["clear"].aux["depth"].shape == (3, 1, 16, 16)
    assert pairs(far, 0)["foggy"].std() < 1e-5


def test_a_place_that_is_not_known_is_drawn() -> None:
    data = {
        "operators": {"patches": {"op": "crop", "size": 8, "margin": 0}, "shade": {"op": "illumination", "angle": 40}},
        "planes": {"dark": ["patches", "shade"]},
    }
    pairs, x = transform(recipe(data)), torch.ones(6, 3, 8, 8)
    drawn = pairs.frames(x, 0)["dark"]
    assert (drawn.field.norm(dim=1) <= 1).all()
    assert len(drawn.field.unique(dim=0)) == 6
    known = Frame(x, Space.LINEAR, drawn.sensor, field=torch.tensor([[0.3, 0.4]]))
    assert torch.equal(pairs.frames(known, 0)["dark"].field, known.field.expand(6, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("data", RECIPES.values(), ids=RECIPES)
def test_a_gpu_gives_the_same(data: dict[str, Any]) -> None:
    pairs, x = transform(recipe(data)), pictures(data)
    for name, plane in pairs(x.cuda(), 3).items():
        assert plane.is_cuda
        far = (plane.cpu() - pairs(x, 3)[name]).abs()
        assert far.mean() < 1e-4
        assert (far > 1e-5).float().mean() < 1e-2


# -- gradients --------------------------------------------------------------------------------------------------------

SMOOTH = {
    "exposure": EXPOSURE,
    "psf_blur": BLUR,
    "downsample": {"op": "downsample", "factor": 2},
    "resize": {"op": "resize", "size": 6, "filter": "bicubic"},
    "sensor_noise": NOISE,
    "photon_noise": {"op": "photon_noise", "iso": 800, "shot": "gaussian", "k1": 5, "k0": 1},
    "mosaic": {"op": "mosaic"},
    "develop": {"op": "develop"},
}
ROUNDED = {
    "quantise": {"op": "quantise"},
    "poisson counts": {"op": "photon_noise", "iso": 100, "k1": 1, "k0": 0},
    "jpeg": {"op": "jpeg", "quality": 95, "sampling": "4:4:4"},
    "poisson_noise": {"op": "poisson_noise", "scale": 1},
}


def one(op: dict[str, Any]) -> dict[str, Any]:
    display = op["op"] in ("jpeg", "poisson_noise")
    return {
        "source": {"space": "display"} if display else {"camera": "demo-a"},
        "operators": {"patches": {"op": "crop", "size": 16, "margin": 8}, "it": op},
        "planes": {"y": ["patches", "it"]},
    }


def slopes(data: dict[str, Any], step: float) -> tuple[Tensor, Tensor]:
    """Derivative of a weighted sum of the results along one direction: by gradient, and by differences."""
    pairs, x = transform(recipe(data)), pictures(data).requires_grad_()
    y = pairs(x, 0)["y"]
    weight, way = (
        torch.nn.functional.avg_pool2d(torch.rand(t.shape, generator=torch.Generator().manual_seed(i)), 3, 1, 1)
        for i, t in enumerate((y, x))
    )
    (gradient,) = torch.autograd.grad((y * weight).sum(), x)
    with torch.no_grad():
        up, down = (pairs(x + s * way, 0)["y"].double() for s in (step, -step))
    return (gradient.double() * way).sum(), ((up - down) * weight).sum() / (2 * step)


@pytest.mark.parametrize("op", SMOOTH.values(), ids=SMOOTH)
def test_the_gradient_is_that_of_differences(op: dict[str, Any]) -> None:
    torch.testing.assert_close(*slopes(one(op), 1e-2), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("op", ROUNDED.values(), ids=ROUNDED)
def test_roundings_pass_the_gradient_straight_through(op: dict[str, Any]) -> None:
    """On average over many pixels a step of many levels sees the same slope."""
    torch.testing.assert_close(*slopes(one(op), 0.1), rtol=0.05, atol=0)


@pytest.mark.parametrize("data", [*RECIPES.values(), *map(one, ROUNDED.values())])
def test_asking_for_a_gradient_changes_no_pixel(data: dict[str, Any]) -> None:
    pairs, x = transform(recipe(data)), pictures(data)
    with_gradient, without = pairs(x.clone().requires_grad_(), 3), pairs(x, 3)
    for name, plane in without.items():
        far = (with_gradient[name] - plane).abs()
        assert far.mean() < 1e-6, name
        assert (far > 1e-5).float().mean() < 1e-3, name
        assert with_gradient[name].requires_grad
        assert not plane.requires_grad


@pytest.mark.parametrize("data", RECIPES.values(), ids=RECIPES)
def test_every_gradient_is_a_number_also_from_black(data: dict[str, Any]) -> None:
    x = torch.zeros_like(pictures(data)).requires_grad_()
    for plane in transform(recipe(data))(x, 0).values():
        (gradient,) = torch.autograd.grad(plane.sum(), x, retain_graph=True)
        assert gradient.isfinite().all()


# -- what is refused --------------------------------------------------------------------------------------------------


def test_the_size_that_is_wanted_is_named() -> None:
    pairs = transform(recipe(RECIPE))
    assert pairs.size == (40, 40)
    assert transform(recipe(FINE)).size == (64, 64)
    for shape in ((2, 3, 40, 38), (2, 4, 40, 40), (3, 40, 40), (0, 3, 40, 40)):
        with pytest.raises(PhotoError, match=r"takes pictures \(b, 3, 40, 40\), got"):
            pairs(torch.zeros(shape), 0)


def test_pictures_of_another_kind_are_refused() -> None:
    pairs, x = transform(recipe(RECIPE)), pictures(RECIPE)
    with pytest.raises(PhotoError, match=r"float32, 0 black and 1 white, got torch\.uint8"):
        pairs(x.byte(), 0)
    with pytest.raises(PhotoError, match="reads linear, the pictures came as display"):
        pairs(Frame(x, Space.DISPLAY, Sensor.make()), 0)
    with pytest.raises(PhotoError, match="reads depth beside each picture"):
        transform(recipe(DEEP))(pictures(DEEP), 0)
    with pytest.raises(UnknownName, match="did you mean 'soft'"):
        pairs(x, 0, ["sotf"])
    with pytest.raises(TypeError, match="text or a whole number, got float"):
        pairs(x, 0.5)


def test_what_must_look_at_each_whole_picture_is_refused() -> None:
    data = {
        "source": {"space": "display"},
        "operators": {
            "few": {"op": "reduce_colours", "colours": 4},
            "patches": {"op": "crop", "size": 8, "margin": 0},
        },
        "planes": {"y": ["few", "patches"]},
    }
    with pytest.raises(RecipeError, match="operator 'few' before the crop, on a batch: reduce_colours"):
        transform(recipe(data))(torch.zeros(4, 3, 8, 8), 0)

"""The classical chains: published ranges, their operators against scipy, YAML against Python, stores and replay."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage, stats
from skimage import data
from skimage.io import imsave

from degrade import (
    Choice,
    Frame,
    Integer,
    Key,
    Recipe,
    Sensor,
    Shuffle,
    Space,
    Uniform,
)
from degrade.operators.display_noise import GaussianNoise
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.recipe.render import render

REAL, BSRGAN = Recipe.load("real_esrgan"), Recipe.load("bsrgan")
DRAWN = {n: r.columns(Key(5).at("a.png").at(np.arange(2000)), Key(5)) for n, r in (("real", REAL), ("bsrgan", BSRGAN))}


def photo(side: int = 380) -> Frame:
    picture = torch.from_numpy(data.astronaut()[:side, :side].copy()).permute(2, 0, 1)[None]
    return Frame((picture.float() / 255).contiguous(), Space.DISPLAY, Sensor.make())


def small(recipe: Recipe, per_photo: int = 6) -> Recipe:
    crop = recipe.crop.model_copy(update={"per_photo": per_photo})
    return recipe.changed(operators={**recipe.operators, recipe.paths.crop_name: crop})


# -- published ranges -------------------------------------------------------------------------------------------------

RANGES: list[tuple[str, str, float, float]] = [
    ("real", r"blur.ops.*.sigma_x", 0.2, 3),
    ("real", r"blur.ops.*.sigma_y", 0.2, 3),
    ("real", r"blur.ops.*.rotation", -180, 180),
    ("real", r"blur.ops.6.*.cutoff", math.pi / 3, math.pi),
    ("real", r"blur.ops.7.*.cutoff", math.pi / 5, math.pi),
    ("real", r"blur_again.*.sigma_x", 0.2, 1.5),
    ("real", r"resize.ops.0.scale", 1, 1.5),
    ("real", r"resize.ops.1.scale", 0.15, 1),
    ("real", r"resize_again.ops.0.scale", 1 / 4, 1.2 / 4),
    ("real", r"resize_again.ops.1.scale", 0.3 / 4, 1 / 4),
    ("real", r"noise.ops.0.sigma", 1, 30),
    ("real", r"noise.ops.1.scale", 0.05, 3),
    ("real", r"noise_again.ops.0.sigma", 1, 25),
    ("real", r"noise_again.ops.1.scale", 0.05, 2.5),
    ("real", r"finish.*.cutoff", math.pi / 3, math.pi),
    ("bsrgan", r"shuffled.steps.0.*.rotation", 0, 180),
    ("bsrgan", r"shuffled.steps.2.ops.0.scale", 1 / 8, 1),
    ("bsrgan", r"shuffled.steps.4.ops.0.sigma", 2, 25),
]


def drawn(name: str, pattern: str) -> np.ndarray:
    """All values of the columns that match, of the rows that have them."""
    first, _, last = pattern.partition("*.")
    found = [
        v for k, v in DRAWN[name].values.items() if (k.startswith(first) and k.endswith(last) if last else k == first)
    ]
    assert found, pattern
    values = np.concatenate(found)
    return values[np.isfinite(values)]


@pytest.mark.parametrize(("name", "pattern", "low", "high"), RANGES)
def test_draws_have_the_published_marginals(name: str, pattern: str, low: float, high: float) -> None:
    values = drawn(name, pattern)
    assert len(values) > 50
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("real", "jpeg.quality"),
        ("real", "finish.*.quality"),
        ("bsrgan", "last.quality"),
        ("bsrgan", "shuffled.*.quality"),
    ],
)
def test_jpeg_qualities_are_even_from_30_to_95(name: str, pattern: str) -> None:
    counts = np.bincount(drawn(name, pattern).astype(int), minlength=96)[30:]
    assert len(counts) == 66
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("name", "column", "chances"),
    [
        ("real", "blur.pick", [0.405, 0.225, 0.108, 0.027, 0.108, 0.027, 0.0375, 0.0625]),
        ("real", "blur_again.taken", [0.2, 0.8]),
        ("real", "resize.pick", [0.2, 0.7, 0.1]),
        ("real", "resize_again.pick", [0.3, 0.4, 0.3]),
        ("real", "noise.pick", [0.5, 0.5]),
        ("real", "noise.ops.0.grey", [0.6, 0.4]),
        ("real", "finish.pick", [0.5, 0.5]),
        ("bsrgan", "halve.scale", [0.75, 0.25]),
        ("bsrgan", "shuffled.steps.4.pick", [0.8, 0.2]),
        ("bsrgan", "shuffled.steps.4.ops.0.grey", [0.5, 0.5]),
        ("bsrgan", "shuffled.steps.5.taken", [0.1, 0.9]),
    ],
)
def test_choices_have_the_published_chances(name: str, column: str, chances: list[float]) -> None:
    values = drawn(name, column)
    values = values[values >= 0]
    codes = [0.0, 1.0] if column.endswith("grey") else [1.0, 0.5] if "halve" in column else np.arange(len(chances))
    counts = np.array([(values == c).sum() for c in codes])
    assert counts.sum() == len(values)
    assert stats.chisquare(counts, len(values) * np.array(chances)).pvalue > 0.01


def test_kernels_have_sides_from_7_to_21() -> None:
    assert set(drawn("real", "blur.ops.*.window")) == set(range(3, 11))


def test_the_second_resize_follows_the_first_in_any_order() -> None:
    order = np.stack([DRAWN["bsrgan"].values[f"shuffled.order.{i}"] for i in range(6)], axis=1)
    place = np.argsort(order, axis=1)
    assert (place[:, 2] < place[:, 3]).all()
    assert len(np.unique(order, axis=0)) == 360
    counts = np.bincount(place[:, 0].astype(int), minlength=6)
    assert stats.chisquare(counts).pvalue > 0.01
    record = BSRGAN.operators["shuffled"].draw(Key(5).at("a.png", 7, "shuffled"))
    assert isinstance(record, Shuffle)
    assert record.order == tuple(order[7].astype(int))


def test_ordered_names_steps() -> None:
    with pytest.raises(ValidationError, match="ordered must name steps from 0 to 0 once"):
        Shuffle(steps=(GaussianNoise(sigma=1.0),), ordered=(0, 1))


# -- whole chains -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [REAL, BSRGAN], ids=["real_esrgan", "bsrgan"])
def test_low_resolution_lies_on_high(recipe: Recipe) -> None:
    """Whatever was done to it, LR shows HR: shifted by a pixel it would fit worse."""
    planes = render(small(recipe), photo(), "a")
    hr, lr = planes["hr"], planes["lr"]
    assert (hr.data.shape[1:], lr.data.shape[1:]) == ((3, 256, 256), (3, 64, 64))
    assert lr.grid.scale == (4.0, 4.0)
    assert lr.grid.offset == (0.0, 0.0)
    levels = lr.data * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    for a, b in zip(hr.data.mean(1), lr.data.mean(1), strict=True):
        soft = ndimage.gaussian_filter(a.numpy(), 4)
        there = ndimage.gaussian_filter(b.numpy(), 1)
        # centres of LR pixels lie at 4 p + 1.5
        far = [np.square(soft[8 + d : 248 + d : 4, 8:248:4] - there[2:62, 2:62]).mean() for d in (-2, 2, 6)]
        assert far[1] < min(far[0], far[2])


@pytest.mark.parametrize("recipe", [REAL, BSRGAN], ids=["real_esrgan", "bsrgan"])
def test_a_row_does_not_depend_on_its_block(recipe: Recipe) -> None:
    whole = small(recipe, 5)
    one = render(whole.changed(block=1), photo(), "a", planes=["lr"])["lr"]
    # rows of equal size share FFTs and products: the last bits, and now and then a level, may differ
    assert ((one.data - render(whole, photo(), "a", planes=["lr"])["lr"].data).abs() > 1e-3).double().mean() < 1e-3


def test_a_store_replays_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    imsave(tmp_path / "photos" / "a.png", data.astronaut()[:380, :380])
    build(small(REAL, 4), tmp_path / "photos", tmp_path / "s", workers=1)
    store = PatchStore(tmp_path / "s")
    assert store.read("lr", np.arange(4)).shape == (4, 3, 64, 64)
    assert all(store.replay(i, photos=tmp_path / "photos").identical for i in range(4))


# -- the same in Python -----------------------------------------------------------------------------------------------

SIDES = Choice(3, 4, 5, 6, 7, 8, 9, 10)
FILTERS: dict[str, Any] = {"op": "resize", "filter": Choice("area", "bilinear", "bicubic"), "antialias": False}
GREY = Choice(1, 1, 0, 0, 0)
JPEG = {"op": "jpeg", "quality": Integer(30, 95)}


def blur(window: Any, *kernels: Any, radius: int = 10) -> dict[str, Any]:
    kernel = kernels[0] if len(kernels) == 1 else {"choice": list(kernels)}
    return {"op": "psf_blur", "border": "reflect", "radius": radius, "window": window, "kernels": [kernel]}


def blurs(widest: float) -> dict[str, Any]:
    even = {"point": True, "sigma_x": Uniform(0.2, widest)}
    long = {**even, "sigma_y": Uniform(0.2, widest), "rotation": Uniform(-180, 180)}
    ops = [blur(SIDES, {"psf": "anisotropic_gaussian", **shape}) for shape in (even, long)]
    for psf, betas in (
        ("generalised_gaussian", (Uniform(0.5, 1), Uniform(1, 4))),
        ("plateau_gaussian", (1.0, Uniform(1, 2))),
    ):
        ops += [blur(SIDES, *({"psf": psf, **shape, "beta": b} for b in betas)) for shape in (even, long)]
    ops.append(blur(Choice(3, 4, 5), {"psf": "sinc", "cutoff": Uniform(1.047198, 3.141592)}))
    ops.append(blur(Choice(6, 7, 8, 9, 10), {"psf": "sinc", "cutoff": Uniform(0.628319, 3.141592)}))
    return {"op": "one_of", "weights": [0.405, 0.225, 0.108, 0.027, 0.108, 0.027, 0.0375, 0.0625], "ops": ops}


def resizes(weights: list[float], low: float, keep: float, high: float, **more: Any) -> dict[str, Any]:
    ops = [{**FILTERS, **more, "scale": s} for s in (Uniform(keep, high), Uniform(low, keep), keep)]
    return {"op": "one_of", "weights": weights, "ops": ops}


def noises(sigma: float, scale: float) -> dict[str, Any]:
    gaussian = {"op": "gaussian_noise", "sigma": Uniform(1, sigma), "grey": GREY}
    return {"op": "one_of", "ops": [gaussian, {"op": "poisson_noise", "scale": Uniform(0.05, scale), "grey": GREY}]}


def test_real_esrgan_is_this_python() -> None:
    last = {"op": "maybe", "p": 0.8, "do": blur(SIDES, {"psf": "sinc", "cutoff": Uniform(1.047198, 3.141592)})}
    end = [{**FILTERS, "size": 64}, last]
    recipe = Recipe.model_validate(
        {
            "seed": 7,
            "block": 32,
            "source": {"space": "display"},
            "operators": {
                "sharpen": {"op": "usm", "weight": 0.5, "radius": 50, "threshold": 10},
                "patches": {"op": "crop", "size": 256, "margin": 0, "per_photo": 64},
                "blur": blurs(3),
                "resize": resizes([0.2, 0.7, 0.1], 0.15, 1, 1.5),
                "noise": noises(30, 3),
                "jpeg": JPEG,
                "blur_again": {"op": "maybe", "p": 0.8, "do": blurs(1.5)},
                "resize_again": resizes([0.3, 0.4, 0.3], 0.075, 0.25, 0.3, of="patch"),
                "noise_again": noises(25, 2.5),
                "finish": {
                    "op": "one_of",
                    "ops": [{"op": "chain", "steps": [*end, JPEG]}, {"op": "chain", "steps": [JPEG, *end]}],
                },
                "levels": {"op": "quantise"},
            },
            "planes": {
                "hr": ["sharpen", "patches", "levels"],
                "lr": [
                    *("sharpen", "patches", "blur", "resize", "noise", "jpeg"),
                    *("blur_again", "resize_again", "noise_again", "finish", "levels"),
                ],
            },
        }
    )
    assert recipe == REAL
    assert recipe.hash == REAL.hash


def test_bsrgan_is_this_python() -> None:
    ways = {**FILTERS, "filter": Choice("bilinear", "bicubic", "area")}
    even = {"psf": "anisotropic_gaussian", "point": True, "sigma_x": Uniform(0.1, 2.8)}
    long = {**even, "sigma_x": Uniform(0.7, 2.83), "sigma_y": Uniform(0.7, 2.83), "rotation": Uniform(0, 180)}
    one = blur(Choice(*range(3, 13)), even, long, radius=12)
    soft = blur(None, {**even, "sigma_x": Uniform(0.1, 2.4)}, radius=12)
    fourth = {"op": "resize", "factor": 4, "filter": "bilinear", "antialias": False}
    down = [{**ways, "scale": Uniform(0.125, 1)}, {"op": "chain", "steps": [soft, fourth]}]
    noise = [
        {"op": "gaussian_noise", "sigma": Uniform(2, 25), "grey": Choice(0, 1)},
        {"op": "correlated_noise", "sigma": 25},
    ]
    steps = [
        one,
        one,
        {"op": "one_of", "weights": [0.75, 0.25], "ops": down},
        {**ways, "size": 64},
        {"op": "one_of", "weights": [0.8, 0.2], "ops": noise},
        {"op": "maybe", "p": 0.9, "do": JPEG},
    ]
    recipe = Recipe.model_validate(
        {
            "seed": 7,
            "source": {"space": "display"},
            "operators": {
                "patches": {"op": "crop", "size": 256, "margin": 0, "per_photo": 64},
                "halve": {**ways, "scale": Choice(0.5, 1, 1, 1)},
                "shuffled": {"op": "shuffle", "ordered": [2, 3], "steps": steps},
                "size": {"op": "resize", "size": 64, "filter": "bicubic", "antialias": False},
                "last": JPEG,
                "levels": {"op": "quantise"},
            },
            "planes": {
                "hr": ["patches", "levels"],
                "lr": ["patches", "halve", "shuffled", "size", "last", "levels"],
            },
        }
    )
    assert recipe == BSRGAN
    assert recipe.hash == BSRGAN.hash

"""Develop and unprocess: each undoes the other, pairs stay pairs, and the published noise is what is added."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from degrade import Frame, Grid, Key, LogUniform, Normal, Recipe, RecipeError, Sensor, Space, Spec, Uniform
from degrade.core.compose import Chain
from degrade.core.group import Group
from degrade.core.operator import Operator
from degrade.look.develop import develop as shown
from degrade.maths.colour import camera_to_srgb, srgb_encode
from degrade.maths.philox import normal_field
from degrade.operators.develop import MATRICES, Develop, Unprocess, UnprocessNoise, toned, untoned
from degrade.operators.sensor import Mosaic
from degrade.recipe.render import render

CAMERA = Sensor.make(white_balance=(2.1, 1.0, 1.6), matrix=camera_to_srgb(torch.tensor(MATRICES[1])).tolist())


def picture(b: int = 1, size: int = 64) -> Frame:
    coffee = torch.from_numpy(skimage.data.coffee().copy()).permute(2, 0, 1).float() / 255
    data = torch.stack([coffee[:, 60 * i : 60 * i + size, 100 + 90 * i : 100 + 90 * i + size] for i in range(b)])
    return Frame(data, Space.DISPLAY, Sensor.make(b))


def drawn(op: Operator, n: int, frame: Frame) -> Frame:
    """n rows, each with its own draws."""
    slots = np.arange(n)
    (group,) = op.draw(Key(3).at("p").at(slots)).over([Group(slots, frame)], slots)
    return group.frame


# -- develop ----------------------------------------------------------------------------------------------------------


def test_linear_is_developed_as_it_is_shown() -> None:
    """One way to develop: the pictures of the contact sheets are those of the operator."""
    rng = np.random.default_rng(0)
    linear = Frame(torch.from_numpy(rng.uniform(-0.1, 1.2, (1, 3, 32, 40)).astype(np.float32)), Space.LINEAR, CAMERA)
    levels = (Develop().apply(linear).data * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(levels, shown(linear))


def test_a_clipped_source_is_white_not_magenta() -> None:
    for space, c in ((Space.LINEAR, 3), (Space.MOSAIC, 4)):
        done = Develop().apply(Frame(torch.ones(1, c, 8, 8), space, CAMERA))
        torch.testing.assert_close(done.data, torch.ones_like(done.data))


def test_balanced_grey_is_grey() -> None:
    grey = (0.4 * Frame(torch.zeros(1, 3, 1, 1), Space.LINEAR, CAMERA).neutral).expand(1, 3, 12, 12)
    done = Develop().apply(Frame(grey, Space.LINEAR, CAMERA)).data
    torch.testing.assert_close(done, srgb_encode(torch.full_like(done, 0.4)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["bilinear", "malvar", "menon"])
def test_a_mosaic_doubles_and_lies_where_it_lay(method: Any) -> None:
    linear = Unprocess().draw(Key(1)).apply(picture())
    raw = Mosaic().apply(replace(linear, grid=Grid(offset=(-8.0, -8.0)), aux={"clipped": linear.data[:, :1]}))
    done = Develop(demosaic=method, curve="filmic").apply(raw)
    assert done.grid == Grid(offset=(-8.0, -8.0))
    assert done.size == (64, 64)
    assert done.aux["clipped"].shape[-2:] == (64, 64)
    error = (done.data - picture().data)[..., 12:-12, 12:-12]
    assert error.abs().mean() < 0.02
    shifted = (done.data[..., 1:] - picture().data[..., :-1])[..., 12:-12, 12:-12]
    assert error.square().mean() < 0.7 * shifted.square().mean()


def test_planes_are_developed_alike() -> None:
    """What happens to a plane does not depend on the rest of it."""
    raw = Frame(torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(1)), Space.MOSAIC, CAMERA)
    bright = raw.with_data(torch.cat((raw.data[..., :16], raw.data[..., 16:] * 5), dim=3))
    one, other = (Develop(demosaic="menon").apply(f).data[..., :18] for f in (raw, bright))
    assert torch.equal(one, other)


@pytest.mark.parametrize("curve", ["srgb", "gamma", "filmic"])
def test_curves_are_undone(curve: str) -> None:
    levels = torch.arange(256) / 255
    torch.testing.assert_close(toned(untoned(levels, curve), curve), levels, atol=2e-6, rtol=0)
    ends = torch.tensor([0.0, 1.0])
    assert torch.allclose(toned(ends, curve), ends)
    assert (toned(levels, curve).diff() > 0).all()


# -- unprocess --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", ["srgb", "gamma", "filmic"])
@pytest.mark.parametrize("matrices", [MATRICES, MATRICES[:1], ()], ids=["mixed", "one", "the photo's"])
def test_develop_undoes_unprocess(curve: Any, matrices: Any) -> None:
    given = picture(4)
    op = Unprocess(curve=curve, matrices=matrices, weights=(Uniform(1e-8, 1.0),) * len(matrices))
    raw = drawn(op, 4, given)
    assert raw.sensor.white_balance.unique().numel() == 12  # each row its own
    back = Develop(curve=curve).apply(raw)
    linear = untoned(given.data, curve)
    seen = torch.einsum("bij,bjhw->bihw", torch.linalg.inv(raw.sensor.matrix), linear)
    plain = (seen.mean(1, keepdim=True) < 0.9).expand_as(given.data)
    assert plain.float().mean() > 0.95
    assert (back.data - given.data)[plain].abs().max() < 1e-3


def test_white_stays_white_and_saturated() -> None:
    white = Frame(torch.ones(4, 3, 4, 4), Space.DISPLAY, Sensor.make(4))
    raw = drawn(Unprocess(), 4, white)
    torch.testing.assert_close(raw.data, torch.ones_like(raw.data), atol=1e-4, rtol=0)
    back = Develop(curve="filmic").apply(raw)
    torch.testing.assert_close(back.data, white.data, atol=1e-4, rtol=0)


def test_a_row_has_one_camera_in_all_its_planes() -> None:
    op = Unprocess().draw(Key(5))
    assert isinstance(op, Unprocess)
    given = picture()
    set_before, found = op.camera(given.sensor), op.apply(given).sensor
    assert torch.equal(set_before.white_balance, found.white_balance)
    assert torch.equal(set_before.matrix, found.matrix)
    again = op.apply(replace(given, sensor=set_before))
    assert torch.equal(again.data, op.apply(given).data)


def test_mixed_matrices_lie_between_and_keep_grey() -> None:
    sensor = Sensor.make(1)
    for k, camera in enumerate(MATRICES):
        alone = Unprocess(matrices=(camera,), weights=(0.3,)).matrix(sensor)
        torch.testing.assert_close(alone[0], camera_to_srgb(torch.tensor(camera)).float())
        weights = [1e-8] * 4
        weights[k] = 1.0
        mostly = Unprocess(weights=tuple(weights)).matrix(sensor)
        torch.testing.assert_close(mostly, alone, atol=1e-5, rtol=0)
    mixed = Unprocess().draw(Key(9))
    assert isinstance(mixed, Unprocess)
    torch.testing.assert_close(mixed.matrix(sensor).sum(-1), torch.ones(1, 3), atol=1e-5, rtol=0)


def test_gains_are_the_published_ones() -> None:
    op = Unprocess()
    assert (op.red_gain, op.blue_gain) == (Uniform(1.9, 2.4), Uniform(1.5, 1.9))
    many = drawn(op, 400, Frame(torch.zeros(400, 3, 1, 1), Space.DISPLAY, Sensor.make(400)))
    red, green, blue = many.sensor.white_balance.unbind(1)
    assert 1.9 <= (red / green).min() < (red / green).max() <= 2.4 + 1e-5
    assert 1.5 <= (blue / green).min() < (blue / green).max() <= 1.9 + 1e-5
    assert (1 / green).mean().item() == pytest.approx(0.8, abs=0.02)


# -- its noise --------------------------------------------------------------------------------------------------------


def test_noise_follows_the_published_line() -> None:
    n = 600
    frame = Frame(torch.zeros(n, 4, 2, 2), Space.MOSAIC, Sensor.make(n))
    op = UnprocessNoise()
    stack = op.draw(Key(2).at("p").at(np.arange(n)))
    assert isinstance(stack, UnprocessNoise)
    residual = stack.apply(frame).data / normal_field(torch.as_tensor(stack.seed), 4, (0, 0), (2, 2))
    read = residual[:, 0, 0, 0].double().square().log()
    shot = torch.as_tensor(stack.shot).log()
    slope, offset = np.polyfit(shot, read, 1)
    assert slope == pytest.approx(2.18, abs=0.03)
    assert offset == pytest.approx(1.20, abs=0.2)
    assert (read - 2.18 * shot - 1.20).std().item() == pytest.approx(0.26, abs=0.03)
    assert (op.shot, op.error) == (LogUniform(1e-4, 0.012), Normal(0.0, 0.26))


def test_reference_gives_all_planes_one_residual() -> None:
    given = {
        "source": {"space": "display"},
        "operators": {
            "patches": {"op": "crop", "size": 16, "margin": 8, "per_photo": 2},
            "camera": {"op": "unprocess"},
            "soft": {"op": "psf_blur", "radius": 4, "kernels": [{"psf": "gaussian", "sigma": 1.0}]},
            "cfa": {"op": "mosaic"},
            "noise": {"op": "unprocess_noise", "reference": "soft_noise"},
        },
        "planes": {
            "sharp": ["patches", "camera", "cfa"],
            "soft": ["patches", "camera", "soft", "cfa"],
            "noise": ["patches", "camera", "cfa", "noise"],
            "soft_noise": ["patches", "camera", "soft", "cfa", "noise"],
        },
    }
    planes = render(Recipe.model_validate(given), picture(), "p.png")
    one, other = (planes[a].data - planes[b].data for a, b in (("noise", "sharp"), ("soft_noise", "soft")))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert one.std() > 0.005


# -- recipes ----------------------------------------------------------------------------------------------------------


def test_the_shipped_pipeline_is_its_python_twin() -> None:
    twin = Recipe.model_validate(
        {
            "seed": 7,
            "source": {"space": Space.DISPLAY},
            "operators": {
                "patches": {"op": "crop", "size": 128, "margin": 0, "per_photo": 64},
                "camera": Unprocess(
                    red_gain=Uniform(1.9, 2.4), blue_gain=Uniform(1.5, 1.9), exposure=Normal(0.8, 0.1, 0.5, 1.0)
                ),
                "cfa": Mosaic(),
                "noise": UnprocessNoise(shot=LogUniform(1e-4, 0.012), error=Normal(0.0, 0.26)),
            },
            "planes": {"clean": ("patches", "camera", "cfa"), "noisy": ("patches", "camera", "cfa", "noise")},
        }
    )
    shipped = Recipe.load("unprocess")
    assert shipped.hash == twin.hash
    photo = picture(size=140)
    for name, frame in render(shipped, photo, "p.png", rows=[0, 5]).items():
        assert frame.data.shape == (2, 4, 64, 64)
        assert torch.equal(frame.data, render(twin, photo, "p.png", rows=[0, 5])[name].data)


def test_a_pair_developed_behind_its_noise() -> None:
    """RAW to picture in a recipe: margins for the mosaic are worked out, and developed noise is no longer white."""
    given = {
        "source": {"space": "display"},
        "operators": {
            "patches": {"op": "crop", "size": 32, "margin": 16, "per_photo": 8},
            "camera": {"op": "unprocess", "curve": "srgb"},
            "cfa": {"op": "mosaic"},
            "noise": {"op": "unprocess_noise", "shot": 0.001},
            "show": {"op": "develop", "demosaic": "menon"},
            "file": {"op": "quantise"},
        },
        "planes": {
            "clean": ["patches", "camera", "cfa", "show", "file"],
            "noisy": ["patches", "camera", "cfa", "noise", "show", "file"],
        },
    }
    recipe = Recipe.model_validate(given)
    assert (recipe.specs["noisy"].size, recipe.specs["noisy"].digital) == ((32, 32), True)
    planes = render(recipe, picture(size=200), "p.png")
    noise = (planes["noisy"].data - planes["clean"].data).double()
    beside = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert 0.2 < beside < 0.9
    with pytest.raises(ValueError, match=r"look 12 pixels beyond a patch, margin is 8: set margin: 12"):
        recipe.changed(operators={**recipe.operators, "patches": {**given["operators"]["patches"], "margin": 8}})


def test_in_a_chain_the_round_trip_keeps_size_and_grid() -> None:
    chain = Chain(steps=(Unprocess(), Mosaic(), Develop(demosaic="bilinear")))
    spec = chain.plan(Spec(Space.DISPLAY, 3, (32, 32)))
    assert (spec.space, spec.size, spec.grid) == (Space.DISPLAY, (32, 32), Grid())
    assert chain.needs(Spec(Space.DISPLAY, 3, (32, 32)), 0) == 2


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="unprocess: 1 matrices need as many weights, got 4"):
        Unprocess(matrices=MATRICES[:1])
    with pytest.raises(RecipeError, match="develop works on LINEAR or MOSAIC, but stands where the picture is DISPLAY"):
        Develop().plan(Spec(Space.DISPLAY, 3, (8, 8)))
    with pytest.raises(RecipeError, match="unprocess works on DISPLAY, but stands where the picture is MOSAIC"):
        Unprocess().plan(Spec(Space.MOSAIC, 4, (8, 8)))
    with pytest.raises(ValueError, match="cannot be inverted"):
        Unprocess(matrices=(((1.0, 1.0, 1.0),) * 3,), weights=(1.0,))
    with pytest.raises(ValueError, match="bilinear"):
        Operator.model_validate({"op": "develop", "demosaic": "ahd"})
    with pytest.raises(ValueError, match="greater than 0"):
        Operator.model_validate({"op": "unprocess", "red_gain": {"uniform": [0, 2]}})

"""Rendering: nothing that is added moves what was there, and every process gives the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degrade import Frame, PhotoError, Recipe, Space, testing
from degrade.recipe.render import Rendering, render

RECIPE: dict[str, Any] = {
    "seed": 11,
    "source": {"camera": "demo-a"},
    "operators": {
        "light": {"op": "exposure", "stops": {"uniform": [-1, 0]}},
        "patches": {"op": "crop", "size": 24, "margin": 12, "per_photo": 21},
        "optics": {"op": "psf_blur", "radius": 6, "kernels": [{"psf": "gaussian", "sigma": {"uniform": [0.5, 2]}}]},
        "cfa": {"op": "mosaic"},
        "noise": {"op": "sensor_noise", "iso": {"choice": [100, 800, 6400]}, "reference": "soft"},
    },
    "planes": {
        "clean": ["light", "patches", "cfa"],
        "sharp": ["light", "patches", "cfa", "noise"],
        "soft": ["light", "patches", "optics", "cfa", "noise"],
    },
    "block": 8,
}
PHOTO = testing.photo(h=140, w=180)


def changed(**changes: Any) -> dict[str, Any]:
    """The recipe with operators and planes added, other fields replaced."""
    data = json.loads(json.dumps(RECIPE))
    for name, value in changes.items():
        data[name] = {**data[name], **value} if name in ("operators", "planes") else value
    return data


def rendered(data: dict[str, Any], **what: Any) -> dict[str, Frame]:
    return render(Recipe.model_validate(data), PHOTO, "p.dng", **what)


def digest(planes: dict[str, Frame]) -> str:
    return hashlib.sha256(b"".join(planes[n].data.numpy().tobytes() for n in sorted(planes))).hexdigest()


@pytest.fixture(scope="module")
def base() -> dict[str, Frame]:
    return rendered(RECIPE)


# -- adding -----------------------------------------------------------------------------------------------------------

MORE = {
    "a plane of operators that are there": {"planes": {"plain": ["light", "patches", "optics"]}},
    "an operator and a plane": {
        "operators": {"well": {"op": "saturate", "level": {"uniform": [0.3, 0.9]}}},
        "planes": {"cut": ["light", "patches", "well", "cfa"]},
    },
    "a noise of its own": {
        "operators": {"dark": {"op": "sensor_noise", "iso": 100, "pedestal": False}},
        "planes": {"dim": ["light", "patches", "cfa", "dark"]},
    },
    "a wide blur that asks for more margin": {
        "operators": {"wide": {"op": "psf_blur", "radius": 12, "kernels": [{"psf": "disc", "radius": 5}]}},
        "planes": {"veil": ["light", "patches", "wide", "cfa", "noise"]},
    },
    "planes that keep their margin": {"planes": {"whole": {"path": ["light", "patches"], "margin": "keep"}}},
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_what_is_added_changes_nothing_that_was_there(base: dict[str, Frame], more: dict[str, Any]) -> None:
    before, after = (Rendering(Recipe.model_validate(changed(**m)), PHOTO, "p.dng") for m in ({}, more))
    new, _ = after.frames(), before.frames()
    for name, values in before.columns().values.items():
        np.testing.assert_array_equal(after.columns().values[name], values, err_msg=name)
    for name, values in before.places.items():
        np.testing.assert_array_equal(after.places[name], values, err_msg=name)
    for name in ("clean", "sharp", "soft"):
        assert new[name].data.shape == base[name].data.shape
        assert torch.equal(new[name].data, base[name].data), name


@pytest.mark.parametrize("margin", [16, 22])
def test_another_margin_moves_patches_but_no_draw_and_no_noise(margin: int) -> None:
    """On a grey photo, where a place does not show, every sample stays, bit for bit."""
    grey = Frame(torch.full_like(PHOTO.data, 0.25), Space.LINEAR, PHOTO.sensor)
    patches = RECIPE["operators"]["patches"] | {"margin": margin}
    both = [Rendering(Recipe.model_validate(d), grey, "p") for d in (RECIPE, changed(operators={"patches": patches}))]
    planes = [r.frames() for r in both]
    for name in planes[0]:
        assert torch.equal(planes[0][name].data, planes[1][name].data), name
    for name, values in both[0].columns().values.items():
        np.testing.assert_array_equal(both[1].columns().values[name], values)
    assert not np.array_equal(both[0].places["crop_top"], both[1].places["crop_top"])


def test_more_rows_and_another_photo_beside_it_change_nothing(base: dict[str, Frame]) -> None:
    patches = RECIPE["operators"]["patches"] | {"per_photo": 32}
    more = rendered(changed(operators={"patches": patches}))
    for name, frame in base.items():
        assert torch.equal(more[name].data[:16], frame.data[:16])  # the last block of 21 was not a full one
        assert (more[name].data[:21] - frame.data).abs().max() < 1e-6
    other = render(Recipe.model_validate(RECIPE), PHOTO, "q.dng")
    assert not torch.equal(other["clean"].data, base["clean"].data)
    assert digest(rendered(RECIPE)) == digest(base)


@pytest.mark.parametrize("block", [1, 5, 21, 64])
def test_block_size_changes_digits_only(base: dict[str, Frame], block: int) -> None:
    again = rendered(changed(block=block))
    for name, frame in base.items():
        assert (again[name].data - frame.data).abs().max() < 1e-6


@pytest.mark.parametrize("rows", [[0], [20], [9, 2, 17], list(range(20, -1, -1))])
def test_rows_alone_are_those_rendered_with_all(base: dict[str, Frame], rows: list[int]) -> None:
    some = rendered(RECIPE, rows=rows)
    for name, frame in base.items():
        assert torch.equal(some[name].data, frame.data[rows])
        assert torch.equal(some[name].origin, frame.origin[rows])
        assert torch.equal(some[name].sensor.black, frame.sensor.black[rows])


@pytest.mark.parametrize("plane", ["clean", "sharp", "soft"])
def test_a_plane_alone_is_that_rendered_with_all(base: dict[str, Frame], plane: str) -> None:
    assert torch.equal(rendered(RECIPE, planes=[plane])[plane].data, base[plane].data)


def test_shape_and_margin_of_planes() -> None:
    """A plane that is the beginning of another is not left with the margin that the other needs."""
    planes = rendered(
        changed(
            planes={
                "start": ["light", "patches"],
                "whole": {"path": ["light", "patches"], "margin": "keep"},
                "raw": {"path": ["light", "patches", "cfa"], "margin": "keep"},
            }
        )
    )
    sides = {n: f.size[0] for n, f in planes.items()}
    assert sides == {"clean": 12, "sharp": 12, "soft": 12, "start": 24, "whole": 48, "raw": 24}
    assert torch.equal(planes["whole"].trim(12).data, planes["start"].data)
    assert torch.equal(planes["raw"].trim(6).data, planes["clean"].data)
    assert planes["clean"].grid.at(0) == planes["raw"].grid.at(6) == (0.5, 0.5)


def test_a_row_has_one_camera_in_all_planes(base: dict[str, Frame]) -> None:
    rendering = Rendering(Recipe.model_validate(RECIPE), PHOTO, "p.dng")
    iso = rendering.columns().values["noise.iso"]
    for frame in base.values():
        assert frame.sensor.iso.tolist() == iso.tolist() == rendering.sensor.iso.tolist()
        assert frame.sensor.white.tolist() == rendering.sensor.white.tolist()
    assert PHOTO.sensor.iso.item() == 200  # the photo's own stays out of it


def test_a_place_in_the_field_that_nobody_knows_is_drawn_over_the_image_circle() -> None:
    data = changed(
        source={"field": "unknown"}, operators={"patches": RECIPE["operators"]["patches"] | {"per_photo": 999}}
    )
    data["operators"]["noise"] |= {"k1": 0.1, "k0": 1}
    places = Rendering(Recipe.model_validate(data), PHOTO, "p").places
    radius = np.hypot(places["field_y"], places["field_x"])
    assert radius.max() < 1
    assert abs((radius**2).mean() - 0.5) < 4 * np.sqrt(1 / 12 / 999)
    assert abs(places["field_x"].mean()) < 4 * np.sqrt(0.25 / 999)


def test_photos_that_are_not_what_the_recipe_reads() -> None:
    with pytest.raises(PhotoError, match=r"the recipe reads linear, the photo came as display"):
        render(Recipe.model_validate(RECIPE), testing.photo(Space.DISPLAY), "p")
    dark = testing.frame(Space.LINEAR, 1, (140, 180), margin=0)
    full = Frame(dark.data, dark.space, dark.sensor, aux={"clipped": torch.ones(1, 1, 140, 180)})
    with pytest.raises(IndexError, match=r"no row to render; present are 0 of 21"):
        render(Recipe.model_validate(RECIPE), full, "p")


# -- other processes --------------------------------------------------------------------------------------------------

FRESH = """
import json, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from tests import test_render as t
print(t.digest(t.rendered(t.RECIPE, rows=json.loads(sys.argv[2]))))
"""


def python(*arguments: str, paths: tuple[Path, ...] = ()) -> str:
    """What a fresh interpreter prints."""
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, root)))}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fresh_process_gives_the_same_bits(base: dict[str, Frame], threads: int) -> None:
    rows = [19, 4, 5]
    expected = digest({n: f.map(lambda t: t[rows]) for n, f in base.items()})
    assert python("-c", FRESH, str(threads), json.dumps(rows)) == expected


THIRD = """
operators:
  pale: {op: bleach, amount: {uniform: [0.2, 0.4]}}
  patches: {op: crop, size: 16, margin: 0, per_photo: 6}
planes: {plain: [patches], faded: [patches, pale]}
"""


def test_another_packages_operator_comes_through_its_entry_point(tmp_path: Path) -> None:
    info = tmp_path / "bleaching-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: bleaching\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text("[degrade.operators]\nbleaching = bleaching\n")
    tmp_path.joinpath("bleaching.py").write_text(Path(__file__).with_name("foreign.py").read_text("utf-8"))
    tmp_path.joinpath("recipe.yaml").write_text(THIRD)
    code = (
        "import sys; from degrade import Recipe, render, testing\n"
        "recipe = Recipe.load(sys.argv[1])\n"
        "planes = render(recipe, testing.photo(), 'p')\n"
        "a = 1 - (1 - planes['faded'].data).mean() / (1 - planes['plain'].data).mean()\n"
        "print(sorted(recipe.columns().values), 0.2 < float(a) < 0.4, 'bleach' in Recipe.load.__func__.__globals__)\n"
        "from degrade.recipe.schema import schema; print('bleach' in schema()['$defs'])"
    )
    said = python("-c", code, str(tmp_path / "recipe.yaml"), paths=(tmp_path,))
    assert said == "['pale.amount'] True False\nTrue"


MAIN = """
import sys, cloudpickle
from degrade import testing
from tests import test_render as t
exec(open(sys.argv[1]).read(), globals())
from degrade import Recipe, render
recipe = Recipe.parse(t.THIRD)
open(sys.argv[2], "wb").write(cloudpickle.dumps(recipe))
print(Bleach.__module__, t.digest(render(recipe, testing.photo(), "p")))
"""
WORKER = """
import sys, pickle
from degrade import render
from degrade import testing
from tests import test_render as t
recipe = pickle.load(open(sys.argv[1], "rb"))
print(type(recipe.operators["pale"]).__module__, t.digest(render(recipe, testing.photo(), "p")))
print(recipe.hash == type(recipe).model_validate(recipe.model_dump() | {"operators": dict(recipe.operators)}).hash)
"""


def test_an_operator_defined_in_main_travels_to_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "recipe.pickle"
    sent = python("-c", MAIN, str(Path(__file__).with_name("foreign.py")), str(file))
    came, same = python("-c", WORKER, str(file)).splitlines()
    assert sent.startswith("__main__ ")
    assert came == sent
    assert same == "True"

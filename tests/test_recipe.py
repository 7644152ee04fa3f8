"""Recipes: the same in YAML, JSON and Python; an identity that covers all that decides the pixels; columns of draws."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from degrade import Choice, Key, Operator, Recipe, RecipeError, Space, Uniform, UnknownName, testing
from degrade.core.prior import Prior
from degrade.core.tree import leaves
from degrade.operators.crop import Crop
from degrade.operators.kernels import AiryKernel, GaussianKernel
from degrade.operators.light import Exposure
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.sensor import Mosaic, Quantise
from degrade.recipe.recipe import Plane, Source
from degrade.recipe.render import Rendering
from degrade.testing import trial
from tests.examples import BLUR, EXPOSURE, NOISE

PAIRS = Recipe.load("residual-maps")


def residual_maps() -> Recipe:
    """The shipped pipeline, written in Python."""
    optics = PsfBlur(
        kernels=(AiryKernel(f_number=Choice(2.8, 4, 5.6, 8, 11, 16)), GaussianKernel(sigma=Uniform(0.3, 2.0)))
    )
    return Recipe(
        seed=7,
        source=Source(space=Space.LINEAR, shrink=4, camera="demo-a"),
        operators={
            "expose": Exposure(stops=Uniform(0, 1.5)),
            "patches": Crop(size=128, margin=32, per_photo=256),
            "optics": optics,
            "cfa": Mosaic(),
            "noise": SensorNoise(iso=Choice(100, 200, 400, 800, 1600, 3200, 6400), reference="noise_blur"),
            "adc": Quantise(),
        },
        planes={
            "clean": Plane(path=("expose", "patches", "cfa", "adc")),
            "blur": Plane(path=("expose", "patches", "optics", "cfa", "adc")),
            "noise": Plane(path=("expose", "patches", "cfa", "noise", "adc")),
            "noise_blur": Plane(path=("expose", "patches", "optics", "cfa", "noise", "adc")),
        },
        store=("clean", "blur", "noise", "noise_blur"),
    )


# -- one recipe, three ways to write it -------------------------------------------------------------------------------


def test_yaml_is_python() -> None:
    assert residual_maps().hash == PAIRS.hash
    assert residual_maps().text() == PAIRS.text()
    assert residual_maps() == PAIRS


@pytest.mark.parametrize("store", [(), ("noise", "clean")])
def test_its_text_is_the_recipe(store: tuple[str, ...]) -> None:
    recipe = PAIRS.changed(store=store)
    again = Recipe.parse(recipe.text())
    assert again.hash == recipe.hash
    assert again == recipe
    assert list(again.planes) == list(recipe.planes)  # the first plane is the one that a crop looks at
    assert again.stored == recipe.stored


def test_json_is_yaml() -> None:
    data = json.loads(PAIRS.text())
    assert Recipe.model_validate(data).hash == PAIRS.hash
    assert Recipe.parse(json.dumps(data, indent=1)).hash == PAIRS.hash


def test_numbers_are_those_of_yaml_1_2_and_of_the_fields_type() -> None:
    text = """
    operators:
      light: {op: exposure, stops: {uniform: [-1e-3, 1]}}
      patches: {op: crop, size: 8, margin: 0}
    planes: {no: [light, patches]}
    """
    recipe = Recipe.parse(text)
    assert list(recipe.planes) == ["no"]
    assert recipe.hash == Recipe.parse(text.replace("-1e-3, 1]", "-0.001, 1.0]")).hash
    assert recipe.hash == Recipe.parse(text.replace("[-1e-3, 1]", "{high: 1.0, low: -0.001}")).hash
    assert recipe.hash == Recipe.parse(text.replace("size: 8", "size: 8, per_photo: 256, per: patch")).hash


# -- identity ---------------------------------------------------------------------------------------------------------


def altered(change: str) -> Recipe:
    """The shipped pipeline with one thing changed."""
    data: dict[str, Any] = json.loads(PAIRS.text())
    *path, last = change.split("=", maxsplit=1)[0].split(".")
    node = data
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[int(last) if isinstance(node, list) else last] = json.loads(change.split("=")[1])
    return Recipe.model_validate(data)


@pytest.mark.parametrize(
    "change",
    [
        "seed=8",
        "block=8",
        "source.shrink=2",
        'source.camera="demo-b"',
        "source.iso=100",
        'source.field="unknown"',
        'operators.expose.stops={"uniform": [0, 1.25]}',
        'operators.expose.stops={"log_uniform": [0.1, 1.5]}',
        'operators.expose.per="photo"',
        "operators.patches.margin=34",
        "operators.patches.per_photo=255",
        "operators.optics.radius=14",
        "operators.optics.kernels.0.wavelength=[0.6, 0.54, 0.47]",
        'operators.optics.kernels.1.sigma={"uniform": [0.3, 2.1]}',
        'operators.noise.source="subtract"',
        "operators.noise.reference=null",
        "operators.noise.seed=5",
        'planes.clean.path=["expose", "patches", "cfa"]',
        'planes.clean.dtype="float32"',
        'planes.clean.margin="keep"',
        'store=["clean", "blur"]',
        'store=["blur", "clean", "noise", "noise_blur"]',
    ],
)
def test_the_hash_changes_with_all_that_decides_the_pixels(change: str) -> None:
    assert altered(change).hash != PAIRS.hash


def test_the_hash_changes_with_the_order_of_planes_because_a_crop_looks_at_the_first() -> None:
    planes = dict(reversed(list(PAIRS.planes.items())))
    assert PAIRS.changed(planes=planes).hash != PAIRS.hash


def test_the_hash_does_not_change_with_training_or_the_order_of_operators() -> None:
    assert PAIRS.changed(train={"rate": 0.1}).hash == PAIRS.hash
    operators = dict(reversed(list(PAIRS.operators.items())))
    assert PAIRS.changed(operators=operators).hash == PAIRS.hash
    assert PAIRS.changed(source={**PAIRS.source.model_dump()}).hash == PAIRS.hash


def test_the_hash_covers_the_cameras_numbers(tmp_path: Any) -> None:
    file = tmp_path / "mine.json"
    camera = {"black": 64, "white": 1023, "bits": 10, "pitch": 3, "k1": [0.1] * 4, "k0": [0.5] * 4}
    file.write_text(json.dumps(camera))
    before = PAIRS.changed(source={"camera": str(file)}).hash
    file.write_text(json.dumps(camera, indent=2))
    assert PAIRS.changed(source={"camera": str(file)}).hash == before
    file.write_text(json.dumps(camera | {"k0": [0.5, 0.5, 0.5, 0.6]}))
    assert PAIRS.changed(source={"camera": str(file)}).hash != before


def test_the_hash_covers_operator_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PAIRS.changed().hash
    monkeypatch.setattr(Mosaic, "version", 2)
    assert PAIRS.changed().hash != before


def test_the_hash_is_for_ever() -> None:
    """Stores carry it: it moves only together with a change that is meant."""
    assert PAIRS.hash == HASH


HASH = "f8e919a1fffcbd94d8c6458acef8d43b"


def test_changed_is_checked() -> None:
    with pytest.raises(UnknownName, match=r"unknown field 'sed': did you mean 'seed'\?"):
        PAIRS.changed(sed=1)
    with pytest.raises(RecipeError, match=r"^unknown plane in store: 'blurr'"):
        PAIRS.changed(store=("blurr",))


# -- columns ----------------------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "seed": 3,
    "operators": {
        "sun": EXPOSURE,
        "lens": {"op": "maybe", "p": 0.5, "do": BLUR},
        "patches": {"op": "crop", "size": 16, "margin": 12, "per_photo": 12},
        "mixed": {
            "op": "psf_blur",
            "radius": 4,
            "kernels": [
                {
                    "choice": [
                        {"psf": "gaussian", "sigma": {"uniform": [0.5, 1]}},
                        {"psf": "disc", "radius": [{"uniform": [1, 2]}, 1.5, {"choice": [1, 2]}]},
                    ]
                }
            ],
        },
        "maybe": {"op": "maybe", "p": 0.6, "do": {"op": "one_of", "ops": [EXPOSURE, BLUR]}},
        "stir": {"op": "shuffle", "steps": [EXPOSURE, EXPOSURE, {"op": "saturate"}]},
        "once": {"op": "one_of", "ops": [NOISE, EXPOSURE], "per": "photo"},
        "noise": NOISE | {"per": "photo"},
    },
    "planes": {
        "a": ["sun", "lens", "patches", "mixed", "maybe", "noise"],
        "b": ["sun", "lens", "patches", "stir", "once"],
    },
}


@pytest.mark.parametrize("name", ["a.dng", "b.dng", "c.dng", "d.dng", "e.dng", "f.dng"])
def test_columns_are_what_the_drawn_operators_hold(name: str) -> None:
    recipe = Recipe.model_validate(EVERYTHING)
    rendering = Rendering(recipe, testing.photo(), name)
    columns = rendering.columns()
    seen: set[str] = set()
    for step, op in recipe.operators.items():
        if step == "patches":
            continue
        priors = {path for path, v in leaves(op) if isinstance(v, Prior)}
        for j in range(12):
            before = step in ("sun", "lens")
            record = recipe.operators[step].draw(rendering.key.at(step)) if before else rendering.ops[step]
            record = trial.row(record, j)
            held = {".".join(map(str, (step, *p))): v for p, v in leaves(record)}
            for column, v in held.items():
                if column not in columns.values:
                    assert not isinstance(v, Prior)
                    continue
                seen.add(column)
                value = columns.values[column][j]
                if v is None:
                    assert value == -1, column  # not reached
                elif isinstance(v, Prior):  # of an alternative that this row did not take
                    assert np.isnan(value)
                elif not np.isnan(value):
                    assert value == v, column
                else:
                    assert tuple(column.split(".")[1:]) not in {tuple(map(str, p)) for p in priors}
            if step == "mixed":
                code = columns.values["mixed.kernels.0"][j]
                assert columns.labels["mixed.kernels.0"][int(code)] == ["gaussian", "disc"][int(code)]
                kernel = record.model_dump()["kernels"][0]
                assert kernel["psf"] == columns.labels["mixed.kernels.0"][int(code)]
                other = "sigma" if kernel["psf"] == "disc" else "radius.0"
                assert np.isnan(columns.values[f"mixed.kernels.0.{other}"][j])
    assert {"sun.stops", "lens.taken", "noise.iso", "maybe.taken", "maybe.do.pick", "stir.order.2"} <= seen
    assert {"noise.seed", "noise.k0", "once.pick", "stir.steps.1.stops", "mixed.kernels.0.radius.2"} <= seen


def test_columns_of_no_rows_name_and_label_those_of_all() -> None:
    recipe = Recipe.model_validate(EVERYTHING)
    none = recipe.columns()
    some = recipe.columns(Key(1).at(np.arange(4)), Key(1))
    assert list(none.values) == list(some.values)
    assert none.labels == some.labels
    assert all(len(v) == 0 for v in none.values.values())
    assert all(len(v) == 4 for v in some.values.values())


def test_a_recipe_is_an_operator_by_name() -> None:
    assert all(isinstance(op, Operator) for op in PAIRS.operators.values())
    assert PAIRS.crop is PAIRS.operators["patches"]
    assert {n: s.space.value for n, s in PAIRS.specs.items()} == dict.fromkeys(PAIRS.planes, "mosaic")

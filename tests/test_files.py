"""Recipe files: every mistake gets one clear sentence, and the schema describes what is right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from degrade import Recipe, RecipeError, UnknownName
from degrade.core.registry import load_operators
from degrade.recipe.files import shipped
from degrade.recipe.schema import schema
from degrade.testing import all_examples

GOOD = """\
seed: 7
source: {space: linear, shrink: 4, camera: demo-a}
operators:
  expose: {op: exposure, stops: {uniform: [0, 1.5]}}
  patches: {op: crop, size: 64, margin: 16, per_photo: 4}
  optics: {op: psf_blur, radius: 15, kernels: [{psf: airy, f_number: 8}, {psf: gaussian, sigma: 1}]}
  cfa: {op: mosaic}
  noise: {op: sensor_noise, iso: 100, reference: soft}
  adc: {op: quantise}
planes:
  clean: [expose, patches, cfa, adc]
  soft: [expose, patches, optics, cfa, noise, adc]
store: [clean, soft]
"""

#: what is replaced in the good recipe, by what, and what is said
WRONG: list[tuple[str, str, str]] = [
    # names
    ("op: mosaic", "op: mosiac", "operators.cfa: unknown operator 'mosiac': did you mean 'mosaic'?"),
    ("op: mosaic", "op: xyzzy", "operators.cfa: unknown operator 'xyzzy': there are: "),
    ("seed: 7", "sede: 7", "sede: unknown field; did you mean 'seed'?"),
    ("stops:", "stop:", "operators.expose.stop: unknown field; did you mean 'stops'?"),
    ("per_photo:", "per_foto:", "operators.patches.per_foto: unknown field; did you mean 'per_photo'?"),
    ("f_number:", "fnumber:", "operators.optics.kernels.0.airy.fnumber: unknown field; did you mean 'f_number'?"),
    ("sigma:", "sigmaa:", "operators.optics.kernels.1.gaussian.sigmaa: unknown field; did you mean 'sigma'?"),
    ("psf: airy", "psf: airry", "operators.optics.kernels.0: unknown psf 'airry': did you mean 'airy'?"),
    ("shrink:", "shrnk:", "source.shrnk: unknown field; did you mean 'shrink'?"),
    ("demo-a", "demo-aa", "unknown camera 'demo-aa': did you mean 'demo-a'?"),
    ("uniform:", "unifrom:", "operators.expose.stops: unknown prior 'unifrom': did you mean 'uniform'?"),
    ("store: [clean", "store: [claen", "unknown plane in store: 'claen': did you mean 'clean'?"),
    ("reference: soft", "reference: sfot", "unknown plane in noise.reference: 'sfot': did you mean 'soft'?"),
    ("patches, cfa, adc]", "patches, cfaa, adc]", "unknown operator in plane 'clean': 'cfaa': did you mean 'cfa'?"),
    ("clean: [expose", "clean: {path: [expose", "line "),
    ("per_photo: 4", "per_photo: 4, on: clear", "unknown plane in patches.on: 'clear': did you mean 'clean'?"),
    ("  clean:", "  a clean:", "planes: names are letters, digits and underscores, got 'a clean'"),
    # types and ranges
    ("size: 64", "size: big", "operators.patches.size: input should be a valid integer, unable to parse"),
    ("size: 64", "size: 6.5", "operators.patches.size: input should be a valid integer"),
    ("size: 64, ", "", "operators.patches.size: field required"),
    ("space: linear", "space: liner", "source.space: input should be 'mosaic', 'linear' or 'display', got 'liner'"),
    ("[0, 1.5]", "[2, 1.5]", "operators.expose.stops: uniform: low must not exceed high, got 2 and 1.5"),
    ("[0, 1.5]", "[0]", "operators.expose.stops: uniform takes (low, high), got [0]"),
    ("[0, 1.5]", "[0, 25]", "operators.expose.stops: uniform: input should be less than or equal to 20, got 25"),
    ("sigma: 1", "sigma: -1", "operators.optics.kernels.1.gaussian.sigma: input should be greater than or equal to 0"),
    ("sigma: 1", "sigma: {uniform: [-1, 2]}", "sigma: uniform: input should be greater than or equal to 0, got -1"),
    ("sigma: 1", "sigma: {normal: [1, 0.2]}", "sigma: normal: input should be greater than or equal to 0, got -inf"),
    ("f_number: 8", "f_number: {choice: [2, x]}", "f_number: choice: input should be a valid number"),
    ("iso: 100", "iso: foto", "operators.noise.iso"),
    ("margin: 16", "margin: 15", "operators.patches.margin: margin must be even, got 15"),
    ("op: mosaic", "mosaic: 1", "operators.cfa: an operator is a mapping with `op:`, got {'mosaic': 1}"),
    ("{op: mosaic}", "mosaic", "operators.cfa: an operator is a mapping with `op:`, got 'mosaic'"),
    ("clean: [expose, patches, cfa, adc]", "clean: expose",
     "planes.clean: a plane is a list of operators, or a mapping with `path:`, got 'expose'"),
    ("seed: 7", "seed: no", "seed: input should be a valid integer, unable to parse string as an integer, got 'no'"),
    # what does not fit together
    ("margin: 16", "margin: 14", "patches: the planes look 15 pixels beyond a patch, margin is 14: set margin: 16"),
    (
        "optics, cfa, noise",
        "cfa, optics, noise",
        "plane 'soft', operator 'optics': psf_blur works on DISPLAY or LINEAR, but stands where the picture is MOSAIC",
    ),
    ("[expose, patches, cfa", "[expose, cfa", "plane 'clean' must pass exactly one crop, the same in all planes (patc"),
    ("[expose, patches, cfa", "[expose, patches, patches, cfa", "plane 'clean' passes 'patches' twice"),
    (
        "clean: [expose, patches, cfa",
        "clean: [patches, expose, cfa",
        "'expose' stands before patches in plane 'soft' and behind it in 'clean': it needs two names",
    ),
    (
        "cfa, adc]\n  soft: [expose, patches, optics, cfa, noise",
        "cfa, noise, adc]\n  soft: [expose, patches, optics, noise, cfa",
        "noise.reference: planes 'clean' and 'soft' differ there in space, size or grid",
    ),
    ("store: [clean, soft]", "store: [clean, clean]", "store: names a plane twice: clean, clean"),
    ("[expose, patches, cfa, adc]", "[expose, cfa, patches, adc]", "'cfa' stands before patches in plane 'clean' and"),
    ("size: 64", "size: 63", "plane 'clean', operator 'cfa': mosaic: the patch must have an even size, got 63 x 63"),
    ("clean: [expose, patches, cfa, adc]", "clean: {path: [expose, patches, cfa, adc], dtype: uint8}",
     "plane 'clean' ends in MOSAIC on the levels of an ADC: it cannot be stored as uint8; allowed: float32 or uint16"),
    ("clean: [expose, patches, cfa, adc]", "clean: {path: [expose, patches, cfa], dtype: uint16}",
     "plane 'clean' ends in MOSAIC, not quantised: it cannot be stored as uint16; allowed: float32, or quantise"),
    # the file itself
    ("seed: 7", "seed: 7\nseed: 8", "line 2: found duplicate key \"seed\""),
    ("op: mosaic}", "op: mosaic, op: quantise}", "line 7: found duplicate key \"op\""),
    ("{op: mosaic}", "{op: mosaic", "line "),
    ("seed: 7", "- seed", "line "),
]  # fmt: skip


def altered(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"it is a folder; the recipe is named first, then the folder of photos"):
        Recipe.load(str(tmp_path))


def test_the_good_one_is_good() -> None:
    assert Recipe.parse(GOOD).crop.size == 64


@pytest.mark.parametrize(("old", "new", "sentence"), WRONG, ids=[new or old for old, new, _ in WRONG])
def test_a_mistake_gets_one_clear_sentence(old: str, new: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(altered(old, new))
    said = str(caught.value)
    assert sentence in said
    assert "\n" not in said
    assert len(said) < 320
    for jargon in ("validation", "function-", "pydantic", "type=", "ctx"):
        assert jargon not in said


CROPS = GOOD.replace("  cfa:", "  other: {op: crop, size: 64}\n  cfa:").replace(
    "[expose, patches, cfa", "[expose, other, cfa"
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (CROPS, "plane 'soft' must pass exactly one crop, the same in all planes (other), it passes patches"),
        (CROPS.replace("other, cfa", "patches, other, cfa"), "it passes patches, other"),
        ("[1, 2]", "a recipe is a mapping with operators: and planes:, got"),
        ("", "a recipe is a mapping with operators: and planes:, got NoneType"),
        ("operators: {}\nplanes: {}", "operators: needs at least one entry"),
        ("operators: {a: {op: exposure, stops: 1}}\nplanes: {p: [a]}", "no plane passes a crop; add one"),
        ("operators: {a: {op: crop, size: 4}}\nplanes: {p: []}", "planes.p.path: "),
        (
            "operators: {a: {op: crop, size: 4}}\nplanes: {p: {pth: [a]}}",
            "planes.p.pth: unknown field; did you mean 'pa",
        ),
        ("operators: {a: {op: crop, size: 4}}\nplanes: {p: a}", "planes.p: "),
        (
            "operators: {a: {op: crop, size: 4}, h: {op: downsample, factor: 2}}\nplanes: {p: [a], q: [h, a]}",
            "all planes must reach a on one pixel grid: move the resampling behind it",
        ),
        (
            "operators: {a: {op: crop, size: 4}, c: {op: maybe, p: 1, do: {op: exposre}}}\nplanes: {p: [a, c]}",
            "operators.c.do: unknown operator 'exposre': did you mean 'exposure'?",
        ),
        (
            "operators: {a: {op: crop, size: 4}, c: {op: maybe, p: 1, do: {op: exposure, stps: 1}}}\nplanes: {p: [a]}",
            "operators.c.do.stps: unknown field; did you mean 'stops'?",
        ),
        (
            "operators: {a: {op: crop, size: 4}, c: {op: chain, steps: [{op: saturate, levl: 1}]}}\nplanes: {p: [a]}",
            "operators.c.steps.0.levl: unknown field; did you mean 'level'?",
        ),
    ],
)
def test_recipes_that_are_wrong_as_a_whole(text: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    for name, text in (("a.yaml", GOOD), ("a.yml", GOOD), ("a.json", Recipe.parse(GOOD).text())):
        tmp_path.joinpath(name).write_text(text, "utf-8")
        assert Recipe.load(str(tmp_path / name)).hash == Recipe.parse(GOOD).hash
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(altered("op: mosaic", "op: mosiac"), "utf-8")
    with pytest.raises(RecipeError) as caught:
        Recipe.load(str(wrong))
    assert str(caught.value).startswith(f"{wrong}: operators.cfa: unknown operator 'mosiac'")
    wrong.write_bytes(b"seed: \xff\xfe")
    with pytest.raises(RecipeError, match=r"wrong.yaml: "):
        Recipe.load(str(wrong))


def test_what_is_said_twice_may_be_named_once() -> None:
    """Anchors, aliases and merges are gone when a recipe is read; one that holds itself is told."""
    named = GOOD.replace("airy, f_number: 8}", "airy, f_number: &n 8}").replace("{psf: gaussian", "{psf: disc")
    named = named.replace("disc, sigma: 1", "disc, radius: *n")
    assert Recipe.parse(named) == Recipe.parse(named.replace("&n ", "").replace("*n", "8"))
    merged = "x: &x {op: exposure, stops: 1}\n  y: {<<: *x, stops: 2}\n  z: *x\n  cfa:"
    read = Recipe.parse(GOOD.replace("cfa:", merged, 1)).operators
    assert read["x"] == read["z"] == read["y"].model_copy(update={"stops": 1.0})
    for ring, place in (
        ("seed: &a [*a]", "seed"),
        ("operators: &a {cfa: *a}", "operators.cfa"),
        ("seed: *a", "line 1"),
    ):
        with pytest.raises(RecipeError, match=place):
            Recipe.parse(f"{ring}\nplanes: {{a: [cfa]}}")


def test_names_of_recipes() -> None:
    assert Recipe.load("residual-maps").hash == Recipe.load("residual_maps").hash
    with pytest.raises(UnknownName, match=r"no recipe 'residual-map': .* did you mean 'residual-maps'\?"):
        Recipe.load("residual-map")
    with pytest.raises(UnknownName, match=r"no recipe 'residual-maps.yaml': neither a file nor"):
        Recipe.load("residual-maps.yaml")


def test_every_shipped_pipeline_is_a_recipe() -> None:
    assert shipped()
    for name, path in shipped().items():
        assert Recipe.load(name) == Recipe.load(str(path))


# -- schema -----------------------------------------------------------------------------------------------------------


def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


def plain(text: str) -> Any:
    from degrade.recipe.files import data_of

    return json.loads(json.dumps(data_of(text)))


def test_schema_takes_what_is_right() -> None:
    check = validator()
    for path in shipped().values():
        check.validate(plain(path.read_text("utf-8")))
    check.validate(plain(GOOD))
    check.validate(json.loads(Recipe.parse(GOOD).text()))
    for given in all_examples():
        check.validate({"operators": {"it": given, "patches": {"op": "crop", "size": 8}}, "planes": {"p": ["patches"]}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("op: mosaic", "op: mosiac"),
        ("stops:", "stop:"),
        ("f_number: 8", "f_number: -8"),
        ("psf: airy", "psf: airry"),
        ("size: 64, ", ""),
        ("size: 64", "size: big"),
        ("seed: 7", "sede: 7"),
        ("uniform:", "unifrom:"),
        ("space: linear", "space: liner"),
        ("store: [clean, soft]", "store: clean"),
        ("clean: [expose, patches, cfa, adc]", "clean: []"),
    ],
)
def test_schema_refuses_what_is_wrong(old: str, new: str) -> None:
    check = validator()
    assert not check.is_valid(plain(altered(old, new)))


def test_schema_describes_every_operator_and_field() -> None:
    found = schema()
    assert {r["$ref"].removeprefix("#/$defs/") for r in found["$defs"]["Operator"]["oneOf"]} == set(load_operators())
    for name in (name for name, kind in load_operators().items() if kind.__module__.startswith("degrade.")):
        for field, about in found["$defs"][name]["properties"].items():
            assert field == "op" or about.get("description"), f"{name}.{field} is not described"
    for ref in _references(found):
        assert ref.removeprefix("#/$defs/") in found["$defs"]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_a_path_names_a_recipe_as_its_text_does(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD, "utf-8")
    assert Recipe.load(path) == Recipe.load(str(path)) == Recipe.parse(GOOD)
    with pytest.raises(UnknownName, match=r"^no recipe '.*good\.yml': neither a file nor a shipped pipeline"):
        Recipe.load(path.with_suffix(".yml"))

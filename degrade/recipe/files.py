"""Recipes as files: YAML 1.2 or JSON in, JSON Schema out, and errors that a person can act on."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError

from degrade.core.errors import RecipeError, UnknownName, nearest
from degrade.core.explain import Place, explained
from degrade.core.maps import Aux
from degrade.core.param import Model
from degrade.core.registry import load_operators
from degrade.recipe.recipe import Plane, Recipe, Source

SUFFIXES = (".yaml", ".yml", ".json")


def _folders() -> list[Path]:
    """Where shipped pipelines lie: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    return [f for f in (package / "pipelines", package.parent / "pipelines") if f.is_dir()]


def shipped() -> dict[str, Path]:
    """The shipped pipelines by name.

    >>> "residual-maps" in shipped()
    True
    """
    return {f.stem.replace("_", "-"): f for folder in _folders() for f in sorted(folder.glob("*.yaml"))}


def load(name: str) -> Recipe:
    """The recipe of a file, or the shipped pipeline of that name.

    Raises:
        UnknownName: if there is none.
        RecipeError: if it is wrong; the file is named.
    """
    path = Path(name)
    if not path.is_file():
        known = shipped()
        key = name.replace("_", "-")
        if path.suffix in SUFFIXES or key not in known:
            raise UnknownName(f"no recipe {name!r}: neither a file nor a shipped pipeline; {nearest(key, known)}")
        path = known[key]
    try:
        return parse(path.read_text("utf-8"))
    except (RecipeError, UnicodeDecodeError) as wrong:
        raise RecipeError(f"{path}: {wrong}") from wrong


def parse(text: str) -> Recipe:
    """The recipe written in YAML 1.2 or JSON.

    Raises:
        RecipeError: saying where, what was got and what is allowed.

    >>> parse("seed: 1")
    Traceback (most recent call last):
    degrade.core.errors.RecipeError: operators: field required
    """
    return build(_data(text))


def build(data: Any) -> Recipe:
    """The recipe of plain data.

    Raises:
        RecipeError: the first thing that is wrong, in one sentence.
    """
    if not isinstance(data, dict):
        raise RecipeError(f"a recipe is a mapping with operators: and planes:, got {type(data).__name__}")
    with explained(partial(_siblings, data=data)):
        return Recipe.model_validate(data)


def _data(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)  # YAML 1.2: 1e-3 is a number, `no` is a text
    yaml.allow_duplicate_keys = False
    try:
        return cast(Any, yaml).load(io.StringIO(text))
    except DuplicateKeyError as wrong:
        said = str(wrong.problem).split(" with value")[0]
        raise RecipeError(f"line {wrong.problem_mark.line + 1}: {said}") from wrong
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise RecipeError(f"{where}not YAML: {wrong.problem or wrong.context}") from wrong


def _siblings(place: Place, data: Any) -> list[str]:
    """Names of the fields that may stand where an unknown one was found."""
    node: Any = data
    for part in place[:-1]:
        # parts that are not in the data are pydantic's own, such as the tag of a union
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = cast(Any, node)[part]
    if node is data:
        return list(Recipe.model_fields)
    given: dict[str, Any] = cast("dict[str, Any]", node) if isinstance(node, dict) else {}
    if "op" in given:
        return ["op", *load_operators()[str(given["op"])].model_fields]
    named = Aux if place[:2] == ("source", "aux") else {"source": Source, "planes": Plane}.get(str(place[0]))
    kinds = [named] if named else [k for k in _models(Model) if _tagged(k, given)]
    return [name for kind in kinds for name in kind.model_fields]


def _tagged(kind: type[BaseModel], given: dict[str, Any]) -> bool:
    """Whether a model is the one that a field such as ``psf: airy`` asks for."""
    return any(isinstance(f.default, str) and f.default == given.get(n) for n, f in kind.model_fields.items())


def _models(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [k for sub in kind.__subclasses__() for k in (sub, *_models(sub))]


def schema() -> dict[str, Any]:
    """JSON Schema of recipe files, with all registered operators, for editors and validators.

    >>> "crop" in schema()["$defs"]
    True
    """
    named = load_operators()
    root = Recipe.model_json_schema()
    defs: dict[str, Any] = root.setdefault("$defs", {})
    for name, kind in sorted(named.items()):
        own = kind.model_json_schema(ref_template="#/$defs/{model}")
        defs |= {k: v for k, v in own.pop("$defs", {}).items() if k != "Operator"}
        own["properties"] = {"op": {"const": name}, **own["properties"]}
        own["required"] = ["op", *own.get("required", [])]
        defs[name] = own
    defs["Operator"] = {"oneOf": [{"$ref": f"#/$defs/{n}"} for n in sorted(named)]}
    path = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    plane = root["properties"]["planes"]
    plane["additionalProperties"] = {"anyOf": [path, {"$ref": "#/$defs/Plane"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}

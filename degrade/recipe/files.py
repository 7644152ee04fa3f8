"""Recipes as files: YAML 1.2 or JSON, the shipped ones by name; and what a person may have meant."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from degrade.core.disk import StrPath
from degrade.core.errors import RecipeError, UnknownName, nearest
from degrade.core.explain import FieldPlace
from degrade.core.param import Model
from degrade.core.registry import load_operators

RECIPE_SUFFIXES = (".yaml", ".yml", ".json")


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


def read(name: StrPath) -> tuple[Path, str]:
    """Path and text of a recipe's file, or of the shipped pipeline of that name.

    Raises:
        UnknownName: if there is none.
        RecipeError: if it is no text.
    """
    name = os.fspath(name)
    path = Path(name)
    if path.is_dir():
        raise UnknownName(f"no recipe {name!r}: it is a folder; the recipe is named first, then the folder of photos")
    if not path.is_file():
        known = shipped()
        key = name.replace("_", "-")
        if path.suffix in RECIPE_SUFFIXES or key not in known:
            raise UnknownName(f"no recipe {name!r}: neither a file nor a shipped pipeline; {nearest(key, known)}")
        path = known[key]
    try:
        return path, path.read_text("utf-8")
    except UnicodeDecodeError as wrong:
        raise RecipeError(f"{path}: {wrong}") from wrong


def data_of(text: str) -> Any:
    """The plain data written in YAML 1.2 or JSON.

    Raises:
        RecipeError: if it is neither, or names a key twice; the line is told.
    """
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
    except (YAMLError, ValueError, RecursionError) as wrong:  # a character, a number or a date that is none, or depth
        raise RecipeError(f"not YAML: {' '.join(str(wrong).split())}") from wrong


def siblings(place: FieldPlace, data: Any, named: Mapping[str, type[BaseModel]]) -> list[str]:
    """Names of the fields that may stand where an unknown one was found.

    Args:
        place: of the unknown one.
        data: what was read.
        named: the models that stand in the fields of a recipe, by the field's name; the recipe itself by "".
    """
    node: Any = data
    for part in place[:-1]:
        # parts that are not in the data are pydantic's own, such as the tag of a union
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = cast(Any, node)[part]
    if node is data:
        return list(named[""].model_fields)
    given: dict[str, Any] = cast("dict[str, Any]", node) if isinstance(node, dict) else {}
    if "op" in given:
        return ["op", *load_operators()[str(given["op"])].model_fields]
    inner = [named[part] for part in map(str, place[:-1]) if part in named]
    kinds = inner[-1:] or [k for k in _models(Model) if _tagged(k, given)]
    return [name for kind in kinds for name in kind.model_fields]


def _tagged(kind: type[BaseModel], given: dict[str, Any]) -> bool:
    """Whether a model is the one that a field such as ``psf: airy`` asks for."""
    return any(isinstance(f.default, str) and f.default == given.get(n) for n, f in kind.model_fields.items())


def _models(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [k for sub in kind.__subclasses__() for k in (sub, *_models(sub))]

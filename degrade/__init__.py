"""degrade: RAW photographs into physically true, aligned training pairs.

A recipe says what happens to a photograph; every random choice in it has an address; rendering gives aligned planes;
a store keeps them; a loader feeds a GPU. Importing this package loads nothing heavy: each public name loads what it
needs when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from degrade.core.compose import Chain, Maybe, OneOf, Shuffle
    from degrade.core.errors import DegradeError, PhotoError, RecipeError, StoreError, UnknownName
    from degrade.core.frame import Frame, Grid, Sensor, Space
    from degrade.core.key import Key, Keys
    from degrade.core.operator import Operator
    from degrade.core.param import Param, column
    from degrade.core.patches import Patches
    from degrade.core.prior import Choice, Integer, LogUniform, Normal, Seed, Uniform
    from degrade.core.registry import register
    from degrade.core.spec import Spec
    from degrade.gear.cameras import Camera
    from degrade.pairs.run import build
    from degrade.pairs.store import PatchStore
    from degrade.photos.read import read_photo
    from degrade.recipe.recipe import Recipe
    from degrade.recipe.render import render
    from degrade.recipe.transform import transform

__all__ = [
    "Camera",
    "Chain",
    "Choice",
    "DegradeError",
    "Frame",
    "Grid",
    "Integer",
    "Key",
    "Keys",
    "LogUniform",
    "Maybe",
    "Normal",
    "OneOf",
    "Operator",
    "Param",
    "PatchStore",
    "Patches",
    "PhotoError",
    "Recipe",
    "RecipeError",
    "Seed",
    "Sensor",
    "Shuffle",
    "Space",
    "Spec",
    "StoreError",
    "Uniform",
    "UnknownName",
    "build",
    "column",
    "read_photo",
    "register",
    "render",
    "transform",
]

_WHERE = {
    "core.compose": (
        "Chain",
        "Maybe",
        "OneOf",
        "Shuffle",
    ),
    "core.errors": (
        "DegradeError",
        "PhotoError",
        "RecipeError",
        "StoreError",
        "UnknownName",
    ),
    "core.frame": (
        "Frame",
        "Grid",
        "Sensor",
        "Space",
    ),
    "core.key": (
        "Key",
        "Keys",
    ),
    "core.operator": ("Operator",),
    "core.param": ("Param", "column"),
    "core.patches": ("Patches",),
    "core.prior": (
        "Choice",
        "Integer",
        "LogUniform",
        "Normal",
        "Seed",
        "Uniform",
    ),
    "core.registry": ("register",),
    "core.spec": ("Spec",),
    "gear.cameras": ("Camera",),
    "pairs.run": ("build",),
    "pairs.store": ("PatchStore",),
    "photos.read": ("read_photo",),
    "recipe.recipe": ("Recipe",),
    "recipe.render": ("render",),
    "recipe.transform": ("transform",),
}  #: where each public name is defined


def __getattr__(name: str) -> Any:
    for module, names in _WHERE.items():
        if name in names:
            return globals().setdefault(name, getattr(import_module(f"degrade.{module}"), name))
    from degrade.core.errors import nearest

    hint = "" if name.startswith("_") else f": {nearest(name, __all__)}"
    raise AttributeError(f"module 'degrade' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

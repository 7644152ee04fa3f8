"""degrade: RAW photographs into physically true, aligned training pairs.

A recipe says what happens to a photograph; every random choice in it has an address; rendering gives aligned planes;
a store keeps them; a loader feeds a GPU. Building and reading load their libraries on first use, so that importing
this package costs little beyond torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from degrade.recipe.cameras import Camera
from degrade.recipe.compose import Chain, Maybe, OneOf, Shuffle
from degrade.recipe.errors import PhotoError, RecipeError
from degrade.recipe.frame import Frame, Grid, Sensor, Space
from degrade.recipe.key import Key
from degrade.recipe.operator import Operator
from degrade.recipe.param import Param
from degrade.recipe.patches import Patches
from degrade.recipe.prior import Choice, Integer, LogUniform, Normal, Seed, Uniform
from degrade.recipe.recipe import Recipe
from degrade.recipe.registry import register
from degrade.recipe.spec import Spec

if TYPE_CHECKING:
    from degrade.builder.run import build
    from degrade.photos.read import read_photo
    from degrade.store.read import PatchStore

__all__ = [
    "Camera",
    "Chain",
    "Choice",
    "Frame",
    "Grid",
    "Integer",
    "Key",
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
    "Uniform",
    "build",
    "read_photo",
    "register",
]

_LATER = {"PatchStore": "degrade.store.read", "build": "degrade.builder.run", "read_photo": "degrade.photos.read"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'degrade' has no attribute {name!r}")

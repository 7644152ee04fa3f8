"""degrade: RAW photographs into physically true, aligned training pairs.

A recipe says what happens to a photograph; every random choice in it has an address; rendering gives aligned planes;
a store keeps them; a loader feeds a GPU. Building and reading load their libraries on first use, so that importing
this package costs little beyond torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from degrade.core.compose import Chain, Maybe, OneOf, Shuffle
from degrade.core.errors import DegradeError, PhotoError, RecipeError, StoreError, UnknownName
from degrade.core.frame import Frame, Grid, Sensor, Space
from degrade.core.key import Key
from degrade.core.operator import Operator
from degrade.core.param import Param
from degrade.core.patches import Patches
from degrade.core.prior import Choice, Integer, LogUniform, Normal, Seed, Uniform
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.gear.cameras import Camera
from degrade.recipe.recipe import Recipe

if TYPE_CHECKING:
    from degrade.pairs.run import build
    from degrade.pairs.store import PatchStore
    from degrade.photos.read import read_photo

__all__ = [
    "Camera",
    "Chain",
    "Choice",
    "DegradeError",
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
    "StoreError",
    "Uniform",
    "UnknownName",
    "build",
    "read_photo",
    "register",
]

_LATER = {"PatchStore": "degrade.pairs.store", "build": "degrade.pairs.run", "read_photo": "degrade.photos.read"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'degrade' has no attribute {name!r}")

"""degrade: RAW photographs into physically true, aligned training pairs."""

from __future__ import annotations

from degrade.recipe.errors import PhotoError, RecipeError
from degrade.recipe.frame import Frame, Grid, Sensor, Space
from degrade.recipe.key import Key

"""The one error of this room."""

from degrade.recipe.errors import PhotoError as PhotoError

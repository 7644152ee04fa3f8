"""The one error of this room, defined with the other errors so that lower rooms may raise it too."""

from degrade.recipe.errors import PhotoError

__all__ = ["PhotoError"]

"""Recorded: the recipe that a store was built from, and whether it means today what it meant then."""

from __future__ import annotations

from degrade.core.errors import StoreError
from degrade.recipe.recipe import Recipe
from degrade.store.read import Store


def recipe_of(store: Store) -> Recipe:
    """The recipe that a store was built from.

    Raises:
        RecipeError: if an operator of its is not installed.
        StoreError: if it notes none, or a damaged one.
    """
    if not store.layout.written:
        raise StoreError(f"{store.path} notes no recipe: its planes and columns can be read, nothing can be rendered")
    return Recipe.parse(store.attributes["recipe"])


def unchanged(store: Store, recipe: Recipe) -> bool:
    """Whether the operators and the camera of a store's recipe are today what they were when it was built."""
    return recipe.hash_of(store.layout.written) == store.attributes["recipe_hash"]


def refuse_changed(store: Store, recipe: Recipe) -> None:
    """Nothing, if a store's recipe gives the pixels that it gave when the store was built.

    Raises:
        StoreError: if it does not.
    """
    if not unchanged(store, recipe):
        raise StoreError(
            f"{store.path} was built with other operator versions or another {recipe.source.camera or 'camera'}: "
            "replay and render it with the degrade version that built it, or build it again"
        )

"""From frames to what a store keeps: DN with the black level kept, 8-bit DISPLAY, or float32 as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core import maps
from degrade.core.frame import Frame, Space
from degrade.maths import sensor
from degrade.operators.sensor import levels
from degrade.recipe.recipe import Recipe
from degrade.store.layout import Column, PlaneLayout


def planes_of(recipe: Recipe) -> tuple[PlaneLayout, ...]:
    """How each stored plane of a recipe lies on disk.

    >>> planes_of(Recipe.load("residual-maps"))[0]
    PlaneLayout(name='clean', channels=4, height=64, width=64, dtype='uint16', space='mosaic')
    """
    return tuple(p for name in recipe.stored for p in layouts(recipe, name))


def layouts(recipe: Recipe, name: str) -> Iterator[PlaneLayout]:
    """A plane, and the maps that it keeps for planes that are rendered from it."""
    spec, plane = recipe.specs[name], recipe.planes[name]
    assert spec.size is not None  # a path has a crop
    edge = round(recipe.crop.margin / spec.grid.scale[0]) if plane.margin == "keep" else 0
    levels = "uint8" if spec.space is Space.DISPLAY else "uint16"
    dtype = plane.dtype or (levels if spec.digital else "float32")
    height, width = (n + 2 * edge for n in spec.size)
    yield PlaneLayout(name, spec.channels, height, width, dtype, spec.space.value)
    for read in recipe.roots.get(name, ()):
        yield PlaneLayout(f"{name}_{read}", maps.channels(read), height, width, "float32", read)


def columns_of(recipe: Recipe) -> tuple[Column, ...]:
    """The columns of a recipe's store: draws, notes, place, and the levels of each row."""
    draws = recipe.columns()
    codes = {n: "int8" if len(names) < 128 else "int32" for n, names in draws.labels.items()}
    facts = [Column(n, "int32", unit="pixel") for n in ("crop_top", "crop_left")]
    facts += [Column(n, "float32", unit="half diagonal") for n in ("field_y", "field_x")]
    facts += [Column(n, "float32", unit="DN") for n in ("black", "white")] + [Column("iso", "float32")]
    drawn = [Column(n, codes.get(n, "float64"), draws.labels.get(n)) for n in draws.values]
    return (*drawn, *(Column(n, "float32") for n in recipe.notes()), *facts)


def encode(frames: Mapping[str, Frame], plane: PlaneLayout) -> NDArray[Any]:
    """The rows of a plane as the store keeps them: (n, c, h, w) of its dtype.

    Args:
        frames: what a recipe rendered, by plane.
        plane: one of `planes_of` the recipe.
    """
    if plane.name not in frames:
        return frames[plane.name.removesuffix(f"_{plane.space}")].aux[plane.space].float().cpu().numpy()
    return words(frames[plane.name], plane).cpu().numpy()


def words(frame: Frame, plane: PlaneLayout) -> Tensor:
    """The rows of a frame as numbers of the plane's dtype, on the frame's device."""
    if plane.dtype == "float32":
        return frame.data
    return sensor.numbers(frame.data, *levels(frame), getattr(torch, plane.dtype))

"""Rendering: one photo through a recipe, block by block.

All rows of the photo are drawn at once, as stacks. Common beginnings of planes are computed once in a block, each
with just the margin that its planes need. A row is the same whatever block order, worker or device count rendered it,
because it is always rendered in its own block, on one thread, from its own addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from degrade.core.errors import PhotoError, find, noting
from degrade.core.frame import Frame, Sensor
from degrade.core.group import Rows, Slots
from degrade.core.key import Key, Keys
from degrade.core.operator import Operator
from degrade.core.patches import ABSENT, Patches
from degrade.recipe import derive
from degrade.recipe.block import Block, anywhere, concatenated, drawn_behind, one_thread
from degrade.recipe.columns import Columns, Values
from degrade.recipe.paths import Path, Paths
from degrade.recipe.recipe import Recipe


def render(
    recipe: Recipe, photo: Frame, name: str, rows: Sequence[int] | None = None, planes: Sequence[str] | None = None
) -> dict[str, Frame]:
    """Renders rows of one photo; the same rows come out whatever else is asked for.

    Args:
        recipe: the recipe.
        photo: (1, c, h, w) as `degrade.read_photo` gives it.
        name: the photo's key, part of every address.
        rows: which of its rows; all that are present by default.
        planes: which planes; the stored ones by default.

    Returns:
        Frames by plane, their rows in the order asked for.

    >>> from degrade import Recipe, Sensor, Space
    >>> dusk = Frame(torch.full((1, 3, 256, 256), 0.1), Space.LINEAR, Sensor.make(iso=100))
    >>> {name: tuple(f.data.shape) for name, f in render(Recipe.load("denoise"), dusk, "dusk.dng", [0, 3]).items()}
    {'clean': (2, 4, 64, 64), 'noisy': (2, 4, 64, 64)}
    """
    return Rendering(recipe, photo, name).frames(rows, planes)


class Rendering:
    """One photo, opened and drawn. Its stacks have a slot for each row that is present, in order.

    Attributes:
        rows: the rows that are present: number in the photo, by slot.
        entered: the camera that patches were cut with, one row, before operators behind the crop changed it.
        sensor: the camera of each present row, one for all its planes.
        model: maker and model of the camera that took the photo.
        notes: what operators recorded of each present row, filled as blocks are rendered.
    """

    def __init__(self, recipe: Recipe, photo: Frame, name: str) -> None:
        self.recipe, self.name = recipe, name
        self.model, self.key = photo.model, Key(recipe.seed).at(name)
        if photo.space is not recipe.source.space:
            raise PhotoError(f"the recipe reads {recipe.source.space.value}, the photo came as {photo.space.value}")
        self._stages: dict[Path, Frame] = {(): replace(photo, sensor=recipe.sensor(photo.sensor, photo.model))}
        with one_thread(), noting(self._whose):
            crop = recipe.crop.model_copy(update={"border": recipe.paths.border})
            entering = self.photo_stage(recipe.paths.before(crop.on or next(iter(recipe.planes))))
            patches = self.key.at(np.arange(crop.per_photo))
            with noting(partial(recipe.paths.whose, recipe.paths.crop_name)):
                placed = cast(Patches, crop.draw(patches.at(recipe.paths.crop_name), entering))
            self.rows: Rows = np.flatnonzero(np.asarray(placed.top) != ABSENT)
            self.crop = placed.take(self.rows)
            self.keys = patches[self.rows]
            n = len(self.rows)
            self.entered: Sensor = entering.sensor
            camera = self.entered.map(lambda t: t.expand(n, *t.shape[1:]).contiguous())
            self.ops, self.sensor = drawn_behind(recipe, lambda _: Keys(self.key, self.keys), camera, entering)
        self.notes: dict[str, Values] = {name: np.full(n, np.nan) for name in recipe.notes()}

    def _whose(self) -> str:
        return f"photo {self.name!r}"

    # -- once a photo -------------------------------------------------------------------------------------------------

    def photo_stage(self, path: Path) -> Frame:
        """The whole photo after these operators before the crop; each is run once."""
        if path not in self._stages:
            before, asked = self.photo_stage(path[:-1]), self.recipe.operators[path[-1]]
            with noting(partial(self.recipe.paths.whose, path[-1], path)):
                _check_size(path[-1], before.size, asked.enters(self.recipe.paths.spec(path[:-1]), 0))
                op = cast(Operator, asked.draw(self.key.at(path[-1]), before))
                self._stages[path] = op.apply(before)
        return self._stages[path]

    def columns(self) -> Columns:
        """The draws of the present rows, with where they lie and what was noted."""
        columns = self.recipe.columns(self.keys, self.key)
        columns.values |= self.notes
        return columns

    @property
    def places(self) -> dict[str, Values]:
        """Top and left of each present row [photo pixels], and where it lies in the field (y, x) [half diagonals]."""
        field = self.field(np.arange(len(self.rows)))
        top, left = np.asarray(self.crop.top), np.asarray(self.crop.left)
        return {"crop_top": top, "crop_left": left, "field_y": field[:, 0].numpy(), "field_x": field[:, 1].numpy()}

    def field(self, slots: Slots) -> Tensor:
        """(n, 2) where some rows lie in the field (y, x) [half diagonals]."""
        if self.recipe.source.field == "unknown":
            return anywhere(self.keys[slots])
        crop = self.crop.take(slots)
        photo = self.photo_stage(self.recipe.paths.before(next(iter(self.recipe.planes))))
        return crop.field(photo).cpu()

    def cut(self, before: Path, slots: Slots, margin: int) -> Frame:
        """Some rows after these operators before the crop, with ``margin`` photo pixels around each."""
        photo = self.photo_stage(before)
        read = {name: t for name, t in photo.aux.items() if name != "clipped"}  # which was for the crop
        frame = self.crop.take(slots).cut(replace(photo, aux=read), margin)
        sensor = self.sensor.rows(torch.from_numpy(slots))
        return frame.changed(sensor=sensor, field=self.field(slots).to(frame.data.device))

    @property
    def paths(self) -> Paths:
        """The recipe's planes."""
        return self.recipe.paths

    def at_hand(self, path: Path, slots: Slots, margin: int) -> Frame | None:
        """The rows just behind the crop, where rendering begins."""
        return self.cut(path[:-1], slots, margin) if path[-1] == self.recipe.paths.crop_name else None

    def note(self, name: str, slots: Slots, values: Tensor) -> None:
        """Keeps what an operator, or a plane, records of some rows."""
        self.notes[name][slots] = values.cpu().numpy()

    # -- blocks of rows -----------------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Slots]:
        """Slots of the rows of each block, in order; blocks without rows are left out."""
        which = self.rows // self.recipe.block
        for k in np.unique(which):
            yield np.flatnonzero(which == k)

    def block(self, slots: Slots, planes: Sequence[str] | None = None) -> dict[str, Frame]:
        """Renders the rows of one of `blocks` in the planes asked for."""
        with one_thread(), noting(self._whose):
            block = Block(self, slots)
            frames = {name: block.plane(name) for name in planes or self.recipe.stored}
        for root in self.recipe.roots.keys() & frames.keys():
            for name, values in derive.noted(root, frames[root]).items():
                self.note(name, slots, values)
        return frames

    def frames(self, rows: Sequence[int] | None = None, planes: Sequence[str] | None = None) -> dict[str, Frame]:
        """The rows asked for, by plane; each is rendered in its own whole block.

        Raises:
            IndexError: for a row that the photo does not have, or where it has none.
        """
        for name in planes or ():
            find(name, self.recipe.planes, "plane")
        wanted = self.rows if rows is None else np.asarray(rows, np.int64)
        missing = wanted[~np.isin(wanted, self.rows)]
        if len(missing):
            raise IndexError(
                f"row {missing[0]} of the photo is absent; present are {len(self.rows)} of {self.recipe.crop.per_photo}"
            )
        if not len(wanted):
            raise IndexError(f"no row to render; present are {len(self.rows)} of {self.recipe.crop.per_photo}")
        slots = np.searchsorted(self.rows, wanted)
        parts = [(block, self.block(block, planes)) for block in self.blocks() if np.isin(slots, block).any()]
        done = np.concatenate([block for block, _ in parts])
        index = torch.from_numpy(np.argsort(done)[np.searchsorted(np.sort(done), slots)])
        return {name: concatenated([frames[name] for _, frames in parts], index) for name in parts[0][1]}


def _check_size(name: str, size: tuple[int, int], lost: int) -> None:
    """Raises PhotoError if an operator before the crop, which loses so many pixels at each side, leaves nothing."""
    if min(size) <= 2 * lost:
        raise PhotoError(
            f"the photo has {size[0]} x {size[1]} pixels before {name!r}, which looks {lost} pixels beyond each: "
            "leave it out, or use a smaller shrink"
        )

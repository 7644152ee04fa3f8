"""Transform: a recipe as a function of a batch of pictures, inside a training loop; no file, no store.

To the recipe each picture is a photo of its own: the operators before the crop run on it, the crop takes its middle,
the rest goes as in rendering, on one thread of a CPU or on the pictures' own device, here on all rows at once.
Row i of step s has the address ``Key(seed).at(s, i)``, so a step repeats whatever came before it.

Gradients reach the pictures through every operator that is a formula of them. Roundings (levels, JPEG, counts) pass
them straight through, as in Bengio et al. 2013; what the libraries of other codecs do has no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError, UnknownName, find, noting
from degrade.core.frame import Frame, Grid, Sensor
from degrade.core.group import Group, Slots, merge
from degrade.core.key import Key, Keys
from degrade.recipe.block import Block, anywhere, drawn_behind, one_thread
from degrade.recipe.paths import Path, Paths
from degrade.recipe.recipe import Recipe


def transform(recipe: Recipe) -> Transform:
    """A recipe as a function of a batch of pictures, for a training loop without a store.

    >>> from degrade import Recipe
    >>> transform(Recipe.load("denoise"))(torch.full((2, 3, 128, 128), 0.1), step=0)["noisy"].shape
    torch.Size([2, 4, 64, 64])
    """
    return Transform(recipe)


@dataclass(frozen=True)
class Transform:
    """A recipe that takes batches of pictures; made by `transform`.

    >>> pairs = transform(Recipe.load("residual-maps"))
    >>> pairs.size
    (192, 192)
    >>> batch = pairs(torch.full((2, 3, 192, 192), 0.1), step=5)
    >>> {name: tuple(plane.shape) for name, plane in batch.items()}["noise_blur"]
    (2, 4, 64, 64)
    """

    recipe: Recipe

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures: patch, the crop's margin, what operators before it leave invalid."""
        spec = self.recipe.paths.spec(self.recipe.paths.before(next(iter(self.recipe.planes))))
        side = self.recipe.crop.side + 2 * _edge(self.recipe)
        y, x = spec.grid.scale
        return math.ceil(side * y), math.ceil(side * x)

    def __call__(
        self, pictures: Tensor | Frame, step: int | str, planes: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The planes of a batch.

        Args:
            pictures: (b, c, *size) float32 in the source's space, 0 black and 1 white; or a Frame of them that also
                knows the camera, maps, or the place in the field. A place that is not known is drawn.
            step: address of the batch: the same step gives the same draws, another one others. With a photo's key in
                its place rows are drawn as `render` draws those of that photo, other than ``per: photo``.
            planes: which planes; the stored ones by default.

        Returns:
            (b, c, h, w) by plane, on the device of the pictures.

        Raises:
            PhotoError: if the pictures have another shape, number type or space, or lack a map that the recipe reads.
            UnknownName: if there is no such plane.
            RecipeError: if an operator cannot work on many pictures at once.
        """
        return {name: frame.data for name, frame in self.frames(pictures, step, planes).items()}

    def frames(
        self, pictures: Tensor | Frame, step: int | str, planes: Sequence[str] | None = None
    ) -> dict[str, Frame]:
        """The planes with their cameras, noise and maps; all else as when called."""
        for name in planes or ():
            find(name, self.recipe.planes, "plane")
        frame = self._checked(pictures)
        keys = Key(self.recipe.seed).at(step, _slots(frame))
        with one_thread(), noting(f"step {step!r}"):
            block = Block(_Batch(self.recipe, frame, keys), _slots(frame))
            return {name: block.plane(name) for name in planes or self.recipe.stored}

    def _checked(self, pictures: Tensor | Frame) -> Frame:
        source = self.recipe.source
        iso = float("nan") if source.iso is None else source.iso
        frame = pictures if isinstance(pictures, Frame) else Frame(pictures, source.space, Sensor.make(iso=iso))
        if frame.space is not source.space:
            raise PhotoError(f"the recipe reads {source.space.value}, the pictures came as {frame.space.value}")
        shape, want = tuple(frame.data.shape), (source.space.channels, *self.size)
        if len(shape) != 4 or shape[1:] != want or not shape[0]:
            raise PhotoError(f"the recipe takes pictures (b, {', '.join(map(str, want))}), got {shape}")
        if frame.data.dtype != torch.float32:
            raise PhotoError(f"pictures are float32, 0 black and 1 white, got {frame.data.dtype}")
        missing = [name for name in source.aux if name not in frame.aux]
        if missing:
            raise PhotoError(f"the recipe reads {', '.join(missing)} beside each picture: give a Frame with that aux")
        return frame


class _Batch:
    """Pictures with the operators drawn for each: where a block of them begins."""

    def __init__(self, recipe: Recipe, frame: Frame, keys: Key) -> None:
        self.recipe, self.keys = recipe, keys

        def rows(t: Tensor) -> Tensor:
            return t.to(frame.data.device).expand(len(frame), *t.shape[1:])

        place = rows(frame.field)
        if recipe.source.field == "unknown" or bool(place.isnan().any()):
            drawn = anywhere(keys).to(place.device)
            place = drawn if recipe.source.field == "unknown" else torch.where(place.isnan(), drawn, place)
        self._stages: dict[Path, Frame] = {
            (): replace(
                frame,
                sensor=recipe.sensor(frame.sensor, frame.model).map(rows),
                origin=rows(frame.origin),
                field=place,
                noise=None if frame.noise is None else rows(frame.noise),
            )
        }
        # cameras are a few numbers a row, and are changed on the CPU
        camera = self._stage(recipe.paths.before(next(iter(recipe.planes)))).sensor.map(Tensor.cpu)
        self.ops, camera = drawn_behind(recipe, lambda _: Keys(keys, keys), camera)  # each is a photo of its own
        self.sensor = camera.map(rows)

    def _stage(self, path: Path) -> Frame:
        """The pictures after these operators before the crop; each is run once."""
        if path not in self._stages:
            before, name = self._stage(path[:-1]), path[-1]
            slots = _slots(before)
            try:
                with noting(partial(self.paths.whose, name, path)):
                    drawn = self.recipe.operators[name].draw(self.keys.at(name))
                    (after,) = merge(drawn.over([Group(slots, before)], slots), wide=True)
            except (RecipeError, UnknownName) as wrong:
                raise RecipeError(f"operator {name!r} before the crop, on a batch: {wrong}") from wrong
            self._stages[path] = after.frame
        return self._stages[path]

    @property
    def paths(self) -> Paths:
        """The recipe's planes."""
        return self.recipe.paths

    def at_hand(self, path: Path, slots: Slots, margin: int) -> Frame | None:
        """The middle of the pictures, behind the crop; they are all of one block."""
        if path[-1] != self.recipe.paths.crop_name:
            return None
        stage, crop = self._stage(path[:-1]), self.recipe.crop
        skip = _edge(self.recipe) - margin
        end = skip + crop.side + 2 * margin

        def inner(t: Tensor) -> Tensor:
            return t[..., skip:end, skip:end].contiguous()

        return replace(
            stage,
            data=inner(stage.data),
            sensor=self.sensor,
            grid=Grid().scaled(1 / crop.oversample).moved(-margin, -margin),
            aux={k: inner(v) for k, v in stage.aux.items()},
            oversample=crop.oversample,
            notes={},
        )

    def note(self, name: str, slots: Slots, values: Tensor) -> None:
        """Nothing is kept: a training loop has no record."""


def _edge(recipe: Recipe) -> int:
    """Pixels around the patch in what enters the crop."""
    return recipe.crop.margin * recipe.crop.oversample + recipe.paths.border


def _slots(frame: Frame) -> Slots:
    """Slots of the pictures of a batch, in which each is a row."""
    return np.arange(len(frame))

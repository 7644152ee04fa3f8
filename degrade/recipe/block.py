"""Block: some rows in all their planes; every beginning of a path is rendered once, whatever it is rendered from.

Photos, batches of a transform and stored rows are sources of blocks: they tell the planes, the operators drawn for
their rows, and the pixels where each row begins.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from degrade.core.errors import RecipeError, noting
from degrade.core.frame import Frame, Sensor
from degrade.core.group import Group, Slots, merge, subset
from degrade.core.key import Key, Keys
from degrade.core.operator import Drawn
from degrade.core.spec import Spec
from degrade.recipe.paths import Path, Paths
from degrade.recipe.recipe import Recipe


@contextmanager
def one_thread() -> Generator[None]:
    """Runs torch on one thread: sums and transforms then do not depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def drawn_behind(
    recipe: Recipe, keys: Callable[[str], Keys], camera: Sensor, frame: Frame | None = None
) -> tuple[dict[str, Drawn], Sensor]:
    """The operators behind the crop, drawn for some rows, and the camera that they leave.

    Args:
        recipe: the recipe.
        keys: addresses of the rows and of their photos, for the operator of a name.
        camera: of each row, as it was cut.
        frame: what operators see of the picture when they are drawn.
    """
    ops: dict[str, Drawn] = {}
    for name in recipe.paths.behind:
        op, at = recipe.operators[name], keys(name)
        with noting(partial(recipe.paths.whose, name)):
            ops[name] = op.draw((at if op.per == "photo" else at.own).at(name), frame)
            camera = ops[name].camera(camera)
    return ops, camera


def concatenated(frames: Sequence[Frame], index: Tensor) -> Frame:
    """The rows of frames that agree in all else, one after the other, by ``index`` among them all.

    Their noise is known where it is known of all.
    """
    first, lines = frames[0], [f.noise for f in frames if f.noise is not None]
    return replace(
        first,
        data=torch.cat([f.data for f in frames])[index],
        sensor=Sensor.joined([f.sensor for f in frames]).rows(index),
        origin=torch.cat([f.origin for f in frames])[index],
        field=torch.cat([f.field for f in frames])[index],
        noise=torch.cat(lines)[index] if len(lines) == len(frames) else None,
        correlated=any(f.correlated for f in frames),
        aux={k: torch.cat([f.aux[k] for f in frames])[index] for k in first.aux},
        notes={},
    )


def anywhere(keys: Key) -> Tensor:
    """(n, 2) places in the field (y, x) [half diagonals], drawn evenly over the disc of the image circle."""
    radius, turn = (keys.at("field", n).unit() for n in ("radius", "turn"))
    place = np.sqrt(radius)[:, None] * np.stack((np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)), axis=1)
    return torch.from_numpy(place.astype(np.float32))


class BlockSource(Protocol):
    """What blocks are rendered from: planes, operators drawn for rows, and the pixels where each row begins."""

    @property
    def paths(self) -> Paths:
        """The planes."""
        ...

    @property
    def ops(self) -> dict[str, Drawn]:
        """The operators, drawn for all rows."""
        ...

    def at_hand(self, path: Path, slots: Slots, margin: int) -> Frame | None:
        """Rows in some slots of the operators, after this beginning of a path, if they are at hand there.

        ``margin`` pixels lie around each.
        """
        ...

    def note(self, name: str, slots: Slots, values: Tensor) -> None:
        """Takes what an operator, or a plane, records of some rows."""
        ...


class Block:
    """Some rows of a source: every beginning of a path is rendered once and kept.

    Its own slots count these rows from 0; ``slots`` are theirs in the source's stacks.
    """

    def __init__(self, source: BlockSource, slots: Slots) -> None:
        self.source, self.paths, self.slots = source, source.paths, slots
        self.done: dict[Path, list[Group]] = {}

    def plane(self, name: str) -> Frame:
        """The rows of one plane.

        Raises:
            RecipeError: if they end in different sizes.
        """
        groups = merge(self._with_margin(self.paths.planes[name], self.paths.kept(name)), wide=True)
        if len(groups) > 1:
            sizes = sorted({"x".join(map(str, g.frame.data.shape[1:])) for g in groups})
            raise RecipeError(
                f"plane {name!r}: rows end in different sizes ({', '.join(sizes)}); resize to one at the end"
            )
        return groups[0].frame

    def _beginning(self, path: Path) -> list[Group]:
        """The rows after this beginning of a path, with the margin that its planes need."""
        if path not in self.done:
            here = self.source.at_hand(path, self.slots, self.paths.margins[path])
            self.done[path] = self._step(path) if here is None else [Group(np.arange(len(self.slots)), here)]
        return self.done[path]

    def _step(self, path: Path) -> list[Group]:
        name, before = path[-1], path[:-1]
        spec, after = self.paths.spec(before), self.paths.margins[path]
        enter = self.paths.operators[name].enters(spec, after)
        groups = self._with_margin(before, enter)
        asked = self.paths.reference(name)
        if asked is not None:
            theirs = self._with_margin(self.paths.stem(asked, name), enter)
            groups = [g for mine in groups for g in _with_reference(mine, theirs)]
        done = self.paths.spec(path)
        margin = round(enter * spec.grid.scale[0] / done.grid.scale[0])
        with noting(partial(self.paths.whose, name, path)):
            groups = self.source.ops[name].over(groups, self.slots)
            for g in groups:
                _check_shape(g, done, margin)
        return [self._noted(name, g) for g in _trimmed(groups, margin - after)]

    def _with_margin(self, path: Path, pixels: int) -> list[Group]:
        return _trimmed(self._beginning(path), self.paths.margins[path] - pixels)

    def _noted(self, name: str, group: Group) -> Group:
        for note, values in group.frame.notes.items():
            self.source.note(f"{name}.{note}", self.slots[group.slots], values)
        return Group(group.slots, group.frame.changed(notes={}, reference=None))


def _check_shape(group: Group, planned: Spec, margin: int) -> None:
    """Raises RuntimeError, for it is a bug, if an operator gave data of another shape than it had planned."""
    got = tuple(group.frame.data.shape)
    size = got[2:] if planned.size is None else tuple(n + 2 * margin for n in planned.size)
    if got != (want := (len(group.slots), planned.channels, *size)):
        raise RuntimeError(f"`apply` gave data of shape {got}, where `plan` says {want}")


def _trimmed(groups: list[Group], pixels: int) -> list[Group]:
    return groups if pixels == 0 else [Group(g.slots, g.frame.trim(pixels)) for g in groups]


def _with_reference(mine: Group, theirs: list[Group]) -> Iterator[Group]:
    """``mine`` with the same rows of the other plane as its reference, split as that one is."""
    for other in theirs:
        shared = np.flatnonzero(np.isin(mine.slots, other.slots))
        if len(shared):
            part = subset(mine, shared)
            same = np.searchsorted(other.slots, part.slots)
            yield Group(part.slots, part.frame.changed(reference=subset(other, same).frame))

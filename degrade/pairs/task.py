"""One shard: its photos are read, rendered and written, one after the other. This is a task."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.core.errors import PhotoError, noting
from degrade.pairs.camera import camera_of
from degrade.pairs.encode import encode
from degrade.pairs.plan import Plan
from degrade.photos import Photo, fingerprint, path_of, read_source
from degrade.recipe.recipe import Recipe
from degrade.recipe.render import Rendering
from degrade.store.batch import named_device
from degrade.store.layout import Layout
from degrade.store.write import PhotoFact, ShardWriter


@dataclass
class Outcome:
    """What became of some photos."""

    photos: int = 0
    rows: int = 0
    quarantined: dict[str, str] = field(default_factory=dict[str, str])  #: reason by key
    warnings: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  #: keys by message

    def add(self, other: Outcome) -> None:
        """Takes in another outcome."""
        self.photos += other.photos
        self.rows += other.rows
        self.quarantined |= other.quarantined
        for message, keys in other.warnings.items():
            self.warnings.setdefault(message, []).extend(keys)


@dataclass(frozen=True)
class Task:
    """All that a worker needs to build one shard."""

    store: str
    shard: int
    layout: Layout
    recipe: Recipe
    folder: str
    photos: tuple[Photo, ...]
    device: str = "cpu"  #: where blocks are rendered

    @classmethod
    def of(cls, plan: Plan, store: Path, shard: int, device: str = "cpu") -> Task:
        """The task of one shard of a plan."""
        return cls(str(store), shard, plan.layout, plan.recipe, str(plan.folder), plan.shard(shard), device)


def build_shard(task: Task, seen: Callable[[Outcome], object] | None = None) -> Outcome:
    """Builds one shard; running it again writes the same bytes.

    Args:
        task: the shard.
        seen: hears of every photo as it is done.

    Raises:
        FileNotFoundError: if the folder cannot be seen from here.
        RecipeError: if the device is not here.
        StoreError: if the disk is full.
    """
    device = named_device(task.device)
    if not Path(task.folder).is_dir():
        raise FileNotFoundError(
            f"the worker cannot see the photos in {task.folder}: use a folder that every worker shares"
        )
    total = Outcome()
    rows = len(task.layout.shard_rows(task.shard))
    columns = {c.name: np.full(rows, c.missing, c.dtype) for c in task.layout.columns}
    facts: list[PhotoFact] = []
    with ShardWriter(task.store, task.layout, task.shard) as out, torch.inference_mode():
        for i, photo in enumerate(task.photos):
            start = i * task.layout.per_photo
            rows = {n: c[start : start + task.layout.per_photo] for n, c in columns.items()}
            for following in task.photos[i + 1 : i + 2]:
                _read_ahead(task, following)
            fact, outcome = _build_photo(task, photo, device, out, rows)
            facts.append(fact)
            total.add(outcome)
            if seen is not None:
                seen(outcome)
        out.finish(columns, facts)
    return total


def _read_ahead(task: Task, photo: Photo) -> None:
    """Asks the system to fetch a photo's file meanwhile, where it takes such advice."""
    if sys.platform == "linux":
        with suppress(OSError), open(path_of(task.folder, photo.key), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _build_photo(
    task: Task, photo: Photo, device: torch.device, out: ShardWriter, columns: dict[str, NDArray[Any]]
) -> tuple[PhotoFact, Outcome]:
    mark = out.mark()
    try:
        with noting(f"photo {photo.key!r}"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rendering = _render(task, photo, device, out)
    except PhotoError as wrong:
        out.back(mark)
        out.skip(task.layout.per_photo)
        reason = str(wrong)
        return PhotoFact(photo.key, photo.fingerprint, reason), Outcome(1, 0, {photo.key: reason})
    for name, values in row_facts(rendering).items():
        columns[name][rendering.rows] = values
    sensor = rendering.sensor
    gains, matrix = (tuple(t[0].flatten().tolist()) for t in (sensor.white_balance, sensor.matrix))
    said = {str(w.message) for w in caught if issubclass(w.category, UserWarning)}
    outcome = Outcome(1, len(rendering.rows), {}, {message: [photo.key] for message in sorted(said)})
    entered = camera_of(rendering.entered)
    return PhotoFact(photo.key, photo.fingerprint, "", gains, matrix, rendering.model, entered), outcome


def _render(task: Task, photo: Photo, device: torch.device, out: ShardWriter) -> Rendering:
    if photo.duplicate_of is not None:
        raise PhotoError(f"same content as {photo.duplicate_of}: delete one of the two")
    path = path_of(task.folder, photo.key)
    frame = read_source(path, task.recipe.source).map(lambda t: t.to(device))
    if fingerprint(path) != photo.fingerprint:
        raise PhotoError(
            f"{path} was changed, or still being copied, when the build had begun: build it into another store"
        )
    rendering = Rendering(task.recipe, frame, photo.key)
    if not len(rendering.rows):
        raise PhotoError(
            f"no patch could be placed: more than {task.recipe.crop.max_clipped:.0%} of each place tried is clipped"
        )
    at = 0
    for block in rendering.blocks():
        frames = rendering.block(block)
        planes = {p.name: encode(frames, p) for p in task.layout.planes}
        rows = rendering.rows[block]
        # rows that are present lie in runs between absent ones
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) > 1) + 1):
            out.skip(int(rows[run[0]]) - at)
            for name, values in planes.items():
                out.put(name, values[run[0] : run[-1] + 1])
            at = int(rows[run[-1]]) + 1
    out.skip(task.layout.per_photo - at)
    return rendering


def row_facts(rendering: Rendering) -> dict[str, NDArray[Any]]:
    """The columns of the present rows, once all their blocks are rendered."""
    sensor = rendering.sensor
    levels = {n: getattr(sensor, n).cpu().numpy() for n in ("black", "white", "iso")}
    return {**rendering.columns().values, **rendering.places, **levels}

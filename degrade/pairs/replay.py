"""Replay: a row rendered again from recipe and address, without looking at what is stored.

The row's whole block is rendered, on one thread; on the same kind of processor and the same library versions the
planes are bit-identical, however many workers built the store. On another kind of processor float32 transforms may
differ in the last bit, which after the ADC is one DN in a rare sample.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.pairs.encode import encode
from degrade.pairs.recorded import refuse_changed
from degrade.photos import fingerprint, path_of, read_source
from degrade.recipe.recipe import Recipe
from degrade.recipe.render import Rendering
from degrade.store.read import Store


@dataclass(frozen=True)
class Replay:
    """A row rendered again."""

    row: int
    planes: Mapping[str, NDArray[Any]]  #: (c, h, w) as the store keeps them, DN or float32
    different: Mapping[str, int]  #: samples that differ from the store, by plane; empty when identical

    @property
    def identical(self) -> bool:
        """Whether every stored bit came out again."""
        return not self.different


def replay(store: Store, recipe: Recipe, row: int, photos: str | os.PathLike[str]) -> Replay:
    """Renders a row again and compares it with what is stored.

    Args:
        store: the store.
        recipe: that it was built from.
        row: its number.
        photos: the folder that the store was built from.

    Raises:
        FileNotFoundError: if the photo is not there.
        StoreError: if recipe or camera mean something else today, or the photo is another one.
    """
    refuse_changed(store, recipe)
    layout = store.layout
    stored = {name: store.read(name, row, dn=True) for name in store.planes}
    photo, patch = divmod(row, layout.per_photo)
    key = store.photos.keys[photo]
    path = path_of(photos, key)
    if fingerprint(path) != store.photos.digests[photo]:
        raise StoreError(f"{path} is not the photo that row {row} was built from: its content differs")
    with torch.inference_mode():
        frame = read_source(path, recipe.source)
        frames = Rendering(recipe, frame, key).frames([patch])
    planes = {p.name: encode(frames, p)[0] for p in layout.planes}
    counts = {n: int(np.count_nonzero(_bits(v) != _bits(stored[n]))) for n, v in planes.items()}
    return Replay(row, planes, {n: c for n, c in counts.items() if c})


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(f"u{values.dtype.itemsize}")

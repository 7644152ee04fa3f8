"""Stores one after the other: those with equal planes read as one, such as patches and whole pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.store.disk import StoreError
from degrade.store.loader import Loadable

if TYPE_CHECKING:
    from degrade.store.batch import Batch, Finish
    from degrade.store.layout import Layout, PlaneLayout
    from degrade.store.read import PatchStore
    from degrade.store.rendered import Draws, Rendered
    from degrade.store.row import Row


class Concatenated(Loadable):
    """Stores read as one; made by `PatchStore.concat`. Rows of each follow those of the one before, absent ones too.

    Attributes:
        stores: the stores.
        first: number of each store's first row, and of all rows.
        layout: that of the first store, for its planes.
    """

    def __init__(self, stores: Sequence[PatchStore | Concatenated]) -> None:
        for one in stores:
            if not isinstance(one, Loadable):
                raise StoreError(f"only opened stores are joined, got {one!r}: PatchStore({one!r})")
        self.stores = tuple(s for one in stores for s in (one.stores if isinstance(one, Concatenated) else (one,)))
        if not self.stores:
            raise StoreError("there is nothing to join: give at least one store")
        self.layout: Layout = self.stores[0].layout
        for other in self.stores[1:]:
            if other.planes != self.planes:
                raise StoreError(
                    f"only stores of equal planes are joined: {self.stores[0].path} has {_said(self.planes)}; "
                    f"{other.path} has {_said(other.planes)}"
                )
        self.first = np.cumsum([0, *(s.layout.rows for s in self.stores)])

    def __len__(self) -> int:
        """Rows present."""
        return sum(map(len, self.stores))

    @property
    def planes(self) -> dict[str, PlaneLayout]:
        """The planes by name."""
        return self.stores[0].planes

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows present, ascending."""
        numbers = np.concatenate([s.rows + a for s, a in zip(self.stores, self.first, strict=False)])
        numbers.flags.writeable = False
        return numbers

    def row(self, index: int) -> Row:
        """One row with its draws; it bears its number in its own store.

        Raises:
            IndexError: if it is outside the stores, or absent.
        """
        (store, rows, _), *_ = self.parts(self._inside(np.array([index])))
        return store.row(int(rows[0]))

    def checked(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        for store, own, _ in self.parts(np.sort(self._inside(rows))):
            store.checked(own)
        return rows

    def gather(self, plane: str, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        for store, own, at in self.parts(rows):
            store.gather(plane, own, out[at])

    def levels(self, plane: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        found = [store.levels(plane, own) for store, own, _ in self.parts(rows)]
        known = [levels for levels in found if levels is not None]
        return (np.concatenate([b for b, _ in known]), np.concatenate([s for _, s in known])) if known else None

    def check(self, plane: str, rows: NDArray[np.int64], found: NDArray[Any]) -> None:
        for store, own, at in self.parts(rows):
            try:
                store.check(plane, own, found[at])
            except StoreError as error:
                raise StoreError(f"{store.path}: {error}") from None

    def ahead(self, plane: str, rows: NDArray[np.int64]) -> None:
        for store, own, _ in self.parts(rows):
            store.ahead(plane, own)

    def rendered(self, planes: Sequence[str], draws: Draws = "recorded", seed: int = 0) -> Renderings:
        """Planes that are not stored, each row's from its own store, see `PatchStore.rendered`.

        Raises:
            RecipeError: if one of the stores cannot render one of them; says why.
            StoreError: if they come out in different shapes.
        """
        own = {s: s.rendered(planes, draws, seed) for s in self.stores}
        first = own[self.stores[0]].layouts
        for store, one in own.items():
            if one.layouts != first:
                raise StoreError(
                    f"only equal planes are joined: rendered from {self.stores[0].path} they are {_said(first)}; from "
                    f"{store.path} {_said(one.layouts)}"
                )
        return Renderings(self, own)

    def parts(self, rows: NDArray[np.int64]) -> Iterator[tuple[PatchStore, NDArray[np.int64], slice]]:
        """Each store that ascending rows reach, their numbers in it, and where they stand among all; all for none."""
        cuts = np.searchsorted(rows, self.first)
        for store, begin, (a, b) in zip(self.stores, self.first, pairwise(cuts.tolist()), strict=False):
            if b > a or not len(rows):
                yield store, rows[a:b] - begin, slice(a, b)

    def _inside(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        outside = rows[(rows < 0) | (rows >= self.first[-1])]
        if len(outside):
            raise IndexError(f"there is no row {outside[0]}: the stores have rows 0 to {self.first[-1] - 1}")
        return rows


class Renderings:
    """What `Rendered` is to one store, to several."""

    def __init__(self, stores: Concatenated, own: Mapping[PatchStore, Rendered]) -> None:
        self.stores, self.own = stores, own
        self.reads = tuple(dict.fromkeys(n for one in own.values() for n in one.reads))

    def refuse(self, stored: Sequence[str]) -> None:
        """Raises RecipeError where a stored plane, delivered beside these, was drawn otherwise."""
        for one in self.own.values():
            one.refuse(stored)

    def finish(self, asked: Sequence[str], dn: bool = False) -> Finish:
        """As `Rendered.finish`."""
        return partial(self._finished, tuple(asked), {store: one.finish(asked, dn) for store, one in self.own.items()})

    def _finished(
        self,
        asked: tuple[str, ...],
        each: Mapping[PatchStore, Finish],
        rows: NDArray[np.int64],
        batch: Batch,
        epoch: int,
        seed: int,
    ) -> Batch:
        parts = [
            each[store](own, {n: t[at] for n, t in batch.items()}, epoch, seed)
            for store, own, at in self.stores.parts(rows)
        ]
        return {n: torch.cat([part[n] for part in parts]) for n in asked}


def _said(planes: dict[str, PlaneLayout]) -> str:
    return ", ".join(f"{p.name} {'x'.join(map(str, p.shape))} {p.dtype} {p.space}" for p in planes.values())

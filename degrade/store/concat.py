"""Stores one after the other: those with equal planes read as one, such as patches and whole pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.store.layout import Layout, PlaneLayout
from degrade.store.read import Store
from degrade.store.source import Loadable

_S = TypeVar("_S", bound=Store)


class Concatenated(Loadable, Generic[_S]):
    """Stores read as one: rows of each follow those of the one before, absent ones too.

    Attributes:
        stores: the stores.
        first: number of each store's first row, and of all rows.
        layout: that of the first store, for its planes.
    """

    def __init__(self, stores: Sequence[_S | Concatenated[_S]]) -> None:
        for one in stores:
            if not isinstance(one, Loadable):
                raise StoreError(f"only opened stores are joined, got {one!r}: PatchStore({one!r})")
        self.stores: tuple[_S, ...] = tuple(
            s for one in stores for s in (one.stores if isinstance(one, Concatenated) else (one,))
        )
        if not self.stores:
            raise StoreError("there is nothing to join: give at least one store")
        self.layout: Layout = self.stores[0].layout
        for other in self.stores[1:]:
            if other.planes != self.planes:
                raise StoreError(
                    f"only stores of equal planes are joined: {self.stores[0].path} has {described(self.planes)}; "
                    f"{other.path} has {described(other.planes)}"
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

    def parts(self, rows: NDArray[np.int64]) -> Iterator[tuple[_S, NDArray[np.int64], slice]]:
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


def described(planes: Mapping[str, PlaneLayout]) -> str:
    """Planes in a sentence: names, shapes, number types, spaces."""
    return ", ".join(f"{p.name} {'x'.join(map(str, p.shape))} {p.dtype} {p.space}" for p in planes.values())

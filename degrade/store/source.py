"""Source: what a loader reads, a store or several as one: rows of planes, by number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.store.layout import Layout, PlaneLayout
from degrade.store.shard import crc32c


class Loadable:
    """Base of what a loader reads: rows of planes, by number."""

    layout: Layout
    columns: Mapping[str, NDArray[Any]]

    @property
    def planes(self) -> dict[str, PlaneLayout]:
        """The planes by name."""
        raise NotImplementedError

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows present, ascending."""
        raise NotImplementedError

    def checked(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``rows``.

        Raises:
            IndexError: if one of them is outside, or absent.
        """
        raise NotImplementedError

    def gather(self, plane: str, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copies rows, as stored, into ``out`` ``(n, c, h, w)``; rows ascending and unchecked."""
        raise NotImplementedError

    def levels(self, plane: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Black, and white minus black, of some rows ``(n,)``, ascending; None for a float plane."""
        raise NotImplementedError

    def check(self, plane: str, rows: NDArray[np.int64], found: NDArray[Any]) -> None:
        """Compares rows, ascending and as stored, ``(n, c, h, w)``, with the CRC-32C noted when they were written.

        Raises:
            StoreError: names plane, shard and row of the first that differs.
        """
        noted = self.columns[f"crc32c_{plane}"][rows]
        for row, data, crc in zip(rows.tolist(), found, noted.tolist(), strict=True):
            if crc32c(data) != crc:
                raise StoreError(
                    f"row {row} of plane {plane!r} (shard {row // self.layout.rows_per_shard}) is damaged: its "
                    "CRC-32C differs from the one written; `degrade verify` finds all that is"
                )

    def ahead(self, plane: str, rows: NDArray[np.int64]) -> None:
        """A hint that rows, ascending, are read soon."""

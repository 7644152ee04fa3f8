"""Store: a finished store as any reader sees it, its rows, planes and columns; nothing of recipes.

Rows are copied out of mapped shards where metadata and the shard's own index prove that a shard is one plain block;
anything else (a compressed copy, another writer's order, a store at an address) goes through TensorStore with the same
results. Columns are read whole when first asked for. Rows are counted from 0 over all photos; absent rows (of
quarantined photos, or that a crop could not fill) keep their numbers and cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.store.layout import OWN, Layout, PlaneLayout
from degrade.store.location import LIST, ROOT, TIMEOUT, Folder, locate
from degrade.store.mapped import PlainShards, plain_shards
from degrade.store.metadata import seal_holds
from degrade.store.order import row_numbers
from degrade.store.record import done_shards
from degrade.store.shard import plain_array
from degrade.store.source import Loadable
from degrade.store.table import Lazy, Photos

Selection = int | slice | Sequence[int] | NDArray[np.integer[Any]]


class Store(Loadable):
    """A finished store.

    Args:
        path: its folder, or its address: ``https://...``, ``s3://bucket/...``, ``gs://bucket/...``.
        maps: most shards, of all planes, that may be mapped; a store of more is read by position.
        timeout: longest wait for an answer from an address [s].

    Raises:
        StoreError: if it is missing, not ours, or not finished.
    """

    def __init__(self, path: str | Path, *, maps: int = 64, timeout: float = TIMEOUT) -> None:
        self.place, self._maps = locate(path, timeout), maps
        self.path = self.place.where
        layout, sealed = self.place.layout(), self.place.read(ROOT)
        if layout is None or sealed is None:
            raise StoreError(f"there is no store at {self.path}: build one, or check the path")
        root = json.loads(sealed)
        if not root["attributes"][OWN].get("complete"):
            raise StoreError(f"{self.path} is not finished{self._done(layout)}: run the same build again, it continues")
        self.layout: Layout = layout
        self._sealed = seal_holds(sealed)  # written by us, who leave no chunk out
        self._consolidated: Mapping[str, Any] = root["consolidated_metadata"]["metadata"] if self._sealed else {}
        self._metadata = lru_cache(None)(self._read_metadata)
        self._plain = lru_cache(None)(self._plain_plane)
        names = (c.name for c in layout.stored_columns)
        self.columns: Mapping[str, NDArray[Any]] = Lazy("column", names, self._whole)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), maps=self._maps, timeout=self.place.timeout), (str(self.path),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}: {len(self)} rows of {', '.join(self.planes)})"

    def __len__(self) -> int:
        """Rows present."""
        return len(self.rows)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows present, ascending."""
        numbers = np.flatnonzero(self.columns["present"])
        numbers.flags.writeable = False
        return numbers

    @property
    def planes(self) -> dict[str, PlaneLayout]:
        """The planes by name."""
        return {p.name: p for p in self.layout.planes}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the builder noted: recipe, hash, seed, versions."""
        return self.layout.attributes

    @cached_property
    def photos(self) -> Photos:
        """The photo table."""

        def texts(name: str) -> tuple[str, ...]:
            table = np.ascontiguousarray(self._whole(name))
            try:
                return tuple(t.decode() for t in table.view(f"S{table.shape[1]}")[:, 0].tolist())
            except UnicodeDecodeError:
                raise StoreError(f"{name} of {self.path} is damaged: `degrade verify` finds all that is") from None

        rows, gains, matrix, camera = (self._whole(f"photo_{n}") for n in ("rows", "white_balance", "matrix", "camera"))
        keys, digests, reasons, models = (texts(f"photo_{n}") for n in ("key", "digest", "reason", "model"))
        return Photos(keys, digests, reasons, rows, gains, matrix.reshape(-1, 3, 3), models, camera)

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, plane: str, rows: Selection, dn: bool = False) -> NDArray[Any]:
        """Rows of a plane, ``(n, c, h, w)``; ``(c, h, w)`` for a single number.

        Args:
            rows: numbers of rows, in any order; a slice is over all rows.
            dn: raw numbers as stored; else float32 with 0 at black and 1 at white, each row by its own levels.

        Raises:
            UnknownName: if there is no such plane.
            RecipeError: if the rows are no numbers, but a mask.
            IndexError: if a row is outside the store, or absent.
        """
        layout = self.layout.plane(plane)
        wanted = np.arange(self.layout.rows)[rows] if isinstance(rows, slice) else np.asarray(rows)
        index = self.checked(row_numbers(np.atleast_1d(wanted)))
        order = np.argsort(index, kind="stable")
        found = np.empty((len(index), *layout.shape), layout.dtype)
        self.gather(plane, index[order], found)
        out = np.empty_like(found)
        out[order] = found
        levels = None if dn else self.levels(plane, index)
        if levels is not None:
            black, span = (v[:, None, None, None] for v in levels)
            out = (out.astype(np.float32) - black) / span
        return out if wanted.ndim else out[0]

    def gather(self, plane: str, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copies rows, as stored, into ``out`` ``(n, c, h, w)``; rows ascending and unchecked."""
        plain = self._plain(plane)
        if plain is None:
            out[:] = self._ordinary(plane, rows)
            return
        held = plain.holds(rows)
        if held is None or held.all():
            plain.gather(rows, out)
            return
        found = np.empty((int(held.sum()), *out.shape[1:]), out.dtype)
        plain.gather(rows[held], found)
        out[held], out[~held] = found, self._ordinary(plane, rows[~held])

    def ahead(self, plane: str, rows: NDArray[np.int64]) -> None:
        if (plain := self._plain(plane)) is not None:
            plain.ahead(rows)

    def levels(self, plane: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Black, and white minus black, of some rows ``(n,)``; None for a float plane."""
        layout = self.layout.plane(plane)
        if layout.dtype == "float32":
            return None
        if layout.dtype == "uint8" or layout.space == "display":
            top = np.iinfo(layout.dtype).max
            return np.zeros(len(rows), np.float32), np.full(len(rows), top, np.float32)
        black, white = (self.columns[name][rows].astype(np.float32) for name in self.layout.levels(plane))
        return black, white - black

    def checked(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        total = self.layout.rows
        outside = rows[(rows < 0) | (rows >= total)]
        if len(outside):
            raise IndexError(f"there is no row {outside[0]}: {self.path} has rows 0 to {total - 1}")
        absent = rows[~self.columns["present"][rows]]
        if len(absent):
            photo = int(absent[0]) // self.layout.per_photo
            reason = self.photos.reasons[photo] or "the crop found no place for it"
            raise IndexError(f"row {absent[0]} of photo {self.photos.keys[photo]!r} is absent: {reason}")
        return rows

    def _done(self, layout: Layout) -> str:
        if not isinstance(self.place, Folder):
            return ""
        return f", it has {len(done_shards(self.place.folder, layout))} of {layout.shards} shards"

    def _plain_plane(self, plane: str) -> PlainShards | None:
        if not isinstance(self.place, Folder):
            return None
        mapped = len(self.planes) * self.layout.shards <= self._maps
        return plain_shards(self.place.folder / plane, self.layout.plane(plane), self._metadata(plane), mapped)

    def _ordinary(self, plane: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self.place.take(plane, rows, self._sealed)

    def _read_metadata(self, name: str) -> Mapping[str, Any]:
        if (found := self._consolidated.get(name)) is not None:
            return found
        if (data := self.place.read(f"{name}/{ROOT}")) is None:
            raise StoreError(f"{self.path} lacks {name}/{ROOT}: copy the store again")
        return json.loads(data)

    def _whole(self, name: str) -> NDArray[Any]:
        values = None
        if isinstance(self.place, Folder):
            values = plain_array(self._metadata(name), lambda chunk: self.place.read(f"{name}/{chunk}"))
        if values is None:
            values = self.place.take(name, whole=self._sealed)
        values.flags.writeable = False
        return values

    def info(self) -> dict[str, Any]:
        """What the store is, as plain values."""
        listed = self.place.listed() or {}
        own = sum(len(self.place.read(name) or b"") for name in (ROOT, LIST))
        return {
            "path": str(self.path),
            "recipe_hash": self.attributes.get("recipe_hash"),
            "seed": self.attributes.get("seed"),
            "rows": len(self),
            "rows_absent": self.layout.rows - len(self),
            "per_photo": self.layout.per_photo,
            "shards": self.layout.shards,
            "planes": {
                p.name: {"shape": list(p.shape), "dtype": p.dtype, "space": p.space} for p in self.layout.planes
            },
            "columns": list(self.columns),
            "bytes": own + sum(size for size, _ in listed.values()),
            "photos": self.layout.photos,
            "quarantined": self.photos.quarantined,
        }

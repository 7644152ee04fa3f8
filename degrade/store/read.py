"""PatchStore: a finished store, its rows, planes and columns.

Rows are copied out of mapped shards where metadata and the shard's own index prove that a shard is one plain block;
anything else (a compressed copy, another writer's order) goes through zarr-python with the same results. Columns are
read whole when first asked for. Rows are counted from 0 over all photos; absent rows (of quarantined photos, or that
a crop could not fill) keep their numbers and cannot be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from degrade.store.concat import Concatenated
from degrade.store.disk import StoreError
from degrade.store.layout import OWN, Layout, PlaneLayout
from degrade.store.loader import Loadable
from degrade.store.record import MANIFEST, done_shards, read_manifest
from degrade.store.row import Lazy, Photos, Row
from degrade.store.shard import map_shard, plain_rows, shard_key
from degrade.store.verify import verify
from degrade.store.write import read_layout

if TYPE_CHECKING:
    import pandas as pd

    from degrade.recipe.recipe import Recipe
    from degrade.store.replay import Replay

Rows = int | slice | Sequence[int] | NDArray[np.integer[Any]]


class PatchStore(Loadable):
    """A finished store.

    Args:
        path: its folder.
        maps: most shards mapped at a time.

    Raises:
        StoreError: if it is missing, not ours, or not finished.
    """

    def __init__(self, path: str | Path, *, maps: int = 4096) -> None:
        self.path, self._maps = Path(path), maps
        layout = read_layout(self.path)
        if layout is None:
            raise StoreError(f"there is no store at {self.path}: build one, or check the path")
        root = json.loads((self.path / "zarr.json").read_bytes())
        if not root["attributes"][OWN]["complete"]:
            done = len(done_shards(self.path, layout))
            raise StoreError(
                f"{self.path} is not finished, it has {done} of {layout.shards} shards: "
                "run the same build again, it continues"
            )
        self.layout: Layout = layout
        self._consolidated: Mapping[str, Any] = root.get("consolidated_metadata", {}).get("metadata", {})
        self._metadata = lru_cache(None)(self._read_metadata)
        self._shard = lru_cache(maps)(self._map)
        names = (c.name for c in layout.stored_columns)
        self.columns: Mapping[str, NDArray[Any]] = Lazy("column", names, self._whole)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (str(self.path), self._maps)

    def __repr__(self) -> str:
        return f"PatchStore({str(self.path)!r}: {len(self)} rows of {', '.join(self.planes)})"

    def __len__(self) -> int:
        """Rows present."""
        return len(self.rows)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows present, ascending."""
        return np.flatnonzero(self.columns["present"])

    @property
    def planes(self) -> dict[str, PlaneLayout]:
        """The planes by name."""
        return {p.name: p for p in self.layout.planes}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the builder noted: recipe, hash, seed, versions."""
        return self.layout.attributes

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the store was built from.

        Raises:
            RecipeError: if an operator of its is not installed.
        """
        from degrade.recipe.recipe import Recipe

        return Recipe.parse(self.attributes["recipe"])

    @cached_property
    def photos(self) -> Photos:
        """The photo table."""

        def texts(name: str) -> tuple[str, ...]:
            table = np.ascontiguousarray(self._whole(name))
            return tuple(t.decode() for t in table.view(f"S{table.shape[1]}")[:, 0].tolist())

        rows, gains, matrix = (self._whole(f"photo_{n}") for n in ("rows", "white_balance", "matrix"))
        keys, digests, reasons = (texts(f"photo_{n}") for n in ("key", "digest", "reason"))
        return Photos(keys, digests, reasons, rows, gains, matrix.reshape(-1, 3, 3))

    @staticmethod
    def concat(stores: Sequence[PatchStore]) -> Concatenated:
        """Stores of equal planes read as one, rows one after the other.

        Raises:
            StoreError: if their planes differ.
        """
        return Concatenated(stores)

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, plane: str, rows: Rows, dn: bool = False) -> NDArray[Any]:
        """Rows of a plane, ``(n, c, h, w)``; ``(c, h, w)`` for a single number.

        Args:
            rows: numbers of rows, in any order; a slice is over all rows.
            dn: raw numbers as stored; else float32 with 0 at black and 1 at white, each row by its own levels.

        Raises:
            UnknownName: if there is no such plane.
            IndexError: if a row is outside the store, or absent.
        """
        layout = self.layout.plane(plane)
        wanted = np.arange(self.layout.rows)[rows] if isinstance(rows, slice) else np.asarray(rows, np.int64)
        index = self.checked(np.atleast_1d(wanted))
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

    def row(self, index: int) -> Row:
        """One row with its draws.

        Raises:
            IndexError: if it is outside the store, or absent.
        """
        self.checked(np.array([index]))
        photo, patch = divmod(index, self.layout.per_photo)
        draws: dict[str, float | int | bool | str | None] = {}
        for column in self.layout.columns:
            value = self.columns[column.name][index].item()
            if column.labels is not None:
                value = None if value < 0 else column.labels[value]
            draws[column.name] = None if value != value else value
        planes = Lazy("plane", self.planes, lambda name: self.read(name, index))
        return Row(index, self.photos.keys[photo], patch, planes, draws, self)

    def replay(self, row: int, photos: str | os.PathLike[str]) -> Replay:
        """Renders a row again from recipe and address and compares it with what is stored, see `Replay`.

        Args:
            row: its number.
            photos: the folder that the store was built from.
        """
        from degrade.store.replay import replay

        return replay(self, row, photos)

    def gather(self, plane: str, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copies rows, as stored, into ``out`` ``(n, c, h, w)``; rows ascending and unchecked."""
        metadata = self._metadata(plane)
        per_shard = plain_rows(metadata)
        if per_shard is None:
            out[:] = self._ordinary(plane, rows)
            return
        shards = rows // per_shard
        cuts = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(rows)] if len(rows) else []
        for a, b in pairwise(cuts):
            shard = int(shards[a])
            block = self._shard(plane, shard)
            if block is None:
                out[a:b] = self._ordinary(plane, rows[a:b])
            else:  # clip: without it numpy would fill a buffer of its own first
                np.take(block, rows[a:b] - shard * per_shard, axis=0, out=out[a:b], mode="clip")

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

    def _map(self, plane: str, shard: int) -> NDArray[Any] | None:
        metadata = self._metadata(plane)
        return map_shard(self.path / plane / shard_key(metadata, shard), metadata, shard)

    def _ordinary(self, plane: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        unique, back = np.unique(rows, return_inverse=True)
        return self._array(plane).oindex[unique][back]

    def _read_metadata(self, name: str) -> Mapping[str, Any]:
        found = self._consolidated.get(name)
        return found if found is not None else json.loads((self.path / name / "zarr.json").read_bytes())

    def _array(self, name: str) -> Any:
        import zarr

        return zarr.open_array(str(self.path / name), mode="r", zarr_format=3)

    def _whole(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = np.asarray(self._array(name)[:])
        values.flags.writeable = False
        return values

    # -- tables, training, checks ------------------------------------------------------------------------------------

    def to_pandas(self) -> pd.DataFrame:
        """A table of the rows present: draws and facts, categorical draws by label, the photo's key."""
        import pandas as pd

        rows = self.rows
        keys = pd.Categorical.from_codes(self.columns["photo"][rows], list(self.photos.keys))
        table: dict[str, Any] = {"photo_key": keys, "patch": rows % self.layout.per_photo}
        labels = {c.name: c.labels for c in self.layout.columns}
        for name in self.columns:
            values, kinds = self.columns[name][rows], labels.get(name)
            table[name] = values if kinds is None else pd.Categorical.from_codes(values, list(kinds))
        return pd.DataFrame(table, index=pd.Index(rows, name="row"))

    def info(self) -> dict[str, Any]:
        """What the store is, as plain values."""
        listed = read_manifest(self.path) or {}
        own = sum((self.path / name).stat().st_size for name in ("zarr.json", MANIFEST) if (self.path / name).exists())
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

    def verify(self, progress: Callable[[int, int], object] | None = None) -> list[str]:
        """What is wrong with the files, one sentence each; an empty list when every bit is as it was written.

        Args:
            progress: hears of bytes checked and bytes in all.
        """
        return verify(self.path, progress)


def _reopen(path: str, maps: int) -> PatchStore:
    return PatchStore(path, maps=maps)

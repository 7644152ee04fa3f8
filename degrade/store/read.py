"""PatchStore: a finished store, its rows, planes and columns.

Rows are copied out of mapped shards where metadata and the shard's own index prove that a shard is one plain block;
anything else (a compressed copy, another writer's order, a store at an address) goes through TensorStore with the same
results. Columns are read whole when first asked for. Rows are counted from 0 over all photos; absent rows (of
quarantined photos, or that a crop could not fill) keep their numbers and cannot be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from degrade.recipe import held
from degrade.recipe.errors import RecipeError
from degrade.store.concat import Concatenated
from degrade.store.disk import StoreError
from degrade.store.layout import OWN, Layout, PlaneLayout, unknown
from degrade.store.loader import Loadable
from degrade.store.metadata import seal_holds
from degrade.store.order import row_numbers
from degrade.store.place import LIST, ROOT, TIMEOUT, Folder, place
from degrade.store.plain import Plain, plain
from degrade.store.record import done_shards
from degrade.store.row import Lazy, Photos, Row
from degrade.store.shard import plain_array
from degrade.store.verify import verify

if TYPE_CHECKING:
    import pandas as pd

    from degrade.recipe.recipe import Recipe
    from degrade.store.rendered import Draws, Rendered
    from degrade.store.replay import Replay

Rows = int | slice | Sequence[int] | NDArray[np.integer[Any]]


class PatchStore(Loadable):
    """A finished store.

    Args:
        path: its folder, or its address: ``https://...``, ``s3://bucket/...``, ``gs://bucket/...``.
        maps: most shards, of all planes, that may be mapped; a store of more is read by position.
        timeout: longest wait for an answer from an address [s].

    Raises:
        StoreError: if it is missing, not ours, or not finished.
    """

    def __init__(self, path: str | Path, *, maps: int = 64, timeout: float = TIMEOUT) -> None:
        self.place, self._maps = place(path, timeout), maps
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
        return _reopen, (str(self.path), self._maps, self.place.timeout)

    def __repr__(self) -> str:
        return f"PatchStore({str(self.path)!r}: {len(self)} rows of {', '.join(self.planes)})"

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
            try:
                return tuple(t.decode() for t in table.view(f"S{table.shape[1]}")[:, 0].tolist())
            except UnicodeDecodeError:
                raise StoreError(f"{name} of {self.path} is damaged: `degrade verify` finds all that is") from None

        rows, gains, matrix, camera = (self._whole(f"photo_{n}") for n in ("rows", "white_balance", "matrix", "camera"))
        keys, digests, reasons, models = (texts(f"photo_{n}") for n in ("key", "digest", "reason", "model"))
        return Photos(keys, digests, reasons, rows, gains, matrix.reshape(-1, 3, 3), models, camera)

    @staticmethod
    def concat(stores: Sequence[PatchStore | Concatenated]) -> Concatenated:
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
            ValueError: if the rows are no numbers, but a mask.
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

    def rendered(self, planes: Sequence[str], draws: Draws = "recorded", seed: int = 0) -> Rendered:
        """Planes of the recipe that are not stored, as renderings of those that are, see `Rendered`.

        Args:
            planes: their names.
            draws: `recorded` gives what a build would have stored; `fresh` draws anew each epoch.
            seed: of fresh draws.

        Raises:
            UnknownName: if the recipe has no such plane.
            RecipeError: if one of them is stored, or cannot be rendered from what is; says why.
            StoreError: if operators or camera give other pixels today than when the store was built.
        """
        from degrade.store.rendered import Rendered

        named = self.layout.named
        for name in planes:
            if name in self.planes:
                raise RecipeError(f"plane {name!r} is stored: `read` gives it, and a loader beside those it renders")
            if name not in named:
                raise unknown("plane", name, {*self.planes, *named})
        return Rendered(self, planes, draws, seed)

    @property
    def renders(self) -> tuple[str, ...]:
        """Names of the planes that are not stored, but can be rendered.

        None if operators are not installed, or they or the camera give other pixels than when the store was built.
        """
        from degrade.store.rendered import unchanged

        missing = [name for name in self.layout.named if name not in self.planes]
        try:
            return held.renderable(self.recipe, missing) if missing and unchanged(self) else ()
        except RecipeError:
            return ()

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

    def _plain_plane(self, plane: str) -> Plain | None:
        if not isinstance(self.place, Folder):
            return None
        mapped = len(self.planes) * self.layout.shards <= self._maps
        return plain(self.place.folder / plane, self.layout.plane(plane), self._metadata(plane), mapped)

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
            "renders": list(self.renders),
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
        return verify(self.path, progress, self.place.timeout)


def _reopen(path: str, maps: int, timeout: float) -> PatchStore:
    return PatchStore(path, maps=maps, timeout=timeout)

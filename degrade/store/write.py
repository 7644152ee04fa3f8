"""Writing: `create` once, then one `ShardWriter` a task, in any order, any number of times, killed at any moment.

Rows stream to a temporary file, once; their CRC-32C and the file's BLAKE2b are computed on the way, and the disk takes
what came before while more is rendered. Memory does not grow with the shard. Files get their names when they are whole
and synced, the shard's record last of all. Two tasks on the same shard write the same bytes; the later rename wins.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError, find
from degrade.store.disk import BUILD, contiguous, explained, sweep, sync_all, temporary, write_file
from degrade.store.layout import Column, Layout, PlaneLayout
from degrade.store.metadata import dumps, group_metadata, lists, plane_metadata, root_open, seal_holds
from degrade.store.record import (
    MANIFEST,
    PhotoFact,
    Record,
    done_shards,
    plane_file,
    read_manifest,
    shard_done,
    write_record,
)
from degrade.store.shard import crc32c, index_bytes

SENT = 2 * 2**20  #: bytes of a plane that are sent to the disk at a time, while the next are rendered

__all__ = ["PhotoFact", "ShardWriter", "create", "done_shards", "read_layout", "shard_done"]


def read_layout(store: str | Path) -> Layout | None:
    """The layout of a store, finished or not; None where there is no store yet (an empty or missing folder).

    Raises:
        StoreError: if the folder holds something else, or the store's zarr.json is damaged, or lost.
    """
    path = Path(store)
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file, not a folder: name another")
    try:
        root = (path / "zarr.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_dir() and any(path.iterdir()) and not (path / BUILD.parent).is_dir():
            raise StoreError(f"{path} holds other things and is not a store of ours: name another folder") from None
        if read_manifest(path):  # whose rows these are, only the lost file could tell
            raise StoreError(
                f"{path} has lost its zarr.json: fetch the store again, or delete it and build anew"
            ) from None
        return None
    return Layout.of_root(root, path)


def begun(store: str | Path, layout: Layout) -> bool:
    """Whether any row was built into a store yet: one that a first mistake left empty may be begun anew."""
    path = Path(store)
    listed = read_manifest(path)
    if not listed:
        return bool(done_shards(path, layout))
    return any(np.fromfile(path / name, "<i4").any() for name in listed if name.startswith("photo_rows/c."))


def _clear(path: Path, layout: Layout) -> None:
    arrays = {name.partition("/")[0] for name in read_manifest(path) or {}} | {plane.name for plane in layout.planes}
    with explained(path, "clearing a store that nothing was built into"):
        for name in (*sorted(arrays), BUILD.parent.name):
            shutil.rmtree(path / name, ignore_errors=True)
        (path / "zarr.json").unlink()


def _list_holds(path: Path) -> bool:
    """Whether the list of files is there and, in a finished store, the one that the root was sealed over."""
    root = (path / "zarr.json").read_bytes()
    return read_manifest(path) is not None and (not seal_holds(root) or lists(root, (path / MANIFEST).read_bytes()))


def create(store: str | Path, layout: Layout) -> None:
    """Writes the metadata of a store's planes and clears what killed workers left; call it under `locked`.

    Does nothing to what is there already, so that a build may always begin with it.

    Raises:
        StoreError: if the folder is not ours, or holds a store of another recipe, seed or set of photos.
    """
    path = Path(store)
    old = read_layout(path)
    if old is not None and old != layout:
        if begun(path, old):
            what = ", ".join(old.difference(layout))
            raise StoreError(f"{path} holds another store (different: {what}): choose another --out, or delete it")
        _clear(path, old)
        old = None
    with explained(path, "beginning the store"):
        trusted = old is not None and _list_holds(path)
        if trusted and not (path / BUILD).exists() and len(done_shards(path, layout)) == layout.shards:
            return
        (path / BUILD).mkdir(parents=True, exist_ok=True)
        sweep(path)
        files = {path / plane.name / "zarr.json": dumps(plane_metadata(layout, plane)) for plane in layout.planes}
        if not trusted:
            files[path / MANIFEST] = dumps(group_metadata({}))
        if old is None:
            files[path / "zarr.json"] = root_open(layout)
        for file, data in files.items():
            file.parent.mkdir(exist_ok=True)
            write_file(path, file, data, sync=False)
        sync_all([*files, *{file.parent for file in files}])


class _PlaneFile:
    """One plane's shard on its way to the disk, which is sent what has been written while more is on its way."""

    def __init__(self, store: Path, plane: PlaneLayout) -> None:
        self.plane = plane
        self.path = temporary(store)
        self.file = io.FileIO(self.path, "xb")
        self.hash = hashlib.blake2b(digest_size=32)
        self.crc: list[int] = []
        self.empty = crc32c(bytes(plane.row_bytes))
        self.fresh = 0  # bytes written since they were last sent to the disk
        self.sent: list[Future[None]] = []

    def put(self, rows: NDArray[Any], sender: Executor) -> None:
        self._write(rows.data.cast("B"))
        self.crc += [crc32c(row) for row in rows]
        self.fresh += rows.nbytes
        if self.fresh >= SENT:
            self.sent.append(sender.submit(os.fsync, self.file.fileno()))
            self.fresh = 0

    def skip(self, n: int) -> None:
        self.file.seek(n * self.plane.row_bytes, os.SEEK_CUR)  # a hole: zeros that take no room
        zeros = bytes(self.plane.row_bytes)
        for _ in range(n):
            self.hash.update(zeros)
        self.crc += [self.empty] * n

    def back(self, rows: int, state: Any) -> None:
        self.file.seek(rows * self.plane.row_bytes)
        self.file.truncate()
        self.hash = state.copy()
        del self.crc[rows:]

    def close(self, index: bytes) -> None:
        """Waits until all of it is on the disk."""
        self._write(memoryview(index))
        for sending in self.sent:
            sending.result()  # the kernel tells a disk error once, to whoever asked first
        os.fsync(self.file.fileno())
        self.file.close()

    def _write(self, data: memoryview) -> None:
        self.hash.update(data)
        while data:  # an unbuffered file may take less than it is given
            data = data[self.file.write(data) :]

    def discard(self) -> None:
        self.file.close()
        with suppress(OSError):
            self.path.unlink()


@dataclass(frozen=True)
class Mark:
    """A place in a shard that the writer can go back to."""

    row: int
    states: tuple[Any, ...]


class ShardWriter:
    """Writes one shard of all planes; rows arrive in order, block by block.

    ```python
    with ShardWriter(store, layout, 3) as out:
        for photo in layout.shard_photos(3):
            out.put("clean", clean)        # (n, c, h, w), n rows of this photo
            out.put("noise", noise)        # every plane gets the same rows
            out.skip(layout.per_photo - n)  # rows that are absent
        out.finish(columns, photos)
    ```

    Leaving the block without `finish`, or with an error, leaves nothing behind.
    """

    def __init__(self, store: str | Path, layout: Layout, shard: int) -> None:
        self.store, self.layout, self.shard = Path(store), layout, shard
        self.rows = layout.shard_rows(shard)
        self._planes: dict[str, _PlaneFile] = {}
        self._sender = ThreadPoolExecutor(1)
        self._present = np.zeros(len(self.rows), np.bool_)

    def __enter__(self) -> ShardWriter:
        with explained(self.store, f"beginning shard {self.shard}"):
            try:
                for plane in self.layout.planes:
                    self._planes[plane.name] = _PlaneFile(self.store, plane)
            except OSError:
                self._discard()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _discard(self) -> None:
        self._sender.shutdown(cancel_futures=True)
        for file in self._planes.values():
            file.discard()

    def _row(self) -> int:
        """Rows so far; all planes must have the same."""
        counts = {name: len(file.crc) for name, file in self._planes.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"every plane needs the same rows before the next step, got {counts}")
        return next(iter(counts.values()))

    def put(self, plane: str, rows: NDArray[Any]) -> None:
        """Appends rows ``(n, c, h, w)`` of the plane's own dtype.

        Raises:
            ValueError: if shape or dtype are not the plane's, or the shard would overflow.
            StoreError: if the disk is full.
        """
        file = find(plane, self._planes, "plane")
        want = file.plane
        if rows.ndim != 4 or rows.shape[1:] != want.shape or rows.dtype != np.dtype(want.dtype):
            raise ValueError(f"plane {plane!r} takes (n, {want.shape}) {want.dtype}, got {rows.shape} {rows.dtype}")
        at = len(file.crc)
        if at + len(rows) > len(self.rows):
            raise ValueError(f"shard {self.shard} has {len(self.rows)} rows, {plane!r} would get {at + len(rows)}")
        with explained(self.store, f"writing plane {plane!r}"):
            file.put(contiguous(rows), self._sender)
        self._present[at : at + len(rows)] = True

    def skip(self, n: int) -> None:
        """Leaves the next n rows of every plane absent."""
        at = self._row()
        if n < 0 or at + n > len(self.rows):
            raise ValueError(f"shard {self.shard} has {len(self.rows)} rows, cannot skip {n} after {at}")
        self._present[at : at + n] = False
        for file in self._planes.values():
            file.skip(n)

    def mark(self) -> Mark:
        """The present place, for `back`."""
        return Mark(self._row(), tuple(file.hash.copy() for file in self._planes.values()))

    def back(self, mark: Mark) -> None:
        """Forgets the rows after a mark: a photo turned out bad half way."""
        with explained(self.store, f"going back in shard {self.shard}"):
            for file, state in zip(self._planes.values(), mark.states, strict=True):
                file.back(mark.row, state)
        self._present[mark.row :] = False

    def finish(self, columns: Mapping[str, NDArray[Any] | Sequence[Any]], photos: Sequence[PhotoFact]) -> None:
        """Gives the files their names and marks the shard as done.

        Args:
            columns: `Layout.columns` by name, over the shard's rows; rows that are absent are ignored.
            photos: one fact a photo of the shard, in order.

        Raises:
            ValueError: if rows, columns or photos are missing.
            StoreError: if the disk is full.
        """
        layout, n = self.layout, len(self.rows)
        if self._row() != n:
            raise ValueError(f"shard {self.shard} has {n} rows, got {self._row()}: skip those that are absent")
        if len(photos) != len(layout.shard_photos(self.shard)):
            raise ValueError(f"shard {self.shard} has {len(layout.shard_photos(self.shard))} photos, got {len(photos)}")
        table = self._columns(columns)
        counts = self._present.reshape(len(photos), layout.per_photo).sum(1)
        files: dict[str, tuple[int, str]] = {}
        with explained(self.store, f"finishing shard {self.shard}"):
            for name, file in self._planes.items():
                table[f"crc32c_{name}"] = np.array(file.crc, np.uint32)
                row_bytes = file.plane.row_bytes
                index = index_bytes(n, layout.rows_per_shard, row_bytes)
                file.close(index)
                files[plane_file(name, self.shard)] = (n * row_bytes + len(index), file.hash.hexdigest())
            for name, file in self._planes.items():
                os.replace(file.path, self.store / plane_file(name, self.shard))
            sync_all(self.store / name for name in self._planes)
            facts = tuple((p, int(c)) for p, c in zip(photos, counts, strict=True))
            write_record(self.store, layout, Record(self.shard, files, facts, table))

    def _columns(self, columns: Mapping[str, NDArray[Any] | Sequence[Any]]) -> dict[str, NDArray[Any]]:
        names = {c.name: c for c in self.layout.columns}
        for name in columns:
            find(name, names, "column")
        if missing := sorted(names.keys() - columns):
            raise ValueError(f"shard {self.shard} lacks columns: {', '.join(missing)}")
        photo = np.asarray(self.rows, np.int64) // self.layout.per_photo
        table: dict[str, NDArray[Any]] = {"photo": photo.astype(np.int32), "present": self._present}
        for column in self.layout.columns:
            table[column.name] = self._fit(column, np.asarray(columns[column.name]))
        return table

    def _fit(self, column: Column, values: NDArray[Any]) -> NDArray[Any]:
        if values.shape != (len(self.rows),):
            raise ValueError(f"column {column.name!r} needs {len(self.rows)} numbers, got shape {values.shape}")
        kept = np.where(self._present, values, column.missing).astype(column.dtype)
        if np.dtype(column.dtype).kind in "biu" and np.any(kept[self._present] != values[self._present]):
            raise ValueError(f"column {column.name!r} holds numbers that {column.dtype} cannot")
        return kept

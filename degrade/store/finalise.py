"""Finishing a store: records of shards become columns and a photo table, then everything is listed and sealed.

Steps, each safe to be killed in and run again: columns and table; the list of all files (from here on the records
are no longer needed); the folder of what passes away is removed; last the root's zarr.json, complete and sealed.
Nothing of time, host or order goes in, so the bytes depend on the layout and the rows alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.disk import whole
from degrade.core.errors import StoreError
from degrade.store.disk import BUILD, digest, explained, sync_all, write_file
from degrade.store.layout import Layout
from degrade.store.metadata import (
    COLUMN_CHUNK,
    Json,
    column_metadata,
    dumps,
    group_metadata,
    plane_metadata,
    root_sealed,
    table_metadata,
)
from degrade.store.record import (
    CAMERA,
    MANIFEST,
    Files,
    PhotoFact,
    Record,
    done_shards,
    read_manifest,
    read_record,
    record_path,
)

_GONE = BUILD.with_name("gone")
_ROOT = BUILD.with_name("root.tmp")


class _Listed:
    """Writes files and keeps their sizes and digests."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.files: Files = {}
        self.fresh: list[str] = []

    def write(self, name: str, data: bytes) -> None:
        target = self.store / name
        target.parent.mkdir(exist_ok=True)
        write_file(self.store, target, data, sync=False)
        self.files[name] = (len(data), digest(data))
        self.fresh.append(name)

    def sync(self) -> None:
        """Waits until all that was written is on the disk."""
        files = [self.store / name for name in self.fresh]
        sync_all([*files, *sorted({file.parent for file in files} | {self.store})])


def finalise(store: str | Path, layout: Layout) -> None:
    """Turns a store all whose shards are built into a finished one; of a finished one, checks that it still is.

    Raises:
        StoreError: if shards are missing, a rebuilt shard differs from what was listed, or the disk is full.
    """
    path = Path(store)
    done = len(done_shards(path, layout))
    if done < layout.shards:
        raise StoreError(f"{path} has {done} of {layout.shards} shards: run the build again, it continues")
    with explained(path, "finishing the store"):
        files = read_manifest(path)
        if files is None:
            files = _list(path, layout)
        else:
            _compare(path, layout, files)
        _seal(path, layout, files)


def _list(path: Path, layout: Layout) -> Files:
    out = _Listed(path)
    photos: list[tuple[PhotoFact, int]] = []
    columns = _Columns(out, layout)
    for record in _records(path, layout):
        out.files.update(record.files)
        photos += record.photos
        columns.add(record.columns)
    columns.close()
    _write_table(out, photos)
    for plane in layout.planes:
        out.write(f"{plane.name}/zarr.json", dumps(plane_metadata(layout, plane)))
    out.sync()
    write_file(path, path / MANIFEST, dumps(group_metadata({"files": out.files})))
    return out.files


def _records(path: Path, layout: Layout) -> Iterator[Record]:
    for k in range(layout.shards):
        yield read_record(path, layout, k)


class _Columns:
    """Gathers the records' columns and writes a chunk whenever one is full, so that memory stays small."""

    def __init__(self, out: _Listed, layout: Layout) -> None:
        self.out, self.layout = out, layout
        self.chunk = min(COLUMN_CHUNK, layout.rows)
        self.parts: dict[str, list[NDArray[Any]]] = {c.name: [] for c in layout.stored_columns}
        self.rows, self.chunks = 0, 0

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        for name, parts in self.parts.items():
            parts.append(columns[name])
        self.rows += len(columns["photo"])
        if self.rows >= self.chunk:
            self._flush()

    def _flush(self) -> None:
        whole = self.rows // self.chunk
        for name, parts in self.parts.items():
            values = np.concatenate(parts)
            for i in range(whole):
                block = values[i * self.chunk : (i + 1) * self.chunk]
                self.out.write(f"{name}/c.{self.chunks + i}", block.tobytes())
            self.parts[name] = [values[whole * self.chunk :]]
        self.chunks += whole
        self.rows -= whole * self.chunk

    def close(self) -> None:
        for column in self.layout.stored_columns:
            if self.rows:
                dtype = np.dtype(column.dtype).newbyteorder("<")
                block = np.full(self.chunk, column.missing, dtype)
                block[: self.rows] = np.concatenate(self.parts[column.name])
                self.out.write(f"{column.name}/c.{self.chunks}", block.tobytes())
            self.out.write(f"{column.name}/zarr.json", dumps(column_metadata(self.layout, column)))


def _write_table(out: _Listed, photos: Sequence[tuple[PhotoFact, int]]) -> None:
    """The photo table without strings: UTF-8 bytes, padded with zeros to the longest."""
    table: dict[str, NDArray[Any]] = {
        "photo_rows": np.array([n for _, n in photos], "<i4"),
        "photo_white_balance": np.array([p.white_balance for p, _ in photos], "<f4"),
        "photo_matrix": np.array([p.matrix for p, _ in photos], "<f4"),
        "photo_camera": np.array([p.camera for p, _ in photos], "<f4"),
    }
    for name in ("key", "digest", "reason", "model"):
        texts = [str(getattr(p, name)).encode() for p, _ in photos]
        width = max(1, *map(len, texts))
        table[f"photo_{name}"] = np.array(texts, f"S{width}").view(np.uint8).reshape(len(texts), width)
    about = {"photo_camera": {"fields": list(CAMERA)}}
    for name, values in table.items():
        size = min(COLUMN_CHUNK, len(values))
        for i in range(0, len(values), size):
            block = np.zeros((size, *values.shape[1:]), values.dtype)
            part = values[i : i + size]
            block[: len(part)] = part
            out.write(f"{name}/c.{i // size}" + ".0" * (values.ndim - 1), block.tobytes())
        out.write(f"{name}/zarr.json", dumps(table_metadata(name, values.shape, values.dtype.name, about.get(name))))


def _compare(path: Path, layout: Layout, files: Files) -> None:
    """A shard built again into a listed store must be the very one that was listed."""
    for k in range(layout.shards):
        if not record_path(path, k).exists():
            continue
        for name, found in read_record(path, layout, k).files.items():
            if files.get(name) != found:
                raise StoreError(
                    f"{name} in {path} was built again and differs from what the store lists: "
                    "another kind of processor or library; delete the store and build it anew"
                )
    for name in files:
        if not (path / name).exists():
            raise StoreError(f"{path} lacks {name}, which cannot be remade alone: delete the store and build it anew")


def _seal(path: Path, layout: Layout, files: Files) -> None:
    members: dict[str, Json] = {}
    for name in sorted(n for n in files if n.endswith("/zarr.json")):
        data = (path / name).read_bytes()
        if digest(data) != files[name][1]:
            raise StoreError(f"{name} in {path} is damaged: fetch the store again, or delete it and build anew")
        members[name.removesuffix("/zarr.json")] = json.loads(data)
    root = root_sealed(layout, members, digest((path / MANIFEST).read_bytes()))
    shutil.rmtree(path / _GONE, ignore_errors=True)
    with suppress(FileNotFoundError):
        # renamed first: a task that still runs somewhere can then put nothing in any more
        os.replace(path / BUILD, path / _GONE)
    shutil.rmtree(path / _GONE, ignore_errors=True)
    if (path / "zarr.json").read_bytes() != root:
        with whole(path / "zarr.json", path / _ROOT) as temporary:
            temporary.write_bytes(root)

"""Copying a store: fetched from an address, compressed for an archive or a bucket, or made plain again.

Columns and tables go over byte by byte; each row of a plane is encoded by itself, in shards of the same rows, so that
one row is still one read. The copy is a store like any other: its own list of files, its own seal. Made plain again it
is the first store to the byte. Every row is checked against its CRC-32C when it is read, and once more from the copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from degrade.core.disk import sync_path
from degrade.core.errors import StoreError, find
from degrade.core.progress import Done, Progress, quiet
from degrade.store.disk import contiguous, digest, explained, locked, sync_all
from degrade.store.layout import Layout, PlaneLayout
from degrade.store.location import LIST, ROOT, Folder
from degrade.store.metadata import Json, dumps, group_metadata, lists, plane_metadata, root_sealed
from degrade.store.read import Store
from degrade.store.record import Files, files_of, plane_file
from degrade.store.shard import MISSING, crc32c
from degrade.store.verify import brief, lost_rows

Parts = Sequence[bytes | bytearray]
_SHUFFLED = {"clevel": 5, "shuffle": "bitshuffle", "blocksize": 0}
CODECS: Mapping[str, Json | None] = {  #: Zarr's word for each; blosc and lz4 shuffle the samples' bits first
    "blosc": {"name": "blosc", "configuration": {"cname": "zstd", **_SHUFFLED}},
    "lz4": {"name": "blosc", "configuration": {"cname": "lz4", **_SHUFFLED}},
    "zstd": {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
    "plain": None,
}


def copy(store: str | Path, out: str | Path, codec: str = "blosc", progress: Progress = quiet) -> Store:
    """Copies a finished store into a folder, all of it or nothing.

    Args:
        store: its folder or address.
        out: the folder that the copy becomes; nothing is there yet.
        codec: one of `CODECS`.
        progress: hears of bytes of rows; each row counts when it is copied and when it is checked.

    Raises:
        UnknownName: if there is no such codec.
        StoreError: if the store cannot be read or is damaged, or something is at ``out``.
    """
    find(codec, CODECS, "codec")
    target, source = Path(out), Store(store)
    if "://" in str(out) or os.path.lexists(target):
        raise StoreError(f"{out} cannot be written: name a folder that is not there yet")
    if isinstance(source.place, Folder) and target.resolve().is_relative_to(source.place.folder.resolve()):
        raise StoreError(f"{out} lies inside the store itself: name a folder outside it")
    total, seen = 2 * source.layout.rows * source.layout.row_bytes, 0

    def tell(n: int) -> None:
        nonlocal seen
        seen += n
        progress(Done("copying", seen, total, "bytes"))

    with _whole(target) as folder:
        _write(source, folder, codec, tell)
        copied = Store(folder)
        for plane, k in _shards(source.layout):
            rows = np.asarray(source.layout.shard_rows(k))
            if lost := lost_rows(copied, plane.name, rows):
                raise StoreError(f"the copy of plane {plane.name!r}, shard {k} came out wrong (rows {brief(lost)})")
            tell(len(rows) * plane.row_bytes)
    return Store(target)


@contextmanager
def _whole(target: Path) -> Generator[Path]:
    """A folder beside ``target`` that takes its place at the end, or is gone; what a killed copy left is cleared."""
    with locked(target.with_name(f".{target.name}.part")) as part:
        try:
            with explained(target.parent, f"copying to {target.name}", "it begins anew"):
                for left in part.iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
                yield part
                sync_all([*part.rglob("*"), part])
                os.rename(part, target)  # never onto a folder that holds something
                sync_path(target.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _shards(layout: Layout) -> Iterable[tuple[PlaneLayout, int]]:
    return ((plane, k) for plane in layout.planes for k in range(layout.shards))


def _write(source: Store, folder: Path, codec: str, tell: Callable[[int], object]) -> None:
    there, layout = source.place, source.layout
    manifest = there.read(LIST)
    if manifest is None:
        raise StoreError(f"{source.path} has no list of its files ({LIST}): copy the store that it was made from")
    if not lists(there.read(ROOT) or b"", manifest):
        raise StoreError(f"{ROOT} or {LIST} of {source.path} is damaged: `degrade verify` says what is")
    planes = {plane_file(plane.name, k): (plane, k) for plane, k in _shards(layout)}
    metadata = {f"{p.name}/{ROOT}": dumps(_coded(plane_metadata(layout, p), p, codec)) for p in layout.planes}
    files: Files = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, (size, check) in (files_of(manifest) or {}).items():
            if name in planes:
                plane, k = planes[name]
                parts = _shard(source, plane, k, codec, pool)
                tell(len(layout.shard_rows(k)) * plane.row_bytes)
            elif name in metadata:
                parts = [metadata[name]]
            else:
                try:
                    data = b"".join(there.pieces(name, size))
                except FileNotFoundError:
                    data = b""
                parts = [data]
                if digest(data) != check:
                    raise StoreError(f"{name} of {source.path} is damaged or missing: verify says what else is")
            files[name] = _put(folder / name, parts)
    listing = dumps(group_metadata({"files": files}))
    _put(folder / LIST, [listing])
    members = {n.removesuffix(f"/{ROOT}"): json.loads((folder / n).read_bytes()) for n in files if n.endswith(ROOT)}
    _put(folder / ROOT, [root_sealed(layout, members, digest(listing))])


def _shard(source: Store, plane: PlaneLayout, k: int, codec: str, pool: ThreadPoolExecutor) -> Parts:
    """A shard's rows, encoded, and its index."""
    rows = np.asarray(source.layout.shard_rows(k))
    block = np.empty((len(rows), *plane.shape), plane.dtype)
    source.gather(plane.name, rows, block)
    crc = source.columns[f"crc32c_{plane.name}"][rows]
    if lost := [int(i) for i, c, row in zip(rows, crc, block, strict=True) if crc32c(row) != c]:
        raise StoreError(f"rows {brief(lost)} of {source.path} (plane {plane.name!r}, shard {k}) are damaged")
    parts = list(pool.map(partial(_encode, codec=CODECS[codec]), contiguous(block)))
    sizes = np.array([len(p) for p in parts], "<u8")
    index = np.full((source.layout.rows_per_shard, 2), MISSING, "<u8")
    index[: len(parts), 0] = np.cumsum(sizes) - sizes
    index[: len(parts), 1] = sizes
    body = index.tobytes()
    return [*parts, body, crc32c(body).to_bytes(4, "little")]


def _put(path: Path, parts: Parts) -> tuple[int, str]:
    """Size and BLAKE2b of a file that is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    total = hashlib.blake2b(digest_size=32)
    with open(path, "xb") as file:
        for part in parts:
            total.update(part)
            file.write(part)
        return file.tell(), total.hexdigest()


def _coded(metadata: Json, plane: PlaneLayout, codec: str) -> Json:
    """zarr.json of a plane whose rows are encoded."""
    added = deepcopy(CODECS[codec])
    if added and added["name"] == "blosc":
        added["configuration"]["typesize"] = np.dtype(plane.dtype).itemsize
    metadata["codecs"][0]["configuration"]["codecs"] += [added] if added else []
    return metadata


def _encode(row: Any, codec: Json | None) -> bytes | bytearray:
    import imagecodecs

    if codec is None:
        return row.tobytes()
    how = codec["configuration"]
    if codec["name"] == "zstd":
        return imagecodecs.zstd_encode(row, how["level"])
    shuffle, size = how["shuffle"], how["blocksize"]  # of samples, whose size is the array's own
    return imagecodecs.blosc_encode(
        row, level=how["clevel"], compressor=how["cname"], shuffle=shuffle, blocksize=size, numthreads=1
    )

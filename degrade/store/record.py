"""The record of a finished shard: its marker, its columns and the facts on its photos in one small file.

Renamed into place last, so that a shard with a record is whole. First a line with the BLAKE2b of the rest, then a
line of JSON (the marker: identity of the layout, name, size and BLAKE2b of each plane's file, the photos), then the
columns as plain little-endian blocks in the layout's order. Records pass away when the store is finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.store.disk import BUILD, digest, write_file
from degrade.store.layout import Layout

Files = dict[str, tuple[int, str]]
MANIFEST = Path(".degrade", "zarr.json")
CAMERA = (
    *("black", "white", "bits", "pitch", "iso", "exposure", "temperature"),
    *(
        f"{n}[{i}]"
        for n, k in (("k1", 4), ("k0", 4), ("white_balance", 3), ("matrix", 9), ("centre", 2))
        for i in range(k)
    ),
    *("half_diagonal", "read_exponent", "full_well"),
)  #: the numbers that the format has of a photo's camera: all of a sensor but a measured curve, which the recipe names


@dataclass(frozen=True)
class PhotoFact:
    """What the store keeps of a photo."""

    key: str  #: path relative to the folder, POSIX
    digest: str = ""  #: fingerprint of the file's content
    reason: str = ""  #: why it is quarantined; empty when it is not
    white_balance: tuple[float, ...] = (1.0, 1.0, 1.0)  #: gains for R G B that make grey equal
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)  #: balanced RGB to linear sRGB, by rows
    model: str = ""  #: maker and model of the camera that took it, as the file says
    camera: tuple[float, ...] = (float("nan"),) * len(CAMERA)  #: the sensor that its patches were cut with


@dataclass(frozen=True)
class Record:
    """A finished shard."""

    shard: int
    files: Files  #: path in the store -> size [byte], BLAKE2b
    photos: tuple[tuple[PhotoFact, int], ...]  #: fact and number of rows present
    columns: Mapping[str, NDArray[Any]]  #: all of `Layout.stored_columns`, over the shard's rows


def record_path(store: Path, shard: int) -> Path:
    """Where a shard's record lies."""
    return store / BUILD / f"shard-{shard:08d}"


def write_record(store: Path, layout: Layout, record: Record) -> None:
    """Marks a shard as done."""
    head = {
        "identity": layout.identity,
        "shard": record.shard,
        "files": record.files,
        "photos": [[asdict(p), n] for p, n in record.photos],
    }
    blocks = [np.asarray(record.columns[c.name], np.dtype(c.dtype).newbyteorder("<")) for c in layout.stored_columns]
    body = json.dumps(head, sort_keys=True).encode() + b"\n" + b"".join(b.tobytes() for b in blocks)
    write_file(store, record_path(store, record.shard), digest(body).encode() + b"\n", body)


def _marker(store: Path, identity: str, shard: int) -> Mapping[str, Any] | None:
    try:
        with open(record_path(store, shard), "rb") as file:
            file.readline()
            head = json.loads(file.readline())
    except (FileNotFoundError, ValueError):
        return None
    return head if head["identity"] == identity else None


def read_record(store: Path, layout: Layout, shard: int) -> Record:
    """The record of a finished shard, checked to the last bit.

    Raises:
        StoreError: if it is missing or damaged; a damaged one is removed, so that the shard is built again.
    """
    path = record_path(store, shard)
    try:
        check, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise StoreError(f"shard {shard} of {store} is not built yet: run the build again, it continues") from None
    line, _, block = body.partition(b"\n")
    if digest(body).encode() != check or json.loads(line)["identity"] != layout.identity:
        path.unlink()
        raise StoreError(f"the record of shard {shard} in {store} was damaged: run the build again, it is remade")
    head = json.loads(line)
    rows, at = len(layout.shard_rows(shard)), 0
    columns: dict[str, NDArray[Any]] = {}
    for column in layout.stored_columns:
        dtype = np.dtype(column.dtype).newbyteorder("<")
        columns[column.name] = np.frombuffer(block, dtype, rows, at)
        at += rows * dtype.itemsize
    photos = tuple((_fact(values), n) for values, n in head["photos"])
    files: Files = {name: (size, hash_) for name, (size, hash_) in head["files"].items()}
    return Record(shard, files, photos, columns)


def _fact(values: Mapping[str, Any]) -> PhotoFact:
    fact = PhotoFact(**values)
    return replace(fact, **{n: tuple(getattr(fact, n)) for n in ("white_balance", "matrix", "camera")})


def read_manifest(store: Path) -> Files | None:
    """The list of files of a store that is finished or about to be: path -> size [byte], BLAKE2b; else None."""
    try:
        return files_of((store / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def files_of(manifest: bytes) -> Files | None:
    """The files that a store's list names; None if it is damaged."""
    try:
        files = json.loads(manifest)["attributes"]["files"]
        return {name: (size, hash_) for name, (size, hash_) in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _there(store: Path, files: Mapping[str, Sequence[Any]]) -> bool:
    try:
        return all((store / name).stat().st_size == size for name, (size, _) in files.items())
    except FileNotFoundError:
        return False


def plane_file(plane: str, shard: int) -> str:
    """Path in the store of a plane's shard."""
    return f"{plane}/c.{shard}.0.0.0"


def shard_done(store: str | Path, layout: Layout, shard: int) -> bool:
    """Whether a shard is built: marked by this very layout, all its files there in full size."""
    return shard in done_shards(store, layout, range(shard, shard + 1))


def done_shards(store: str | Path, layout: Layout, shards: range | None = None) -> list[int]:
    """The shards that are built, of a finished store all whose files are there."""
    path = Path(store)
    listed, identity = read_manifest(path) or {}, layout.identity
    done: list[int] = []
    for k in range(layout.shards) if shards is None else shards:
        names = [plane_file(p.name, k) for p in layout.planes]
        marker = _marker(path, identity, k)
        if marker is not None:
            files = marker["files"]
        elif all(n in listed for n in names):
            files = {n: listed[n] for n in names}
        else:
            continue
        if _there(path, files):
            done.append(k)
    return done

"""Verifying: BLAKE2b of every file against the store's list, the list against the root, the root against its seal.

A damaged plane shard is looked at row by row (CRC-32C), so that the rows that are lost have names. A copy that
another tool made has no list; there the rows alone are checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.store.disk import StoreError, digest, digest_file
from degrade.store.layout import OWN, Layout
from degrade.store.metadata import seal_holds
from degrade.store.record import MANIFEST, Files, plane_file, read_manifest
from degrade.store.shard import crc32c
from degrade.store.write import read_layout

Progress = Callable[[int, int], object]


def verify(store: str | Path, progress: Progress | None = None) -> list[str]:
    """What is wrong with a finished store, one sentence each.

    Raises:
        StoreError: if there is no store, or it is not finished.
    """
    path = Path(store)
    listed = (path / MANIFEST).read_bytes() if (path / MANIFEST).exists() else None
    if listed is None and read_layout(path) is None:
        raise StoreError(f"there is no store at {path}: build one, or check the path")
    root = (path / "zarr.json").read_bytes() if (path / "zarr.json").exists() else b""
    own = _own(root)
    if own is not None and not own["complete"]:
        raise StoreError(f"{path} is not finished: run the same build again, it continues; then verify")
    if listed is None:
        lost = [f"{MANIFEST.as_posix()}, the list of files, is missing: fetch the store again"]
        return (lost if seal_holds(root) else []) + _copy(path, progress)
    problems: list[str] = []
    if own is None or not seal_holds(root):
        problems.append("zarr.json, the root's metadata, is damaged: its seal does not hold; fetch the store again")
    if own is not None and digest(listed) != own.get("manifest"):
        problems.append(f"{MANIFEST.as_posix()}, the list of files, is damaged: fetch the store again")
    files = read_manifest(path)
    return problems + ([] if files is None else _files(path, files, progress))


def _own(root: bytes) -> dict[str, Any] | None:
    """The store's part of the root's attributes; None if the file is damaged."""
    try:
        own = json.loads(root)["attributes"][OWN]
        return own if isinstance(own["complete"], bool) else None
    except (ValueError, KeyError, TypeError):
        return None


def _files(path: Path, files: Files, progress: Progress | None) -> list[str]:
    bad: dict[str, str] = {}
    total, seen = sum(size for size, _ in files.values()), 0

    def tell(n: int) -> None:
        nonlocal seen
        seen += n
        if progress:
            progress(seen, total)

    for name, (size, check) in files.items():
        file = path / name
        if not file.is_file():
            bad[name] = "is missing"
        elif file.stat().st_size != size:
            bad[name] = f"has {file.stat().st_size} bytes, {size} were written"
        elif digest_file(file, tell) != check:
            bad[name] = "is damaged: its BLAKE2b differs from the one written"
    rows = _lost_rows(path, files, bad)
    known = {*files, "zarr.json", MANIFEST.as_posix()}
    found = sorted(f.relative_to(path).as_posix() for f in path.rglob("*") if not f.is_dir() or f.is_symlink())
    return [f"{name} {why}{rows.get(name, '')}" for name, why in bad.items()] + [
        f"{name} does not belong to the store: remove it" for name in found if name not in known
    ]


def _lost_rows(path: Path, files: Files, bad: dict[str, str]) -> dict[str, str]:
    """For each damaged shard: which rows, if the root and the CRC-32C column are sound."""
    try:
        layout = read_layout(path)
    except (StoreError, KeyError, TypeError, ValueError):
        layout = None
    said: dict[str, str] = {}
    if layout is None:
        return said
    for plane in layout.planes:
        names = {plane_file(plane.name, k): k for k in range(layout.shards)}
        hurt = {name: k for name, k in names.items() if name in bad and (path / name).is_file()}
        if not hurt or any(name.startswith(f"crc32c_{plane.name}/") for name in bad):
            continue
        crc = _crc_column(path, layout, plane.name)
        for name, k in hurt.items():
            rows = layout.shard_rows(k)
            block = np.fromfile(path / name, np.uint8, len(rows) * plane.row_bytes)
            whole = len(block) // plane.row_bytes
            got = [crc32c(r) for r in block[: whole * plane.row_bytes].reshape(whole, plane.row_bytes)]
            lost = [i for j, i in enumerate(rows) if j >= whole or got[j] != crc[i]]
            which = f"rows lost: {_brief(lost)}" if lost else "no row is lost, only the shard's index"
            said[name] = f" (plane {plane.name!r}, shard {k}; {which}); delete the file and build again"
    return said


def _crc_column(path: Path, layout: Layout, plane: str) -> NDArray[np.uint32]:
    import zarr

    array: Any = zarr.open_array(str(path / f"crc32c_{plane}"), mode="r", zarr_format=3)
    return np.asarray(array[:])


def _brief(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:8]))
    return shown if len(rows) <= 8 else f"{shown}, ... ({len(rows)} in all)"


def _copy(path: Path, progress: Progress | None) -> list[str]:
    """Rows of a copy without a list of files, against their CRC-32C."""
    from degrade.store.read import PatchStore

    store = PatchStore(path)
    layout, seen = store.layout, 0
    problems: list[str] = []
    for plane in layout.planes:
        for k in range(layout.shards):
            rows = np.asarray(layout.shard_rows(k))
            block = np.empty((len(rows), *plane.shape), plane.dtype)
            store.gather(plane.name, rows, block)
            crc = store.columns[f"crc32c_{plane.name}"][rows]
            lost = [int(i) for i, c, row in zip(rows, crc, block, strict=True) if crc32c(row) != c]
            if lost:
                problems.append(f"plane {plane.name!r}, shard {k}: rows lost: {_brief(lost)}")
            seen += block.nbytes
            if progress:
                progress(seen, layout.rows * layout.row_bytes)
    return problems

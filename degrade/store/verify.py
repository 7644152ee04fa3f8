"""Verifying: BLAKE2b of every file against the store's list, the list against the root, the root against its seal.

A damaged plane shard, compressed or not, is looked at row by row (CRC-32C), so that the rows that are lost have names.
A copy that another tool made has no list; there the rows alone are checked. At an address the files of the list are
fetched; what lies there beside them is not looked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.core.progress import Done, Progress, quiet
from degrade.store.layout import OWN
from degrade.store.location import LIST, ROOT, TIMEOUT, Folder, Location, Unreachable, locate
from degrade.store.metadata import lists, seal_holds
from degrade.store.read import Store
from degrade.store.record import Files, files_of, plane_file
from degrade.store.shard import crc32c, plain_rows

_AT_A_TIME = 4  # files
_AGAIN = "fetch the store again, or delete it and build anew"


def verify(store: str | Path, progress: Progress = quiet, timeout: float = TIMEOUT) -> list[str]:
    """What is wrong with a finished store, one sentence each.

    Args:
        store: its folder or address.
        progress: hears of the bytes that are checked.
        timeout: longest wait for an answer from an address [s].

    Raises:
        StoreError: if there is no store, it is not finished, or its address does not answer.
    """
    there = locate(store, timeout)
    manifest = there.read(LIST)
    if manifest is None and there.layout() is None:
        raise StoreError(f"there is no store at {there.where}: build one, or check the path")
    root = there.read(ROOT)
    if _unfinished(root or b""):
        raise StoreError(f"{there.where} is not finished: run the same build again, it continues; then verify")
    files = None if manifest is None else files_of(manifest)
    problems: list[str] = []
    if root is not None and seal_holds(root):
        if manifest is None or not lists(root, manifest):
            lost = "missing" if manifest is None else "damaged"
            problems = [f"{LIST}, the list of files, is {lost}, so only rows were checked; {_AGAIN}"]
            files = None
    elif manifest is not None:
        lost = "missing" if root is None else "damaged: its seal does not hold"
        problems = [f"{ROOT}, the root's metadata, is {lost}; {_AGAIN}"]
    return problems + (_rows(there, progress) if files is None else _files(there, files, progress))


def lost_rows(store: Store, plane: str, rows: NDArray[np.int64]) -> list[int]:
    """Which rows ``(n,)`` of a plane cannot be decoded, or are not what their CRC-32C says.

    Raises:
        Unreachable: if the store's address does not answer.
    """
    layout = store.layout.plane(plane)
    block = np.empty((len(rows), *layout.shape), layout.dtype)
    try:
        store.gather(plane, rows, block)
    except Unreachable:
        raise
    except StoreError:
        if len(rows) == 1:
            return rows.tolist()
        return [i for half in np.array_split(rows, 2) for i in lost_rows(store, plane, half)]
    return _differ(block, rows, store.columns[f"crc32c_{plane}"])


def brief(rows: list[int]) -> str:
    """Numbers of rows, the first eight of many.

    >>> brief([3, 4, *range(10, 20)])
    '3, 4, 10, 11, 12, 13, 14, 15, ... (12 in all)'
    """
    shown = ", ".join(map(str, rows[:8]))
    return shown if len(rows) <= 8 else f"{shown}, ... ({len(rows)} in all)"


def _unfinished(root: bytes) -> bool:
    """Whether a root says so; a damaged one says nothing."""
    try:
        return json.loads(root)["attributes"][OWN]["complete"] is False
    except (ValueError, KeyError, TypeError):
        return False


def _files(there: Location, files: Files, progress: Progress) -> list[str]:
    bad: dict[str, str] = {}
    for name, found in _digests(there, files, progress):
        size, check = files[name]
        if found is None:
            bad[name] = "is missing"
        elif found[0] != size:
            bad[name] = f"has {found[0]} bytes, {size} were written"
        elif found[1] != check:
            bad[name] = "is damaged: its BLAKE2b differs from the one written"
    rows = _hurt(there, files, bad)
    return [f"{name} {why}{rows.get(name) or '; ' + _AGAIN}" for name, why in bad.items()] + [
        f"{name} does not belong to the store: remove it" for name in there.strays({*files, ROOT, LIST})
    ]


def _digests(there: Location, files: Files, progress: Progress) -> Iterator[tuple[str, tuple[int, str] | None]]:
    """Size and BLAKE2b of each file, several at a time: a disk, and even more an address, is faster than one hash."""
    total, seen, lock = sum(size for size, _ in files.values()), 0, Lock()

    def tell(n: int) -> None:
        nonlocal seen
        with lock:
            seen += n
            progress(Done("checking", min(seen, total), total, "bytes"))

    pool = ThreadPoolExecutor(max(_AT_A_TIME, os.cpu_count() or 1))
    try:
        yield from zip(files, pool.map(lambda name: there.digest(name, files[name][0], tell), files), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _hurt(there: Location, files: Files, bad: dict[str, str]) -> dict[str, str]:
    """For each damaged or missing shard: which rows, if the root and the CRC-32C column are sound."""
    said: dict[str, str] = {}
    try:
        store = Store(there.where, timeout=there.timeout)
    except (StoreError, KeyError, TypeError, ValueError):
        return said
    for plane in store.planes:
        names = {plane_file(plane, k): k for k in range(store.layout.shards)}
        hurt = {name: k for name, k in names.items() if name in bad}
        if not hurt or any(name.startswith(f"crc32c_{plane}/") or name == f"{plane}/{ROOT}" for name in bad):
            continue
        plain = plain_rows(json.loads(there.read(f"{plane}/{ROOT}") or b"")) == store.layout.rows_per_shard
        for name, k in hurt.items():
            rows = np.asarray(store.layout.shard_rows(k))
            missing = bad[name] == "is missing"
            if missing:
                lost = rows.tolist()
            elif plain:  # whatever became of the shard's index, the rows themselves are where they were
                lost = _lost_of_block(b"".join(there.pieces(name, files[name][0])), store, plane, rows)
            else:
                lost = lost_rows(store, plane, rows)
            which = f"rows lost: {brief(lost)}" if lost else "no row is lost, only the shard's index"
            mend = "copy the store again"
            if plain and isinstance(there, Folder):
                mend = "build again" if missing else "delete the file and build again"
            said[name] = f" (plane {plane!r}, shard {k}; {which}); {mend}"
    return said


def _lost_of_block(data: bytes, store: Store, plane: str, rows: NDArray[np.int64]) -> list[int]:
    size = store.layout.plane(plane).row_bytes
    whole = min(len(data) // size, len(rows))
    block = np.frombuffer(data, np.uint8, whole * size).reshape(whole, size)
    return _differ(block, rows[:whole], store.columns[f"crc32c_{plane}"]) + rows[whole:].tolist()


def _differ(block: NDArray[Any], rows: NDArray[np.int64], crc: NDArray[np.uint32]) -> list[int]:
    return [int(i) for i, row in zip(rows, block, strict=True) if crc32c(row) != crc[i]]


def _rows(there: Location, progress: Progress) -> list[str]:
    """Rows of a copy without a list of files, against their CRC-32C."""
    store = Store(there.where, timeout=there.timeout)
    layout, seen = store.layout, 0
    problems: list[str] = []
    for plane in layout.planes:
        for k in range(layout.shards):
            rows = np.asarray(layout.shard_rows(k))
            if lost := lost_rows(store, plane.name, rows):
                problems.append(f"plane {plane.name!r}, shard {k}: rows lost: {brief(lost)}")
            seen += len(rows) * plane.row_bytes
            progress(Done("checking", seen, layout.rows * layout.row_bytes, "bytes"))
    return problems

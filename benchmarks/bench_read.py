"""Compressed and remote stores: what their bytes cost, and readers of them, each given the same batches.

    python benchmarks/bench_read.py [--rows 2048] [--batch 64] [--seconds 1] [--json FILE]

One plane (4, 64, 64) uint16, 32 KiB a row: smooth scenes in 14 bits with the noise of a camera, in shards of 512 rows.
Shuffled batches, rows ascending inside a batch, warm, one process; over HTTP from a server in Python on this machine,
which is what bounds those figures. zarr-python reads through ``oindex``; zarrs and obstore take part where they are
installed. Verifying is raced against reading the same files, once from the disk and once from memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import ObjectStore

from degrade.pairs.store import PatchStore
from degrade.store.copy import CODECS, copy
from degrade.store.finalise import finalise
from degrade.store.layout import Column, Layout, PlaneLayout
from degrade.store.verify import lost_rows
from degrade.store.write import PhotoFact, ShardWriter, create

SERVER = Path(__file__).parents[1] / "tests" / "served.py"
Read = Callable[[np.ndarray], np.ndarray]


def scenes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows of smooth light with photon and read noise [DN]."""
    y, x = np.mgrid[:64, :64]
    wave = 1 + 0.3 * np.sin(y / 9 + 6 * rng.random((n, 4, 1, 1))) + 0.2 * np.cos(x / 13)
    light = (200 + 3000 * rng.random((n, 4, 1, 1))) * wave
    noisy = 512 + light + rng.normal(size=light.shape) * np.sqrt(2.1 * light + 140)
    return np.clip(np.rint(noisy), 0, 16383).astype(np.uint16)


def build(folder: Path, rows: int) -> PatchStore:
    plane = PlaneLayout("noise", 4, 64, 64, "uint16", "mosaic")
    layout = Layout((plane,), (Column("black", "float32"), Column("white", "float32")), rows // 128, 128, 4)
    create(folder, layout)
    for k in range(layout.shards):
        n = len(layout.shard_rows(k))
        with ShardWriter(folder, layout, k) as out:
            out.put("noise", scenes(np.random.default_rng(k), n))
            levels = {"black": np.full(n, 512.0), "white": np.full(n, 16383.0)}
            out.finish(levels, [PhotoFact(f"IMG_{p:06d}.CR2") for p in layout.shard_photos(k)])
    finalise(folder, layout)
    return PatchStore(folder)


def readers(where: str) -> Iterator[tuple[str, Read]]:
    """Name and function of each reader of the plane."""
    store = PatchStore(where)
    yield "PatchStore", lambda rows: store.read("noise", rows, dn=True)
    at = f"{where}/noise"
    if "://" not in where or find_spec("aiohttp"):
        array: Any = zarr.open_array(at, mode="r")
        yield "zarr-python", lambda rows: array.oindex[rows]
    if find_spec("obstore"):
        stores: Any = import_module("obstore.store")
        http = {"allow_http": True}
        source = stores.from_url(at, client_options=http) if "://" in where else stores.LocalStore(at)
        through: Any = zarr.open_array(ObjectStore(source, read_only=True), mode="r")
        yield "zarr-python, obstore", lambda rows: through.oindex[rows]
    if find_spec("zarrs") and ("://" not in where or find_spec("aiohttp")):
        import_module("zarrs")  # registers itself
        with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
            other: Any = zarr.open_array(at, mode="r")
            yield "zarr-python, zarrs", lambda rows: other.oindex[rows]


def rate(read: Read, batches: list[np.ndarray], seconds: float, expected: np.ndarray) -> float:
    """Rows a second."""
    if not np.array_equal(read(batches[0]), expected[batches[0]]):
        raise SystemExit("a reader gives other rows")
    rows, start = 0, time.perf_counter()
    for batch in cycle(batches):
        rows += len(read(batch))
        if (took := time.perf_counter() - start) > seconds:
            return rows / took
    return 0.0


@contextmanager
def server(folder: Path) -> Generator[str]:
    with subprocess.Popen([sys.executable, SERVER, folder], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.communicate()


def forget(folder: Path) -> None:
    """The system's copies of a folder's files in memory, so that they come from the disk."""
    gc.collect()  # what is mapped stays
    with suppress(AttributeError):  # where a system has no such word, both figures are from memory
        for file in folder.rglob("c.*"):
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def plain_read(folder: Path) -> None:
    piece = bytearray(1 << 20)
    for file in folder.rglob("c.*"):
        with open(file, "rb", buffering=0) as stream:
            while stream.readinto(piece):
                pass


def check_rows(folder: Path) -> None:
    store = PatchStore(folder)
    for k in range(store.layout.shards):
        assert not lost_rows(store, "noise", np.asarray(store.layout.shard_rows(k)))


def verifying(folder: Path) -> dict[str, float]:
    """GB/s of a store's files."""
    size = sum(f.stat().st_size for f in folder.rglob("c.*"))
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: plain_read(folder),
        "verify, BLAKE2b of files": lambda: PatchStore(folder).verify(),
        "CRC-32C of rows": lambda: check_rows(folder),
    }
    found: dict[str, float] = {}
    for name, step in steps.items():
        for source in ("disk", "memory"):
            best = float("inf")
            for _ in range(3):
                if source == "disk":
                    forget(folder)
                start = time.perf_counter()
                step()
                best = min(best, time.perf_counter() - start)
            found[f"{name}, from {source}"] = size / 1e9 / best
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = build(folder / "source.zarr", args.rows)
        rows = store.read("noise", slice(None), dn=True)
        order = np.random.default_rng(0).permutation(args.rows)
        batches = [np.sort(order[i : i + args.batch]) for i in range(0, args.rows, args.batch)]
        for codec in CODECS:
            start = time.perf_counter()
            copy(store.path, folder / f"{codec}.zarr", codec)
            speed = rows.nbytes / 1e6 / (time.perf_counter() - start)
            ratio = rows.nbytes / sum(f.stat().st_size for f in (folder / f"{codec}.zarr" / "noise").glob("c.*"))
            result[codec] = {"ratio": ratio, "copy_MB_per_second": speed}
            print(f"{codec}: {ratio:.2f} times smaller, copied and checked at {speed:.0f} MB/s")
        with server(folder) as address:
            for codec in CODECS:
                for place, where in (("local", folder), ("http", address)):
                    rates = {n: rate(r, batches, args.seconds, rows) for n, r in readers(f"{where}/{codec}.zarr")}
                    result[codec][place] = rates
                    best = rates["PatchStore"]
                    for reader, found in rates.items():
                        print(f"{codec:6}{place:6}{reader:24}{found:10,.0f} rows/s{found / best:8.1%}")
        for codec in ("plain", "blosc"):
            result[codec]["GB_per_second"] = verifying(folder / f"{codec}.zarr")
            for step, found in result[codec]["GB_per_second"].items():
                print(f"{codec:6}{step:40}{found:6.2f} GB/s")
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The loader against copying the same rows out of ``numpy.memmap``, one thread, warm; and a store of 10^6 rows.

    python benchmarks/bench_loader.py [--rows 2048] [--batch 64] [--large] [--json FILE]

Four planes (4, 64, 64) uint16, 32 KiB a row and plane. Every reader gets the same shuffled batches, rows ascending
inside a batch; readers take turns, the best of several rounds counts. ``--large`` times finishing and opening a store
of 10^5 photos and 10^6 rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from degrade.store.finalise import finalise
from degrade.store.layout import Column, Layout, PlaneLayout
from degrade.store.read import PatchStore
from degrade.store.write import PhotoFact, ShardWriter, create

LEVELS = (Column("black", "float32"), Column("white", "float32"))
NAMES = ("clean", "blur", "noise", "noise_blur")


def build(folder: Path, layout: Layout, draw: Callable[[PlaneLayout, int], np.ndarray]) -> PatchStore:
    create(folder, layout)
    for k in range(layout.shards):
        n = len(layout.shard_rows(k))
        with ShardWriter(folder, layout, k) as out:
            for plane in layout.planes:
                out.put(plane.name, draw(plane, n))
            columns = {c.name: np.full(n, 512.0 if c.name == "black" else 16383.0) for c in layout.columns}
            out.finish(columns, [PhotoFact(f"folder/IMG_{p:06d}.CR2", f"{p:032x}") for p in layout.shard_photos(k)])
    start = time.perf_counter()
    finalise(folder, layout)
    print(f"finishing {layout.rows} rows of {layout.photos} photos: {time.perf_counter() - start:.2f} s")
    return PatchStore(folder)


def readers(folder: Path, store: PatchStore, batch: int) -> dict[str, Callable[[], int]]:
    """Each goes once through all rows, in the loader's order, and returns how many."""
    n = store.layout.rows
    shape = (n, *store.layout.planes[0].shape)
    maps = []
    for name in NAMES:
        store.read(name, slice(None), dn=True).tofile(folder / f"{name}.bin")
        maps.append(np.memmap(folder / f"{name}.bin", np.uint16, "r", shape=shape))
    batches = [b["row"].numpy() for b in store.loader(batch, ("clean",), dn=True)]
    same = {name: np.empty((batch, *shape[1:]), np.uint16) for name in NAMES}

    def fancy() -> int:
        batch = []
        for rows in batches:
            batch = [m[rows] for m in maps]
        return n if len(batch) == len(NAMES) else 0

    def take() -> int:
        for rows in batches:
            for name, m in zip(NAMES, maps, strict=True):
                np.take(m, rows, axis=0, out=same[name][: len(rows)], mode="clip")
        return n

    def normalised() -> int:
        batch = []
        for rows in batches:
            batch = [torch.from_numpy(m[rows]).to(torch.float32).sub_(512.0).div_(15871.0) for m in maps]
        return n if len(batch) == len(NAMES) else 0

    def loader(dn: bool) -> int:
        return sum(len(b["row"]) for b in store.loader(batch, NAMES, dn=dn))

    return {
        "memmap[rows], fresh array": fancy,
        "numpy.take from memmap, same buffers": take,
        "memmap[rows], then float32 and normalised": normalised,
        "loader, dn=True": lambda: loader(True),
        "loader, normalised": lambda: loader(False),
    }


def race(readers: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Rows a second, best of the rounds; all take part in each round."""
    best = dict.fromkeys(readers, 0.0)
    for _ in range(rounds):
        for name, reader in readers.items():
            start = time.perf_counter()
            rows = reader()
            best[name] = max(best[name], rows / (time.perf_counter() - start))
    return best


def large(folder: Path) -> dict[str, float]:
    columns = LEVELS + tuple(Column(f"draw_{i}", "float32") for i in range(20))
    layout = Layout((PlaneLayout("p", 1, 1, 1, "uint16", "mosaic"),), columns, 100_000, 10, 200)
    build(folder, layout, lambda plane, n: np.zeros((n, 1, 1, 1), np.uint16))
    start = time.perf_counter()
    store = PatchStore(folder)
    found = {"open": time.perf_counter() - start}
    steps: dict[str, Callable[[], object]] = {
        "rows present": lambda: store.rows,
        "one column": lambda: store.columns["draw_3"],
        "photo table": lambda: store.photos,
        "a row with its draws": lambda: store.row(123_456),
    }
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        found[name] = time.perf_counter() - start
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        planes = tuple(PlaneLayout(name, 4, 64, 64, "uint16", "mosaic") for name in NAMES)
        layout = Layout(planes, LEVELS, args.rows // 128, 128, 4)
        store = build(Path(folder, "s"), layout, lambda p, n: rng.integers(0, 16384, (n, *p.shape), np.uint16))
        rates = race(readers(Path(folder), store, args.batch), args.rounds)
        floors = [rates["memmap[rows], fresh array"], rates["numpy.take from memmap, same buffers"]]
        prepared = rates["memmap[rows], then float32 and normalised"]
        print(f"\n{'rows of four planes (128 KiB)':44}{'rows/s':>10}{'of fancy':>10}{'of take':>10}{'of norm.':>10}")
        for name, rate in rates.items():
            shares = "".join(f"{rate / floor:10.0%}" for floor in (*floors, prepared))
            print(f"{name:44}{rate:10,.0f}{shares}")
        result["rows_per_second"] = rates
        result["dn_of_fancy"], result["dn_of_take"] = (rates["loader, dn=True"] / f for f in floors)
        result["normalised_of_normalised_memmap"] = rates["loader, normalised"] / prepared
    if args.large:
        with tempfile.TemporaryDirectory() as folder:
            result["large_seconds"] = large(Path(folder, "s"))
            print(json.dumps(result["large_seconds"], indent=1))
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

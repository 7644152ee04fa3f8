"""The loader against the loaders of its peers: shuffled pairs of 64 KiB, warm, the same rows on the same machine.

    python benchmarks/bench_loader.py [--pairs 4096] [--batch 64] [--rounds 9] [--peer NAME ...] [--envs FOLDER]
                                      [--large] [--out FILE]

Two planes (4, 64, 64) uint16. All give the same shuffled batches, rows ascending inside a batch, as two uint16 arrays
(WebDataset and LitData shuffle their own way), and take turns pass by pass; the best of the rounds counts. A peer
runs in a process of its own, of ``FOLDER/NAME/bin/python`` if there is one; requirements-loader*.txt say what each
needs, and one that is not there is left out. ``--large`` adds a restart on a store of 10^6 rows of 10^5 photos.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from loader_peers import NAMES, PEERS

from degrade.pairs.store import PatchStore
from degrade.store.finalise import finalise
from degrade.store.layout import Column, Layout, PlaneLayout
from degrade.store.loader import Loader
from degrade.store.write import PhotoFact, ShardWriter, create

LEVELS = (Column("black", "float32"), Column("white", "float32"))
HERE = Path(__file__).parent
Seconds = Callable[[], float]


def build(folder: Path, layout: Layout, draw: Callable[[PlaneLayout, int], np.ndarray]) -> None:
    """A finished store."""
    create(folder, layout)
    for k in range(layout.shards):
        n = len(layout.shard_rows(k))
        with ShardWriter(folder, layout, k) as out:
            for plane in layout.planes:
                out.put(plane.name, draw(plane, n))
            columns = {c.name: np.full(n, 512.0 if c.name == "black" else 16383.0) for c in layout.columns}
            out.finish(columns, [PhotoFact(f"folder/IMG_{p:06d}.CR2", f"{p:032x}") for p in layout.shard_photos(k)])
    finalise(folder, layout)


def pairs(folder: Path, count: int, batch: int) -> Path:
    """A store of ``count`` pairs with its rows and batches as the peers read them."""
    rng = np.random.default_rng(0)
    layout = Layout(tuple(PlaneLayout(n, 4, 64, 64, "uint16", "mosaic") for n in NAMES), LEVELS, count // 128, 128, 8)
    build(folder / "pairs.zarr", layout, lambda p, n: rng.integers(0, 16384, (n, *p.shape), np.uint16))
    store = PatchStore(folder / "pairs.zarr")
    for name in NAMES:
        store.read(name, slice(None), dn=True).tofile(folder / f"{name}.bin")
    np.save(folder / "order.npy", np.stack([b["row"].numpy() for b in store.loader(batch, dn=True)]))
    return folder / "pairs.zarr"


def passes(loader: Loader) -> Seconds:
    """Seconds of a pass over a loader."""

    def run() -> float:
        start = time.perf_counter()
        deque(loader, maxlen=0)  # lets each batch go before it asks for the next
        return time.perf_counter() - start

    return run


class Peer:
    """A process that goes once through all rows when it is asked."""

    def __init__(self, name: str, folder: Path, envs: Path | None) -> None:
        own = None if envs is None else envs / name / "bin" / "python"
        python = sys.executable if own is None or not own.exists() else str(own)
        self.name = name
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(HERE / "loader_peers.py"), name, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("ready", "absent")) or line[:1].isdigit():  # some talk of other things
                return line.strip()
        assert self.process.stderr is not None
        return f"failed: {(self.process.stderr.read().strip().splitlines() or ['no word'])[-1]}"

    def __call__(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._line())


def race(runners: dict[str, Seconds], rounds: int, rows: int) -> dict[str, float]:
    """Rows a second, best of the rounds; all take part in each round."""
    best = dict.fromkeys(runners, float("inf"))
    for i in range(rounds):
        for name, run in runners.items():
            if best[name] < 1 or i < 2:  # a pass of more than a second has no noise to speak of
                best[name] = min(best[name], run())
    return {name: rows / seconds for name, seconds in best.items()}


def against_peers(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    store = pairs(folder, args.pairs, args.batch)
    peers = [Peer(name, folder, args.envs) for name in dict.fromkeys(["memmap", *args.peer])]
    for peer in peers:
        if peer.said != "ready":
            print(f"{peer.name} is left out, {peer.said}")
    runners: dict[str, Seconds] = {peer.name: peer for peer in peers if peer.said == "ready"}
    mapped, positioned = PatchStore(store), PatchStore(store, maps=0)
    for threads in (0, 1, 2):
        runners[f"degrade, threads={threads}"] = passes(mapped.loader(args.batch, dn=True, threads=threads))
    runners["degrade, threads=0, by position"] = passes(positioned.loader(args.batch, dn=True, threads=0))
    runners["degrade, threads=0, in windows"] = passes(mapped.loader(args.batch, dn=True, threads=0, shuffle="window"))
    runners["degrade, threads=0, rows checked"] = passes(mapped.loader(args.batch, dn=True, threads=0, check=True))
    runners["degrade, threads=0, normalised"] = passes(mapped.loader(args.batch, threads=0))
    runners["degrade, threads=2, normalised"] = passes(mapped.loader(args.batch, threads=2))
    return race(runners, args.rounds, args.pairs)


def memory(store: PatchStore, batch: int, epochs: int = 30) -> list[float]:
    """Private memory [MiB] after each tenth of the epochs: maps of the page cache are not the loader's."""
    process, seen = psutil.Process(), list[float]()
    loader = store.loader(batch)
    for epoch in range(epochs):
        deque(loader, maxlen=0)
        if (epoch + 1) % max(1, epochs // 10) == 0:
            info = process.memory_info()
            seen.append((info.rss - info.shared) / 2**20)
    return seen


def large(folder: Path) -> dict[str, float]:
    """Builds 10^6 rows; opens them and delivers the first batch in a new process, as a restart does."""
    columns = LEVELS + tuple(Column(f"draw_{i}", "float32") for i in range(20))
    layout = Layout(tuple(PlaneLayout(n, 1, 8, 8, "uint16", "mosaic") for n in NAMES), columns, 100_000, 10, 200)
    build(folder / "large.zarr", layout, lambda p, n: np.zeros((n, *p.shape), np.uint16))
    restart = "import bench_loader, sys; bench_loader.restart(sys.argv[1])"
    runs: list[dict[str, float]] = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", restart, str(folder / "large.zarr")],
            cwd=HERE, check=True, capture_output=True, text=True,
        )  # fmt: skip
        runs.append(json.loads(done.stdout))
    return {name: min(run[name] for run in runs) for name in runs[0]}


def restart(store: str) -> None:
    """Prints the seconds until a store is open, and until the batch that was due is there."""
    start = time.perf_counter()
    opened = PatchStore(store)
    found = {"open": time.perf_counter() - start}
    start = time.perf_counter()
    loader = opened.loader(64, seed=7)
    loader.load_state_dict({**loader.state_dict(), "epoch": 3, "delivered": 9000})
    next(iter(loader))
    found["first batch"] = time.perf_counter() - start
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peer", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--envs", type=Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        rates = against_peers(Path(folder), args)
        result["pairs_per_second"] = rates
        print(f"\n{'pairs of 64 KiB':36}{'pairs/s':>10}{'GB/s':>8}{'of memmap':>11}{'of LMDB':>9}")
        for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
            of_lmdb = f"{rate / rates['lmdb']:9.0%}" if "lmdb" in rates else ""
            print(f"{name:36}{rate:10,.0f}{rate * 65536 / 1e9:8.2f}{rate / rates['memmap']:11.0%}{of_lmdb}")
        result["private_MiB"] = memory(PatchStore(Path(folder, "pairs.zarr")), args.batch)
        print("private memory over 30 epochs [MiB]:", " ".join(f"{m:.0f}" for m in result["private_MiB"]))
    if args.large:
        with tempfile.TemporaryDirectory() as folder:
            result["large_seconds"] = large(Path(folder))
            print(json.dumps(result["large_seconds"], indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Building 24 MP photos, 256 rows of four planes each, against decoding them and writing the same bytes.

    python benchmarks/bench_build.py [--rounds 3] [--workers 2] [--memory 200] [--out FILE]

The photo is a Bayer DNG of 6000 x 4000 photosites with texture everywhere, once uncompressed and once as lossless JPEG,
the recipe is `residual-maps` as it ships. The floor is what no build can do without: LibRaw's decoding, and writing as
many bytes with fsync. All in this process, on one thread, the photo in the page cache; build and floor take turns, and
the best of the rounds counts, for a shared machine only ever adds.

``--workers N`` builds a folder by one worker and by N, started before the clock. ``--memory N`` builds N photos in this
process and prints what it holds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import torch

from degrade.pairs.encode import encode
from degrade.pairs.plan import Plan, plan
from degrade.pairs.run import build
from degrade.pairs.task import row_facts
from degrade.photos import path_of, read_photo, write_dng
from degrade.recipe.recipe import Recipe
from degrade.recipe.render import Rendering
from degrade.store.disk import locked
from degrade.store.finalise import finalise
from degrade.store.write import PhotoFact, ShardWriter, create

SIZE = (4000, 6000)
BLACK, WHITE = 512, 16383
FOLDER = 48  #: photos that workers share


def write_photo(path: Path, compressed: bool = False) -> None:
    """Waves of several lengths under grain."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SIZE), indexing="ij")
    light = rng.random(SIZE, np.float32) * 0.1
    for length, angle in ((900, 0.3), (70, 1.4), (23, 2.2), (9, 0.9)):
        light += 0.1 * (1 + np.sin((x * np.cos(angle) + y * np.sin(angle)) * np.float32(2 * np.pi / length)))
    dn = np.round(BLACK + light * (WHITE - BLACK)).astype(np.uint16)
    write_dng(path, dn, black=BLACK, white=WHITE, iso=100, white_balance=(2.1, 1.0, 1.6), compressed=compressed)


def best(tasks: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Seconds of each task, the least of rounds in which they take turns; a task is told the number of the round."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for i in range(-1, rounds):  # the first warms
        for name, task in tasks.items():
            start = time.perf_counter()
            task(i)
            seconds[name] += [time.perf_counter() - start] * (i >= 0)
    return {name: min(found) for name, found in seconds.items()}


def decode(path: Path) -> np.ndarray:
    with rawpy.imread(str(path)) as raw:
        return raw.raw_image_visible.copy()


def write(folder: Path, sizes: list[int]) -> None:
    """As many files of as many bytes."""
    for i, size in enumerate(sizes):
        block = memoryview(bytes(size))
        with open(folder / f"{i}.bin", "wb", buffering=0) as file:
            while block:
                block = block[file.write(block) :]
            os.fsync(file.fileno())


def steps(whole: Plan, store: Path) -> dict[str, float]:
    """Seconds of each step of the same build, one after the other instead of block by block."""
    found: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal start
        found[name] = time.perf_counter() - start
        start = time.perf_counter()

    recipe, photo, layout = whole.recipe, whole.photos[0], whole.layout
    with locked(store), torch.inference_mode():
        create(store, layout)
        start = time.perf_counter()
        frame = read_photo(path_of(whole.folder, photo.key), space=recipe.source.space, shrink=recipe.source.shrink)
        lap("read and resample")
        rendering = Rendering(recipe, frame, photo.key)
        lap("draw and choose places")
        frames = [rendering.block(block) for block in rendering.blocks()]
        lap("render")
        rows = {p.name: [encode(f, p) for f in frames] for p in layout.planes}
        lap("encode as DN")
        if len(rendering.rows) < layout.per_photo:
            raise SystemExit("the synthetic photo left rows without a place")
        with ShardWriter(store, layout, 0) as out:
            for name, blocks in rows.items():
                for block in blocks:
                    out.put(name, block)
            out.finish(row_facts(rendering), [PhotoFact(photo.key, photo.fingerprint)])
        lap("write and sync the shard")
        finalise(store, layout)
        lap("finish the store")
    return found


def one_photo(recipe: Recipe, home: Path, compressed: bool, rounds: int) -> dict[str, Any]:
    """A photo's build against its floor."""
    folder = home / ("compressed" if compressed else "plain")
    folder.mkdir()
    write_photo(folder / "a.dng", compressed)
    whole = plan(recipe, folder)
    sizes = [p.row_bytes * whole.layout.rows for p in whole.layout.planes]
    seconds = best(
        {
            "build": lambda i: build(recipe, folder, home / f"{folder.name}-{i}", workers=1),
            "LibRaw decode": lambda _: decode(folder / "a.dng"),
            "write with fsync": lambda _: write(home, sizes),
        },
        rounds,
    )
    each = steps(whole, home / f"{folder.name}-steps")
    ratio = seconds["build"] / (seconds["LibRaw decode"] + seconds["write with fsync"])
    rows = whole.layout.rows
    kind = "lossless JPEG" if compressed else "uncompressed"
    print(f"24 MP {kind}, {rows} rows of {len(sizes)} planes, {sum(sizes) / 1e6:.1f} MB, best of {rounds}\n")
    for label, value in seconds.items():
        print(f"{label:28}{value:8.3f} s")
    print(f"{'build / (decode + write)':28}{ratio:8.2f}")
    print(f"{'rows a second':28}{rows / seconds['build']:8.0f}\n\nwhere the time goes, once")
    for label, value in each.items():
        print(f"  {label:26}{value:8.3f} s {value / sum(each.values()):5.0%}")
    print()
    return {"seconds": seconds, "ratio": ratio, "rows_per_second": rows / seconds["build"], "steps": each}


def copies(home: Path, count: int) -> Path:
    """A folder of photos that differ in their last bytes, which no reader looks at."""
    folder = home / "copies"
    folder.mkdir()
    write_photo(folder / "0000.dng")
    content = (folder / "0000.dng").read_bytes()
    for i in range(1, count):
        (folder / f"{i:04}.dng").write_bytes(content + i.to_bytes(8, "little"))
    return folder


def many_workers(recipe: Recipe, home: Path, workers: int, rounds: int) -> dict[str, Any]:
    """A folder by one worker and by several, each on one thread."""
    from distributed import Client, LocalCluster

    folder = copies(home, FOLDER)

    def run(count: int, i: int) -> None:
        build(recipe, folder, home / f"w{count}-{i}", client=clients[count])

    clusters = {n: LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0") for n in (1, workers)}
    clients = {n: Client(cluster) for n, cluster in clusters.items()}
    tasks = {str(n): lambda i, n=n: run(n, i) for n in clients}
    seconds = best(tasks, rounds)
    for each in (*clients.values(), *clusters.values()):
        each.close()
    alone, together = seconds["1"], seconds[str(workers)]
    gain = alone / together
    print(f"{FOLDER} photos: one worker {alone:.2f} s, {workers} {together:.2f} s, {gain:.2f} times\n")
    return {"seconds": seconds, "gain": gain}


def resident(kind: str) -> int:
    """Memory of this process [MiB], now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(kind))) // 1024


def memory(recipe: Recipe, home: Path, photos: int) -> dict[str, Any]:
    """What this process holds [MiB] after each 20 photos."""
    folder, held = copies(home, 20), list[int]()
    Path("/proc/self/clear_refs").write_text("5")  # what making the photos took does not count
    for i in range(photos // 20):
        build(recipe.changed(seed=i), folder, home / f"m{i}", workers=1)
        held.append(resident("VmRSS"))
    peak = resident("VmHWM")
    print(f"{photos} photos: {held[0]} MiB after 20, {held[-1]} MiB at the end, {peak} MiB at most\n")
    return {"held": held, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="also a folder by so many workers")
    parser.add_argument("--memory", type=int, help="only the memory over so many photos")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe.load("residual-maps")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if arguments.memory:
            result["memory"] = memory(recipe, home, arguments.memory)
        else:
            for kind, compressed in (("uncompressed", False), ("lossless JPEG", True)):
                result[kind] = one_photo(recipe, home, compressed, arguments.rounds)
            if arguments.workers:
                result["workers"] = many_workers(recipe, home, arguments.workers, arguments.rounds)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

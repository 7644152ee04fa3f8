"""Building one 24 MP photo: 256 rows of four planes, one worker, against decoding it and writing the same bytes.

    python benchmarks/bench_build.py [--rounds 3] [--out FILE]

The photo is an uncompressed Bayer DNG of 6000 x 4000 photosites with texture everywhere, the recipe is
`residual-maps` as it ships. The floor is what no build can do without: LibRaw's decoding, and writing as many bytes
with fsync. All in this process, on one thread, the photo in the page cache; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rawpy
import torch

from degrade.builder.plan import Plan, plan
from degrade.builder.run import build
from degrade.builder.shard import row_facts
from degrade.photos import path_of, read_photo, write_dng
from degrade.recipe.recipe import Recipe
from degrade.recipe.render import Rendering
from degrade.store.disk import locked
from degrade.store.encode import encode
from degrade.store.finalise import finalise
from degrade.store.write import PhotoFact, ShardWriter, create

SIZE = (4000, 6000)
BLACK, WHITE = 512, 16383


def write_photo(path: Path) -> None:
    """Waves of several lengths under grain."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SIZE), indexing="ij")
    light = rng.random(SIZE, np.float32) * 0.1
    for length, angle in ((900, 0.3), (70, 1.4), (23, 2.2), (9, 0.9)):
        light += 0.1 * (1 + np.sin((x * np.cos(angle) + y * np.sin(angle)) * np.float32(2 * np.pi / length)))
    dn = np.round(BLACK + light * (WHITE - BLACK)).astype(np.uint16)
    write_dng(path, dn, black=BLACK, white=WHITE, iso=100, white_balance=(2.1, 1.0, 1.6))


def median(task: Callable[[int], object], rounds: int) -> float:
    """Seconds of a task; it is told the number of the round."""
    task(-1)  # warm
    seconds: list[float] = []
    for i in range(rounds):
        start = time.perf_counter()
        task(i)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


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
        rows = {p.name: [encode(f[p.name], p) for f in frames] for p in layout.planes}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe.load("residual-maps")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "photos").mkdir()
        write_photo(home / "photos" / "a.dng")
        whole = plan(recipe, home / "photos")
        sizes = [p.row_bytes * whole.layout.rows for p in whole.layout.planes]
        rounds = arguments.rounds
        seconds = {
            "build": median(lambda i: build(recipe, home / "photos", home / f"s{i}", workers=1), rounds),
            "LibRaw decode": median(lambda _: decode(home / "photos" / "a.dng"), rounds),
            "write with fsync": median(lambda _: write(home, sizes), rounds),
        }
        each = steps(whole, home / "steps")
    floor = seconds["LibRaw decode"] + seconds["write with fsync"]
    rows = whole.layout.rows
    print(f"24 MP, {rows} rows of {len(sizes)} planes, {sum(sizes) / 1e6:.1f} MB, median of {rounds}\n")
    for label, value in seconds.items():
        print(f"{label:28}{value:8.3f} s")
    print(f"{'build / (decode + write)':28}{seconds['build'] / floor:8.2f}")
    print(f"{'rows a second':28}{rows / seconds['build']:8.0f}\n\nwhere the time goes")
    for label, value in each.items():
        print(f"  {label:26}{value:8.3f} s {value / sum(each.values()):5.0%}")
    result = {"seconds": seconds, "ratio": seconds["build"] / floor, "rows_per_second": rows / seconds["build"]}
    if arguments.out:
        arguments.out.write_text(json.dumps({**result, "steps": each}, indent=1) + "\n")


if __name__ == "__main__":
    main()

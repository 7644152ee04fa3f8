"""A build of 100,000 photos of which only the photographs are missing: what the rest costs, and whether it grows.

    python benchmarks/bench_scale.py [--tasks 100000] [--photos 100000] [--rows 16] [--builds 8] [--out FILE]

`tasks`: as many shards of `residual-maps` go through the very code that gives out tasks, to a scheduler and workers
in processes of their own; the workers do nothing with them. The floor is Dask's own price of empty tasks that are
given out all at once. `folder`: as many small files, none of them a photo, are found, fingerprinted and planned.
`store`: their store, 8 photos a shard as residual-maps has, its planes sparse files, its records written here, is
resumed, finished and opened by `build` and `PatchStore`. `TMPDIR` says on which disk. `foretold`: what `forecast`
says of as many photos of 24 MP, against building them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench_build import write_photo

from degrade.pairs import plan as planning
from degrade.pairs import run
from degrade.pairs.forecast import forecast
from degrade.pairs.plan import Plan, layout, plan
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.pairs.task import Outcome, Task
from degrade.photos import Photo
from degrade.recipe.recipe import Recipe
from degrade.store import record
from degrade.store.disk import locked
from degrade.store.record import PhotoFact, Record, plane_file, write_record
from degrade.store.shard import index_bytes
from degrade.store.write import create

PER_SHARD = 8  #: photos, as residual-maps has them with its 256 rows a photo


def stub(task: Task) -> Outcome:
    """In the place of reading, rendering and writing."""
    return Outcome(len(task.photos), len(task.layout.shard_rows(task.shard)))


def install() -> None:
    """Puts the stub into a worker."""
    run.build_shard = stub


def empty(k: int) -> int:
    """A task of Dask's own."""
    return k


def photos(n: int) -> tuple[Photo, ...]:
    """Photos as a folder of that many has them."""
    return tuple(Photo(f"2026/{i // 1000:03d}/IMG_{i:06d}.CR3", 30_000_000, f"{i:032x}") for i in range(n))


@contextmanager
def cluster(folder: Path, workers: int) -> Generator[tuple[Any, list[psutil.Process]]]:
    """A client, and the processes of its scheduler and workers, each its own so that each can be measured."""
    from distributed import Client

    told = folder / "scheduler.json"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}  # for the stub
    common = ("--scheduler-file", str(told), "--host", "127.0.0.1", "--no-dashboard")
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        command = (sys.executable, "-m", "dask", *arguments, *common)
        started.append(subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, cwd=folder))

    start("scheduler", "--port", "0")
    try:
        while not told.exists() or b"address" not in told.read_bytes():
            time.sleep(0.1)
        for _ in range(workers):
            start("worker", "--nthreads", "1", "--no-nanny")
        with Client(scheduler_file=str(told), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
            yield client, [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def resident(process: psutil.Process) -> float:
    """MB."""
    return process.memory_info().rss / 1e6


def spent(process: psutil.Process) -> float:
    """CPU [s]."""
    times = process.cpu_times()
    return times.user + times.system


def tasks(n: int, workers: int) -> dict[str, Any]:
    """Gives out n tasks; says what one costs, and memory after each tenth."""
    recipe = Recipe.load("residual-maps")
    found = photos(n)
    whole = Plan(recipe, Path("/photos"), found, replace(layout(recipe, found), photos_per_shard=1))
    waiting = [Task.of(whole, Path("/pairs.zarr"), k) for k in range(n)]
    memory: list[list[float]] = []
    with tempfile.TemporaryDirectory() as name, cluster(Path(name), workers) as (client, those):
        client.run(install)
        here, scheduler = psutil.Process(), those[0]
        before, start = [spent(here), spent(scheduler)], time.perf_counter()
        for i, _ in enumerate(run._submitted(client, waiting), 1):
            if i % max(1, n // 10) == 0:
                memory.append([resident(here), resident(scheduler), max(map(resident, those[1:]))])
                print(f"{i:9,} tasks" + "".join(f"{m:9.1f} MB" for m in memory[-1]), flush=True)
        seconds, after = time.perf_counter() - start, [spent(here), spent(scheduler)]
        own, theirs = ((b - a) / n * 1e3 for a, b in zip(before, after, strict=True))
        start, before = time.perf_counter(), [0.0, spent(scheduler)]
        client.gather(client.map(empty, range(5000), pure=False))
        floor = (spent(scheduler) - before[1]) / 5000 * 1e3
    return {
        "wall_ms": seconds / n * 1e3,
        "scheduler_ms": theirs,
        "client_ms": own,
        "floor_scheduler_ms": floor,
        "memory_MB": memory,
    }


def timed(name: str, found: dict[str, float], task: Callable[[], Any]) -> Any:
    """Runs a task; notes its seconds, says memory after it."""
    start = time.perf_counter()
    result = task()
    found[name] = time.perf_counter() - start
    print(f"{name:36}{found[name]:9.2f} s{resident(psutil.Process()):9.1f} MB", flush=True)
    return result


def paper(n: int, rows: int) -> dict[str, float]:
    """Everything about n photos but their pictures, from an empty folder to an open store."""
    found: dict[str, float] = {}
    recipe = Recipe.load("residual-maps")
    patches = recipe.crop.model_copy(update={"per_photo": rows})
    recipe = recipe.changed(operators={**recipe.operators, "patches": patches})
    planning.SHARD = PER_SHARD * rows * max(p.row_bytes for p in layout(recipe, photos(1)).planes)
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name, "photos"), Path(name, "pairs.zarr")
        for i in range(n):
            file = folder / f"{i // 1000:03d}" / f"IMG_{i:06d}.dng"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(i))
        whole = timed("find, fingerprint, plan", found, lambda: plan(recipe, folder))
        with locked(store):
            create(store, whole.layout)
            timed("(stub: planes and records)", found, lambda: fill(store, whole))
        timed("resume and finish", found, lambda: build(recipe, folder, store, workers=1))
        timed("the same command again", found, lambda: build(recipe, folder, store, workers=1))
        opened = timed("open", found, lambda: PatchStore(store))
        assert len(opened) == n * rows
        found["files"] = sum(len(files) for _, _, files in os.walk(store))
    return found


def fill(store: Path, whole: Plan) -> None:
    """What workers leave of every shard, without waiting for the disk; the planes are holes."""
    record.write_file = lambda store, target, *parts: target.write_bytes(b"".join(parts))
    for k in range(whole.layout.shards):
        rows = whole.layout.shard_rows(k)
        columns = {c.name: np.ones(len(rows), c.dtype) for c in whole.layout.stored_columns}
        columns["photo"][:] = np.array(rows) // whole.layout.per_photo
        files: dict[str, tuple[int, str]] = {}
        for plane in whole.layout.planes:
            index = index_bytes(len(rows), whole.layout.rows_per_shard, plane.row_bytes)
            name = plane_file(plane.name, k)
            files[name] = (len(rows) * plane.row_bytes + len(index), "0" * 64)
            with open(store / name, "wb") as file:
                file.truncate(files[name][0])
        facts = tuple((PhotoFact(p.key, p.fingerprint), whole.layout.per_photo) for p in whole.shard(k))
        write_record(store, whole.layout, Record(k, files, facts, columns))


def foretold(n: int) -> dict[str, float]:
    """Seconds of a build with one worker: foretold, and so."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "photos")
        folder.mkdir()
        write_photo(folder / "0.dng")
        for i in range(1, n):
            with open(shutil.copy(folder / "0.dng", folder / f"{i}.dng"), "r+b") as file:
                file.seek(os.fstat(file.fileno()).st_size // 2)
                file.write(bytes([i]))
        recipe = Recipe.load("residual-maps")
        said = forecast(recipe, folder, Path(name, "pairs.zarr"))
        start = time.perf_counter()
        build(recipe, folder, Path(name, "pairs.zarr"), workers=1)
        took = time.perf_counter() - start
    # this process is warm already
    return {"foretold": said.seconds(1) - said.measured.start, "took": took, "memory_MB": said.measured.memory / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=16, help="of a photo in the store; residual-maps has 256")
    parser.add_argument("--builds", type=int, default=8, help="photos that are really built")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    if arguments.photos:
        print(f"{arguments.photos:,} photos, {arguments.rows} rows each")
        result["paper"] = paper(arguments.photos, arguments.rows)
    if arguments.builds:
        result["foretold"] = found = foretold(arguments.builds)
        print(f"{arguments.builds} photos foretold in {found['foretold']:.1f} s, built in {found['took']:.1f} s")
    if arguments.tasks:
        print(f"\n{'':15}{'client':>12}{'scheduler':>12}{'a worker':>12}")
        result["tasks"] = found = tasks(arguments.tasks, arguments.workers)
        for name in ("wall_ms", "scheduler_ms", "client_ms", "floor_scheduler_ms"):
            print(f"{name:24}{found[name]:9.3f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    import bench_scale  # by its own name, under which workers import the stub

    bench_scale.main()

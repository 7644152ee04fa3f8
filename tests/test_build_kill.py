"""kill -9 and Ctrl-C at random moments, of a worker, of the main process, of all: the finished store is the same."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import photos
import psutil
import pytest
import stores
from launch import Launcher, Started

from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.recipe.recipe import Recipe

ROWS = 16 * 40


@dataclass(frozen=True)
class Case:
    """A build that takes a good half second, and what comes of it undisturbed."""

    home: Path
    calm: dict[str, bytes]
    cli: Launcher

    def command(self, store: Path, workers: int) -> tuple[object, ...]:
        return "build", self.home / "recipe.yaml", self.home / "photos", "--out", store, "--workers", workers

    def start(self, store: Path, workers: int) -> Started:
        return self.cli.start(*self.command(store, workers))

    def finish(self, store: Path) -> None:
        """The same command again, until its end; then nothing is lost, and nothing too much."""
        assert self.cli(*self.command(store, 1)).code == 0
        self.check(store)

    def check(self, store: Path) -> None:
        assert stores.files(store) == self.calm
        assert len(PatchStore(store)) == ROWS
        assert PatchStore(store).verify() == []


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    home = tmp_path_factory.mktemp("home")
    photos.write_photos(home / "photos", 16)
    (home / "recipe.yaml").write_text(photos.recipe_text(("per_photo: 6", "per_photo: 40")))
    build(Recipe.load(str(home / "recipe.yaml")), home / "photos", home / "calm", workers=1)
    with Launcher(home) as launcher:
        yield Case(home, stores.files(home / "calm"), launcher)


def records(store: Path) -> int:
    """How many shards are done."""
    return len(list(store.glob(".degrade/build/shard-*")))


def wait_for_records(store: Path, n: int, process: psutil.Process) -> None:
    """Until a build has n shards, or ends."""
    while records(store) < n and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.001)


def spawned(process: psutil.Process) -> list[psutil.Process]:
    """The workers of a build."""
    return [p for p in process.children() if "spawn_main" in " ".join(p.cmdline())]


def kill_again_and_again(case: Case, store: Path, kills: int, longest: float, seed: int) -> int:
    """Kills one-process builds of a store, each of which continues; how many were faster than the kill."""
    rng = np.random.default_rng(seed)
    faster = 0
    while kills:
        started = case.start(store, 1)
        time.sleep(rng.uniform(0.005, longest))
        started.signal(signal.SIGKILL)
        if started.wait().code == -signal.SIGKILL:
            kills -= 1
            continue
        faster += 1
        case.check(store)
        shutil.rmtree(store)
    case.finish(store)
    return faster


@pytest.mark.parametrize("seed", [1, 2])
def test_seven_kills_of_a_build_in_one_process(case: Case, tmp_path: Path, seed: int) -> None:
    kill_again_and_again(case, tmp_path / "s", 7, 0.25, seed)


@pytest.mark.slow
def test_two_hundred_kills(case: Case, tmp_path: Path) -> None:
    assert kill_again_and_again(case, tmp_path / "s", 200, 0.6, 3) > 10


@pytest.mark.parametrize("whole", [True, False])
def test_three_kills_of_a_build_with_two_workers(case: Case, tmp_path: Path, whole: bool) -> None:
    store = tmp_path / "s"
    rng = np.random.default_rng(4)
    waits = [(0, 2.0), (1, 0.2), (1, 0.1)]  # shards that this run has done, and longest time after that [s]
    while waits:
        shards, longest = waits[0]
        before = records(store)
        started = case.start(store, 2)
        if shards:
            wait_for_records(store, before + shards, started.process)
        time.sleep(rng.uniform(0.01, longest))
        children = started.children()
        (started.signal_group if whole else started.signal)(signal.SIGKILL)
        if started.wait().code == -signal.SIGKILL:
            waits.pop(0)
        else:  # it was faster than the kill
            case.check(store)
            shutil.rmtree(store)
        assert not psutil.wait_procs(children, timeout=20)[1], "workers outlive the build"
    case.finish(store)


def test_a_killed_worker_is_replaced_and_the_build_goes_on(case: Case, tmp_path: Path) -> None:
    started = case.start(tmp_path / "s", 2)
    wait_for_records(tmp_path / "s", 1, started.process)
    workers = spawned(started.process)
    assert len(workers) == 2
    workers[0].kill()
    done = started.wait()
    assert (done.code, done.err) == (0, "")
    case.check(tmp_path / "s")


DEADLY = """
import os, signal, sys
from degrade import Operator, Recipe, Space, build, register

@register("test_deadly")
class Deadly(Operator):
    accepts = frozenset({Space.LINEAR})
    def apply(self, frame):
        if "DEADLY" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return frame

if __name__ == "__main__":
    text = open(sys.argv[1]).read().replace("{op: exposure, stops: {uniform: [0, 1.5]}}", "{op: test_deadly}")
    print(build(Recipe.parse(text), *sys.argv[2:], workers=2).rows)
"""


@pytest.mark.slow
def test_what_kills_every_worker_is_given_up_and_can_be_continued(case: Case, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(DEADLY)
    command = [tmp_path / "script.py", case.home / "recipe.yaml", case.home / "photos", tmp_path / "s"]
    run = [sys.executable, *map(str, command)]
    deadly = subprocess.run(run, capture_output=True, text=True, check=False, env={**os.environ, "DEADLY": "1"})
    assert deadly.returncode == 1
    last = deadly.stderr.splitlines()[-1]
    assert re.search("StoreError: worker processes died again and again while building shard-.*: use fewer", last)
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{ROWS}\n", "")
    assert PatchStore(tmp_path / "s").verify() == []


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "records_before", "more"), [(1, 1, 0), (2, 0, 0), (2, 1, 0), (2, 1, 3)])
def test_ctrl_c(case: Case, tmp_path: Path, command: Path, workers: int, records_before: int, more: int) -> None:
    """A terminal sends it to all processes of the command; impatient people send some more."""
    store = tmp_path / "s"
    arguments = [str(a) for a in (command, *case.command(store, workers))]
    process = subprocess.Popen(arguments, stdout=-1, stderr=-1, text=True, start_new_session=True)
    main = psutil.Process(process.pid)
    if records_before:
        wait_for_records(store, records_before, main)
    else:  # while the workers start
        while not spawned(main):
            time.sleep(0.001)
    children = main.children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    for _ in range(more):
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped; the same command continues\n")
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert not list(store.rglob("tmp-*"))
    assert records(store) >= records_before
    case.finish(store)

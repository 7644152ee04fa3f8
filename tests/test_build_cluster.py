"""A Dask cluster started by hand: the same bytes as a local build, and a sentence when it is not there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import photos
import pytest
import stores
from distributed import Client
from launch import Launcher

from degrade.core.errors import StoreError
from degrade.pairs import run
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore

Process = subprocess.Popen[bytes]


@contextmanager
def dask(home: Path) -> Iterator[tuple[str, Process, Callable[[], Process]]]:
    """A scheduler: its address, its process, and what starts one more worker of it."""
    told, started = home / "scheduler.json", list[Process]()

    def start(*arguments: object) -> Process:
        command = [Path(sys.executable).with_name("dask"), *arguments, "--scheduler-file", told, "--no-dashboard"]
        with (home / f"{len(started)}.log").open("wb") as log:
            here = [str(a) for a in (*command, "--host", "127.0.0.1")]
            started.append(subprocess.Popen(here, stdout=log, stderr=log, cwd=home))
        return started[-1]

    scheduler = start("scheduler", "--port", 0)
    try:
        while not told.exists() or b"address" not in told.read_bytes():
            assert scheduler.poll() is None, (home / "0.log").read_text()
            time.sleep(0.05)
        address = json.loads(told.read_text())["address"]
        yield address, scheduler, lambda: start("worker", "--nthreads", 1, "--no-nanny")
    finally:
        for process in reversed(started):  # a worker that ends together with its scheduler may hang
            process.terminate()
            process.wait(timeout=30)


@dataclass(frozen=True)
class Cluster:
    home: Path  #: photos, recipe.yaml and the store calm
    address: str
    scheduler: Process
    cli: Launcher

    def command(self, store: Path) -> tuple[object, ...]:
        return "build", self.home / "recipe.yaml", self.home / "photos", "--out", store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("home")
    photos.write_photos(home / "photos", 16)
    (home / "recipe.yaml").write_text(photos.RECIPE)
    build(photos.recipe(), home / "photos", home / "calm", workers=1)
    with dask(home) as (address, scheduler, worker), Launcher(home) as cli:
        worker()
        worker()
        yield Cluster(home, address, scheduler, cli)


def test_the_same_bytes_as_a_local_build(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.cli(*cluster.command(tmp_path / "s"), "--scheduler", cluster.address)
    assert (done.code, done.err) == (0, "")
    assert stores.files(tmp_path / "s") == stores.files(cluster.home / "calm")
    again = cluster.cli(*cluster.command(tmp_path / "s"), "--scheduler", cluster.address)
    assert (again.code, again.err) == (0, "")


# An operator that no other process can import: it travels with its recipe.
OWN = """
import sys
from degrade import Operator, Recipe, Space, build, register

@register("test_halve")
class Halve(Operator):
    accepts = frozenset({Space.LINEAR})
    def apply(self, frame):
        return frame.with_data(frame.data / 2)

if __name__ == "__main__":
    from distributed import Client
    recipe, folder, out, address = sys.argv[1:]
    text = open(recipe).read().replace("{op: exposure, stops: {uniform: [0, 1.5]}}", "{op: test_halve}")
    own = Recipe.parse(text)
    with Client(address) as client:
        print(build(own, folder, out + "/theirs", client=client).built)
        print(client.submit(sum, [1, 2]).result())   # your client stays yours, and open
    print(build(own, folder, out + "/local", workers=2).built)
    print(build(own, folder, out + "/alone", workers=1).built)
"""


def test_your_own_client_and_an_operator_of_your_script(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(OWN)
    home = cluster.home
    command = [tmp_path / "script.py", home / "recipe.yaml", home / "photos", tmp_path, cluster.address]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n3\n8\n8\n", "")
    alone = stores.files(tmp_path / "alone")
    assert stores.files(tmp_path / "theirs") == alone
    assert stores.files(tmp_path / "local") == alone


UNGUARDED = """
import sys
from degrade import build
print("script")
build(*sys.argv[1:], workers=2)
"""


def test_a_script_without_its_guard(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    home = cluster.home
    command = [tmp_path / "script.py", home / "recipe.yaml", home / "photos", tmp_path / "s"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout.count("script\n") == 3  # itself and two workers, which stop there
    last = done.stderr.splitlines()[-1]
    assert 'in a script, call build() under `if __name__ == "__main__":`, or use workers=1' in last
    assert done.stderr.count("Traceback") == 1
    with pytest.raises(Exception, match="is not finished, it has 0 of 8 shards"):
        PatchStore(tmp_path / "s")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "foo://127.0.0.1:8786", "tcp://127.0.0.1", ""])
def test_a_scheduler_that_is_not_there(cluster: Cluster, tmp_path: Path, address: str) -> None:
    said = cluster.cli(*cluster.command(tmp_path / "s"), "--scheduler", address).sentence
    assert said.startswith(f"no Dask scheduler answers at {address!r}: start one with `dask scheduler`")
    assert cluster.cli(*cluster.command(tmp_path / "s"), "--workers", 1).code == 0
    assert stores.files(tmp_path / "s") == stores.files(cluster.home / "calm")


def test_a_scheduler_without_workers(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "WAIT", 1)
    with dask(tmp_path) as (address, _, _), pytest.raises(StoreError, match=f"no worker .*dask worker {address}"):
        build(photos.recipe(), cluster.home / "photos", tmp_path / "s", scheduler=address)


def test_a_worker_that_joins_late(cluster: Cluster, tmp_path: Path) -> None:
    """Also what was given out before is shared with it."""
    with dask(tmp_path) as (address, _, worker), Client(address, set_as_default=False) as client:
        first = worker()
        client.wait_for_workers(1)
        started = cluster.cli.start(*cluster.command(tmp_path / "s"), "--scheduler", address)
        while not list((tmp_path / "s").glob(".degrade/build/shard-*")):
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)  # held until the other is there
        worker()
        client.wait_for_workers(2)
        first.send_signal(signal.SIGCONT)
        done = started.wait()
        assert (done.code, done.err) == (0, "")
        shards = [told.hits + told.misses for told in client.run(run._unpacked.cache_info).values()]
        assert (sum(shards), len(shards), min(shards) > 0) == (8, 2, True), shards
    assert stores.files(tmp_path / "s") == stores.files(cluster.home / "calm")


def test_a_scheduler_that_dies(cluster: Cluster, tmp_path: Path) -> None:
    """The last test here: nobody gets the scheduler back."""
    started = cluster.cli.start(*cluster.command(tmp_path / "s"), "--scheduler", cluster.address)
    while not list((tmp_path / "s").glob(".degrade/build/shard-*")):
        time.sleep(0.001)
    started.signal(signal.SIGSTOP)  # with a few shards under way, and others not given out yet
    cluster.scheduler.send_signal(signal.SIGKILL)
    cluster.scheduler.wait()
    started.signal(signal.SIGCONT)
    assert started.wait().sentence == "the Dask scheduler went away: run the same command again, it continues"
    assert cluster.cli(*cluster.command(tmp_path / "s"), "--workers", 1).code == 0
    assert stores.files(tmp_path / "s") == stores.files(cluster.home / "calm")

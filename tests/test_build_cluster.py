"""A Dask cluster started by hand: the same bytes as a local build, and a sentence when it is not there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import photos
import pytest
import stores
from launch import Launcher

from degrade.builder import run
from degrade.builder.run import build
from degrade.store.disk import StoreError
from degrade.store.read import PatchStore


@dataclass(frozen=True)
class Cluster:
    home: Path  #: photos, recipe.yaml and the store calm
    address: str
    scheduler: subprocess.Popen[bytes]
    cli: Launcher

    def command(self, store: Path) -> tuple[object, ...]:
        return "build", self.home / "recipe.yaml", self.home / "photos", "--out", store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("home")
    photos.write_photos(home / "photos", 16)
    (home / "recipe.yaml").write_text(photos.RECIPE)
    build(photos.recipe(), home / "photos", home / "calm", workers=1)
    dask, told = Path(sys.executable).with_name("dask"), home / "scheduler.json"
    common = ("--scheduler-file", told, "--host", "127.0.0.1", "--no-dashboard")
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> None:
        with (home / f"{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen([str(a) for a in (dask, *arguments)], stdout=log, stderr=log, cwd=home))

    start("scheduler", "--port", 0, *common)
    try:
        for _ in range(2):
            start("worker", "--nthreads", 1, "--no-nanny", *common)
        while not told.exists() or b"address" not in told.read_bytes():
            assert started[0].poll() is None, (home / "0.log").read_text()
            time.sleep(0.05)
        with Launcher(home) as cli:
            yield Cluster(home, json.loads(told.read_text())["address"], started[0], cli)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


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
    dask, told = Path(sys.executable).with_name("dask"), tmp_path / "scheduler.json"
    command = [dask, "scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", told]
    lonely = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        while not told.exists() or b"address" not in told.read_bytes():
            assert lonely.poll() is None
            time.sleep(0.05)
        address = json.loads(told.read_text())["address"]
        with pytest.raises(StoreError, match=f"no worker has joined {address}.*dask worker {address}"):
            build(photos.recipe(), cluster.home / "photos", tmp_path / "s", scheduler=address)
    finally:
        lonely.terminate()
        lonely.wait(timeout=30)


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

"""kill -9 at random moments, a full disk, tasks run twice at once: the finished store is byte-identical."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import stores

from degrade.core.errors import StoreError
from degrade.pairs.store import PatchStore
from degrade.store.write import ShardWriter, create, shard_done

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(stores.__file__).parent), *sys.path])}

# Builds in forks of one process that has its imports done, so that a hundred kills take seconds. A line is the store
# and at which rename to die (-1: never); each rename is slowed, so that kills from outside fall into every step.
BUILDER = """
import os, signal, sys, time
from pathlib import Path
import stores
real = os.replace
for line in sys.stdin:
    store, step = line.rsplit(" ", 1)
    pid = os.fork()
    if pid == 0:
        count = 0
        def slow(a, b):
            global count
            for after in (False, True):
                if count == int(step):
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                if int(step) < 0:
                    time.sleep(0.002)
                if not after:
                    real(a, b)
        os.replace = slow
        stores.build(Path(store), stores.LAYOUT if int(step) < 0 else stores.SMALL)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def builder():
    command = [sys.executable, "-c", BUILDER]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=ENVIRONMENT) as process:

        def begin(store, step=-1) -> int:
            process.stdin.write(f"{store} {step}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield begin, lambda: int(process.stdout.readline())
        process.stdin.close()


def said(store) -> str:
    """What a reader says of a store: nothing if it is sound."""
    try:
        return "; ".join(PatchStore(store).verify())
    except StoreError as error:
        return str(error)


def test_twenty_kills_change_no_byte(tmp_path, builder):
    begin, end = builder
    undisturbed = stores.files(stores.build(tmp_path / "calm"))
    store = tmp_path / "killed"
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    kills = 0
    while kills < 20:
        pid = begin(store)
        time.sleep(rng.uniform(0.001, 0.08))
        os.kill(pid, signal.SIGKILL)
        if end() == -signal.SIGKILL:
            kills += 1
            assert re.search("^$|not finished|no store", said(store))
        else:  # it was faster than the kill: begin anew
            assert stores.files(store) == undisturbed
            shutil.rmtree(store)
    begin(store)
    assert end() == 0
    assert stores.files(store) == undisturbed
    assert said(store) == ""


def test_killed_before_and_after_every_rename(tmp_path, builder):
    begin, end = builder
    undisturbed = stores.files(stores.build(tmp_path / "calm", stores.SMALL))
    deaths = 0
    while True:
        store = tmp_path / f"s{deaths}"
        begin(store, deaths)
        if end() == 0:
            break
        assert re.search("^$|not finished|no store", said(store)), deaths
        assert stores.files(stores.build(store, stores.SMALL)) == undisturbed, deaths
        deaths += 1
    assert deaths >= 50


def test_the_same_task_twice_at_once(tmp_path):
    create(tmp_path / "s", stores.LAYOUT)
    blocks = {p.name: np.stack([stores.pixels(p, r) for r in range(10)]) for p in stores.LAYOUT.planes}
    facts = [stores.PhotoFact(f"folder/IMG_{i}é.dng", f"{i:032x}") for i in (0, 1)]
    with ShardWriter(tmp_path / "s", stores.LAYOUT, 0) as one, ShardWriter(tmp_path / "s", stores.LAYOUT, 0) as two:
        for name, block in blocks.items():
            one.put(name, block[:4])
            two.put(name, block)
            one.put(name, block[4:])
        two.finish(stores.columns(range(10)), facts)
        assert shard_done(tmp_path / "s", stores.LAYOUT, 0)
        one.finish(stores.columns(range(10)), facts)
    stores.build(tmp_path / "s")
    assert stores.files(tmp_path / "s") == stores.files(stores.build(tmp_path / "calm"))


def test_a_task_that_outlives_the_build_leaves_nothing(tmp_path):
    create(tmp_path / "s", stores.LAYOUT)
    with ShardWriter(tmp_path / "s", stores.LAYOUT, 1) as late:
        late.put("blur", np.zeros((2, 4, 6, 5), np.uint16))
        stores.build(tmp_path / "s")
        for name, shape in (("clean", (2, 3, 4, 4)), ("shown", (2, 3, 4, 3))):
            late.put(name, np.zeros(shape, stores.LAYOUT.plane(name).dtype))
        late.skip(8)
        with pytest.raises(StoreError, match="could not go on finishing shard 1"):
            late.finish(stores.columns(range(10, 20)), [stores.PhotoFact("a"), stores.PhotoFact("b")])
    with pytest.raises(StoreError, match="could not go on beginning shard 1"):
        stores.write_shard(tmp_path / "s", 1)
    assert PatchStore(tmp_path / "s").verify() == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
import stores
from degrade.core.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    stores.build(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 1000, 2500])
def test_a_limit_on_file_size_is_one_sentence_and_the_build_continues(tmp_path, limit):
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "s"), str(limit)]
    out = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert out.stdout.startswith("the disk is full")
    assert "make room and run the same command again" in out.stdout
    assert len(out.stdout.splitlines()) == 1
    assert out.stderr == ""
    assert not list((tmp_path / "s").rglob("tmp-*"))
    assert stores.files(stores.build(tmp_path / "s")) == stores.files(stores.build(tmp_path / "calm"))


def test_a_really_full_disk(tmp_path):
    """A file system of 4 MiB that is filled up, where one may be mounted."""
    (tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(tmp_path / "small")]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        store, ballast = tmp_path / "small" / "s", tmp_path / "small" / "ballast"
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
            file.truncate(ballast.stat().st_size - 120_000)
        with pytest.raises(StoreError, match=r"the disk is full \(0 MB free"):
            stores.build(store)
        assert not list(store.rglob("tmp-*"))
        ballast.unlink()
        assert stores.files(stores.build(store)) == stores.files(stores.build(tmp_path / "calm"))
    finally:
        subprocess.run(["umount", str(tmp_path / "small")], check=True)


def test_a_build_over_a_damaged_list_makes_it_anew(tmp_path):
    sound = stores.files(stores.build(tmp_path / "s"))
    manifest = sound[".degrade/zarr.json"]
    for name in (b"blur/c.1.0.0.0", b"iso/c.0"):
        for there in (name, manifest[manifest.index(name) :].split(b'"')[2]):  # the name, or its digest
            (tmp_path / "s" / ".degrade" / "zarr.json").write_bytes(manifest.replace(there, there[:-1] + b"_"))
            assert stores.files(stores.build(tmp_path / "s")) == sound


@pytest.mark.parametrize("damage", [(b"regular", b"regulas"), (b"{", b"")])
def test_a_build_does_not_seal_metadata_that_is_damaged(tmp_path, damage):
    file = stores.build(tmp_path / "s") / "blur" / "zarr.json"
    file.write_bytes(file.read_bytes().replace(*damage))
    before = stores.files(tmp_path / "s")
    with pytest.raises(StoreError, match=r"blur/zarr.json in .* is damaged: fetch the store again, or delete it"):
        stores.build(tmp_path / "s")
    assert stores.files(tmp_path / "s") == before

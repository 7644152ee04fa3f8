"""kill -9 at random moments, a full disk, tasks run twice at once: the finished store is byte-identical."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import stores

from degrade.store.disk import StoreError
from degrade.store.read import PatchStore
from degrade.store.write import ShardWriter, create, done_shards, shard_done

# A builder whose process is forked after the imports, so that twenty kills take seconds. Each step on the disk is
# slowed a little, so that the moments of the kills spread over all of them.
BUILDER = """
import os, sys, time
from pathlib import Path
import stores
from degrade.store import disk, finalise, write
real = os.replace
def slow(a, b):
    time.sleep(0.002)
    real(a, b)
    time.sleep(0.002)
os.replace = slow
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        stores.build(Path(sys.argv[1]))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def builder(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(stores.__file__).parent), *sys.path])}
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "killed")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


def test_twenty_kills_change_no_byte(tmp_path, builder):
    undisturbed = stores.files(stores.build(tmp_path / "calm"))
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    kills = 0
    seen = set()
    for _ in range(200):
        builder.stdin.write("go\n")
        builder.stdin.flush()
        pid = int(builder.stdout.readline())
        if kills < 20:
            time.sleep(rng.uniform(0.001, 0.08))
            os.kill(pid, signal.SIGKILL)
        code = int(builder.stdout.readline())
        seen.add(len(done_shards(tmp_path / "killed", stores.LAYOUT)))
        if code == -signal.SIGKILL:
            kills += 1
            try:
                assert PatchStore(tmp_path / "killed").verify() == []  # never open unless it is all there
            except StoreError as error:
                assert "not finished" in str(error) or "no store" in str(error)
        elif kills >= 20:
            assert code == 0
            break
        else:  # it was faster than the kill: begin anew
            assert code == 0
            assert stores.files(tmp_path / "killed") == undisturbed
            subprocess.run(["rm", "-r", str(tmp_path / "killed")], check=True)
    assert kills == 20
    assert stores.files(tmp_path / "killed") == undisturbed


def test_killed_after_each_single_step(tmp_path):
    """The process dies right after (and right before) its n-th rename, for every n."""
    undisturbed = stores.files(stores.build(tmp_path / "calm"))
    real, steps = os.replace, 0
    for n in range(1000):
        pid = os.fork()
        if pid == 0:
            count = 0

            def dies(a, b, n=n):
                nonlocal count
                if count == n // 2 and n % 2 == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                real(a, b)
                if count == n // 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

            os.replace = dies
            stores.build(tmp_path / f"s{n}")
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            break
        steps += 1
        assert stores.files(stores.build(tmp_path / f"s{n}")) == undisturbed, n
    assert steps > 60


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
from degrade.store.disk import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    stores.build(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 1000, 2500])
def test_a_limit_on_file_size_is_one_sentence_and_the_build_continues(tmp_path, limit):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(stores.__file__).parent), *sys.path])}
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "s"), str(limit)]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
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

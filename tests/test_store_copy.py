"""Copies: the same rows in other bytes, readable by others, checked on the way, plain again to the byte."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import served
import stores
import zarr
from test_store_verify import flipped

from degrade.core.errors import StoreError, UnknownName
from degrade.pairs.store import PatchStore
from degrade.store.copy import CODECS, copy
from degrade.store.shard import plain_rows
from degrade.store.verify import verify

HERE = [r for r in range(stores.LAYOUT.rows) if stores.present(r)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr")


@pytest.fixture(scope="module")
def copies(path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    for codec in CODECS:
        copy(path, folder / f"{codec}.zarr", codec)
    return folder


@pytest.mark.parametrize("codec", CODECS)
def test_docs_tell_what_a_codec_is(codec, root):
    assert f"\n| `{codec}` |" in (root / "docs" / "store.md").read_text("utf-8")


@pytest.mark.parametrize("codec", CODECS)
def test_a_copy_holds_the_same_and_is_a_store(path, copies, codec):
    mine, theirs = PatchStore(copies / f"{codec}.zarr"), PatchStore(path)
    for name in theirs.planes:
        np.testing.assert_array_equal(mine.read(name, HERE, dn=True), theirs.read(name, HERE, dn=True))
    for name in theirs.columns:
        np.testing.assert_array_equal(mine.columns[name], theirs.columns[name])
    assert mine.photos.keys == theirs.photos.keys
    assert mine.layout == theirs.layout
    assert mine.verify() == []
    others = zarr.open_group(str(copies / f"{codec}.zarr"), mode="r")
    for name in theirs.planes:
        np.testing.assert_array_equal(others[name][:][HERE], theirs.read(name, HERE, dn=True))
        assert (plain_rows(others[name].metadata.to_dict()) is not None) == (codec == "plain")
        assert others[name].shards[0] == 10


@pytest.mark.parametrize("codec", CODECS)
def test_plain_again_it_is_the_first_store_to_the_byte(path, copies, tmp_path, codec):
    copy(copies / f"{codec}.zarr", tmp_path / "again.zarr", "plain")
    assert stores.files(tmp_path / "again.zarr") == stores.files(path)


def test_what_is_not_noise_becomes_small(tmp_path):
    """All rows of the second shard's second photo are absent: zeros."""
    plain = stores.build(tmp_path / "s.zarr")
    size = (plain / "blur" / "c.1.0.0.0").stat().st_size
    for codec in ("blosc", "lz4", "zstd"):
        copy(plain, tmp_path / codec, codec)
        assert (tmp_path / codec / "blur" / "c.1.0.0.0").stat().st_size < 0.8 * size


def test_it_is_fetched_from_an_address_and_progress_reaches_the_end(path, copies, tmp_path):
    seen = []
    with served.served(copies) as (address, _):
        copy(f"{address}/blosc.zarr", tmp_path / "deep" / "down.zarr", "plain", seen.append)
    assert stores.files(tmp_path / "deep" / "down.zarr") == stores.files(path)
    assert seen[-1].done == seen[-1].total == 2 * 35 * stores.LAYOUT.row_bytes
    assert [step.done for step in seen] == sorted(step.done for step in seen)


def test_a_flip_in_any_compressed_shard_names_shard_and_rows(copies, tmp_path):
    rng = np.random.default_rng(0)
    for codec in ("blosc", "lz4", "zstd"):
        other = shutil.copytree(copies / f"{codec}.zarr", tmp_path / codec)
        for plane in stores.LAYOUT.planes:
            file = other / plane.name / "c.2.0.0.0"
            sound = file.read_bytes()
            entries = np.frombuffer(sound[-164:-4], "<u8").reshape(10, 2).astype(int)
            for row in (0, 3, 7):
                offset, size = entries[row]
                flipped(file, int(offset + size - 1 - rng.integers(size // 2)), int(rng.integers(8)))
                (problem,) = verify(other)
                file.write_bytes(sound)
                assert problem.startswith(f"{plane.name}/c.2.0.0.0 is damaged")
                assert f"(plane {plane.name!r}, shard 2; rows lost: {20 + row}); copy the store again" in problem
            flipped(file, len(sound) - 20, 3)  # the index: nothing can be found any more
            (problem,) = verify(other)
            file.write_bytes(sound[:-1])
            (cut,) = verify(other)
            file.write_bytes(sound)
            every = "rows lost: 20, 21, 22, 23, 24, 25, 26, 27, ... (10 in all)"
            assert f"(plane {plane.name!r}, shard 2; {every}); copy the store again" in problem
            assert f"has {len(sound) - 1} bytes, {len(sound)} were written" in cut
            assert every in cut
    assert verify(tmp_path / "zstd") == []


def test_a_flip_in_every_file_of_a_copy_is_found(copies, tmp_path):
    other = shutil.copytree(copies / "blosc.zarr", tmp_path / "s")
    rng = np.random.default_rng(1)
    for name, data in stores.files(other).items():
        if data:
            flipped(other / name, int(rng.integers(len(data))), int(rng.integers(8)))
            assert "".join(verify(other)).startswith(name)
            (other / name).write_bytes(data)
    assert verify(other) == []


def test_a_damaged_store_is_not_copied(path, copies, tmp_path):
    other = shutil.copytree(path, tmp_path / "s.zarr")
    flipped(other / "clean" / "c.1.0.0.0", 3 * stores.LAYOUT.plane("clean").row_bytes, 6)
    with pytest.raises(StoreError, match=r"rows 13 of .* \(plane 'clean', shard 1\) are damaged"):
        copy(other, tmp_path / "out.zarr")
    other = shutil.copytree(copies / "blosc.zarr", tmp_path / "t.zarr")
    flipped(other / "iso" / "c.0", 7, 1)
    with pytest.raises(StoreError, match="iso/c.0 of .* is damaged or missing: verify says what else is"):
        copy(other, tmp_path / "out.zarr", "lz4")
    flipped(other / "iso" / "c.0", 7, 1)
    (other / "photo" / "c.0").unlink()
    with served.served(tmp_path) as (address, _):
        for where in (other, f"{address}/t.zarr"):
            with pytest.raises(StoreError, match="photo/c.0 of .* is damaged or missing: verify says what else is"):
                copy(where, tmp_path / "out.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "t.zarr"]  # nothing half-written


@pytest.mark.parametrize(("name", "word"), [("zarr.json", b'"abc"'), (".degrade/zarr.json", b"blur/c.1.0.0.0")])
def test_a_copy_does_not_seal_what_is_damaged(path, tmp_path, name, word):
    other = shutil.copytree(path, tmp_path / "s.zarr")
    flipped(other / name, (other / name).read_bytes().index(word) + 2, 0)
    with pytest.raises(
        StoreError, match=r"zarr.json or .degrade/zarr.json of .*s.zarr is damaged: `degrade verify` says"
    ):
        copy(other, tmp_path / "out.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


# Copies in a process of its own; ``how`` is at which file it is killed, or the longest that a file may become.
COPIER = """
import os, resource, signal, sys
from degrade.core.errors import StoreError
from degrade.store import copy
source, out, how, limit = *sys.argv[1:3], *map(int, sys.argv[3:])
put, count = copy._put, 0
def counted(path, parts):
    global count
    count += 1
    written = put(path, parts)
    if count == how:
        os.kill(os.getpid(), signal.SIGKILL)
    return written
copy._put = counted
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    copy.copy(source, out, "plain")
except StoreError as error:
    print(error)
"""


def copier(path, out, kill: int = 0, limit: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COPIER, path, out, str(kill), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_killed_copy_leaves_nothing_once_it_is_run_again(path, tmp_path):
    out = tmp_path / "out.zarr"
    for kill in (1, 20):
        assert copier(path, out, kill).returncode == -signal.SIGKILL
        assert [p.name for p in tmp_path.iterdir()] == [".out.zarr.part"]
    copy(path, out, "plain")
    assert stores.files(out) == stores.files(path)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_a_copy_that_the_disk_has_no_room_for_is_one_sentence(path, tmp_path):
    done = copier(path, tmp_path / "out.zarr", limit=1000)
    assert done.stdout.startswith("the disk is full")
    assert "while copying to out.zarr in" in done.stdout
    assert done.stdout.endswith("make room and run the same command again, it begins anew\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


def test_two_copies_at_once_and_a_folder_that_came_meanwhile(path, tmp_path):
    out = tmp_path / "out.zarr"

    def meanwhile(step):
        if step.done == step.total:
            with pytest.raises(StoreError, match="another process is writing .*.out.zarr.part: wait for it"):
                copy(path, out)
            out.mkdir()
            (out / "thesis").write_text("precious")

    with pytest.raises(StoreError, match="could not go on copying to out.zarr in"):
        copy(path, out, progress=meanwhile)
    assert stores.files(tmp_path) == {"out.zarr": b"", "out.zarr/thesis": b"precious"}


def test_what_cannot_be_copied(path, tmp_path):
    with pytest.raises(UnknownName, match="unknown codec 'blosk': did you mean 'blosc'"):
        copy(path, tmp_path / "out.zarr", "blosk")
    with pytest.raises(StoreError, match="cannot be written: name a folder that is not there yet"):
        copy(path, tmp_path)
    with pytest.raises(StoreError, match="s3://bucket/out.zarr cannot be written"):
        copy(path, "s3://bucket/out.zarr")
    with pytest.raises(StoreError, match="inside.zarr lies inside the store itself: name a folder outside it"):
        copy(path, path / "blur" / "inside.zarr")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(StoreError, match="link cannot be written: name a folder that is not there yet"):
        copy(path, tmp_path / "link")
    with pytest.raises(StoreError, match="there is no store at"):
        copy(tmp_path / "none", tmp_path / "out.zarr")
    shutil.copytree(path, tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / ".degrade" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="has no list of its files"):
        copy(tmp_path / "s.zarr", tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()

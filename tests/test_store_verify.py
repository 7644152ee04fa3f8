"""A flipped bit anywhere is found and named; so are missing, cut and stray files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import stores

from degrade.core.errors import StoreError
from degrade.pairs.store import PatchStore
from degrade.store.location import LIST
from degrade.store.verify import verify
from degrade.store.write import create


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr")


def flipped(path, at: int, bit: int):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def test_a_sound_store_has_no_problems_and_progress_reaches_the_end(store):
    seen = []
    assert PatchStore(store).verify(seen.append) == []
    assert seen[-1].done == seen[-1].total > 0


def test_a_flipped_bit_in_any_file_is_found_and_named(store):
    rng = np.random.default_rng(0)
    names = [name for name, data in stores.files(store).items() if data]
    assert len(names) > 40
    for name in names:
        sound = (store / name).read_bytes()
        for at in {0, len(sound) - 1, *rng.integers(0, len(sound), 3).tolist()}:
            flipped(store / name, at, int(rng.integers(8)))
            problems = verify(store)
            (store / name).write_bytes(sound)
            assert "".join(problems).startswith(name), (name, at, problems)
    assert verify(store) == []


def test_every_bit_of_the_roots_seal_and_flags_counts(store):
    sound = (store / "zarr.json").read_bytes()
    for word in (b'"complete"', b'"manifest"', b'"seal"', b"degrade_store", b'"attributes"'):
        at = sound.index(word)
        for i in range(at, at + len(word) + 4):
            for bit in range(8):
                flipped(store / "zarr.json", i, bit)
                problems = verify(store)
                (store / "zarr.json").write_bytes(sound)
                assert problems[0].startswith("zarr.json"), (word, i, bit)


def test_lost_rows_have_names(store, tmp_path):
    other = shutil.copytree(store, tmp_path / "s")
    size = stores.LAYOUT.plane("blur").row_bytes
    flipped(other / "blur" / "c.2.0.0.0", 3 * size + 5, 2)
    flipped(other / "blur" / "c.2.0.0.0", 7 * size, 7)
    flipped(other / "clean" / "c.0.0.0.0", (other / "clean" / "c.0.0.0.0").stat().st_size - 9, 0)
    problems = "\n".join(verify(other))
    assert "(plane 'blur', shard 2; rows lost: 23, 27)" in problems
    assert "(plane 'clean', shard 0; no row is lost, only the shard's index)" in problems
    assert len(problems.splitlines()) == 2


def test_missing_cut_and_stray_files_are_named(store, tmp_path):
    other = shutil.copytree(store, tmp_path / "s")
    (other / "blur" / "c.1.0.0.0").unlink()
    (other / "iso" / "c.0").write_bytes(b"")
    (other / "notes.txt").write_text("mine")
    (other / ".degrade" / "left").write_text("x")
    problems = sorted(verify(other))
    assert [p.split()[0] for p in problems] == [".degrade/left", "blur/c.1.0.0.0", "iso/c.0", "notes.txt"]
    assert "is missing" in problems[1]
    assert "has 0 bytes" in problems[2]
    (other / ".degrade" / "zarr.json").unlink()
    said = verify(other)
    assert said[0].startswith(".degrade/zarr.json, the list of files, is missing, so only rows were checked; fetch the")
    assert said[1].startswith("plane 'blur', shard 1: rows lost: 10, 11")
    assert len(said) == 2


def test_a_damaged_list_accuses_no_file(store, tmp_path):
    other = shutil.copytree(store, tmp_path / "s")
    sound = (other / LIST).read_bytes()
    for name in (b"blur/c.1.0.0.0", b"iso/c.0"):
        for there in (name, sound[sound.index(name) :].split(b'"')[2]):  # the name, or its digest
            (other / LIST).write_bytes(sound.replace(there, there[:-1] + b"_"))
            (said,) = verify(other)
            assert said.startswith(f"{LIST}, the list of files, is damaged, so only rows were checked; fetch the store")


def test_a_lost_root_is_said_and_the_files_are_checked(store, tmp_path):
    other = shutil.copytree(store, tmp_path / "s")
    (other / "zarr.json").unlink()
    flipped(other / "iso" / "c.0", 3, 1)
    assert [p.split(",")[0].split(":")[0] for p in verify(other)] == ["zarr.json", "iso/c.0 is damaged"]
    with pytest.raises(StoreError, match=r"has lost its zarr.json: fetch the store again, or delete it and build anew"):
        PatchStore(other)


def test_a_plane_moved_to_another_disk_belongs_to_the_store(store, tmp_path):
    other = shutil.copytree(store, tmp_path / "s")
    shutil.move(other / "blur", tmp_path / "elsewhere")
    (other / "blur").symlink_to(tmp_path / "elsewhere")
    (other / "mine").symlink_to(tmp_path)
    assert verify(other) == ["mine does not belong to the store: remove it"]
    flipped(tmp_path / "elsewhere" / "c.2.0.0.0", 3, 1)
    assert "(plane 'blur', shard 2; rows lost: 20)" in verify(other)[0]


def test_an_unfinished_or_missing_store_is_no_store_to_verify(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        verify(tmp_path / "none")
    create(tmp_path / "s", stores.LAYOUT)
    with pytest.raises(StoreError, match="not finished"):
        verify(tmp_path / "s")

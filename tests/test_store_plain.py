"""Plain shards read in place: by map and by position, the rows that were written, and proof of each shard."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from functools import lru_cache

import numpy as np
import pytest
import stores

from degrade.core.errors import StoreError
from degrade.store.layout import Layout, PlaneLayout
from degrade.store.mapped import Mapped, Positioned, _file, plain_shards

#: rows of a page and more, so that shards follow each other at whole pages; the last shard is not full
PAGES = dataclasses.replace(
    stores.SMALL, planes=(PlaneLayout("shown", 4, 32, 32, "uint8", "display"),), photos=7, per_photo=5
)
ODD = dataclasses.replace(PAGES, planes=stores.SMALL.planes)


@pytest.fixture(scope="module", params=[PAGES, ODD], ids=["pages", "odd"])
def built(request, tmp_path_factory):
    return stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr", request.param), request.param


def reader(store, layout: Layout, mapped: bool):
    metadata = json.loads((store / "shown/zarr.json").read_text())
    return plain_shards(store / "shown", layout.planes[0], metadata, mapped)


def written(layout: Layout) -> np.ndarray:
    plane = layout.planes[0]
    zero = np.zeros(plane.shape, plane.dtype)
    return np.stack([stores.pixels(plane, r) if stores.present(r) else zero for r in range(layout.rows)])


@pytest.mark.parametrize("mapped", [True, False])
def test_rows_are_those_written(built, mapped):
    store, layout = built
    every = written(layout)
    found = reader(store, layout, mapped)
    assert type(found) is (Mapped if mapped and layout is PAGES else Positioned)
    for rows in ([0], [34], [9, 10], [3, 4, 5, 6, 19, 20, 21, 30], [], [2, 2, 7], list(range(35))):
        index = np.array(rows, np.int64)
        held = found.holds(index)
        assert held is None or held.all()
        out = np.full((len(rows) + 2, *every.shape[1:]), 77, every.dtype)
        found.gather(index, out[1:-1])
        np.testing.assert_array_equal(out[1:-1], every[rows])
        assert (out[[0, -1]] == 77).all()
    assert found.holds(np.array([1])) is None


def test_a_single_shard_of_any_size_is_mapped(tmp_path):
    layout = dataclasses.replace(ODD, photos=2)
    found = reader(stores.build(tmp_path / "s", layout), layout, True)
    assert type(found) is Mapped
    out = np.empty((10, *layout.planes[0].shape), np.uint8)
    assert found.holds(np.arange(10)).all()
    found.gather(np.arange(10), out)
    np.testing.assert_array_equal(out, written(layout))


@pytest.mark.parametrize("mapped", [True, False])
def test_a_shard_that_is_not_proven_plain_is_not_held(built, tmp_path, mapped):
    """One lost, one cut short, one whose index has a bit flipped; the fourth is sound."""
    store, layout = built
    shutil.copytree(store, tmp_path / "s")
    files = [tmp_path / f"s/shown/c.{k}.0.0.0" for k in range(4)]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-20])
    data = bytearray(files[2].read_bytes())
    data[-30] ^= 1
    files[2].write_bytes(data)
    found = reader(tmp_path / "s", layout, mapped)
    for _ in range(2):
        assert found.holds(np.array([1, 11, 21, 31])).tolist() == [False, False, False, True]
    out = np.empty((1, *layout.planes[0].shape), np.uint8)
    found.gather(np.array([31]), out)
    np.testing.assert_array_equal(out[0], written(layout)[31])


def test_a_file_that_shrinks_under_a_reader_is_an_error(built, tmp_path):
    store, layout = built
    shutil.copytree(store, tmp_path / "s")
    found = reader(tmp_path / "s", layout, False)
    assert found.holds(np.array([0])).all()
    os.truncate(tmp_path / "s/shown/c.0.0.0.0", 10)
    with pytest.raises(StoreError, match=r"c\.0\.0\.0\.0 ends at byte 10, in the midst of its rows"):
        found.gather(np.array([0]), np.empty((1, *layout.planes[0].shape), np.uint8))


def test_files_are_closed_but_not_under_a_reader(built, monkeypatch):
    """With two files kept open, others open in their stead, whatever the number of readers; then none is left."""
    monkeypatch.setattr("degrade.store.mapped._file", lru_cache(2)(_file.__wrapped__))
    store, layout = built

    def opened() -> int:
        return sum(os.path.realpath(f"/proc/self/fd/{n}").startswith(str(store)) for n in os.listdir("/proc/self/fd"))

    readers = [reader(store, layout, False) for _ in range(3)]
    rows = np.arange(0, 35, 4)
    out = np.empty((len(rows), *layout.planes[0].shape), np.uint8)
    for found in readers:
        assert found.holds(rows).all()
        found.gather(rows, out)
        np.testing.assert_array_equal(out, written(layout)[rows])
        assert opened() == 2
    del found, readers
    assert opened() == 0


@pytest.mark.parametrize("mapped", [True, False])
def test_a_shard_that_cannot_be_opened_is_one_sentence(built, tmp_path, mapped):
    store, layout = built
    shutil.copytree(store, tmp_path / "s")
    found = reader(tmp_path / "s", layout, mapped)
    (shard := tmp_path / "s/shown/c.1.0.0.0").unlink()
    shard.symlink_to(shard)
    with pytest.raises(StoreError, match=r"c\.1\.0\.0\.0 cannot be read: Too many levels of symbolic links"):
        found.holds(np.array([12]))


def test_a_file_that_goes_under_a_reader_is_one_sentence(built, tmp_path):
    store, layout = built
    shutil.copytree(store, tmp_path / "s")
    found = reader(tmp_path / "s", layout, False)
    assert found.holds(np.array([0])).all()
    (tmp_path / "s/shown/c.0.0.0.0").unlink()
    with pytest.raises(StoreError, match=r"c\.0\.0\.0\.0 cannot be read: No such file"):
        found.gather(np.array([0]), np.empty((1, *layout.planes[0].shape), np.uint8))


@pytest.mark.parametrize("mapped", [True, False])
def test_asking_ahead_changes_nothing(built, mapped):
    store, layout = built
    found = reader(store, layout, mapped)
    found.ahead(np.arange(35))
    found.ahead(np.array([], np.int64))
    found.ahead(np.array([3, 4, 7, 19, 30]))
    (store / "shown/c.3.0.0.0").rename(store / "gone")
    found.ahead(np.arange(29, 35))
    (store / "gone").rename(store / "shown/c.3.0.0.0")
    assert found.holds(np.arange(35)).all()


def test_an_array_that_is_not_plain_has_no_such_reader(built):
    store, layout = built
    metadata = json.loads((store / "shown/zarr.json").read_text())
    metadata["codecs"][0]["configuration"]["codecs"].append({"name": "zstd", "configuration": {"level": 1}})
    assert plain_shards(store / "shown", layout.planes[0], metadata, True) is None

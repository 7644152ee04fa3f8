"""Shards are byte-equal to zarr-python's, other readers see equal rows in silence, and the finished store is one."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import stores
import tensorstore
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from degrade.core.errors import StoreError, UnknownName
from degrade.pairs.store import PatchStore
from degrade.store.disk import locked
from degrade.store.finalise import finalise
from degrade.store.layout import Column, Layout, PlaneLayout
from degrade.store.mapped import plain_shards
from degrade.store.metadata import plane_metadata
from degrade.store.shard import shard_bytes, shard_key
from degrade.store.write import PhotoFact, ShardWriter, create, done_shards, read_layout, shard_done


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr")


def expected(plane: PlaneLayout) -> np.ndarray:
    rows = range(stores.LAYOUT.rows)
    return np.stack(
        [stores.pixels(plane, r) if stores.present(r) else np.zeros(plane.shape, plane.dtype) for r in rows]
    )


def like_zarr(folder, metadata, data):
    """The same array written by zarr-python, its settings read from our metadata."""
    inner = metadata["codecs"][0]["configuration"]
    array = zarr.create_array(
        str(folder),
        shape=data.shape,
        dtype=data.dtype,
        shards=tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"]),
        chunks=tuple(inner["chunk_shape"]),
        compressors=None,
        fill_value=0,
        dimension_names=metadata["dimension_names"],
        attributes=metadata["attributes"],
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
    array[:] = data
    return array


@pytest.mark.parametrize("plane", stores.LAYOUT.planes, ids=lambda p: p.dtype)
def test_shards_and_metadata_are_those_of_zarr_python(store, tmp_path, plane):
    ours = json.loads((store / plane.name / "zarr.json").read_bytes())
    like_zarr(tmp_path / plane.name, ours, expected(plane))
    theirs = stores.files(tmp_path / plane.name)
    assert json.loads(theirs.pop("zarr.json")) == ours
    assert sorted(theirs) == sorted(shard_key(ours, k) for k in range(stores.LAYOUT.shards))
    for name, data in theirs.items():
        assert (store / plane.name / name).read_bytes() == data, name


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["uint16", "uint8", "float32"]), st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.data()
)
def test_any_shard_equals_zarr_python(tmp_path_factory, dtype, rows, per_shard, size, data):
    layout = Layout((PlaneLayout("p", 2, size, 3, dtype, "display"),), (), rows, 1, per_shard)
    folder = tmp_path_factory.mktemp("any")
    values = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 3, (rows, 2, size, 3)).astype(dtype)
    values[data.draw(st.integers(0, rows - 1))] = 0
    metadata = json.loads(json.dumps(plane_metadata(layout, layout.planes[0])))
    like_zarr(folder / "p", metadata, values)
    for k in range(layout.shards):
        span = layout.shard_rows(k)
        assert (folder / "p" / shard_key(metadata, k)).read_bytes() == shard_bytes(values[span], per_shard)
    found = np.empty_like(values)
    held = plain_shards(folder / "p", layout.planes[0], metadata, mapped=True)
    assert held.holds(np.arange(rows)).all()
    held.gather(np.arange(rows), found)
    np.testing.assert_array_equal(found, values)


def test_zarr_python_reads_it_in_silence(store):
    for consolidated in (True, False):
        group = zarr.open_group(str(store), mode="r", use_consolidated=consolidated)
        arrays = dict(group.arrays())
        assert {"blur", "clean", "shown", "photo", "present", "photo_key", "optics.sigma"} <= set(arrays)
        for plane in stores.LAYOUT.planes:
            np.testing.assert_array_equal(arrays[plane.name][:], expected(plane))
        assert {name for name, _ in group.members(max_depth=None)} - set(arrays) <= {".degrade"}
        assert group.attrs["recipe_hash"] == "abc"


def test_xarray_reads_it_in_silence(store):
    for consolidated in (True, False):
        data = xarray.open_zarr(str(store), consolidated=consolidated, chunks=None)
        assert data["blur"].dims == ("row", "blur_c", "blur_y", "blur_x")
        assert data["blur"].dtype == np.uint16
        assert data["crop_top"].dtype == np.int32
        for plane in stores.LAYOUT.planes:
            np.testing.assert_array_equal(data[plane.name].to_numpy(), expected(plane))
        assert data["optics.psf"].attrs["labels"] == ["airy", "disc", "gaussian"]


def test_tensorstore_reads_it(store):
    for plane in stores.LAYOUT.planes:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store / plane.name)}}
        found = tensorstore.open(spec, read=True).result().read().result()
        np.testing.assert_array_equal(found, expected(plane))


def test_columns_and_photo_table(store):
    group = zarr.open_group(str(store), mode="r")
    there = np.array([stores.present(r) for r in range(stores.LAYOUT.rows)])
    np.testing.assert_array_equal(group["present"][:], there)
    np.testing.assert_array_equal(group["photo"][:], np.arange(stores.LAYOUT.rows) // 5)
    for name, values in stores.columns(range(stores.LAYOUT.rows)).items():
        np.testing.assert_array_equal(group[name][:][there], values.astype(group[name].dtype)[there])
    assert set(group["optics.psf"][:][~there]) == {-1}
    assert np.isnan(group["iso"][:][~there]).all()
    assert bytes(group["photo_key"][3]).rstrip(b"\0").decode() == "folder/IMG_3é.dng"
    assert bytes(group["photo_reason"][3]) == b"truncated"
    assert group["photo_rows"][:].tolist() == [5, 5, 5, 0, 5, 3, 5]


def test_columns_of_many_chunks(tmp_path):
    """A store of more rows than a chunk of a column, in shards that do not divide it."""
    plane = PlaneLayout("p", 1, 1, 1, "uint8", "display")
    layout = Layout((plane,), (Column("x", "float64"),), photos=150, per_photo=1000, photos_per_shard=70)
    create(tmp_path, layout)
    for k in (2, 0, 1):
        with ShardWriter(tmp_path, layout, k) as out:
            rows = np.array(layout.shard_rows(k))
            out.put("p", (rows % 251).astype(np.uint8)[:, None, None, None])
            out.finish({"x": rows / 7}, [PhotoFact(str(p)) for p in layout.shard_photos(k)])
    finalise(tmp_path, layout)
    group = zarr.open_group(str(tmp_path), mode="r")
    assert group["x"].chunks == (65536,)
    np.testing.assert_array_equal(group["x"][:], np.arange(150_000) / 7)
    np.testing.assert_array_equal(
        PatchStore(tmp_path).read("p", slice(None), dn=True).ravel(), np.arange(150_000) % 251
    )


def test_absent_rows_take_no_room(tmp_path):
    plane = PlaneLayout("p", 4, 64, 64, "uint8", "display")
    layout = Layout((plane,), (), photos=2, per_photo=200, photos_per_shard=2)
    create(tmp_path, layout)
    with ShardWriter(tmp_path, layout, 0) as out:
        out.skip(400)
        out.finish({}, [PhotoFact("a", reason="bad"), PhotoFact("b", reason="bad")])
    status = (tmp_path / "p" / "c.0.0.0.0").stat()
    assert status.st_size > 400 * 16384
    if status.st_blocks * 512 > status.st_size / 2:
        pytest.skip("this file system keeps no holes")
    assert status.st_blocks * 512 < 100_000


def test_order_of_tasks_repeats_and_leftovers_change_no_byte(store, tmp_path):
    other = tmp_path / "other.zarr"
    create(other, stores.LAYOUT)
    for shard in (2, 2, 0, 3):
        stores.write_shard(other, shard)
    (other / ".degrade" / "build" / "tmp-0123456789abcdef").write_bytes(b"left by a kill")
    assert done_shards(other, stores.LAYOUT) == [0, 2, 3]
    stores.build(other, backwards=True)
    assert stores.files(other) == stores.files(store)
    stores.build(other)  # of a finished store nothing changes
    finalise(other, stores.LAYOUT)
    assert stores.files(other) == stores.files(store)


def test_a_lost_shard_is_made_again(store, tmp_path):
    other = stores.build(tmp_path / "other.zarr")
    (other / "clean" / "c.1.0.0.0").unlink()
    assert not shard_done(other, stores.LAYOUT, 1)
    stores.build(other)
    assert stores.files(other) == stores.files(store)


def test_a_shard_counts_as_done_only_whole_and_for_its_own_recipe(tmp_path):
    layout = stores.LAYOUT
    create(tmp_path, layout)
    assert not shard_done(tmp_path, layout, 0)
    stores.write_shard(tmp_path, 0)
    assert shard_done(tmp_path, layout, 0)
    assert not shard_done(tmp_path, dataclasses.replace(layout, attributes={"recipe_hash": "other"}), 0)
    with open(tmp_path / "blur" / "c.0.0.0.0", "ab") as file:
        file.write(b"x")
    assert not shard_done(tmp_path, layout, 0)


def test_a_damaged_record_is_noticed_and_made_again(store, tmp_path):
    create(tmp_path / "s", stores.LAYOUT)
    for k in range(stores.LAYOUT.shards):
        stores.write_shard(tmp_path / "s", k)
    record = tmp_path / "s" / ".degrade" / "build" / "shard-00000002"
    data = bytearray(record.read_bytes())
    data[-3] ^= 1
    record.write_bytes(data)
    with pytest.raises(StoreError, match="record of shard 2 .* damaged"):
        finalise(tmp_path / "s", stores.LAYOUT)
    assert stores.files(stores.build(tmp_path / "s")) == stores.files(store)


def test_an_error_in_a_task_leaves_nothing(tmp_path):
    create(tmp_path, stores.LAYOUT)
    before = stores.files(tmp_path)
    out = ShardWriter(tmp_path, stores.LAYOUT, 0)
    with pytest.raises(RuntimeError, match="an operator"), out:
        out.put("blur", np.zeros((2, 4, 6, 5), np.uint16))
        raise RuntimeError("an operator failed")
    with ShardWriter(tmp_path, stores.LAYOUT, 0) as out:
        out.skip(10)
    assert stores.files(tmp_path) == before


def test_what_does_not_fit_is_refused(tmp_path):
    create(tmp_path, stores.LAYOUT)
    facts = [PhotoFact("a"), PhotoFact("b")]
    with ShardWriter(tmp_path, stores.LAYOUT, 0) as out:
        with pytest.raises(UnknownName, match="unknown plane 'blurr': did you mean 'blur'"):
            out.put("blurr", np.zeros((1, 4, 6, 5), np.uint16))
        with pytest.raises(ValueError, match="takes .* uint16, got .* float32"):
            out.put("blur", np.zeros((1, 4, 6, 5), np.float32))
        with pytest.raises(ValueError, match="10 rows, 'blur' would get 11"):
            out.put("blur", np.zeros((11, 4, 6, 5), np.uint16))
        out.put("blur", np.zeros((1, 4, 6, 5), np.uint16))
        with pytest.raises(ValueError, match="every plane needs the same rows"):
            out.skip(1)
        out.put("clean", np.zeros((1, 3, 4, 4), np.float32))
        out.put("shown", np.zeros((1, 3, 4, 3), np.uint8))
        with pytest.raises(ValueError, match="10 rows, got 1"):
            out.finish(stores.columns(range(10)), facts)
        out.skip(9)
        with pytest.raises(ValueError, match="2 photos, got 1"):
            out.finish(stores.columns(range(10)), facts[:1])
        with pytest.raises(ValueError, match="lacks columns: iso"):
            out.finish({k: v for k, v in stores.columns(range(10)).items() if k != "iso"}, facts)
        with pytest.raises(UnknownName, match="did you mean 'iso'"):
            out.finish({**stores.columns(range(10)), "is0": np.zeros(10)}, facts)
        with pytest.raises(ValueError, match="holds numbers that int8 cannot"):
            out.finish({**stores.columns(range(10)), "optics.psf": np.full(10, 300)}, facts)


def test_layouts_that_cannot_be_are_refused():
    plane = PlaneLayout("blur", 4, 6, 5, "uint16", "mosaic")
    with pytest.raises(ValueError, match="needs columns 'black' and 'white'"):
        Layout((plane,), (), 1, 1, 1)
    levels = (Column("black", "float32"), Column("white", "float32"))
    with pytest.raises(ValueError, match="more than one of: Blur, blur"):
        Layout((plane, dataclasses.replace(plane, name="Blur")), levels, 1, 1, 1)
    with pytest.raises(ValueError, match="cannot name an array"):
        Layout((dataclasses.replace(plane, name="a/b"),), levels, 1, 1, 1)
    with pytest.raises(ValueError, match="photos of at least 1"):
        Layout((plane,), levels, 0, 1, 1)
    with pytest.raises(ValueError, match="one of uint16, uint8, float32, got 'int16'"):
        dataclasses.replace(plane, dtype="int16")


def test_the_layout_survives_its_json(store):
    assert read_layout(store) == stores.LAYOUT
    assert read_layout(store).identity == stores.LAYOUT.identity


def test_folders_that_are_not_ours_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(StoreError, match="holds other things and is not a store of ours"):
        create(tmp_path, stores.LAYOUT)
    zarr.create_group(str(tmp_path / "foreign"))
    with pytest.raises(StoreError, match="is Zarr, but not a store of ours: name another"):
        create(tmp_path / "foreign", stores.LAYOUT)
    with pytest.raises(StoreError, match="is a file"):
        create(tmp_path / "mine.txt", stores.LAYOUT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign", "mine.txt"]


def test_another_recipe_under_a_store_is_refused_with_what_differs(tmp_path):
    create(tmp_path, stores.LAYOUT)
    stores.write_shard(tmp_path, 2)
    other = dataclasses.replace(stores.LAYOUT, photos=8, attributes={**stores.LAYOUT.attributes, "seed": 8})
    with pytest.raises(StoreError, match=re.escape("(different: seed, photos)")):
        create(tmp_path, other)
    assert read_layout(tmp_path) == stores.LAYOUT


def test_a_store_that_nothing_was_built_into_may_be_begun_anew(tmp_path):
    first = dataclasses.replace(
        stores.LAYOUT, planes=(*stores.LAYOUT.planes, PlaneLayout("more", 1, 2, 2, "float32", "linear"))
    )
    create(tmp_path / "a", first)
    for name in ("a", "b"):
        stores.build(tmp_path / name)
    assert stores.files(tmp_path / "a") == stores.files(tmp_path / "b")


def test_an_unfinished_store_cannot_be_sealed(tmp_path):
    create(tmp_path, stores.LAYOUT)
    stores.write_shard(tmp_path, 1)
    with pytest.raises(StoreError, match="1 of 4 shards: run the build again"):
        finalise(tmp_path, stores.LAYOUT)


def test_two_builds_at_once_are_refused_and_the_lock_leaves_nothing(tmp_path):
    with locked(tmp_path / "s"):
        with pytest.raises(StoreError, match="another process is writing"), locked(tmp_path / "s"):
            pass
        assert (tmp_path / "s").is_dir()
    assert not (tmp_path / "s").exists()
    with locked(tmp_path / "s"):
        create(tmp_path / "s", stores.LAYOUT)
    assert read_layout(tmp_path / "s") == stores.LAYOUT


def test_a_store_that_lost_its_root_is_not_taken_for_another(tmp_path):
    """Its list of files tells sizes and digests, not whose rows they are."""
    stores.build(tmp_path / "s")
    (tmp_path / "s" / "zarr.json").unlink()
    before = stores.files(tmp_path / "s")
    other = dataclasses.replace(stores.LAYOUT, attributes={**stores.LAYOUT.attributes, "recipe_hash": "another"})
    for layout in (other, stores.LAYOUT):
        with pytest.raises(StoreError, match=r"has lost its zarr.json: fetch the store again, or delete it and build"):
            stores.build(tmp_path / "s", layout)
    assert stores.files(tmp_path / "s") == before

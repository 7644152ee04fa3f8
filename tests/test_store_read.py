"""PatchStore: rows, columns, the mapped path against the ordinary one, errors that name what is meant."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import served
import stores
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

from degrade.core.errors import StoreError, UnknownName
from degrade.pairs.store import PatchStore
from degrade.store.mapped import plain_shards
from degrade.store.shard import crc32c, plain_rows
from degrade.store.write import create

HERE = [r for r in range(stores.LAYOUT.rows) if stores.present(r)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr")


@pytest.fixture(scope="module")
def store(path):
    return PatchStore(path)


def pixels(name: str, rows) -> np.ndarray:
    return np.stack([stores.pixels(stores.LAYOUT.plane(name), r) for r in rows])


def copy(path, target, **settings):
    """The store as zarr-python copies it, its planes with other settings."""
    source, copied = zarr.open_group(str(path), mode="r"), zarr.create_group(str(target))
    copied.attrs.update(source.attrs.asdict())
    for name, array in source.arrays():
        mine = settings if array.ndim == 4 else {"chunks": array.chunks}
        made = copied.create_array(
            name, shape=array.shape, dtype=array.dtype, attributes=array.attrs.asdict(), **{"fill_value": 0, **mine}
        )
        made[:] = array[:]
    return target


def test_rows_planes_and_columns(store):
    assert len(store) == len(HERE)
    assert store.rows.tolist() == HERE
    assert list(store.planes) == ["blur", "clean", "shown"]
    expected = stores.columns(range(stores.LAYOUT.rows))
    for name in ("iso", "crop_top", "optics.sigma"):
        np.testing.assert_array_equal(store.columns[name][HERE], expected[name][HERE].astype(np.float32))
    assert store.photos.quarantined == {"folder/IMG_3é.dng": "truncated"}
    assert store.photos.rows.tolist() == [5, 5, 5, 0, 5, 3, 5]
    assert store.photos.digests[1] == f"{1:032x}"


def test_read_gives_the_rows_in_the_order_asked_for(store):
    rows = [33, 2, 2, 14, 27, 0]
    for name in store.planes:
        np.testing.assert_array_equal(store.read(name, rows, dn=True), pixels(name, rows))
    np.testing.assert_array_equal(store.read("blur", 7, dn=True), pixels("blur", [7])[0])
    np.testing.assert_array_equal(store.read("blur", slice(3, 6), dn=True), pixels("blur", [3, 4, 5]))
    assert store.read("blur", [], dn=True).shape == (0, 4, 6, 5)


def test_read_normalises_each_row_by_its_own_levels(store):
    rows = [33, 2, 14]
    black, white = (
        stores.columns(range(35))[k][rows].astype(np.float32)[:, None, None, None] for k in ("black", "white")
    )
    expected = (pixels("blur", rows).astype(np.float32) - black) / (white - black)
    found = store.read("blur", rows)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert found.min() < 0  # noise below black survives
    np.testing.assert_array_equal(store.read("shown", rows), pixels("shown", rows).astype(np.float32) / 255)
    np.testing.assert_array_equal(store.read("clean", rows), pixels("clean", rows))


def test_row(store):
    row = store.row(27)
    assert (row.index, row.photo, row.patch) == (27, "folder/IMG_5é.dng", 2)
    assert row.draws["optics.psf"] == "gaussian"
    assert row.draws["optics.sigma"] == 27.5
    assert row.draws["crop_top"] == 81
    assert store.row(8).draws["optics.psf"] is None
    assert store.row(8).draws["optics.sigma"] is None
    np.testing.assert_array_equal(row.planes["clean"], pixels("clean", [27])[0])
    with pytest.raises(AttributeError):
        row.index = 3


def test_pandas(store):
    table = store.to_pandas()
    assert table.index.tolist() == HERE
    assert table.index.name == "row"
    assert table.loc[27, "optics.psf"] == "gaussian"
    assert pd.isna(table.loc[8, "optics.psf"])
    assert table.loc[27, "photo_key"] == "folder/IMG_5é.dng"
    assert table.loc[27, "patch"] == 2
    assert len(table.groupby("optics.psf", observed=True)) == 3


def test_info_is_plain(store, path):
    info = json.loads(json.dumps(store.info()))
    assert info["rows"] == len(HERE)
    assert info["rows_absent"] == 7
    assert info["recipe_hash"] == "abc"
    assert info["quarantined"] == {"folder/IMG_3é.dng": "truncated"}
    assert info["bytes"] == sum(len(b) for b in stores.files(path).values())


def reader(store, plane, mapped):
    """The reader of a plane's plain shards."""
    metadata = json.loads((store / plane / "zarr.json").read_bytes())
    return plain_shards(store / plane, stores.LAYOUT.plane(plane), metadata, mapped)


def test_every_shard_is_read_in_place(store, path):
    for plane in stores.LAYOUT.planes:
        held = reader(path, plane.name, mapped=True)
        assert held.per_shard == 10
        assert held.holds(np.arange(stores.LAYOUT.rows)).all()
        assert held.holds(np.arange(stores.LAYOUT.rows)) is None  # all, without a look


@pytest.mark.parametrize(
    ("settings", "mapped"),
    [
        ({"chunks": (1, 4, 6, 5), "shards": (10, 4, 6, 5), "compressors": "auto"}, False),
        ({"chunks": (4, 4, 6, 5)}, False),
        ({"chunks": (2, 4, 6, 5), "shards": (10, 4, 6, 5), "compressors": None}, False),
        ({"chunks": (1, 4, 3, 5), "shards": (10, 4, 6, 5), "compressors": None}, False),
        ({"chunks": (1, 4, 6, 5), "shards": (4, 4, 6, 5), "compressors": None}, True),
        (
            {
                "chunks": (10, 4, 6, 5),
                "compressors": None,
                "serializer": ShardingCodec(chunk_shape=(1, 4, 6, 5), codecs=[BytesCodec()], index_location="start"),
            },
            False,
        ),
        (
            {
                "chunks": (10, 4, 6, 5),
                "compressors": None,
                "serializer": ShardingCodec(chunk_shape=(1, 4, 6, 5), codecs=[BytesCodec(endian="big")]),
            },
            False,
        ),
        (
            {
                "chunks": (10, 4, 6, 5),
                "compressors": None,
                "serializer": ShardingCodec(
                    chunk_shape=(1, 4, 6, 5),
                    codecs=[BytesCodec()],
                    index_codecs=[BytesCodec(endian="big"), Crc32cCodec()],
                ),
            },
            False,
        ),
    ],
    ids=["compressed", "chunks", "two-rows", "split", "other-shards", "index-first", "big-endian", "big-index"],
)
def test_other_layouts_are_read_with_the_same_results(tmp_path, path, store, settings, mapped):
    whole = zarr.open_group(str(path), mode="r")
    shutil.copytree(path, tmp_path / "s")
    shutil.rmtree(tmp_path / "s" / "blur")
    root = json.loads((tmp_path / "s" / "zarr.json").read_bytes())
    del root["consolidated_metadata"]
    (tmp_path / "s" / "zarr.json").write_text(json.dumps(root))
    made = zarr.open_group(str(tmp_path / "s")).create_array(
        "blur", shape=(35, 4, 6, 5), dtype="uint16", fill_value=0, config={"write_empty_chunks": True}, **settings
    )
    made[:] = whole["blur"][:]
    other = PatchStore(tmp_path / "s")
    metadata = json.loads((tmp_path / "s" / "blur" / "zarr.json").read_bytes())
    assert (plain_rows(metadata) is not None) == mapped
    rows = [33, 2, 2, 14, 27, 0]
    np.testing.assert_array_equal(other.read("blur", rows), store.read("blur", rows))
    for mine, theirs in zip(other.loader(6, seed=3), store.loader(6, seed=3), strict=True):
        for name in theirs:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_a_shard_in_another_order_is_not_mapped_but_read(tmp_path, path, store):
    """The metadata is as ours, but this one shard holds its rows backwards, as its own index says."""
    shutil.copytree(path, tmp_path / "s")
    file = tmp_path / "s" / "blur" / "c.1.0.0.0"
    data = file.read_bytes()
    size = stores.LAYOUT.plane("blur").row_bytes
    rows = [data[i * size : (i + 1) * size] for i in range(10)]
    index = np.stack([np.arange(9, -1, -1) * size, np.full(10, size)], 1).astype("<u8").tobytes()
    file.write_bytes(b"".join(reversed(rows)) + index + crc32c(index).to_bytes(4, "little"))
    for mapped in (True, False):
        there = reader(tmp_path / "s", "blur", mapped).holds(np.array([9, 10, 19, 20]))
        assert there.tolist() == [True, False, False, True]
    wanted = [3, 11, 12, 14, 27]
    np.testing.assert_array_equal(PatchStore(tmp_path / "s").read("blur", wanted), store.read("blur", wanted))


def test_shards_that_prove_nothing_are_not_mapped(tmp_path, path):
    shutil.copytree(path / "blur", tmp_path / "blur")
    file = tmp_path / "blur" / "c.0.0.0.0"
    data = file.read_bytes()
    for bad in (data[:-1], data[1:], data[:-8] + bytes(8), data[:50], b"", data[:-3] + b"\0" + data[-2:]):
        file.write_bytes(bad)
        assert not reader(tmp_path, "blur", mapped=True).holds(np.arange(10)).any()
    file.unlink()
    assert not reader(tmp_path, "blur", mapped=True).holds(np.arange(10)).any()


def test_a_copy_made_by_zarr_python_reads_and_verifies(tmp_path, path, store):
    other = PatchStore(copy(path, tmp_path / "copy", chunks=(7, 2, 4, 3)))
    np.testing.assert_array_equal(other.read("clean", HERE), store.read("clean", HERE))
    assert other.verify() == []
    array = zarr.open_group(str(tmp_path / "copy"))["shown"]
    array[12, 0, 0, 0] = array[12, 0, 0, 0] ^ 1
    assert PatchStore(tmp_path / "copy").verify() == ["plane 'shown', shard 1: rows lost: 12"]


def test_chunks_that_another_writer_left_out_are_the_fill_value(tmp_path, path):
    copy(path, tmp_path / "copy", chunks=(5, 4, 4, 3))
    group = zarr.open_group(str(tmp_path / "copy"))
    group["crop_top"][:] = 0
    group["blur"][5:10] = 0
    other = PatchStore(tmp_path / "copy")
    assert [f.name for f in (tmp_path / "copy" / "crop_top").rglob("*") if f.is_file()] == ["zarr.json"]
    assert not other.columns["crop_top"].any()
    assert not other.read("blur", range(5, 10), dn=True).any()
    np.testing.assert_array_equal(other.read("blur", [3], dn=True), pixels("blur", [3]))


def test_few_maps_are_enough(path, store):
    few = PatchStore(path, maps=1)
    np.testing.assert_array_equal(few.read("blur", HERE), store.read("blur", HERE))


def test_pickled_and_in_a_fresh_process(path, store):
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read("blur", [3, 12]), store.read("blur", [3, 12]))
    script = "import pickle, sys; s = pickle.load(sys.stdin.buffer); print(s.read('blur', [3], dn=True).sum())"
    out = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(store), capture_output=True, check=True)
    assert int(out.stdout) == pixels("blur", [3]).sum()


def test_errors_name_what_is_meant(store):
    with pytest.raises(UnknownName, match="unknown plane 'blurr': did you mean 'blur'"):
        store.read("blurr", [0])
    with pytest.raises(UnknownName, match=r"unknown column 'optics.sigm': did you mean 'optics.sigma'"):
        store.columns["optics.sigm"]
    with pytest.raises(IndexError, match="no row 35: .* has rows 0 to 34"):
        store.read("blur", [0, 35])
    with pytest.raises(IndexError, match="no row -1"):
        store.row(-1)
    with pytest.raises(IndexError, match="row 15 of photo 'folder/IMG_3é.dng' is absent: truncated"):
        store.row(15)
    with pytest.raises(IndexError, match="row 29 .* is absent: the crop found no place"):
        store.read("blur", [29])


def test_what_is_no_finished_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        PatchStore(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        PatchStore(tmp_path / "file")
    with pytest.raises(StoreError, match="not a store of ours"):
        PatchStore(tmp_path)
    create(tmp_path / "s", stores.LAYOUT)
    stores.write_shard(tmp_path / "s", 2)
    with pytest.raises(StoreError, match="not finished, it has 1 of 4 shards: run the same build again"):
        PatchStore(tmp_path / "s")


def test_a_row_shows_itself(store):
    picture = store.row(27).show()
    assert picture.width > 300
    assert len(np.unique(np.asarray(picture))) > 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"format": 0},
            "is a store of format 0, and this version of degrade reads format 1: use the one that wrote it",
        ),
        ({"planes": None}, "zarr.json is damaged, or no metadata: fetch the store again, or delete it and build anew"),
        ({"photos": "many"}, "zarr.json is damaged, or no metadata"),
        ({"columns": [{"name": "iso"}]}, "zarr.json is damaged, or no metadata"),
        ({"complete": None}, "is not finished"),
    ],
)
def test_a_root_of_another_time_or_damaged_is_one_sentence(path, tmp_path, change, said):
    root = json.loads((path / "zarr.json").read_text())
    own = root["attributes"]["degrade_store"]
    own |= change
    root["attributes"]["degrade_store"] = {key: value for key, value in own.items() if value is not None}
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match=said):
        PatchStore(tmp_path)
    with served.served(tmp_path) as (address, _), pytest.raises(StoreError, match=said):
        PatchStore(address)


def test_copies_of_metadata_in_a_damaged_root_are_not_believed(path, store, tmp_path):
    other = shutil.copytree(path, tmp_path / "s")
    root = (other / "zarr.json").read_text()
    (other / "zarr.json").write_text(root.replace("chunk_grid", "chunk_grit"))
    damaged, sound = PatchStore(other), store
    np.testing.assert_array_equal(damaged.read("blur", [3, 12], dn=True), sound.read("blur", [3, 12], dn=True))


def test_a_damaged_photo_table_is_one_sentence(path, tmp_path):
    other = shutil.copytree(path, tmp_path / "s")
    keys = other / "photo_key" / "c.0.0"
    keys.write_bytes(keys.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(StoreError, match="photo_key of .* is damaged: `degrade verify` finds all that is"):
        PatchStore(other).photos  # noqa: B018

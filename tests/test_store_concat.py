"""Stores joined: rows one after the other, one loader over all, errors that name what differs."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import numpy as np
import pytest
import stores
import torch

from degrade.core.errors import StoreError, UnknownName
from degrade.pairs.store import PatchStore

SECOND = dataclasses.replace(stores.LAYOUT, photos=4)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    one, two = (
        PatchStore(stores.build(folder / n, layout)) for n, layout in (("a.zarr", stores.LAYOUT), ("b.zarr", SECOND))
    )
    return one, two


@pytest.fixture(scope="module")
def joined(both):
    return PatchStore.concat(both)


def test_rows_follow_each_other(both, joined):
    one, two = both
    assert len(joined) == len(one) + len(two)
    assert joined.rows.tolist() == [*one.rows, *(35 + two.rows)]
    assert list(joined.planes) == list(one.planes)
    for index, store, own in ((27, one, 27), (35 + 12, two, 12)):
        row = joined.row(index)
        assert (row.index, row.photo) == (own, store.row(own).photo)
        np.testing.assert_array_equal(row.planes["clean"], store.row(own).planes["clean"])


@pytest.mark.parametrize("dn", [False, True])
def test_one_loader_gives_what_each_store_holds(both, joined, dn):
    one, two = both
    seen = []
    for batch in joined.loader(7, seed=3, dn=dn):
        for j, row in enumerate(batch["row"].tolist()):
            store, own = (one, row) if row < 35 else (two, row - 35)
            for name in joined.planes:
                np.testing.assert_array_equal(batch[name][j].numpy(), store.read(name, own, dn=dn), err_msg=name)
            seen.append(row)
    assert sorted(seen) == joined.rows.tolist()
    first = [b["row"].tolist() for b in joined.loader(7, seed=3)]
    assert any(min(r) < 35 <= max(r) for r in first)  # mixed in batches
    assert first != [b["row"].tolist() for b in joined.loader(7, seed=4)]


def test_a_batch_of_no_rows_is_like_the_others(joined):
    (batch,) = joined.loader(5, rows=[1, 2, 3], rank=3, ranks=4)
    (other,) = joined.loader(5, rows=[1, 2, 3], rank=0, ranks=4)
    for name in other:
        assert (batch[name].shape, batch[name].dtype) == ((0, *other[name].shape[1:]), other[name].dtype), name


def test_a_loader_goes_on_where_it_stood(joined):
    whole = [b["row"].tolist() for b in joined.loader(6, seed=1)]
    loader = joined.loader(6, seed=1)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    again = joined.loader(6)
    again.load_state_dict(loader.state_dict())
    assert [b["row"].tolist() for b in again] == whole[3:]


def test_some_rows_and_planes(joined):
    (batch,) = joined.loader(8, ("clean",), rows=[40, 2, 36], shuffle=False)
    assert set(batch) == {"clean", "row"}
    assert batch["row"].tolist() == [2, 36, 40]
    assert batch["clean"].dtype == torch.float32


def test_one_store_and_a_pickled_pair(both, joined):
    alone = PatchStore.concat(both[:1])
    assert alone.rows.tolist() == both[0].rows.tolist()
    again = pickle.loads(pickle.dumps(joined))
    assert torch.equal(next(iter(again.loader(5, seed=2)))["clean"], next(iter(joined.loader(5, seed=2)))["clean"])


def test_joined_stores_are_joined_with_more(both, joined):
    one, two = both
    more = PatchStore.concat([joined, one])
    assert more.stores == (one, two, one)
    assert more.rows.tolist() == [*one.rows, *(35 + two.rows), *(55 + one.rows)]
    np.testing.assert_array_equal(more.row(55 + 4).planes["clean"], one.row(4).planes["clean"])


def test_a_damaged_row_is_told_with_its_store(both, tmp_path):
    shutil.copytree(both[1].path, tmp_path / "bad.zarr")
    with open(tmp_path / "bad.zarr/shown/c.0.0.0.0", "r+b") as file:
        file.seek(3 * both[1].layout.plane("shown").row_bytes)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    joined = PatchStore.concat([both[0], PatchStore(tmp_path / "bad.zarr")])
    with pytest.raises(StoreError, match=r"bad\.zarr: row 3 of plane 'shown' \(shard 0\) is damaged"):
        list(joined.loader(5, ("shown",), check=True))


def test_what_cannot_be_joined(tmp_path, both, joined):
    plane = dataclasses.replace(stores.LAYOUT.planes[2], height=5)
    other = dataclasses.replace(stores.SMALL, planes=(plane,))
    small = PatchStore(stores.build(tmp_path / "s.zarr", other))
    with pytest.raises(StoreError, match=r"only stores of equal planes are joined: .*a.zarr has blur 4x6x5 uint16"):
        PatchStore.concat([both[0], small])
    with pytest.raises(StoreError, match="nothing to join: give at least one store"):
        PatchStore.concat([])
    with pytest.raises(StoreError, match=r"only opened stores are joined, got 'a.zarr': PatchStore\('a.zarr'\)"):
        PatchStore.concat(["a.zarr", both[0]])
    with pytest.raises(IndexError, match="no row 55: the stores have rows 0 to 54"):
        joined.row(55)
    with pytest.raises(IndexError, match="row 15 of photo .* is absent"):
        joined.row(35 + 15)
    with pytest.raises(IndexError, match="row 15 of photo .* is absent"):
        joined.loader(4, rows=[3, 35 + 15])
    with pytest.raises(UnknownName, match="did you mean 'clean'"):
        joined.loader(4, ("cleam",))

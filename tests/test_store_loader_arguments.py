"""What a loader is asked for: numbers of any library, plain states, one sentence for what makes no sense."""

from __future__ import annotations

import json

import numpy as np
import pytest
import stores
import torch

from degrade.pairs.store import PatchStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PatchStore(stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr"))


def rows(loader) -> list[list[int]]:
    return [b["row"].tolist() for b in loader]


@pytest.mark.parametrize("number", [np.int64, np.uint32, torch.tensor], ids=["int64", "uint32", "tensor"])
def test_numbers_of_other_libraries_are_numbers(store, number):
    options = {"rank": number(1), "ranks": number(2), "threads": number(1)}
    mine, plain = store.loader(number(6), seed=number(3), **options), store.loader(6, seed=3, rank=1, ranks=2)
    assert rows(mine) == rows(plain)
    mine.set_epoch(number(4))
    plain.set_epoch(4)
    assert json.loads(json.dumps(mine.state_dict())) == plain.state_dict()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": "8"}, "batch_size is a whole number, got '8'"),
        ({"batch_size": 2.5}, "batch_size is a whole number, got 2.5"),
        ({"seed": None}, "seed is a whole number, got None"),
        ({"drop_last": "yes"}, "drop_last is True or False, got 'yes'"),
        ({"check": None}, "check is True or False, got None"),
        ({"threads": 1.5}, "threads is a whole number, got 1.5"),
        ({"rank": "0", "ranks": 2}, "rank is a whole number, got '0'"),
        ({"rank": 0, "ranks": 0}, "ranks are 1 or more, got 0"),
        ({"planes": "blur"}, r"planes are a list of names, got 'blur': did you mean \['blur'\]\?"),
        ({"device": "cuda:99"}, r"no device 'cuda:99': allowed are cpu"),
        ({"draws": "fresh"}, r"draws='fresh': .* as they were drawn \(blur, clean, shown\), so draws are `recorded`"),
        ({"draws": "frehs"}, "draws='frehs': .* so draws are `recorded`"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(store, options, said):
    with pytest.raises(ValueError, match=said):
        store.loader(**{"batch_size": 4, **options})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.arange(28) % 2 == 0, r"got bool of shape \(28,\): a mask picks from those present, `store.rows\[mask\]`"),
        ([1.7, 2.2], r"got float64 of shape \(2,\)$"),
        (["a"], "got <U1"),
        ([[1, 2], [3, 4]], r"got int64 of shape \(2, 2\)$"),
        (slice(0, 5), "got object"),
    ],
)
def test_a_mask_is_not_taken_for_numbers_of_rows(store, wrong, said):
    asks = [lambda: store.loader(4, rows=wrong), lambda: store.dataset(rows=wrong), lambda: store.read("blur", wrong)]
    for ask in asks[: 2 if isinstance(wrong, slice) else 3]:
        with pytest.raises(ValueError, match=f"rows are a list of whole numbers, {said}"):
            ask()


def test_rows_are_a_set_of_numbers_that_is_ones_own(store):
    mine = np.array([30, 2, 12])
    loader = store.loader(1, rows=mine, shuffle=False)
    mine[:] = 0
    assert rows(loader) == [[2], [12], [30]]
    assert rows(store.loader(2, rows=[30, 2, 12], seed=1)) == rows(store.loader(2, rows=[2, 12, 30], seed=1))
    assert rows(store.loader(2, rows=[])) == []
    assert rows(store.loader(10**15)) == [store.rows.tolist()]
    assert store.read("blur", []).shape == (0, 4, 6, 5)
    with pytest.raises(ValueError, match="read-only"):
        np.random.default_rng(0).shuffle(store.rows)


class Told(PatchStore):
    """A store that remembers what it was told will be read soon."""

    def ahead(self, plane, rows):
        super().ahead(plane, rows)
        self.told += rows.tolist()


def test_windows_tell_ahead_of_the_rows_to_come_and_of_no_others(store):
    told = Told(store.path)
    told.told = []
    few = [2, 13, 30]
    list(told.loader(2, ("shown",), rows=few, shuffle="window"))
    assert sorted(told.told) == few

"""The loader: every row once an epoch, an order from the seed, exact resumption, tensors that stay."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import stores
import torch
from hypothesis import given
from hypothesis import strategies as st

from degrade.core.errors import RecipeError, UnknownName
from degrade.pairs.store import PatchStore
from degrade.store.batch import float_of_words
from degrade.store.permute import Permutation


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PatchStore(stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr"))


def rows(batches) -> list[int]:
    return [int(r) for b in batches for r in b["row"]]


@given(st.integers(1, 3000), st.tuples(st.integers(-(2**70), 2**70), st.integers(0, 2**64)))
def test_a_permutation_is_one(n, key):
    order = Permutation(n, key)(np.arange(n))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@given(st.integers(1, 2**62), st.lists(st.integers(0, 2**62), min_size=1, max_size=30))
def test_any_positions_of_any_set_at_once_or_one_by_one(n, positions):
    order = Permutation(n, (1, 2))
    at = np.array(positions) % n
    found = order(at)
    assert ((found >= 0) & (found < n)).all()
    assert len(set(found.tolist())) == len(set(at.tolist()))
    assert [int(order(at[i : i + 1])[0]) for i in range(len(at))] == found.tolist()


def test_permutations_are_even():
    """Each thing comes to each place about equally often, and neighbours part."""
    n, keys = 11, 4000
    orders = np.stack([Permutation(n, (5, e))(np.arange(n)) for e in range(keys)])
    counts = np.stack([np.bincount(orders[:, p], minlength=n) for p in range(n)])
    # a sum of n (n - 1) unit normals squared, nearly: its deviation is sqrt(2 * 110) = 15 about 110
    assert ((counts - keys / n) ** 2 / (keys / n)).sum() < 110 + 6 * 15
    big = Permutation(100_000, (0, 0))(np.arange(100_000))
    assert abs(np.corrcoef(big[:-1], big[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(big, np.arange(100_000))[0, 1]) < 0.02


def test_positions_outside_are_refused():
    with pytest.raises(IndexError, match="0 to 4"):
        Permutation(5, (0,))(np.array([5]))
    with pytest.raises(ValueError, match="at least 1"):
        Permutation(0, (0,))


@pytest.mark.parametrize("size", [1, 4, 9, 28, 100])
def test_every_row_once_an_epoch_in_an_order_of_its_own(store, size):
    loader = store.loader(size, seed=5)
    first, second = list(loader), list(loader)
    assert len(first) == len(second) == len(loader)
    assert sorted(rows(first)) == sorted(rows(second)) == store.rows.tolist()
    if size < 28:
        assert rows(first) != rows(second)
    for batch in first:
        assert batch["row"].tolist() == sorted(batch["row"].tolist())
        for name in store.planes:
            np.testing.assert_array_equal(batch[name].numpy(), store.read(name, batch["row"].numpy()))
            assert batch[name].dtype == torch.float32


def test_the_order_comes_from_the_seed_and_not_from_the_batch_size(store):
    order = rows(store.loader(1, seed=5))
    for size in (2, 7, 28):
        for i, batch in enumerate(store.loader(size, seed=5)):
            assert batch["row"].tolist() == sorted(order[i * size : (i + 1) * size])
    assert rows(store.loader(1, seed=6)) != order
    assert rows(store.loader(1, seed=5)) == order


def test_options(store):
    assert rows(store.loader(5, shuffle=False)) == store.rows.tolist()
    assert len(store.loader(5)) == 6
    assert [len(b["row"]) for b in store.loader(5, drop_last=True)] == [5] * 5
    picked = list(store.loader(4, ("shown",), rows=[3, 33, 12], seed=1))
    assert set(picked[0]) == {"shown", "row"}
    assert picked[0]["row"].tolist() == [3, 12, 33]
    for batch in store.loader(8, dn=True):
        assert {k: v.dtype for k, v in batch.items()} == {
            "blur": torch.uint16, "clean": torch.float32, "shown": torch.uint8, "row": torch.int64
        }  # fmt: skip
        np.testing.assert_array_equal(batch["blur"].numpy(), store.read("blur", batch["row"].numpy(), dn=True))
    with pytest.raises(UnknownName, match="did you mean 'clean'"):
        store.loader(4, ("claen",))
    with pytest.raises(IndexError, match="absent"):
        store.loader(4, rows=[15])
    with pytest.raises(ValueError, match="batch_size=0"):
        store.loader(0)


@pytest.mark.parametrize("stop", range(14))
def test_the_batch_after_a_restart_is_the_one_that_was_due(store, stop):
    """Stopped after any number of batches, over two epochs and a half."""
    whole = store.loader(6, seed=2)
    run = [b["row"].tolist() for _ in range(4) for b in whole]
    loader = store.loader(6, seed=2)
    stream = itertools.chain.from_iterable(iter(loader) for _ in itertools.count())
    head = [b["row"].tolist() for b in itertools.islice(stream, stop)]
    state = loader.state_dict()
    next(stream)  # fetched but never counted

    again = store.loader(6, seed=99)
    again.load_state_dict(state)
    assert again.state_dict() == state
    tail = [b["row"].tolist() for b in again]
    tail += [b["row"].tolist() for b in again]
    assert head + tail == run[: len(head) + len(tail)]
    assert len(tail) > 5


def test_a_pass_that_is_left_ends_its_epoch(store):
    loader = store.loader(6, seed=2)
    for _ in loader:
        break
    second = [b["row"].tolist() for b in loader]
    fresh = store.loader(6, seed=2)
    assert [[b["row"].tolist() for b in fresh] for _ in range(2)][1] == second


def test_a_second_pass_ends_the_count_of_the_first(store):
    loader = store.loader(6, seed=2)
    whole = [[b["row"].tolist() for b in loader] for _ in range(2)]
    loader.set_epoch(0)
    first = iter(loader)
    next(first)
    second = iter(loader)
    assert next(second)["row"].tolist() == whole[1][0]
    assert [b["row"].tolist() for b in first] == whole[0][1:]
    assert (loader.epoch, loader.delivered) == (1, 1)
    assert [b["row"].tolist() for b in second] == whole[1][1:]
    assert (loader.epoch, loader.delivered) == (2, 0)


def test_a_pass_that_gave_nothing_is_none(store):
    """Some trainers ask for an iterator, and once more before they begin."""
    loader = store.loader(6, seed=2)
    whole = [b["row"].tolist() for b in loader]
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "delivered": 3})
    iter(loader)
    assert [b["row"].tolist() for b in loader] == whole[3:]


def test_a_loader_of_no_batches_counts_its_epochs_too(store):
    loader = store.loader(100, drop_last=True)
    for epoch in range(3):
        assert loader.state_dict()["epoch"] == epoch
        assert list(loader) == []


def test_a_state_of_another_loader_is_refused(store):
    state = store.loader(6).state_dict()
    with pytest.raises(ValueError, match="step 6 there, 7 here"):
        store.loader(7).load_state_dict(state)
    with pytest.raises(ValueError, match="rows 28 there, 3 here"):
        store.loader(6, rows=[1, 2, 3]).load_state_dict(state)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"delivered": -1}, "delivered of a state lies in 0 to the epoch's 5 batches, got -1"),
        ({"delivered": "x"}, "delivered of a state is a whole number, got 'x'"),
        ({"epoch": None}, "epoch of a state is a whole number, got None"),
        ({"seed": 1.5}, "seed of a state is a whole number, got 1.5"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(store, wrong, said):
    loader = store.loader(6)
    next(iter(loader))
    before = loader.state_dict()
    with pytest.raises(RecipeError, match=f"^{said}$"):
        loader.load_state_dict({**before, "epoch": 3, **wrong})
    assert loader.state_dict() == before
    with pytest.raises(RecipeError, match="the mapping that `state_dict` gave, got None"):
        loader.load_state_dict(None)


@pytest.mark.parametrize("dn", [False, True])
def test_what_is_yielded_stays_and_is_ones_own(store, dn):
    kept, copies = [], []
    for batch in store.loader(3, seed=1, dn=dn):
        kept.append(batch)
        copies.append({k: v.clone() for k, v in batch.items()})
    for batch, copy in zip(kept, copies, strict=True):
        for name in batch:
            assert torch.equal(batch[name], copy[name]), name
    before = {p: store.read(p, store.rows, dn=True) for p in store.planes}
    for batch in kept:
        for name in store.planes:
            batch[name].zero_()
    for name in store.planes:
        np.testing.assert_array_equal(store.read(name, store.rows, dn=True), before[name])
    assert PatchStore(store.path).verify() == []


def test_words_seen_as_signed_are_the_same_numbers():
    every = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(float_of_words(torch.from_numpy(every.view(np.int16))).numpy(), every)
    np.testing.assert_array_equal(torch.from_numpy(every).to(torch.float32).numpy(), every)

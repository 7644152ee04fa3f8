"""Ranks, windows and the state: each row once an epoch in one global order, whatever the ranks and threads are."""

from __future__ import annotations

import numpy as np
import pytest
import stores
from hypothesis import given
from hypothesis import strategies as st

from degrade.pairs.store import PatchStore
from degrade.store.order import Order
from degrade.store.permute import Windows

SHUFFLES = [True, False, "window"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PatchStore(stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr"))


def steps(n: int, step: int, ranks: int, epoch: int = 0, first: int = 0, **options) -> list[list[list[int]]]:
    """Batches [step][rank] of ranks that take ``step`` rows together."""
    options = {"shuffle": True, **options}
    orders = [Order(np.arange(n) * 3, step // ranks, seed=5, rank=r, ranks=ranks, **options) for r in range(ranks)]
    assert len({len(o) for o in orders}) == 1
    found = [[b.tolist() for b in o.batches(epoch, first)] for o in orders]
    assert all(len(batches) == len(orders[0]) - first for batches in found)
    return [list(batches) for batches in zip(*found, strict=True)]


@given(st.integers(0, 400), st.sampled_from([1, 2, 3, 8]), st.integers(1, 3), st.sampled_from(SHUFFLES))
def test_the_union_over_ranks_is_each_row_once_in_the_same_order(n, ranks, times, shuffle):
    found = steps(n, 24 * times, ranks, shuffle=shuffle)
    alone = steps(n, 24 * times, 1, shuffle=shuffle)
    assert sorted(r for batches in found for b in batches for r in b) == (np.arange(n) * 3).tolist()
    assert [sorted(r for b in batches for r in b) for batches in found] == [b for (b,) in alone]
    for batches in found:
        sizes = [len(b) for b in batches]
        assert max(sizes) - min(sizes) <= 1
        assert all(b == sorted(b) for b in batches)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_the_last_step_is_left_out_or_filled_up_by_choice(ranks):
    whole = steps(100, 24, ranks, drop_last=True)
    assert [[len(b) for b in batches] for batches in whole] == [[24 // ranks] * ranks] * 4
    assert whole == steps(100, 24, ranks)[:4]
    padded = steps(100, 24, ranks, pad=True)
    assert padded[:4] == whole
    assert [len(b) for b in padded[4]] == [24 // ranks] * ranks
    last, first = (sorted(r for b in batches for r in b) for batches in (padded[4], whole[0]))
    assert set(last) - {r for b in steps(100, 24, ranks)[4] for r in b} <= set(first)
    assert steps(5, 24, ranks, drop_last=True) == []
    few = [r for b in steps(5, 24, ranks, pad=True)[0] for r in b]
    assert (len(few), set(few)) == (24, {0, 3, 6, 9, 12})
    with pytest.raises(ValueError, match="not both"):
        steps(5, 24, ranks, drop_last=True, pad=True)


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_an_epoch_may_begin_at_any_batch(shuffle):
    whole = steps(40_000, 16, 2, epoch=3, shuffle=shuffle)
    for first in (1, 1023, 1024, 1025, 2499):
        assert steps(40_000, 16, 2, epoch=3, first=first, shuffle=shuffle) == whole[first:]


@given(st.integers(1, 60_000), st.integers(0, 2**40))
def test_windows_are_a_permutation_whose_windows_lie_in_the_runs_told(n, seed):
    order = Windows(n, (seed, 1))
    found = order(np.arange(n))
    np.testing.assert_array_equal(np.sort(found), np.arange(n))
    for w in range(-(-n // order.size)):
        told = np.concatenate([np.arange(a, b) for a, b in order.blocks(w)])
        np.testing.assert_array_equal(np.sort(told), np.sort(found[w * order.size : (w + 1) * order.size]))
    assert order.blocks(-(-n // order.size)) == []


def test_windows_are_shuffled_inside_and_cut_anew_each_epoch():
    a, b = (Windows(50_000, (1, e))(np.arange(50_000)) for e in (0, 1))
    assert abs(np.corrcoef(a[:16384], np.arange(16384))[0, 1]) < 0.05
    runs = [set(Windows(50_000, (1, e)).blocks(0)) for e in (0, 1)]
    assert runs[0].isdisjoint(runs[1])
    assert (a == b).mean() < 0.01


def test_ranks_of_a_loader(store):
    """28 rows, 4 ranks of 3: the third step has one row a rank."""
    loaders = [store.loader(3, ("shown",), seed=2, rank=r, ranks=4, threads=r) for r in range(4)]
    found = [[b["row"].tolist() for b in loader] for loader in loaders]
    assert [[len(b) for b in batches] for batches in found] == [[3, 3, 1]] * 4
    assert sorted(r for batches in found for b in batches for r in b) == store.rows.tolist()
    uneven = [list(store.loader(3, ("shown",), rank=r, ranks=8)) for r in range(8)]
    assert [len(batches[-1]["row"]) for batches in uneven] == [1] * 4 + [0] * 4
    assert uneven[7][-1]["shown"].shape == (0, 3, 4, 3)
    with pytest.raises(ValueError, match="0 to 3 of 4 ranks, got 4"):
        store.loader(3, rank=4, ranks=4)
    with pytest.raises(ValueError, match="given together"):
        store.loader(3, rank=1)


def test_ranks_are_those_of_torch_distributed_when_it_has_begun(store, tmp_path):
    from torch import distributed

    loader = store.loader(3, ("shown",), rows=store.rows[:7])
    assert len(loader) == 3
    distributed.init_process_group("gloo", f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        assert (loader.order.rank, loader.order.ranks) == (0, 1)
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize(("before", "after"), [(0, 2), (3, 0), (1, 5)])
def test_a_restart_with_other_threads_and_ranks_goes_on(store, shuffle, before, after):
    options = {"planes": ("shown",), "shuffle": shuffle}
    whole = [b["row"].tolist() for b in store.loader(6, seed=2, **options)]
    loader = store.loader(6, seed=2, threads=before, **options)
    batches = iter(loader)
    assert [next(batches)["row"].tolist() for _ in range(2)] == whole[:2]
    state = loader.state_dict()
    assert state == {
        "seed": 2, "epoch": 0, "delivered": 2,
        "rows": 28, "step": 6, "shuffle": shuffle, "drop_last": False, "pad": False,
    }  # fmt: skip
    halves = [store.loader(3, threads=after, rank=r, ranks=2, **options) for r in range(2)]
    for half in halves:
        half.load_state_dict(state)
    rest = [sorted(r for b in pair for r in b["row"].tolist()) for pair in zip(*halves, strict=True)]
    assert rest == whole[2:]


def test_an_epoch_is_set_from_outside(store):
    loader = store.loader(6, ("shown",), seed=4)
    epochs = [[b["row"].tolist() for b in loader] for _ in range(3)]
    loader.set_epoch(1)
    assert [b["row"].tolist() for b in loader] == epochs[1]
    assert [b["row"].tolist() for b in loader] == epochs[2]


def test_a_state_of_other_shuffling_is_refused(store):
    state = store.loader(6, shuffle="window").state_dict()
    with pytest.raises(ValueError, match="shuffle window there, True here"):
        store.loader(6).load_state_dict(state)
    with pytest.raises(ValueError, match="pad False there, True here"):
        store.loader(6, shuffle="window", pad=True).load_state_dict(state)
    with pytest.raises(ValueError, match="'window', got 'windows'"):
        store.loader(6, shuffle="windows")

"""Threads and processes of the loader: errors where they belong, an end whenever one is due, checks, a data set."""

from __future__ import annotations

import gc
import itertools
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import stores
import torch
from torch.utils.data import DataLoader

from degrade.core.errors import StoreError
from degrade.pairs.store import PatchStore
from degrade.store.batch import Maker, Ring, normalised, sent
from degrade.store.loader import Loader
from degrade.store.loading import Loading


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PatchStore(stores.build(tmp_path_factory.mktemp("store") / "pairs.zarr"))


@pytest.fixture
def damaged(store, tmp_path):
    """Row 12 of `shown` has one bit flipped."""
    shutil.copytree(store.path, tmp_path / "pairs.zarr")
    plane = store.layout.plane("shown")
    shard, at = divmod(12, store.layout.rows_per_shard)
    with open(tmp_path / f"pairs.zarr/shown/c.{shard}.0.0.0", "r+b") as file:
        file.seek(at * plane.row_bytes + 7)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 16]))
    return PatchStore(tmp_path / "pairs.zarr")


def ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("degrade-loader")]


def ended() -> bool:
    """Whether our threads end; they may have a batch in hand."""
    for _ in range(200):
        if not ours():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_any_number_of_threads_gives_the_same_batches(store, threads):
    for mine, alone in zip(store.loader(5, threads=threads), store.loader(5, threads=0), strict=True):
        assert mine.keys() == alone.keys()
        assert all(torch.equal(mine[n], alone[n]) for n in mine)
    assert ended()
    with pytest.raises(ValueError, match="threads are 0"):
        store.loader(5, threads=-1)


def test_threads_end_with_the_pass_however_it_ends(store):
    for _ in store.loader(2, threads=2):
        assert ours()
        break
    assert ended()
    kept = iter(store.loader(2, threads=2))
    next(kept)
    assert ours()
    del kept
    gc.collect()
    assert ended()
    with pytest.raises(KeyError):
        for batch in store.loader(2, threads=2):
            batch["none"]
    assert ended()


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_an_error_is_raised_at_its_batch(damaged, threads):
    loader = damaged.loader(4, ("shown",), shuffle=False, threads=threads, check=True)
    batches = iter(loader)
    assert [len(next(batches)["row"]) for _ in range(3)] == [4, 4, 4]
    with pytest.raises(StoreError, match=r"row 12 of plane 'shown' \(shard 1\) is damaged: its CRC-32C"):
        list(batches)
    assert loader.delivered == 3
    assert ended()


def test_checks_pass_where_nothing_is_wrong_and_are_made_on_request_only(store, damaged):
    assert sum(len(b["row"]) for b in store.loader(5, check=True)) == 28
    assert sum(len(b["row"]) for b in damaged.loader(5)) == 28


SCRIPT = """
import sys, time
from degrade.pairs.store import PatchStore
if __name__ == "__main__":
    loader = PatchStore(sys.argv[1]).loader(2, threads=3)
    batches = iter(loader)
    next(batches)
    print("begun", flush=True)
    {rest}
"""


@pytest.mark.parametrize(("rest", "stop"), [("", False), ("time.sleep(60)", True), ("raise SystemExit(3)", False)])
def test_a_process_ends_at_once_with_a_pass_half_way(store, rest, stop):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(rest=rest), str(store.path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "begun\n"
        if stop:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGINT if stop else 3 if "Exit" in rest else 0)
    assert ("KeyboardInterrupt" in said) == stop


def test_what_finishes_a_batch_has_rows_planes_and_epoch(store):
    def finish(rows, batch, epoch, seed):
        return {
            "sum": batch["blur"].sum((1, 2, 3)) + batch["clean"].sum((1, 2, 3)),
            "address": torch.tensor([[seed, epoch]] * len(rows)),
        }

    loader = Loader(store, store.rows, ("blur", "clean"), Loading(5, seed=3), finish)
    for epoch, batch in [(e, b) for e in range(2) for b in loader]:
        assert set(batch) == {"sum", "address", "row"}
        assert batch["address"].tolist() == [[3, epoch]] * len(batch["row"])
        wanted = sum(store.read(p, batch["row"].numpy()).sum((1, 2, 3)) for p in ("blur", "clean"))
        np.testing.assert_allclose(batch["sum"].numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint8])
def test_what_a_device_computes_is_what_the_cpu_does(dtype):
    """The way to a GPU, gone on the CPU: bit for bit."""
    rng = np.random.default_rng(1)
    top = torch.iinfo(dtype).max
    words = torch.from_numpy(rng.integers(0, top, (9, 3, 8, 7), dtype=np.dtype(str(dtype)[6:]), endpoint=True))
    levels = rng.uniform(0, 600, 9).astype(np.float32), rng.uniform(3000, 16000, 9).astype(np.float32)
    there = sent(words, levels, torch.device("cpu"))
    np.testing.assert_array_equal(there.numpy(), normalised(words.numpy(), levels, Ring()))
    wanted = (words.numpy().astype(np.float32) - levels[0][:, None, None, None]) / levels[1][:, None, None, None]
    np.testing.assert_array_equal(there.numpy(), wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dn", [False, True])
def test_a_gpu_gives_what_the_cpu_gives(store, dn):
    for _ in range(3):
        for there, here in zip(store.loader(3, dn=dn, device="cuda"), store.loader(3, dn=dn), strict=True):
            assert there["blur"].is_cuda
            assert all(torch.equal(there[n].cpu(), here[n]) for n in here)


@pytest.mark.parametrize(("workers", "start"), [(0, None), (2, "spawn"), (2, "fork")])
def test_a_data_set_for_a_data_loader_of_ones_own(store, workers, start):
    data = store.dataset(("blur", "shown"), rows=store.rows[3:])
    assert len(data) == 25
    data[0]  # what the parent has open must not hurt a forked worker
    loader = DataLoader(data, batch_size=6, shuffle=True, num_workers=workers, multiprocessing_context=start)
    seen = []
    for batch in loader:
        rows = batch["row"].numpy()
        seen += rows.tolist()
        for name in ("blur", "shown"):
            np.testing.assert_array_equal(batch[name].numpy(), store.read(name, rows))
    assert sorted(seen) == store.rows[3:].tolist()


def test_items_of_a_data_set_come_in_the_order_asked_for(store):
    data = pickle.loads(pickle.dumps(store.dataset(dn=True)))
    items = data.__getitems__([7, 0, 7])
    assert [int(i["row"]) for i in items] == store.rows[[7, 0, 7]].tolist()
    np.testing.assert_array_equal(items[0]["blur"].numpy(), store.read("blur", int(store.rows[7]), dn=True))
    assert data[27]["shown"].dtype == torch.uint8
    with pytest.raises(IndexError):
        data[28]
    with pytest.raises(IndexError, match="absent"):
        store.dataset(rows=[15])


def test_a_loader_is_pickled_where_it_stands(store):
    loader = store.loader(6, seed=2)
    batches = iter(loader)
    next(batches)
    again = pickle.loads(pickle.dumps(loader))
    again.load_state_dict(loader.state_dict())
    for mine, other in itertools.zip_longest(again, batches):
        assert torch.equal(mine["row"], other["row"])


def test_a_batch_of_no_rows_has_its_shape(store):
    batch, ready = Maker(store, ("blur",), torch.device("cpu"))((store.rows[:0].copy(), 0))
    assert batch["blur"].shape == (0, 4, 6, 5)
    assert batch["row"].shape == (0,)
    assert ready is None

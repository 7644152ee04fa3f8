"""Loader: shuffled batches of tensors from a store, exactly resumable, on any number of ranks and threads.

The order of epoch e is the permutation keyed by (seed, e): the same for any batch size, and no list of rows is kept.
Inside a batch rows go by address, so that each shard is read forward once. Threads make batches ahead while the
training step works: NumPy's and the system's copies need no lock of Python's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.core.errors import RecipeError
from degrade.store.batch import Batch, Finish, Maker, ahead, handed_over, named_device
from degrade.store.order import Order, Shuffle, whole_number
from degrade.store.permute import Windows
from degrade.store.source import Loadable


class Loader:
    """Batches of a store; made by `PatchStore.loader`. One pass is one epoch, the next pass is another order.

    A batch is a dictionary: for each plane ``(b, c, h, w)`` float32 on the device, 0 black and 1 white by each row's
    own levels (with ``dn=True`` the raw numbers in their own dtype), and ``row``, ``(b,)`` int64 on the CPU. A
    tensor stays as it is for as long as it, or a view of it, is kept.

    Of w ranks, rank r takes rows r, r + w, ... of the epoch's order, and all make equally many batches; the last one
    may have no row on some ranks, if it is neither left out nor filled up.

    ``state_dict`` counts batches *delivered*: a loader that loads it goes on with the very next batch, with any
    number of threads, and of ranks if a step takes as many rows as before. One pass at a time: a second ``iter`` ends
    the first one's count.
    """

    def __init__(
        self,
        store: Loadable,
        rows: NDArray[np.int64],
        planes: tuple[str, ...],
        batch_size: int,
        device: str | torch.device = "cpu",
        shuffle: Shuffle = True,
        seed: int = 0,
        drop_last: bool = False,
        pad: bool = False,
        dn: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
        threads: int = 2,
        check: bool = False,
        finish: Finish | None = None,
    ) -> None:
        if not planes:
            raise RecipeError("a loader needs at least one plane")
        if (rank is None) != (ranks is None):
            raise RecipeError(f"rank and ranks are given together, or neither, got rank={rank}, ranks={ranks}")
        self.store, self.rows, self.planes, self.device = store, rows, planes, named_device(device)
        self.batch_size, self.seed = whole_number("batch_size", batch_size), whole_number("seed", seed)
        self.threads = whole_number("threads", threads)
        if self.threads < 0:
            raise RecipeError(f"threads are 0 (batches are made when asked for) or more, got {threads}")
        self.shuffle: Shuffle = shuffle
        self.drop_last, self.pad, self.dn, self.check, self.finish = drop_last, pad, dn, check, finish
        self._rank = None if rank is None else (whole_number("rank", rank), whole_number("ranks", ranks))
        self.set_epoch(0)
        _ = self.order  # refuses what makes no order

    @property
    def order(self) -> Order:
        """Positions of this rank. Ranks not given are those of torch.distributed as it is when asked."""
        rank, ranks = _distributed() if self._rank is None else self._rank
        return Order(self.rows, self.batch_size, self.shuffle, self.seed, self.drop_last, self.pad, rank, ranks)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        if self._begun:
            self.set_epoch(self.epoch + 1)
        self._pass = own = object()
        return self._batches(own, self.epoch, self.delivered)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch from its first batch on; without, epochs count themselves."""
        self.epoch = whole_number("epoch", epoch)  #: of the present or next pass
        self.delivered = 0  #: batches of it
        self._begun, self._pass = False, object()  # whether the pass that is counted gave a batch, and which it is

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: plain values, the same on all ranks."""
        epoch, delivered = self.epoch, self.delivered
        if 0 < len(self) <= delivered:
            epoch, delivered = epoch + 1, 0
        return {"seed": self.seed, "epoch": epoch, "delivered": delivered, **self._fixed()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where a loader of the same rows, step and shuffling stood; its seed is taken over.

        Raises:
            RecipeError: if the loaders differ, so that there is no such batch.
        """
        different = [f"{k} {state.get(k)} there, {v} here" for k, v in self._fixed().items() if state.get(k) != v]
        if different:
            raise RecipeError(f"this state is of another loader: {'; '.join(different)}")
        self.set_epoch(state["epoch"])
        self.seed, self.delivered = state["seed"], state["delivered"]

    def _fixed(self) -> dict[str, Any]:
        return {
            "rows": len(self.rows),
            "step": self.order.step,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "pad": self.pad,
        }

    def _batches(self, own: object, epoch: int, first: int) -> Iterator[Batch]:
        make = Maker(self.store, self.planes, self.device, self.dn, self.check, self.finish, self.seed)
        # map holds no batch: one that is let go is memory for the next
        yield from map(partial(self._deliver, own), ahead(make, self._jobs(epoch, first), self.threads))
        if own is self._pass:
            self.set_epoch(epoch + 1)

    def _deliver(self, own: object, made: tuple[Batch, torch.cuda.Event | None]) -> Batch:
        if own is self._pass:
            self.delivered, self._begun = self.delivered + 1, True
        return handed_over(*made)

    def _jobs(self, epoch: int, first: int) -> Iterator[tuple[NDArray[np.int64], int]]:
        """The rows of each batch from the ``first``-th on; asks for those of windows before they are due."""
        order = self.order
        places, asked = order.places(epoch), -1
        for number, rows in enumerate(order.batches(epoch, first), first):
            if isinstance(places, Windows):
                window = number * order.step // places.size + 1
                for w in range(max(asked + 1, window - 1), window + 1):
                    self._ask(places.blocks(w))
                asked = window
            yield rows, epoch

    def _ask(self, runs: Sequence[tuple[int, int]]) -> None:
        for a, b in runs:
            for plane in self.planes:
                self.store.ahead(plane, self.rows[a:b])


def _distributed() -> tuple[int, int]:
    """Rank and number of ranks of torch.distributed; 0 of 1 where it is not begun."""
    from torch import distributed

    begun = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if begun else (0, 1)

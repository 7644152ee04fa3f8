"""Loader: shuffled batches of tensors from a store, exactly resumable, on any number of ranks and threads.

The order of epoch e is the permutation keyed by (seed, e): the same for any batch size, and no list of rows is kept.
Inside a batch rows go by address, so that each shard is read forward once. Threads make batches ahead while the
training step works: NumPy's and the system's copies need no lock of Python's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.core.errors import RecipeError
from degrade.store.batch import Batch, Finish, Maker, ahead, handed_over
from degrade.store.loading import Loading
from degrade.store.order import Order, whole_number
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
        how: Loading,
        finish: Finish | None = None,
    ) -> None:
        """
        Args:
            store: what is read.
            rows: numbers of its rows, ascending.
            planes: names of planes that are stored.
            how: the settings.
            finish: makes of each batch what is delivered.

        Raises:
            RecipeError: if there is no plane.
        """
        if not planes:
            raise RecipeError("a loader needs at least one plane")
        self.store, self.rows, self.planes, self.how, self.finish = store, rows, planes, how, finish
        self.set_epoch(0)

    @property
    def order(self) -> Order:
        """Positions of this rank, as torch.distributed is now where no rank was given."""
        return self.how.order(self.rows)

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
        return {"seed": self.how.seed, "epoch": epoch, "delivered": delivered, **self.how.fixed(self.rows)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where a loader of the same rows, step and shuffling stood; its seed is taken over.

        Raises:
            RecipeError: if the loaders differ, so that there is no such batch.
        """
        if not isinstance(state, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"a loader's state is the mapping that `state_dict` gave, got {state!r}")
        here = self.how.fixed(self.rows)
        different = [f"{k} {state.get(k)} there, {v} here" for k, v in here.items() if state.get(k) != v]
        if different:
            raise RecipeError(f"this state is of another loader: {'; '.join(different)}")
        seed, epoch, delivered = (whole_number(f"{n} of a state", state.get(n)) for n in ("seed", "epoch", "delivered"))
        if not 0 <= delivered <= len(self):
            raise RecipeError(f"delivered of a state lies in 0 to the epoch's {len(self)} batches, got {delivered}")
        self.set_epoch(epoch)
        self.how, self.delivered = replace(self.how, seed=seed), delivered

    def _batches(self, own: object, epoch: int, first: int) -> Iterator[Batch]:
        how, device = self.how, torch.device(self.how.device)
        make = Maker(self.store, self.planes, device, how.dn, how.check, self.finish, how.seed)
        # map holds no batch: one that is let go is memory for the next
        yield from map(partial(self._deliver, own), ahead(make, self._jobs(epoch, first), how.threads))
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

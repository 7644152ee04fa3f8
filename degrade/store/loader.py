"""Loader: shuffled batches of tensors from a store, exactly resumable.

The order of epoch e is the permutation keyed by (seed, e): the same for any batch size, and no list of rows is kept.
Inside a batch rows go by address, so that each mapped shard is read forward once. DN are gathered into buffers that
are used again and become float32 on the device, so that half crosses the bus. What a loader yields is never written
to again: fresh tensors measure no slower than a pool of buffers, as the allocator hands freed blocks back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.store.permute import Permutation

if TYPE_CHECKING:
    from degrade.store.layout import Layout, PlaneLayout

_BLOCK = 16384  #: positions of the order worked out at a time


def float_of_words(words: Tensor) -> Tensor:
    """float32 of uint16 seen as int16, for devices on which torch has little uint16.

    >>> float_of_words(torch.tensor([0, 32767, -32768, -1], dtype=torch.int16)).tolist()
    [0.0, 32767.0, 32768.0, 65535.0]
    """
    return (words.to(torch.int32) & 0xFFFF).to(torch.float32)


class Loader:
    """Batches of a store; made by `PatchStore.loader`. One pass is one epoch, the next pass is another order.

    A batch is a dictionary: for each plane ``(b, c, h, w)`` float32 on the device, 0 black and 1 white by each row's
    own levels (with ``dn=True`` the raw numbers in their own dtype), and ``row``, ``(b,)`` int64 on the CPU. A
    tensor stays as it is for as long as it, or a view of it, is kept.

    ``state_dict`` counts batches *delivered*: a loader that loads it goes on with the very next batch. One pass at a
    time: a second ``iter`` ends the first one's count.
    """

    def __init__(
        self,
        store: Loadable,
        rows: NDArray[np.int64],
        planes: tuple[str, ...],
        batch_size: int,
        device: str | torch.device = "cpu",
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        dn: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch needs at least 1 row, got batch_size={batch_size}")
        if not planes:
            raise ValueError("a loader needs at least one plane")
        self.store, self.rows, self.planes = store, rows, planes
        self.batch_size, self.drop_last, self.shuffle, self.seed, self.dn = batch_size, drop_last, shuffle, seed, dn
        self.device = torch.device(device)
        self.epoch = 0  #: of the present or next pass
        self.delivered = 0  #: batches of it
        self._resumed = False

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self.delivered and not self._resumed:
            self.epoch, self.delivered = self.epoch + 1, 0
        self._resumed = False
        return self._batches(self.epoch, self.delivered)

    def state_dict(self) -> dict[str, int | bool]:
        """Where the loader stands: plain numbers."""
        epoch, delivered = self.epoch, self.delivered
        if delivered >= len(self):
            epoch, delivered = epoch + 1, 0
        return {"seed": self.seed, "epoch": epoch, "delivered": delivered, **self._fixed()}

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Goes on where a loader of the same rows, batch size and shuffling stood; its seed is taken over.

        Raises:
            ValueError: if the loaders differ, so that there is no such batch.
        """
        different = [f"{k} {state.get(k)} there, {v} here" for k, v in self._fixed().items() if state.get(k) != v]
        if different:
            raise ValueError(f"this state is of another loader: {'; '.join(different)}")
        self.seed, self.epoch, self.delivered = state["seed"], state["epoch"], state["delivered"]
        self._resumed = True

    def _fixed(self) -> dict[str, int | bool]:
        return {
            "rows": len(self.rows),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }

    def _batches(self, epoch: int, first: int) -> Iterator[dict[str, Tensor]]:
        n, size = len(self.rows), self.batch_size
        order = Permutation(n, (self.seed, epoch)) if self.shuffle and n else None
        gather = _Gather(self)
        per_block = max(1, _BLOCK // size)
        for begin in range(first, len(self), per_block):
            stop = min(begin + per_block, len(self))
            at = np.arange(begin * size, min(stop * size, n))
            rows = self.rows[at if order is None else order(at)]
            for i in range(stop - begin):
                batch = gather(np.sort(rows[i * size : (i + 1) * size]))
                self.delivered = begin + i + 1
                yield batch
        self.epoch, self.delivered = epoch + 1, 0


class _Gather:
    """Copies the rows of a batch and makes tensors of them."""

    def __init__(self, loader: Loader) -> None:
        self.store, self.device, self.dn = loader.store, loader.device, loader.dn
        self.layouts = [loader.store.layout.plane(p) for p in loader.planes]
        self.words: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        batch = {plane.name: self._plane(plane, rows) for plane in self.layouts}
        batch["row"] = torch.from_numpy(rows)
        return batch

    def _plane(self, plane: PlaneLayout, rows: NDArray[np.int64]) -> Tensor:
        levels = None if self.dn else self.store.levels(plane.name, rows)
        shape = (len(rows), *plane.shape)
        kind: torch.dtype = getattr(torch, plane.dtype)
        words = torch.empty(shape, dtype=kind) if levels is None else self._buffer(shape, kind)
        self.store.gather(plane.name, rows, words.numpy())
        if levels is None:
            return words.to(self.device)
        black, span = (torch.from_numpy(v)[:, None, None, None].to(self.device) for v in levels)
        return self._float(words).sub_(black).div_(span)

    def _float(self, words: Tensor) -> Tensor:
        """float32 on the device, in memory of its own."""
        if self.device.type == "cpu" or words.dtype != torch.uint16:
            return words.to(self.device).to(torch.float32)
        return float_of_words(words.view(torch.int16).to(self.device))

    def _buffer(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        """Memory for DN on their way to float32; never handed out."""
        if shape not in self.words or self.words[shape].dtype != kind:
            self.words[shape] = torch.empty(shape, dtype=kind)
        return self.words[shape]


class Loadable:
    """Base of what a loader reads: rows of planes, by number."""

    layout: Layout

    @property
    def planes(self) -> dict[str, PlaneLayout]:
        """The planes by name."""
        raise NotImplementedError

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows present, ascending."""
        raise NotImplementedError

    def checked(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``rows``.

        Raises:
            IndexError: if one of them is outside, or absent.
        """
        raise NotImplementedError

    def gather(self, plane: str, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copies rows, as stored, into ``out`` ``(n, c, h, w)``; rows ascending and unchecked."""
        raise NotImplementedError

    def levels(self, plane: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Black, and white minus black, of some rows ``(n,)``, ascending; None for a float plane."""
        raise NotImplementedError

    def loader(
        self,
        batch_size: int,
        planes: Sequence[str] | None = None,
        *,
        device: str | torch.device = "cpu",
        shuffle: bool = True,
        seed: int = 0,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        drop_last: bool = False,
        dn: bool = False,
    ) -> Loader:
        """Batches of tensors, see `Loader`.

        Args:
            batch_size: rows a batch.
            planes: names; all planes if not given.
            device: where the tensors go.
            shuffle: another full random order each epoch, from ``seed``; else ascending.
            rows: only these rows, for instance ``store.rows[:1000]``.
            drop_last: leave out a last batch that is not full.
            dn: raw numbers instead of normalised float32.
        """
        index = self.rows if rows is None else self.checked(np.asarray(rows, np.int64))
        names = tuple(self.planes) if planes is None else tuple(self.layout.plane(p).name for p in planes)
        return Loader(self, index, names, batch_size, device, shuffle, seed, drop_last, dn)

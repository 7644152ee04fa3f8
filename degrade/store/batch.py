"""A batch in the making: rows are gathered into buffers, go to the device, are normalised there, and finished.

Any thread may make any batch; what is in it depends on its rows and epoch alone. Buffers come from torch's allocators:
freed ones are handed out again, pinned ones when the copies out of them are done; a ring of our own measures no faster.
To a GPU DN go as they are, so that half crosses the bus, on a stream of their own, and become float32 there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from degrade.store.loader import Loadable

A = TypeVar("A")
B = TypeVar("B")
Batch = dict[str, Tensor]
Finish = Callable[[NDArray[np.int64], Batch, int], Batch]
Levels = tuple[NDArray[np.float32], NDArray[np.float32]]


class Maker:
    """Makes batches of a store's planes on a device."""

    def __init__(
        self,
        store: Loadable,
        planes: tuple[str, ...],
        device: torch.device,
        dn: bool = False,
        check: bool = False,
        finish: Finish | None = None,
    ) -> None:
        if str(device) == "cuda":  # the present one, which for another thread is the first
            device = torch.device("cuda", torch.cuda.current_device())
        self.store, self.device, self.dn, self.check, self.finish = store, device, dn, check, finish
        self.planes = {p: (store.layout.plane(p).shape, getattr(torch, store.layout.plane(p).dtype)) for p in planes}
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, job: tuple[NDArray[np.int64], int]) -> tuple[Batch, torch.cuda.Event | None]:
        """The batch of some rows, ascending, in an epoch; and when it is ready, if not at once."""
        rows, epoch = job
        with torch.cuda.stream(self.side) if self.side else nullcontext():
            batch = {plane: self._there(plane, rows) for plane in self.planes}
            if self.finish is not None:
                batch = self.finish(rows, batch, epoch)
            batch["row"] = torch.from_numpy(rows)
            return batch, self._ready()

    def _ready(self) -> torch.cuda.Event | None:
        if self.side is None:
            return None
        event = torch.cuda.Event()
        event.record(self.side)
        return event

    def _there(self, plane: str, rows: NDArray[np.int64]) -> Tensor:
        """Rows of a plane on the device."""
        words = self._gathered(plane, rows)
        levels = None if self.dn else self.store.levels(plane, rows)
        if levels is not None:
            return normalised(words, levels) if self.device.type == "cpu" else sent(words, levels, self.device)
        return words if self.device.type == "cpu" else words.to(self.device, non_blocking=True)

    def _gathered(self, plane: str, rows: NDArray[np.int64]) -> Tensor:
        """Rows of a plane as stored, in memory that a device can copy from."""
        shape, kind = self.planes[plane]
        words = torch.empty((len(rows), *shape), dtype=kind, pin_memory=self.side is not None)
        self.store.gather(plane, rows, found := words.numpy())
        if self.check:
            self.store.check(plane, rows, found)
        return words


def normalised(words: Tensor, levels: Levels) -> Tensor:
    """``(words - black) / span``, float32 on the CPU, by this thread alone: torch would wake all cores."""
    out = torch.empty(words.shape)
    floats = out.numpy()
    floats[...] = words.numpy()
    floats -= levels[0][:, None, None, None]
    floats /= levels[1][:, None, None, None]
    return out


def sent(words: Tensor, levels: Levels, device: torch.device) -> Tensor:
    """``(words - black) / span``, float32 on a device, normalised there."""
    wide = words.dtype == torch.uint16
    there = (words.view(torch.int16) if wide else words).to(device, non_blocking=True)
    black, span = (torch.from_numpy(v)[:, None, None, None].to(device) for v in levels)
    return (float_of_words(there) if wide else there.to(torch.float32)).sub_(black).div_(span)


def float_of_words(words: Tensor) -> Tensor:
    """float32 of uint16 seen as int16, for devices on which torch has little uint16.

    >>> float_of_words(torch.tensor([0, 32767, -32768, -1], dtype=torch.int16)).tolist()
    [0.0, 32767.0, 32768.0, 65535.0]
    """
    return (words.to(torch.int32) & 0xFFFF).to(torch.float32)


def handed_over(batch: Batch, ready: torch.cuda.Event | None) -> Batch:
    """The batch, safe to use on the present stream."""
    if ready is not None:
        for tensor in batch.values():
            if tensor.is_cuda:
                stream = torch.cuda.current_stream(tensor.device)
                stream.wait_event(ready)
                tensor.record_stream(stream)
    return batch


def ahead(work: Callable[[A], B], jobs: Iterator[A], threads: int) -> Iterator[B]:
    """``map(work, jobs)``, up to ``2 * threads`` of them ahead; without threads, each when it is asked for.

    An error is raised where its job's result is due, and ends it; left at any point, so do the threads.

    >>> list(ahead(abs, iter([-3, -1, -2]), threads=2))
    [3, 1, 2]
    """
    if not threads:
        yield from map(work, jobs)
        return
    pool = ThreadPoolExecutor(threads, "degrade-loader")
    try:
        due = deque(pool.submit(work, job) for job in islice(jobs, 2 * threads))
        while due:
            yield due.popleft().result()
            due.extend(pool.submit(work, job) for job in islice(jobs, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

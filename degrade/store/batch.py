"""A batch in the making: rows are gathered into buffers, go to the device, are normalised there, and finished.

Any thread may make any batch; what is in it depends on its rows and epoch alone. On a CPU batches lie in a ring of
blocks, each used again once nobody holds it (`Ring`); pinned ones come from torch, when copies out of them are done.
To a GPU DN go as they are, so that half crosses the bus, on a stream of their own, and become float32 there.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from threading import Lock
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.store.source import Loadable

_A = TypeVar("_A")
_B = TypeVar("_B")
Batch = dict[str, Tensor]
Finish = Callable[[NDArray[np.int64], Batch, int, int], Batch]  #: of rows, their planes, epoch and seed
_UNUSED: Final = 2  #: references to a block that only the ring holds: its list's, and the one that asks
_SPARE: Final = 8  #: blocks kept for later
Levels = tuple[NDArray[np.float32], NDArray[np.float32]]


def named_device(device: str | torch.device) -> torch.device:
    """The device of that name, the CPU or an NVIDIA GPU.

    Raises:
        RecipeError: if this machine has none.

    >>> named_device("cpu")
    device(type='cpu')
    """
    gpus = torch.cuda.device_count()
    allowed = ["cpu", *["cuda"] * (gpus > 0), *(f"cuda:{i}" for i in range(gpus))]
    if str(device) not in allowed:
        why = "" if gpus else "; torch sees no NVIDIA GPU here"
        raise RecipeError(f"no device {str(device)!r}: allowed are {', '.join(allowed)}{why}")
    return torch.device(device)


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
        seed: int = 0,
    ) -> None:
        if str(device) == "cuda":  # the present one, which for another thread is the first
            device = torch.device("cuda", torch.cuda.current_device())
        self.store, self.device, self.dn, self.check = store, device, dn, check
        self.finish, self.seed = finish, seed
        self.planes = {p: (store.layout.plane(p).shape, np.dtype(store.layout.plane(p).dtype)) for p in planes}
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.ring = Ring()

    def __call__(self, job: tuple[NDArray[np.int64], int]) -> tuple[Batch, torch.cuda.Event | None]:
        """The batch of some rows, ascending, in an epoch; and when it is ready, if not at once."""
        rows, epoch = job
        with torch.cuda.stream(self.side) if self.side else nullcontext():
            batch = {plane: self._there(plane, rows) for plane in self.planes}
            if self.finish is not None:
                batch = self.finish(rows, batch, epoch, self.seed)
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
        if self.device.type == "cpu":
            return torch.from_numpy(words if levels is None else normalised(words, levels, self.ring))
        there = torch.from_numpy(words)
        return there.to(self.device, non_blocking=True) if levels is None else sent(there, levels, self.device)

    def _gathered(self, plane: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of a plane as stored, in memory that a device can copy from."""
        shape, kind = self.planes[plane]
        words = pinned((len(rows), *shape), kind) if self.side else self.ring((len(rows), *shape), kind)
        self.store.gather(plane, rows, words)
        if self.check:
            self.store.check(plane, rows, words)
        return words


def pinned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Memory that a device copies from by itself."""
    return torch.empty(shape, dtype=getattr(torch, dtype.name), pin_memory=True).numpy()


class Ring:
    """Blocks of memory, each handed out again once nothing made of it, tensor or view, is alive.

    The system clears new pages, which takes a good part of the time of a copy into them.

    >>> ring, kind = Ring(), np.dtype("float32")
    >>> view = torch.from_numpy(ring((2, 3), kind))[0]
    >>> torch.from_numpy(ring((2, 3), kind)).data_ptr() == view.data_ptr()
    False
    >>> place = view.data_ptr()
    >>> del view
    >>> torch.from_numpy(ring((2, 3), kind)).data_ptr() == place
    True
    """

    def __init__(self) -> None:
        self._blocks: dict[tuple[tuple[int, ...], np.dtype[Any]], list[NDArray[Any]]] = {}
        self._turn = Lock()

    def __call__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A block of that shape and dtype, its content whatever was there."""
        with self._turn:
            blocks = self._blocks.setdefault((shape, dtype), [])
            free = [i for i in range(len(blocks)) if sys.getrefcount(blocks[i]) == _UNUSED]
            for i in reversed(free[_SPARE:]):  # of a pass that held many batches for a while
                del blocks[i]
            if not free:
                blocks.append(torch.empty(shape, dtype=getattr(torch, dtype.name)).numpy())  # which torch aligns
            return blocks[free[0] if free else -1]


def normalised(words: NDArray[Any], levels: Levels, ring: Ring) -> NDArray[np.float32]:
    """``(words - black) / span``, float32 on the CPU, by this thread alone: torch would wake all cores."""
    black, span = (v[:, None, None, None] for v in levels)
    floats = ring(words.shape, np.dtype(np.float32))
    np.subtract(words, black, out=floats)
    return np.divide(floats, span, out=floats)


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


def ahead(work: Callable[[_A], _B], jobs: Iterator[_A], threads: int) -> Iterator[_B]:
    """``map(work, jobs)``, up to ``2 * threads`` of them ahead; without threads, each when it is asked for.

    An error is raised where its job's result is due, and ends it; left at any point, so do the threads.

    >>> list(ahead(abs, iter([-3, -1, -2]), threads=2))
    [3, 1, 2]
    """
    if not threads:
        yield from map(work, jobs)
        return
    pool = ThreadPoolExecutor(threads, "degrade-loader", _begun, (torch.get_num_threads(),))
    try:
        due = deque(pool.submit(work, job) for job in islice(jobs, 2 * threads))
        while due:
            yield due.popleft().result()
            due.extend(pool.submit(work, job) for job in islice(jobs, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begun(threads: int) -> None:
    """A thread begins with as many threads of torch's as its maker has, not with what another one has set meanwhile."""
    torch.get_num_threads()  # whose first call in a thread takes over what was set last
    torch.set_num_threads(threads)

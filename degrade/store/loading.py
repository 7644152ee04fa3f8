"""What a loader is told: how large its batches are, in which order, for whom, where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.core.errors import RecipeError
from degrade.store.batch import named_device
from degrade.store.order import Order, Shuffling, whole_number


@dataclass(frozen=True)
class Loading:
    """How rows are loaded; whole numbers may be NumPy's or torch's, and become Python's.

    Raises:
        RecipeError: when it is made, if the device is not here, or something else makes no sense.

    >>> Loading(64, seed=3).order(np.arange(1000)).step
    64
    >>> Loading(64, drop_last=True, pad=True)
    Traceback (most recent call last):
    degrade.core.errors.RecipeError: a last batch that is not full is left out (drop_last) or filled up (pad), not both
    """

    batch_size: int  #: rows a batch, of each rank
    device: str | torch.device = "cpu"  #: where the tensors go
    shuffle: Shuffling = True  #: another full random order each epoch; "window" for disks that dislike leaps; or none
    seed: int = 0  #: of the order
    drop_last: bool = False  #: leave out a last batch that is not full on all ranks
    pad: bool = False  #: fill it up with the epoch's first rows
    dn: bool = False  #: raw numbers instead of normalised float32
    rank: int | None = None  #: which share of the rows; that of torch.distributed if not given
    ranks: int | None = None  #: how many shares there are
    threads: int = 2  #: make batches ahead; 0 makes each when it is asked for
    check: bool = False  #: compare each row with its CRC-32C

    def __post_init__(self) -> None:
        if (self.rank is None) != (self.ranks is None):
            raise RecipeError(
                f"rank and ranks are given together, or neither, got rank={self.rank}, ranks={self.ranks}"
            )
        for name in ("batch_size", "seed", "threads", *(("rank", "ranks") if self.rank is not None else ())):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if self.threads < 0:
            raise RecipeError(f"threads are 0 (batches are made when asked for) or more, got {self.threads}")
        for name in ("drop_last", "pad", "dn", "check"):
            if not isinstance(given := getattr(self, name), bool | np.bool_):
                raise RecipeError(f"{name} is True or False, got {given!r}")
            object.__setattr__(self, name, bool(given))
        named_device(self.device)  # refuses one that is not here
        self.order(np.empty(0, np.int64))  # refuses what makes no order

    def order(self, rows: NDArray[np.int64]) -> Order:
        """Positions of this rank. Ranks not given are those of torch.distributed as it is when asked."""
        rank, ranks = _distributed() if self.rank is None or self.ranks is None else (self.rank, self.ranks)
        return Order(rows, self.batch_size, self.shuffle, self.seed, self.drop_last, self.pad, rank, ranks)

    def fixed(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """What must be equal where a loader goes on from another one's state."""
        return {
            "rows": len(rows),
            "step": self.order(rows).step,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "pad": self.pad,
        }


def _distributed() -> tuple[int, int]:
    """Rank and number of ranks of torch.distributed; 0 of 1 where it is not begun."""
    from torch import distributed

    begun = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if begun else (0, 1)

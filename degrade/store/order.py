"""Order: which rows come when, over epochs and ranks, worked out from position and seed alone.

A step takes ``size * ranks`` positions of the epoch's order; rank r takes each ``ranks``-th of them from r on. So the
union of the ranks' batches of a step is the same for any number of ranks that make up the same step, each row comes
once an epoch, and all ranks make equally many batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import index
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import RecipeError
from degrade.store.permute import Permutation, Windows

Shuffling = Literal["window"] | bool

_BLOCK: Final = 16384  #: positions worked out at a time


@dataclass(frozen=True, eq=False)
class Order:
    """The order of some rows.

    >>> halves = [Order(np.arange(10, 17), 2, False, 0, rank=r, ranks=2) for r in (0, 1)]
    >>> [[batch.tolist() for batch in half.batches(0)] for half in halves]
    [[[10, 12], [14, 16]], [[11, 13], [15]]]
    """

    rows: NDArray[np.int64]
    size: int  #: rows of a batch
    shuffle: Shuffling
    seed: int
    drop_last: bool = False  #: leave out a last step that is not full
    pad: bool = False  #: fill it up with the first rows of the epoch
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RecipeError(f"a batch needs at least 1 row, got batch_size={self.size}")
        if self.shuffle not in (True, False, "window"):
            raise RecipeError(f"shuffle is True, False or 'window', got {self.shuffle!r}")
        if self.drop_last and self.pad:
            raise RecipeError("a last batch that is not full is left out (drop_last) or filled up (pad), not both")
        if self.ranks < 1:
            raise RecipeError(f"ranks are 1 or more, got {self.ranks}")
        if not 0 <= self.rank < self.ranks:
            raise RecipeError(f"rank lies in 0 to {self.ranks - 1} of {self.ranks} ranks, got {self.rank}")

    @property
    def step(self) -> int:
        """Rows that all ranks take together at a time."""
        return self.size * self.ranks

    def __len__(self) -> int:
        """Batches an epoch, of any rank."""
        whole, rest = divmod(len(self.rows), self.step)
        return whole + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """This rank's batches of an epoch from the ``first``-th on, rows ascending inside each."""
        n, size, places = len(self.rows), self.size, self.places(epoch)
        per_block = max(1, _BLOCK // self.step)
        for begin in range(first, len(self), per_block):
            stop = min(begin + per_block, len(self))
            end = stop * self.step if self.pad else min(stop * self.step, n)
            rows = self.rows[places(np.arange(begin * self.step + self.rank, end, self.ranks) % max(n, 1))]
            full = len(rows) // size
            yield from np.sort(rows[: full * size].reshape(full, size))
            yield from (np.sort(rows[i * size : (i + 1) * size]) for i in range(full, stop - begin))

    def places(self, epoch: int) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
        """Position in an epoch -> place among the rows."""
        if not self.shuffle or not len(self.rows):
            return lambda at: at
        return (Windows if self.shuffle == "window" else Permutation)(len(self.rows), (self.seed, epoch))


def whole_number(name: str, value: object) -> int:
    """A whole number, of Python's, NumPy's or torch's.

    Raises:
        RecipeError: if it is none.
    """
    try:
        return index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise RecipeError(f"{name} is a whole number, got {value!r}") from None


def row_numbers(rows: Any) -> NDArray[np.int64]:
    """Numbers of rows ``(n,)``, an array of their own.

    Raises:
        RecipeError: if they are none, but a mask.

    >>> row_numbers(range(3))
    array([0, 1, 2])
    """
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        mask = ": a mask picks from those present, `store.rows[mask]`" if found.dtype == np.bool_ else ""
        raise RecipeError(f"rows are a list of whole numbers, got {found.dtype} of shape {found.shape}{mask}")
    return found.astype(np.int64)

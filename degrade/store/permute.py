"""Random orders of n things that need no memory: position -> thing, for any positions at once.

A full one: a Feistel network over the next power of two (Luby & Rackoff 1988; two halves of the word take turns, each
mixed with a keyed hash of the other), walked along its cycle until it falls below n (Black & Rogaway 2002). One in
windows: neighbours are kept together in blocks, blocks come in a full random order, things in one of their window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from degrade.core.key import Words

_ROUNDS = 8
_BLOCK = 256  #: things that lie together
_WINDOW = 64  #: blocks that are shuffled together


def _mix(z: Words) -> Words:
    """The finaliser of SplitMix64 (Steele et al. 2014), in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z


@dataclass(frozen=True)
class Permutation:
    """A permutation of 0 .. n - 1 that depends on its key alone.

    Args:
        n: how many things, at least 1.
        key: numbers that name the permutation, for instance seed and epoch.

    >>> order = Permutation(5, (7, 0))(np.arange(5))
    >>> sorted(order.tolist())
    [0, 1, 2, 3, 4]
    """

    n: int
    key: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"a permutation needs at least 1 thing, got {self.n}")

    def _round_keys(self) -> Words:
        word = np.zeros(1, np.uint64)
        for part in self.key:
            word = _mix(_mix(word + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(part & (2**64 - 1)))
        steps = np.arange(1, _ROUNDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return _mix(word + steps)

    def __call__(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """The things at some positions.

        Raises:
            IndexError: if a position is not in 0 .. n - 1.
        """
        keys = self._round_keys()
        word = self._once(_inside(positions, self.n).astype(np.uint64), keys)
        while len(out := np.flatnonzero(word >= self.n)):  # fewer than half are left each time
            word[out] = self._once(word[out], keys)
        return word.astype(np.int64)

    def _once(self, word: Words, keys: Words) -> Words:
        bits = max(2, (self.n - 1).bit_length())
        low_bits = np.uint64(bits // 2)
        low_mask = np.uint64((1 << (bits // 2)) - 1)
        high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        low, high = word & low_mask, word >> low_bits
        for key in keys.reshape(-1, 2):
            low = (low ^ (_mix(high ^ key[0]) >> np.uint64(32))) & low_mask
            high = (high ^ (_mix(low ^ key[1]) >> np.uint64(32))) & high_mask
        return (high << low_bits) | low


@dataclass(frozen=True)
class Windows:
    """A permutation of 0 .. n - 1 whose positions ``[w * size, (w + 1) * size)`` reach few runs of neighbours.

    Blocks are cut anew with each key, so that neighbours do not stay together.

    Args:
        n: how many things, at least 1.
        key: numbers that name the permutation.

    >>> order = Windows(100_000, (7, 0))
    >>> len(np.unique(order(np.arange(order.size)) // 256)) <= 2 * 64
    True
    """

    n: int
    key: tuple[int, ...]

    size: ClassVar[int] = _BLOCK * _WINDOW  #: things of a window

    def __call__(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """The things at some positions.

        Raises:
            IndexError: if a position is not in 0 .. n - 1.
        """
        at = _inside(positions, self.n)
        out = np.empty(len(at), np.int64)
        window = at // self.size
        for w in set(window.tolist()):
            here = window == w
            out[here] = self._window(w, at[here] - w * self.size)
        return out

    def blocks(self, window: int) -> list[tuple[int, int]]:
        """The runs of neighbours, first and one past the last, that a window's things lie in."""
        starts = np.arange(0, self._size(window), _BLOCK)
        ends = np.minimum(starts + _BLOCK, self._size(window)) - 1
        pairs = np.stack([self._placed(window, starts), self._placed(window, ends)], 1).tolist()
        # the shift may cut a block in two, at the end of all things and their beginning
        runs = [[(a, b + 1)] if a <= b else [(a, self.n), (0, b + 1)] for a, b in pairs]
        return [run for parts in runs for run in parts]

    def _size(self, window: int) -> int:
        return min(self.size, self.n - window * self.size)

    def _window(self, window: int, at: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._placed(window, Permutation(self._size(window), (*self.key, window))(at))

    def _placed(self, window: int, inside: NDArray[np.int64]) -> NDArray[np.int64]:
        """Things by their number in a window before it is shuffled: whole blocks in random order, then the rest."""
        whole = self.n // _BLOCK
        block = window * _WINDOW + inside // _BLOCK
        if whole:
            block = np.where(block < whole, Permutation(whole, (*self.key, -1))(np.minimum(block, whole - 1)), block)
        shift = int(Permutation(self.n, (*self.key, -2))(np.zeros(1, np.int64))[0])
        return (block * _BLOCK + inside % _BLOCK + shift) % self.n


def _inside(positions: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    at = np.asarray(positions)
    if at.size and (at.min() < 0 or at.max() >= n):
        raise IndexError(f"positions lie in 0 to {n - 1}, got {at.min()} to {at.max()}")
    return at.astype(np.int64)

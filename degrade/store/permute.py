"""A full random order of n things that needs no memory: position -> thing, for any positions at once.

A Feistel network over the next power of two (Luby & Rackoff 1988; two halves of the word take turns, each mixed with
a keyed hash of the other), walked along its cycle until it falls below n (Black & Rogaway 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_ROUNDS = 8


def _mix(z: Words) -> Words:
    """The finaliser of SplitMix64 (Steele et al. 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


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
        at = np.asarray(positions)
        if at.size and (at.min() < 0 or at.max() >= self.n):
            raise IndexError(f"positions lie in 0 to {self.n - 1}, got {at.min()} to {at.max()}")
        keys = self._round_keys()
        word = self._once(at.astype(np.uint64), keys)
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

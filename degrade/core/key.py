"""Key: randomness has an address, not an order.

``Key(seed).at("IMG_0001.CR2", 3, "optics", "sigma")`` mixes the parts into one 64-bit word; the number drawn there
depends on nothing else. Adding an operator, a plane, a margin or a worker never changes another draw. A Key holds one
address or n of them (``at`` takes an integer array), so one rule draws a record or a whole block; both agree exactly.

Parts are hashed with BLAKE2b (type and text), words are mixed with the finaliser of SplitMix64 (Steele et al. 2014).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Part: TypeAlias = "str | int | NDArray[np.integer[Any]]"
Words: TypeAlias = NDArray[np.uint64]


@lru_cache(65536, typed=True)
def _word(part: str | int) -> int:
    text = f"{type(part).__name__}:{part}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _words(part: Part) -> Words:
    if isinstance(part, np.ndarray):
        if not np.issubdtype(part.dtype, np.integer):
            raise TypeError(f"an array of addresses holds whole numbers, got {part.dtype}")
        return np.array([_word(int(p)) for p in part], np.uint64)
    if isinstance(part, bool) or not isinstance(part, (str, int)):
        raise TypeError(f"a part of an address is text or a whole number, got {type(part).__name__} {part!r}")
    return np.array(_word(part), np.uint64)


_STEPS: Final = tuple((np.uint64(s), np.uint64(m)) for s, m in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)))
_LAST: Final = np.uint64(31)


def _mix(z: Words) -> Words:
    z = np.atleast_1d(z)  # arrays wrap round without a warning
    for shift, factor in _STEPS:
        z = (z ^ (z >> shift)) * factor
    return z ^ (z >> _LAST)


@dataclass(frozen=True, eq=False)
class Key:
    """One address of randomness (``word`` of shape ``()``) or n of them (``(n,)``).

    Args:
        word: a seed (any whole number), or the mixed words of addresses.

    >>> key = Key(7).at("IMG_0001.CR2")
    >>> one = [key.at(j, "optics", "sigma").unit().item() for j in range(3)]
    >>> many = key.at(np.arange(3)).at("optics", "sigma").unit().tolist()
    >>> one == many
    True
    """

    word: Words

    def __init__(self, word: int | Words) -> None:
        object.__setattr__(self, "word", word if isinstance(word, np.ndarray) else _words(int(word)))

    def at(self, *parts: Part) -> Key:
        """The address below this one; an integer array gives one address for each of its entries."""
        key = self
        for part in parts:
            words = _words(part)
            many = key.many or words.ndim > 0
            word = _mix(key._mixed ^ words)
            key = Key(word if many else word.reshape(()))
        return key

    @cached_property
    def _mixed(self) -> Words:
        """The word stirred, ready for the next part of any address below this one."""
        return _mix(self.word)

    @property
    def many(self) -> bool:
        """Whether this is n addresses rather than one."""
        return self.word.ndim > 0

    @property
    def shared(self) -> Key:
        """Where all but seeds are drawn."""
        return self

    @property
    def own(self) -> Key:
        """Where seeds are drawn."""
        return self

    def __len__(self) -> int:
        return len(self.word)

    def __getitem__(self, rows: Any) -> Key:
        return Key(np.asarray(self.word[rows]))

    def bits(self) -> NDArray[np.int64]:
        """A whole number in 0 .. 2^53 - 1: what a float and JSON hold exactly."""
        return np.asarray(self.word >> np.uint64(11)).astype(np.int64)

    def unit(self) -> NDArray[np.float64]:
        """A number in [0, 1), in steps of 2^-53."""
        return np.asarray(self.bits() * 2.0**-53, np.float64)


@dataclass(frozen=True, eq=False)
class Keys:
    """The address of a photo and those of its patches: an operator that is drawn once a photo, seeds for each patch."""

    shared: Key
    own: Key

    def at(self, *parts: Part) -> Keys:
        """Both addresses below these."""
        own = self.own.at(*parts)
        return Keys(own if self.shared is self.own else self.shared.at(*parts), own)

    @property
    def many(self) -> bool:
        """Whether there are n patches."""
        return self.own.many

    def __len__(self) -> int:
        return len(self.own)

    def __getitem__(self, rows: Any) -> Keys:
        return Keys(self.shared[rows] if self.shared.many else self.shared, self.own[rows])

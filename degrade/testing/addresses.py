"""Addresses for property tests: strategies of hypothesis, which ``pip install 'degrade[testing]'`` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from degrade.core.key import Key

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def paths() -> SearchStrategy[list[str | int]]:
    """Parts of an address: one to four texts and whole numbers, large ones too.

    >>> paths().validate()
    """
    from hypothesis import strategies as st

    return st.lists(st.one_of(st.text(max_size=8), st.integers(-(2**70), 2**70)), min_size=1, max_size=4)


def keys() -> SearchStrategy[Key]:
    """Keys of any seed, some parts on.

    >>> keys().validate()
    """
    from hypothesis import strategies as st

    return st.builds(lambda seed, path: Key(seed).at(*path), st.integers(0, 2**53), paths())

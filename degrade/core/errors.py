"""One kind of error for a recipe that cannot be, and the nearest right name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
MOST = 12  #: names that are listed where none is near


class RecipeError(ValueError):
    """A recipe that cannot be rendered; the message says where, what was got and what is allowed."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The clause that helps after a wrong name: the nearest right one, or all there are.

    >>> nearest("quantize", ["quantise", "crop"])
    "did you mean 'quantise'?"
    >>> nearest("xyz", ["quantise", "crop"])
    'there are: crop, quantise'
    """
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"there are: {', '.join(known[:MOST]) or 'none'}{more}"


def find(name: str, named: Mapping[str, T], what: str) -> T:
    """``named[name]``, or an error that names the nearest.

    Raises:
        RecipeError: if there is no such name.
    """
    if name in named:
        return named[name]
    raise RecipeError(f"unknown {what} {name!r}: {nearest(name, named)}")


class PhotoError(ValueError):
    """A photo that cannot be used; the message is one sentence: what is wrong, where, what to do."""

"""The errors that speak to people: one family.

* `DegradeError`: something that who sees it can put right; the message is one sentence: what is wrong, what was got,
  what is allowed.

  * `RecipeError` (a ValueError): what is asked for cannot be: a recipe, an operator, a camera or lens, a setting.
  * `PhotoError` (a ValueError): a photo, or what lies beside it, that cannot be used. A build sets it aside.
  * `StoreError` (a RuntimeError): a store that cannot be read, written or continued.
  * `UnknownName` (a KeyError and a ValueError): a name that is not known; the message gives the nearest.

An OSError speaks for itself. A row that is not there is an IndexError, as of any sequence. All else is a bug: it keeps
its class and traceback, and on its way up it gathers notes that name operator, plane and photo, see `noting`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
LISTED = 12  #: names that are listed


class DegradeError(Exception):
    """Something that who sees it can put right; the message is one sentence."""


class RecipeError(DegradeError, ValueError):
    """What is asked for cannot be; the message says where, what was got and what is allowed."""


class PhotoError(DegradeError, ValueError):
    """A photo that cannot be used; the message is one sentence: what is wrong, where, what to do."""


class StoreError(DegradeError, RuntimeError):
    """Something about a store that its user can put right; the message is one sentence."""


class UnknownName(DegradeError, KeyError, ValueError):
    """A name that is not known; the message names the nearest one.

    A KeyError, so that mappings may raise it, and a ValueError, so that pydantic gathers it.
    """

    def __str__(self) -> str:
        return Exception.__str__(self)  # a KeyError would quote it


def nearest(name: str, names: Iterable[str]) -> str:
    """The clause that helps after a wrong name: the nearest right one, the most alike, or all if few.

    >>> nearest("quantize", ["quantise", "crop"])
    "did you mean 'quantise'? There are: crop, quantise"
    >>> nearest("xyz", ["quantise", "crop"])
    'there are: crop, quantise'
    """
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else ""
    if len(known) <= LISTED:
        there = ", ".join(known) or "none"
        return f"{hint} There are: {there}" if hint else f"there are: {there}"
    alike = ", ".join(difflib.get_close_matches(name, known, n=LISTED, cutoff=0))
    return hint or f"there are: {alike} and {len(known) - LISTED} more"


def find(name: str, named: Mapping[str, _T], what: str) -> _T:
    """``named[name]``, or an error that names the nearest.

    Raises:
        UnknownName: if there is no such name.

    >>> find("blurr", {"blur": 1, "noise": 2}, "plane")
    Traceback (most recent call last):
    degrade.core.errors.UnknownName: unknown plane 'blurr': did you mean 'blur'? There are: blur, noise
    """
    if name in named:
        return named[name]
    raise UnknownName(f"unknown {what} {name!r}: {nearest(str(name), named)}")


@contextmanager
def noting(note: str | Callable[[], str], *spoken: type[Exception]) -> Generator[None]:
    """Adds a note to a bug that is raised within; errors of the family and OSErrors say all there is to say.

    Args:
        note: where it happened.
        spoken: other errors that are no bugs there: a validator speaks to people by a ValueError.

    >>> with noting("photo 'a.dng'"):
    ...     {}["blur"]
    Traceback (most recent call last):
    KeyError: 'blur'
    photo 'a.dng'
    """
    try:
        yield
    except (DegradeError, OSError, *spoken):
        raise
    except Exception as bug:
        said = note if isinstance(note, str) else note()
        if said not in getattr(bug, "__notes__", ()):
            bug.add_note(said)
        raise


@contextmanager
def speaking(kind: type[DegradeError], where: str = "") -> Generator[None]:
    """Gives a ValueError of the maths, which know neither photo nor recipe, its class and where it happened.

    Raises:
        DegradeError: of that kind.

    >>> with speaking(PhotoError, "a.dng: "):
    ...     raise ValueError("a line needs 3 points")
    Traceback (most recent call last):
    degrade.core.errors.PhotoError: a.dng: a line needs 3 points
    """
    try:
        yield
    except DegradeError:
        raise
    except ValueError as wrong:
        raise kind(f"{where}{wrong}") from wrong

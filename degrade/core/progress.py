"""How far long work is: who wants to know gives a function, ``print`` for example, and it hears of each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True)
class Done:
    """A step of long work.

    >>> print(Done("building", 3, 9, "photos", "120 rows/s"))
    building: 3 of 9 photos, 120 rows/s
    >>> print(Done("checking", 1_200_000, 3_400_000, "bytes"))
    checking: 1.2 of 3.4 MB
    >>> print(Done("finding the photos"))
    finding the photos
    """

    what: str  #: what goes on
    done: int = 0  #: so much of it is done
    total: int | None = None  #: so much there is in all; None where nobody knows
    unit: str = ""  #: what is counted, such as photos; bytes are told as kB to TB
    note: str = ""  #: what else there is to tell, such as a rate

    @property
    def count(self) -> str:
        """How much is done, in words; nothing where nothing is counted."""
        if self.total is None:
            return ""
        if self.unit != "bytes":
            return f"{self.done:,} of {self.total:,} {self.unit}".rstrip()
        unit, size = next((s for s in _SIZES if self.total >= s[1]), _SIZES[-1])
        return f"{self.done / size:,.1f} of {self.total / size:,.1f} {unit}"

    def __str__(self) -> str:
        told = ", ".join(filter(None, (self.count, self.note)))
        return f"{self.what}: {told}" if told else self.what


Progress = Callable[[Done], object]  #: hears of each step; what it raises ends the work


def quiet(_: Done) -> None:
    """Says nothing."""

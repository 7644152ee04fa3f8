"""Spec: what is known of a plane before any photo is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from degrade.core.frame import Grid, Space


@dataclass(frozen=True)
class Spec:
    """What is known of a plane before any photo is opened."""

    space: Space
    channels: int
    size: tuple[int, int] | None = None  #: height and width without margin [pixels]; None before the crop
    grid: Grid = Grid()  #: from this plane's pixels to the crop's
    oversample: int = 1  #: pixels, each way, that make one of the simulated sensor's
    digital: bool = False  #: whether the data lie on the levels of an ADC
    extent: tuple[float, float] | None = None
    #: height and width of a patch that is a picture of its own: nothing lies beyond its border [crop pixels]

    @property
    def whole(self) -> bool:
        """Whether a patch is a picture of its own, as in the classical chains: no operator gets a margin."""
        return self.extent is not None

    @property
    def varying(self) -> bool:
        """Whether each row has a size of its own, so that none is known."""
        return self.whole and self.size is None

    @property
    def ground(self) -> tuple[float, float] | None:
        """Height and width that it covers [crop pixels]; None before the crop."""
        if self.extent is not None or self.size is None:
            return self.extent
        (h, w), (y, x) = self.size, self.grid.scale
        return tidy(h * y), tidy(w * x)

    def alone(self) -> Spec:
        """The same as a picture of its own; before the crop it is one."""
        return replace(self, extent=self.ground)


def up(n: float, multiple: int) -> int:
    """``n`` rounded up to a multiple."""
    return math.ceil(n / multiple) * multiple


def tidy(length: float) -> float:
    """A length that rounding has left next to a whole number."""
    return float(round(length)) if abs(length - round(length)) < 1e-6 else length


def joined(specs: list[Spec]) -> Spec | None:
    """What is known where rows go one of several ways; None where these cannot meet.

    Pictures of their own may differ in size; otherwise all but the levels must agree.
    """
    plain = [replace(s, digital=False) for s in specs]
    digital = all(s.digital for s in specs)
    if all(s == plain[0] for s in plain):
        return replace(plain[0], digital=digital)
    free = [replace(s, size=None, grid=Grid()) for s in plain]
    return replace(free[0], digital=digital) if specs[0].whole and all(s == free[0] for s in free) else None

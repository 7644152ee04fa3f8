"""Colour filter arrays as values: which photosite sees which colour, and linear RGB at the true sample positions.

Resampling.  Pixel ``i`` of shrink ``s`` covers ``[s i - 1/2, s i + s - 1/2)`` photosites, and a sample of a colour the
``reach`` photosites about its own centre: 2 in a Bayer tile, 4 in that of X-Trans, so that samples of each colour leave
no gap.  The area k(y) k(x) that the two share is what a sample weighs, times a quadratic polynomial::

    w_c(y, x) = k(y) k(x) q_c(y, x)

q_c gives the samples of one colour the sum and the first and second moments that all photosites together have under
k(y) k(x).  Constants and ramps are thus exact, and an edge of any direction lies at one place in R, G and B and is
equally soft in them.  For Bayer q_c is constant, and the weights of an axis are those of `degrade.maths.bayer`.

Aliasing is left, where detail is finer than the Nyquist frequency of the coarsest colour.  The most that R or B differ
from G on a grey step of 1, in per cent, over all phases and edges at 3, 20, 45, 70 and 87 degrees:

    ============  =====  =====  =====  ======  =======  ========
    low-pass      Bayer                        X-Trans
    Gaussian of   ---------------------------  -----------------
    sigma [px]    s = 2  s = 4  s = 6  s = 12  s = 6    s = 12
    ============  =====  =====  =====  ======  =======  ========
    none          23.5   12.0   8.1    4.1     8.3      4.6
    0.5           10.4   4.1    2.7    1.3     3.7      1.8
    0.8           5.0    1.5    1.0    0.5     1.9      0.8
    1             3.2    0.9    0.6    0.3     1.1      0.5
    1.5           1.2    0.6    0.2    0.1     0.4      0.2
    ============  =====  =====  =====  ======  =======  ========
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_A = TypeVar("_A", Tensor, NDArray[Any])

RGB: Final = "RGB"


@dataclass(frozen=True)
class Cfa:
    """A colour filter array: a tile of the letters R, G and B that repeats over the sensor.

    A *plane* holds the photosites of one place in the tile. Planes are ordered by that place, rows first: those of the
    Bayer tile are R G1 G2 B, whatever the phase.

    Args:
        tile: its rows, from the top.
        phase: row and column of the photosite where a tile begins; whole tiles make no difference.

    Raises:
        ValueError: if rows differ in length, or letters are others than R, G and B, or one of these is missing.

    >>> Cfa(("RG", "GB"), phase=(0, 1)).sites           # rows and columns of R G1 G2 B
    ((0, 1), (0, 0), (1, 1), (1, 0))
    """

    tile: tuple[str, ...]
    phase: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        rows = () if isinstance(self.tile, str) else self.tile  # a text would be rows of one letter each
        if len({len(row) for row in rows}) != 1 or set("".join(rows)) != set(RGB):
            raise ValueError(
                f"a tile needs rows of one length that hold R, G and B, no other letter, got {self.tile!r}"
            )
        (h, w), (y, x) = self.size, self.phase
        object.__setattr__(self, "phase", (y % h, x % w))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the tile [photosites]."""
        return len(self.tile), len(self.tile[0])

    @functools.cached_property
    def colours(self) -> tuple[int, ...]:
        """Colour of each plane: 0, 1 or 2 for R, G or B.

        >>> BAYER.colours
        (0, 1, 1, 2)
        """
        return tuple(RGB.index(letter) for row in self.tile for letter in row)

    @functools.cached_property
    def sites(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each plane's first photosite."""
        (h, w), (y, x) = self.size, self.phase
        return tuple(((i + y) % h, (j + x) % w) for i in range(h) for j in range(w))

    @property
    def offsets(self) -> tuple[tuple[float, float], ...]:
        """Centre of each plane's first photosite, from the centre of the first tile-sized block [tiles].

        >>> BAYER.offsets
        ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25))
        """
        h, w = self.size
        return tuple(((y + 0.5) / h - 0.5, (x + 0.5) / w - 0.5) for y, x in self.sites)

    @functools.cached_property
    def reach(self) -> int:
        """Least even side of a square that holds every colour wherever it lies [photosites].

        Even, because 3 would do for X-Trans and aliases half as much again as 4.

        >>> BAYER.reach, XTRANS.reach
        (2, 4)
        """
        photosites = _photosites(self, 0, 3 * max(self.size))
        sides = range(2, 2 * max(self.size) + 1, 2)
        return next(n for n in sides if all(_every_square_has(photosites == c, n) for c in range(3)))

    def spread(self, rgb: _A, axis: int = -1) -> _A:
        """Values for R G B, along one axis of an array or tensor, to values for each plane.

        >>> BAYER.spread(np.array([2.0, 1.0, 1.5])).tolist()
        [2.0, 1.0, 1.0, 1.5]
        """
        _need(rgb, 3, axis)
        return rgb[_along(rgb, axis, list(self.colours))]

    def merge(self, planes: _A, axis: int = -1) -> _A:
        """Values for each plane, along one axis of an array or tensor, to their means for R G B.

        >>> BAYER.merge(torch.tensor([1.0, 2.0, 4.0, 8.0]))
        tensor([1., 3., 8.])
        """
        _need(planes, len(self.colours), axis)
        stack: Callable[..., Any] = torch.stack if isinstance(planes, Tensor) else np.stack
        return stack([self._mean(planes, c, axis) for c in range(3)], axis)

    def resampled(self, n: int, shrink: int) -> int:
        """Number of pixels along an axis of ``n`` photosites that samples wholly cover, but the first.

        Raises:
            ValueError: if ``shrink`` is not a multiple of the tile.

        >>> BAYER.resampled(4000, 2), XTRANS.resampled(4000, 12)
        (1998, 332)
        """
        side = math.lcm(*self.size)
        if isinstance(shrink, bool) or shrink < side or shrink % side:
            allowed = "even and at least 2" if side == 2 else f"a multiple of {side}"
            raise ValueError(f"shrink counts raw pixels and must be {allowed}, got {shrink}")
        return max((n - self.reach // 2) // shrink - 1, 0)

    def weights(self, shrink: int) -> Tensor:
        """What each photosite gives to R, G and B of a pixel, (3, n, n) float64, ``n = shrink + reach``.

        They begin at photosite ``shrink i - reach / 2`` for pixel i and are the same for all pixels.

        Raises:
            ValueError: if ``shrink`` is not a multiple of the tile, or a colour has too few photosites in it.

        >>> BAYER.weights(2)[0] * 16
        tensor([[0., 0., 0., 0.],
                [0., 9., 0., 3.],
                [0., 0., 0., 0.],
                [0., 3., 0., 1.]], dtype=torch.float64)
        """
        self.resampled(0, shrink)
        return torch.from_numpy(_weights(self, shrink).copy())

    def variance_gain(self, shrink: int) -> tuple[float, float, float]:
        """Variance of R, G, B after resampling as a fraction of a photosite's: the sums of squared weights.

        >>> BAYER.variance_gain(2)
        (0.390625, 0.1953125, 0.390625)
        """
        red, green, blue = self.weights(shrink).square().sum((1, 2)).tolist()
        return red, green, blue

    def linear(self, mosaic: Tensor, shrink: int) -> Tensor:
        """``(..., h, w)`` photosites to ``(..., 3, H, W)`` RGB at the true sample positions, float32.

        ``H = (h - reach / 2) // shrink - 1``; pixel ``p`` of the result lies at ``shrink (p + 1) + (shrink - 1) / 2``
        photosites from the first one: one pixel is left out before it. `degrade.maths.bayer.linear` is the fast way
        for packed Bayer.

        Raises:
            ValueError: if ``shrink`` is not a multiple of the tile, or the picture is too small for one pixel.

        >>> XTRANS.linear(torch.arange(30.0).expand(30, 30), 6)[:, 0].round(decimals=4)     # the value is the column
        tensor([[ 8.5000, 14.5000, 20.5000],
                [ 8.5000, 14.5000, 20.5000],
                [ 8.5000, 14.5000, 20.5000]])
        """
        *lead, h, w = mosaic.shape
        rows, columns = self.resampled(h, shrink), self.resampled(w, shrink)
        first = shrink - self.reach // 2
        if min(rows, columns) < 1:
            least = 2 * shrink + self.reach // 2
            raise ValueError(f"a mosaic of {h} x {w} is too small for shrink {shrink}: need {least} x {least}")
        out = torch.zeros(*lead, 3, rows, columns, device=mosaic.device)
        # One photosite of the window after the other: the order is that of every device and batch.
        for (c, y, x), weight in np.ndenumerate(_weights(self, shrink)):
            if weight:
                at = (slice(first + o, first + o + shrink * (n - 1) + 1, shrink) for o, n in ((y, rows), (x, columns)))
                out[..., c, :, :].add_(mosaic[(..., *at)].to(torch.float32), alpha=weight)
        return out

    def _mean(self, planes: _A, colour: int, axis: int) -> _A:
        mean, *others = (planes[_along(planes, axis, k)] for k, c in enumerate(self.colours) if c == colour)
        for other in others:
            mean = mean + other
        return mean / (1 + len(others)) if others else mean


BAYER: Final = Cfa(("RG", "GB"))
XTRANS: Final = Cfa(("GGRGGB", "GGBGGR", "BRGRBG", "GGBGGR", "GGRGGB", "RBGBRG"))
#: The Bayer arrays by the name of their first 2 x 2 photosites, read in rows.
PHASES: Final[dict[str, Cfa]] = {
    name: Cfa(BAYER.tile, site) for name, site in zip(("RGGB", "GRBG", "GBRG", "BGGR"), BAYER.sites, strict=True)
}


@functools.cache
def _weights(cfa: Cfa, shrink: int) -> NDArray[np.float64]:
    """(3, n, n); whole numbers as long as they can be, so that a constant q comes out as exactly that."""
    n = shrink + cfa.reach
    place = np.arange(1 - n, n, 2)  # from the pixel's centre [half photosites]
    one = np.minimum(min(2 * shrink, 2 * cfa.reach), n - abs(place))
    area = np.outer(one, one).ravel()
    y, x = np.repeat(place, n), np.tile(place, n)
    powers = np.stack([np.ones_like(x), y, x, y * y, y * x, x * x])
    scale = np.array([1.0, n, n, n * n, n * n, n * n])
    basis = powers / scale[:, None]
    colours = _photosites(cfa, -(cfa.reach // 2), n).ravel()
    found: list[NDArray[np.float64]] = []
    for c in range(3):
        own = np.where(colours == c, area, 0)
        share = own / own.sum()
        lack = [Fraction(int(p @ area), int(area.sum())) - Fraction(int(p @ own), int(own.sum())) for p in powers]
        wanted = np.array([float(v) for v in lack]) / scale
        moments = (basis * share) @ basis.T
        q = np.linalg.lstsq(moments, wanted, rcond=None)[0]
        if abs(moments @ q - wanted).max() > 1e-9:
            raise ValueError(f"the tile {cfa.tile} has too few of {RGB[c]} for shrink {shrink}, use {2 * shrink}")
        found.append((share * (1 + q @ basis)).reshape(n, n))
    return np.stack(found)


def _photosites(cfa: Cfa, start: int, n: int) -> NDArray[np.int64]:
    """(n, n) colours from row and column ``start`` on."""
    (h, w), (y, x) = cfa.size, cfa.phase
    at = np.arange(start, start + n)
    return np.array(cfa.colours).reshape(h, w)[np.ix_((at - y) % h, (at - x) % w)]


def _every_square_has(photosites: NDArray[np.bool_], n: int) -> bool:
    return bool(np.lib.stride_tricks.sliding_window_view(photosites, (n, n)).any((2, 3)).all())


def _along(x: Tensor | NDArray[Any], axis: int, index: Any) -> tuple[Any, ...]:
    """An index along one axis alone."""
    return (*(slice(None),) * (axis % x.ndim), index)


def _need(x: Tensor | NDArray[Any], count: int, axis: int) -> None:
    if x.shape[axis] != count:
        raise ValueError(f"expected {count} values along axis {axis}, got {tuple(x.shape)}")

"""`bayer` on a CPU, compiled: the mosaic as a file holds it to normalised RGB in one walk over its rows, and back.

Sums go down whole rows of photosites first, for even and odd rows apart, then across. They are whole DN, so that they
are those of `bayer` to the bit as long as float32 holds them (16 bits up to shrink 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import float32 as f32
from numpy.typing import NDArray

from degrade.maths.cfa import BAYER, PHASES
from degrade.maths.compiled import compiled


@compiled
def _down(mosaic: Any, first: Any, m: Any, odd: Any, line: Any) -> None:
    """Weighted sum, in quarters of a sample, of every other row of photosites from ``first`` on."""
    a, b = (f32(1), f32(3)) if odd else (f32(3), f32(1))
    above, below = mosaic[first], mosaic[first + 2 * m]
    for x in range(len(line)):
        line[x] = a * f32(above[x]) + b * f32(below[x])
    for k in range(1, m):
        row = mosaic[first + 2 * k]
        for x in range(len(line)):
            line[x] += f32(4) * f32(row[x])


@compiled
def _across(line: Any, m: Any, odd: Any, black: Any, span: Any, out: Any) -> None:
    """Weighted sums of every other number of a line, those of one colour, normalised."""
    a, b = (f32(1), f32(3)) if odd else (f32(3), f32(1))
    scale = f32(1 / (4 * m) ** 2)
    for i in range(len(out)):
        at = 2 * m * (i + 1) - odd
        total = a * line[at] + b * line[at + 2 * m]
        for k in range(1, m):
            total += f32(4) * line[at + 2 * k]
        out[i] = (total * scale - black) / span


@compiled
def _linear(mosaic: Any, m: Any, black: Any, span: Any, rgb: Any) -> None:
    line, second = np.empty(mosaic.shape[1], f32), np.empty(rgb.shape[2], f32)
    for i in range(rgb.shape[1]):
        red, green, blue = rgb[0, i], rgb[1, i], rgb[2, i]
        _down(mosaic, 2 * m * (i + 1), m, 0, line)
        _across(line, m, 0, black[0], span[0], red)
        _across(line, m, 1, black[1], span[1], green)
        _down(mosaic, 2 * m * (i + 1) - 1, m, 1, line)
        _across(line, m, 0, black[2], span[2], second)
        _across(line, m, 1, black[3], span[3], blue)
        for x in range(len(green)):
            green[x] = (green[x] + second[x]) * f32(0.5)


@compiled
def _brightest(mosaic: Any, m: Any, most: Any) -> None:
    """The largest of the photosites that `_linear` sums for a pixel: 2 m + 2 each way."""
    line = np.empty(mosaic.shape[1], mosaic.dtype)
    for i in range(most.shape[0]):
        first = 2 * m * (i + 1) - 1
        line[:] = mosaic[first]
        for k in range(1, 2 * m + 2):
            row = mosaic[first + k]
            for x in range(len(line)):
                line[x] = max(line[x], row[x])
        for x in range(most.shape[1]):
            at = 2 * m * (x + 1) - 1
            top = line[at]
            for k in range(1, 2 * m + 2):
                top = max(top, line[at + k])
            most[i, x] = top


@compiled
def _extremes(mosaic: Any) -> Any:
    low, high = mosaic[0, 0], mosaic[0, 0]
    for y in range(mosaic.shape[0]):
        for x in range(mosaic.shape[1]):
            low, high = min(low, mosaic[y, x]), max(high, mosaic[y, x])
    return low, high


@compiled
def _mosaic(rgb: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        for c in range(4):
            for y in range(out.shape[2]):
                line, to = rgb[b, (c + 1) // 2, 2 * y + c // 2], out[b, c, y]
                for x in range(len(to)):
                    to[x] = line[2 * x + c % 2]


def sampled(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """`bayer.mosaic` of (..., 3, h, w), h and w even.

    >>> sampled(np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)).ravel().tolist()
    [0.0, 5.0, 6.0, 11.0]
    """
    *lead, _, h, w = rgb.shape
    out = np.empty((*lead, 4, h // 2, w // 2), f32)
    _mosaic(rgb.reshape(-1, 3, h, w), out.reshape(-1, 4, h // 2, w // 2))
    return out


def whole(mosaic: NDArray[np.uint16], phase: str) -> NDArray[np.uint16]:
    """The mosaic from its first red photosite on, of even height and width: what `bayer.pack` packs, not copied.

    >>> whole(np.zeros((5, 6), np.uint16), "GRBG").shape
    (4, 4)
    """
    y, x = PHASES[phase].phase
    h, w = ((n - o) // 2 * 2 for n, o in zip(mosaic.shape, (y, x), strict=True))
    return mosaic[y : y + h, x : x + w]


def extremes(mosaic: NDArray[np.uint16]) -> tuple[int, int]:
    """Lowest and highest DN.

    >>> extremes(np.arange(6, dtype=np.uint16).reshape(2, 3))
    (0, 5)
    """
    low, high = _extremes(mosaic)
    return int(low), int(high)


def linear(mosaic: NDArray[np.uint16], shrink: int, black: Sequence[float], white: float) -> NDArray[np.float32]:
    """Means of R, G, B of ``(bayer.planes(packed, shrink) - black) / (white - black)``, `whole` mosaic: (3, H, W).

    Args:
        mosaic: (h, w) photosites [DN].
        shrink: raw pixels that a pixel spans, even.
        black: level of R G1 G2 B [DN].
        white: saturation level [DN].

    Raises:
        ValueError: if ``shrink`` is odd, or the picture is too small for one pixel.

    >>> flat = np.full((12, 12), 300, np.uint16)
    >>> linear(flat, 4, (100.0,) * 4, 500.0).shape, linear(flat, 4, (100.0,) * 4, 500.0)[1, 0, 0].item()
    ((3, 1, 1), 0.5)
    """
    levels = np.array(black, f32)
    out = np.empty((3, *_size(mosaic, shrink)), f32)
    _linear(mosaic, shrink // 2, levels, f32(white) - levels, out)
    return out


def touched(mosaic: NDArray[np.uint16], shrink: int, white: float) -> NDArray[np.bool_]:
    """Pixels of `linear` to which a photosite of ``white`` or more contributes: (H, W).

    >>> mosaic = np.zeros((12, 12), np.uint16)
    >>> mosaic[3, 4] = 7
    >>> touched(mosaic, 2, 7.0).nonzero()[0].tolist()       # row 3 lies in pixel 1, which is the first, and in pixel 2
    [0, 0, 1, 1]
    """
    most = np.empty(_size(mosaic, shrink), mosaic.dtype)
    _brightest(mosaic, shrink // 2, most)
    return most >= white


def _size(mosaic: NDArray[Any], shrink: int) -> tuple[int, int]:
    (y, x), least = mosaic.shape, 2 * shrink + 2
    h, w = BAYER.resampled(y, shrink), BAYER.resampled(x, shrink)
    if min(h, w) < 1:
        raise ValueError(f"a mosaic of {y} x {x} is too small for shrink {shrink}: need {least} x {least}")
    return h, w

"""The way of `jpeg` there and back on a CPU, compiled, in whole numbers: the same levels.

A DCT is that of libjpeg (Loeffler, Ligtenberg and Moschytz 1989: 12 products), down the eight lines of a buffer that
holds `_SPAN` columns; between the passes blocks are transposed, so that both run along whole lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32 as f32
from numpy import int32 as i32
from numpy import uint8 as u8
from numpy.typing import NDArray

from degrade.maths.compiled import compiled
from degrade.maths.jpeg import SAMPLING

_SPAN = (
    64  #: columns coded at a time, so that scratch stays in the first cache; a constant, so that lines never overlap
)
_1, _2, _3, _4, _5, _6, _7 = (k * _SPAN for k in range(1, 8))


@compiled
def _odd(a: Any, b: Any, c: Any, d: Any) -> Any:
    """The odd half of a DCT, which is its own way back."""
    z1, z2, z3, z4 = i32(a + d), i32(b + c), i32(a + c), i32(b + d)
    z5 = i32((z3 + z4) * i32(9633))
    z1, z2 = i32(z1 * i32(-7373)), i32(z2 * i32(-20995))
    z3, z4 = i32(z3 * i32(-16069) + z5), i32(z4 * i32(-3196) + z5)
    return (
        i32(a * i32(2446) + z1 + z3),
        i32(b * i32(16819) + z2 + z4),
        i32(c * i32(25172) + z2 + z3),
        i32(d * i32(12299) + z1 + z4),
    )


@compiled
def _forward(x: Any, bits: Any) -> None:
    """DCT down the lines of (8, _SPAN), flat, and a rounding shift."""
    half, bits = i32(1 << (bits - 1)), i32(bits)
    for j in range(_SPAN):
        s0, d0 = i32(x[j] + x[j + _7]), i32(x[j] - x[j + _7])
        s1, d1 = i32(x[j + _1] + x[j + _6]), i32(x[j + _1] - x[j + _6])
        s2, d2 = i32(x[j + _2] + x[j + _5]), i32(x[j + _2] - x[j + _5])
        s3, d3 = i32(x[j + _3] + x[j + _4]), i32(x[j + _3] - x[j + _4])
        e0, e3, e1, e2 = i32(s0 + s3), i32(s0 - s3), i32(s1 + s2), i32(s1 - s2)
        z = i32((e2 + e3) * i32(4433) + half)
        x[j] = i32(i32((e0 + e1) * i32(8192) + half) >> bits)
        x[j + _4] = i32(i32((e0 - e1) * i32(8192) + half) >> bits)
        x[j + _2] = i32(i32(z + e3 * i32(6270)) >> bits)
        x[j + _6] = i32(i32(z - e2 * i32(15137)) >> bits)
        a, b, c, d = _odd(d3, d2, d1, d0)
        x[j + _7], x[j + _5] = i32(i32(a + half) >> bits), i32(i32(b + half) >> bits)
        x[j + _3], x[j + _1] = i32(i32(c + half) >> bits), i32(i32(d + half) >> bits)


@compiled
def _inverse(x: Any, bits: Any) -> None:
    """The way back of `_forward`."""
    half, bits = i32(1 << (bits - 1)), i32(bits)
    for j in range(_SPAN):
        z = i32((x[j + _2] + x[j + _6]) * i32(4433) + half)
        e2, e3 = i32(z - x[j + _6] * i32(15137)), i32(z + x[j + _2] * i32(6270))
        e0, e1 = i32((x[j] + x[j + _4]) * i32(8192)), i32((x[j] - x[j + _4]) * i32(8192))
        s0, s3, s1, s2 = i32(e0 + e3), i32(e0 - e3 + half + half), i32(e1 + e2), i32(e1 - e2 + half + half)
        a, b, c, d = _odd(x[j + _7], x[j + _5], x[j + _3], x[j + _1])
        x[j], x[j + _7] = i32(i32(s0 + d) >> bits), i32(i32(s0 - d) >> bits)
        x[j + _1], x[j + _6] = i32(i32(s1 + c) >> bits), i32(i32(s1 - c) >> bits)
        x[j + _2], x[j + _5] = i32(i32(s2 + b) >> bits), i32(i32(s2 - b) >> bits)
        x[j + _3], x[j + _4] = i32(i32(s3 + a) >> bits), i32(i32(s3 - a) >> bits)


@compiled
def _quantise(x: Any, table: Any) -> None:
    """Eight times too large coefficients at the nearest multiple of the table, halves away from 0."""
    for j in range(len(x)):
        step, size = table[j], f32(abs(x[j]))
        whole = i32(np.floor((size + f32(4) * step) / (f32(8) * step)) * step)  # exact below 2^24
        x[j] = whole if x[j] >= 0 else i32(-whole)


@compiled
def _transpose(x: Any, y: Any) -> None:
    for b in range(0, _SPAN, 8):
        for i in range(8):
            for j in range(8):
                y[j * _SPAN + b + i] = x[i * _SPAN + b + j]


@compiled
def _code(plane: Any, table: Any) -> None:
    """Levels of whole blocks after DCT, rounding to multiples of a table (8, 8), and the way back."""
    x, y, tiled = np.zeros(8 * _SPAN, i32), np.zeros(8 * _SPAN, i32), np.empty(8 * _SPAN, f32)
    for i in range(8):
        for j in range(_SPAN):
            tiled[i * _SPAN + j] = table[i, j % 8]
    h, w = plane.shape
    for top in range(0, h, 8):
        for left in range(0, w, _SPAN):
            n = min(_SPAN, w - left)
            for i in range(8):
                line, there = plane[top + i, left : left + n], x[i * _SPAN : i * _SPAN + n]
                for j in range(n):
                    there[j] = i32(line[j]) - i32(128)
            _transpose(x, y)
            _forward(y, 11)
            _transpose(y, x)
            _forward(x, 15)
            _quantise(x, tiled)
            _inverse(x, 11)
            _transpose(x, y)
            _inverse(y, 18)
            _transpose(y, x)
            for i in range(8):
                line, there = plane[top + i, left : left + n], x[i * _SPAN : i * _SPAN + n]
                for j in range(n):
                    line[j] = u8(min(max(there[j] + i32(128), i32(0)), i32(255)))


@compiled
def _apart(red: Any, green: Any, blue: Any, y: Any, cb: Any, cr: Any) -> None:
    """Lines of sRGB, clipped and rounded to levels, as lines of luma and chroma."""
    for j in range(len(red)):
        r = i32(np.rint(min(max(red[j], f32(0)), f32(1)) * f32(255)))
        g = i32(np.rint(min(max(green[j], f32(0)), f32(1)) * f32(255)))
        b = i32(np.rint(min(max(blue[j], f32(0)), f32(1)) * f32(255)))
        y[j] = u8(i32(i32(19595) * r + i32(38470) * g + i32(7471) * b + i32(32768)) >> i32(16))
        cb[j] = u8(i32(i32(32768) * b - i32(11059) * r - i32(21709) * g + i32(8421375)) >> i32(16))
        cr[j] = u8(i32(i32(32768) * r - i32(27439) * g - i32(5329) * b + i32(8421375)) >> i32(16))


@compiled
def _together(y: Any, cb: Any, cr: Any, red: Any, green: Any, blue: Any) -> None:
    """The way back of `_apart`."""
    for j in range(len(red)):
        luma, u, v = i32(y[j]), i32(cb[j] - i32(128)), i32(cr[j] - i32(128))
        r = i32(luma + i32(i32(i32(91881) * v + i32(32768)) >> i32(16)))
        g = i32(luma + i32(i32(i32(-22554) * u - i32(46802) * v + i32(32768)) >> i32(16)))
        b = i32(luma + i32(i32(i32(116130) * u + i32(32768)) >> i32(16)))
        red[j] = f32(min(max(r, i32(0)), i32(255))) / f32(255)
        green[j] = f32(min(max(g, i32(0)), i32(255))) / f32(255)
        blue[j] = f32(min(max(b, i32(0)), i32(255))) / f32(255)


@compiled
def _halve(upper: Any, lower: Any, line: Any, down: Any) -> None:
    """Means of 2 x 2 pixels, or of 2 where both lines are the same; halves are rounded down and up in turn."""
    step, first = i32(3 - down), i32(down - 1)
    for j in range(len(line)):
        pair = i32(i32(upper[2 * j]) + upper[2 * j + 1] + lower[2 * j] + lower[2 * j + 1])
        line[j] = u8(i32(pair + step * i32(j & 1) + first) >> i32(2))


@compiled
def _double(near: Any, far: Any, line: Any, down: Any, sums: Any) -> None:
    """Twice as many pixels across, 3/4 of the nearer and 1/4 of the other, between two lines likewise."""
    n = len(near)
    left, right = i32(8 if down == 2 else 4), i32(7 if down == 2 else 8)
    for j in range(n):
        sums[j + 1] = i32(3 * i32(near[j]) + i32(far[j]))
    sums[0], sums[n + 1] = sums[1], sums[n]
    for j in range(n):
        line[2 * j] = u8(i32(3 * sums[j + 1] + sums[j] + left) >> i32(4))
        line[2 * j + 1] = u8(i32(3 * sums[j + 1] + sums[j + 2] + right) >> i32(4))


@compiled
def _row(x: Any, luma: Any, chroma: Any, down: Any, across: Any, out: Any) -> None:
    """One picture, (3, h, w)."""
    h, w = x.shape[1:]
    high, wide = (h + down - 1) // down, (w + 8 * across - 1) // (8 * across) * 8
    y = np.empty(((h + 7) // 8 * 8, wide * across), u8)
    small, lines = np.empty((2, (high + 7) // 8 * 8, wide), u8), np.empty((2, 2, wide * across), u8)
    for i in range(h):
        pair = small[:, i] if across == 1 else lines[i % down]
        _apart(x[0, i], x[1, i], x[2, i], y[i], pair[0], pair[1])
        y[i, w:], pair[0, w:], pair[1, w:] = y[i, w - 1], pair[0, w - 1], pair[1, w - 1]
        if across == 2 and (i % down == down - 1 or i == h - 1):
            for k in range(2):
                _halve(lines[0, k], lines[i % down, k], small[k, i // down], down)
    y[h:], small[:, high:] = y[h - 1], small[:, high - 1 : high]
    _code(y, luma)
    for k in range(2):
        _code(small[k], chroma)
    n = (w + across - 1) // across
    sums = np.empty(n + 2, i32)
    for i in range(h):
        pair = small[:, i] if across == 1 else lines[0]
        if across == 2:
            at = i // down
            other = min(max(at + 2 * (i % 2) - 1, 0), high - 1) if down == 2 else at
            for k in range(2):
                _double(small[k, at, :n], small[k, other, :n], lines[0, k], down, sums)
        _together(y[i], pair[0], pair[1], out[0, i], out[1, i], out[2, i])


@compiled
def _rows(x: Any, luma: Any, chroma: Any, down: Any, across: Any, out: Any) -> None:
    for b in range(len(x)):
        _row(x[b], luma[b % len(luma)], chroma[b % len(chroma)], down, across, out[b])


def requantised(x: NDArray[np.float32], luma: NDArray[Any], chroma: NDArray[Any], sampling: str) -> NDArray[np.float32]:
    """`jpeg.requantised` of (b, 3, h, w), with tables (1 or b, 8, 8).

    >>> table = np.full((1, 8, 8), 10)
    >>> requantised(np.full((1, 3, 8, 8), 0.5, f32), table, table, "4:2:0")[0, :, 0, 0] * 255
    array([128., 128., 128.], dtype=float32)
    """
    out = np.empty(x.shape, f32)
    _rows(np.ascontiguousarray(x), luma.astype(f32), chroma.astype(f32), *SAMPLING[sampling], out)
    return out

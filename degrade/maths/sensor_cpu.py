"""What a sensor does to a signal, on a CPU and compiled: each sample is read once and written once.

`sensor` says what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32 as f32
from numpy.typing import NDArray

from degrade.maths.compiled import compiled

Array = NDArray[np.float32]


@compiled
def _quantised(x: Any, black: Any, full: Any, out: Any) -> None:
    for b in range(len(x)):
        low, span = black[b], full[b]
        for i in range(x.shape[1]):
            dn = max(np.round(x[b, i] * span + low), f32(0))
            out[b, i] = (min(dn, low + span) - low) / span


@compiled
def _numbers(x: Any, black: Any, full: Any, out: Any) -> None:
    kind = out.dtype.type
    for b in range(len(x)):
        low, span = black[b], full[b]
        for i in range(x.shape[1]):
            out[b, i] = kind(np.round(x[b, i] * span + low))


@compiled
def _noisy(x: Any, signal: Any, shot: Any, read: Any, unit: Any, out: Any) -> None:
    for k in range(len(x)):
        s, r = shot[k], read[k]
        for i in range(x.shape[1]):
            light = min(max(signal[k, i], f32(0)), f32(1))
            out[k, i] = x[k, i] + np.sqrt(max(s * light + r, f32(0))) * unit[k, i]


def quantised(x: Array, black: Array, full: Array) -> Array:
    """`sensor.quantised` of (b, ...) at (b,) levels.

    >>> quantised(np.float32([[-0.5, 0.12, 9.0]]), np.float32([4]), np.float32([10])).round(6).tolist()
    [[-0.4000000059604645, 0.10000000149011612, 1.0]]
    """
    out = np.empty(x.shape, f32)
    _quantised(_rows(x, len(x)), black, full, out.reshape(len(x), -1))
    return out


def numbers(x: Array, black: Array, full: Array, kind: str) -> NDArray[Any]:
    """`sensor.numbers` of (b, ...) at (b,) levels, of type ``kind``.

    >>> numbers(np.float32([[0.0, 1.0]]), np.float32([4]), np.float32([10]), "uint8").tolist()
    [[4, 14]]
    """
    out = np.empty(x.shape, kind)
    _numbers(_rows(x, len(x)), black, full, out.reshape(len(x), -1))
    return out


def noisy(x: Array, signal: Array, shot: Array, read: Array, unit: Array) -> Array:
    """`sensor.noisy` of (b, c, h, w) with the (b c,) line of each channel and unit normals.

    >>> noisy(*np.ones((2, 1, 1, 1, 1), np.float32), *np.float32([[3], [1]]), np.ones((1, 1, 1, 1), np.float32)).item()
    3.0
    """
    out = np.empty(x.shape, f32)
    flat = (_rows(t, len(shot)) for t in (x, signal))
    _noisy(*flat, shot, read, _rows(unit, len(shot)), out.reshape(len(shot), -1))
    return out


def _rows(x: Array, n: int) -> Array:
    return np.ascontiguousarray(x).reshape(n, -1)

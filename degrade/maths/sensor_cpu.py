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
    """`sensor.quantised` of (b, ...) at (b or 1, 1, 1, 1) levels.

    >>> quantised(np.float32([[-0.5, 0.12, 9.0]]), np.float32([4]), np.float32([10])).round(6).tolist()
    [[-0.4000000059604645, 0.10000000149011612, 1.0]]
    """
    out = np.empty(x.shape, f32)
    _quantised(_rows(x, len(x)), _each(black, len(x)), _each(full, len(x)), out.reshape(len(x), -1))
    return out


def numbers(x: Array, black: Array, full: Array, dtype: object) -> NDArray[Any]:
    """`sensor.numbers` of (b, ...) at (b or 1, 1, 1, 1) levels, of a type that torch or numpy name.

    >>> numbers(np.float32([[0.0, 1.0]]), np.float32([4]), np.float32([10]), "uint8").tolist()
    [[4, 14]]
    """
    out = np.empty(x.shape, str(dtype).removeprefix("torch."))
    _numbers(_rows(x, len(x)), _each(black, len(x)), _each(full, len(x)), out.reshape(len(x), -1))
    return out


def noisy(x: Array, signal: Array, shot: Array, read: Array, unit: Array) -> Array:
    """`sensor.noisy` of (b, c, h, w) with the line (b or 1, c or 1, 1, 1) of each channel and unit normals.

    >>> one = np.ones((1, 1, 1, 1), np.float32)
    >>> noisy(one, one, 3 * one, one, one).item()
    3.0
    """
    out, n = np.empty(x.shape, f32), x.shape[0] * x.shape[1]
    lines = (np.broadcast_to(t, (*x.shape[:2], 1, 1)).astype(f32).ravel() for t in (shot, read))
    _noisy(_rows(x, n), _rows(signal, n), *lines, _rows(unit, n), out.reshape(n, -1))
    return out


def _each(level: Array, n: int) -> Array:
    return np.broadcast_to(level, (n, 1, 1, 1)).astype(f32).ravel()


def _rows(x: Array, n: int) -> Array:
    return np.ascontiguousarray(x).reshape(n, -1)

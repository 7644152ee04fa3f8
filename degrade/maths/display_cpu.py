"""Noise of developed pictures on a CPU, compiled, plane by plane: `display` says what it is."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy import float32 as f32
from numpy import int32 as i32
from numpy import uint64 as u64
from numpy.typing import NDArray

from degrade.maths.compiled import compiled
from degrade.maths.philox_cpu import plane

Array = NDArray[Any]

# the normal distribution from -7 to 7 and its slope, in steps of 1/64: cubics between them are good to 2e-10
_STEPS: Final = 64
_NODES: Final = np.arange(-7 * _STEPS, 7 * _STEPS + 1) / _STEPS
_BELOW: Final = np.array([0.5 * math.erfc(-z * math.sqrt(0.5)) for z in _NODES])
_SLOPE: Final = np.exp(-0.5 * _NODES**2) / math.sqrt(2 * math.pi) / _STEPS
_DECAY: Final = np.exp(-np.arange(12 * 64 + 2) / 64)
_SPAN: Final = 256  #: pixels counted at a time, so that scratch stays in the first cache


@compiled
def _below(z: Any, u: Any) -> None:
    """Share of the normal distribution below ``z``."""
    for j in range(len(z)):
        at = min(max(z[j] * _STEPS + 7.0 * _STEPS, 0.0), 14.0 * _STEPS - 1e-9)
        i = np.int32(at)
        t, a, b, low, step = at - i, _SLOPE[i], _SLOPE[i + 1], _BELOW[i], _BELOW[i + 1] - _BELOW[i]
        u[j] = min(low + t * (a + t * (3.0 * step - 2.0 * a - b + t * (a + b - 2.0 * step))), 1 - 1e-12)


@compiled
def _vanishing(m: Any, y: Any) -> None:
    """``exp(-m)`` for m from 0 to 12."""
    for j in range(len(m)):
        i = np.int32(m[j] * 64.0)
        r = i * (1 / 64) - m[j]
        y[j] = _DECAY[i] * (1.0 + r * (1.0 + r * (0.5 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120))))))


@compiled
def _many(z: Any, mean: Any, out: Any) -> None:
    """Poisson numbers of normal quantiles by the expansion, for means from 12."""
    for i in range(len(z)):
        m, v = mean[i], z[i]
        root, square = np.sqrt(max(m, f32(12.0))), v * v
        count = m + root * v + (f32(1 / 3) + square * f32(1 / 6))
        count -= v * (f32(1 / 36) + square * f32(1 / 72)) / root
        count += (f32(-8 / 405) + square * (f32(7 / 810) + square * f32(1 / 270))) / (root * root)
        out[i] = max(np.floor(count), f32(0))


@compiled
def _few(z: Any, mean: Any, out: Any) -> None:
    """Those of means below 12, by adding up probabilities until they reach the quantile, many at a time."""
    at, (u, m, term, reached, count) = np.empty(_SPAN, np.int64), np.empty((5, _SPAN))
    for start in range(0, len(z), _SPAN):
        n = 0
        for i in range(start, min(start + _SPAN, len(z))):
            at[n] = i
            n += mean[i] < f32(12.0)
        for j in range(n):
            m[j], u[j] = mean[at[j]], z[at[j]]
        _below(u[:n], u[:n])
        _vanishing(m[:n], term[:n])
        reached[:n], count[:n] = term[:n], 0.0
        k, left = 0, n
        while left > 0 and k < 200:
            for _ in range(4):
                k += 1
                inverse = 1 / k
                for j in range(n):
                    before, more = reached[j], term[j] * (m[j] * inverse)
                    count[j] += 1.0 if u[j] > before else 0.0
                    term[j], reached[j] = more, before + more
            left = 0
            for j in range(n):
                left += u[j] > reached[j]
        for j in range(n):
            out[at[j]] = f32(count[j])


@compiled
def _counts(z: Any, mean: Any, out: Any) -> None:
    _many(z, mean, out)
    _few(z, mean, out)


def counts(z: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """`display.poisson_of_normal` of two arrays of one shape.

    >>> counts(np.float32([0, 0]), np.float32([100, 1])).tolist()
    [100.0, 1.0]
    """
    out = np.empty(z.shape, f32)
    _counts(np.ascontiguousarray(z).ravel(), np.ascontiguousarray(mean).ravel(), out.reshape(-1))
    return out


@compiled
def _unit(seed: Any, x: Any, y: Any, c: Any, share: Any, out: Any) -> None:
    """Normal numbers of channel c, or of all channels (-1), into whole lines (h, 4 n), if they have a share."""
    if share > 0:
        plane(True, seed, x, y, max(c, 0), 1 if c < 0 else 0, out.reshape(-1, 4))
    else:
        out[:] = f32(0)


@compiled
def _counters(top: Any, left: Any, h: Any, w: Any) -> Any:
    """Counters of the pixels of whole lines, x and y of each."""
    first = left // 4
    wide = (left + w - 1) // 4 + 1 - first
    x, y = np.empty(h * wide, i32), np.empty(h * wide, i32)
    for i in range(h):
        for j in range(wide):
            x[i * wide + j], y[i * wide + j] = first + j, top + i
    return x, y


@compiled
def _gaussian(x: Any, sigma: Any, grey: Any, seed: Any, top: Any, left: Any, y: Any) -> None:
    h, w = x.shape[2:]
    skip, (at, lines) = left % 4, _counters(top, left, h, w)
    mine, all_ = np.empty((h, len(at) // h * 4), f32), np.empty((h, len(at) // h * 4), f32)
    for b in range(len(x)):
        p, q = sigma[b] * np.sqrt(f32(1) - grey[b]), sigma[b] * np.sqrt(grey[b])
        _unit(seed[b], at, lines, -1, q, all_)
        for c in range(x.shape[1]):
            _unit(seed[b], at, lines, c, p, mine)
            for i in range(h):
                source, line, m, a = x[b, c, i], y[b, c, i], mine[i, skip : skip + w], all_[i, skip : skip + w]
                for j in range(w):
                    line[j] = source[j] + p * m[j] + q * a[j]


@compiled
def _residual(x: Any, unit: Any, full: Any, mean: Any, out: Any) -> None:
    """What counts, ``full`` at white, add to a line."""
    for j in range(len(x)):
        mean[j] = min(max(x[j], f32(0)), f32(1)) * full
    _counts(unit, mean, out)
    for j in range(len(x)):
        out[j] = (out[j] - mean[j]) / full


@compiled
def _poisson(x: Any, scale: Any, full: Any, share: Any, seed: Any, top: Any, left: Any, y: Any) -> None:
    h, w = x.shape[2:]
    skip, (at, lines) = left % 4, _counters(top, left, h, w)
    unit, grey = np.empty((h, len(at) // h * 4), f32), np.empty((h, w), f32)
    mean, some = np.empty(w, f32), np.empty(w, f32)
    for b in range(len(x)):
        p, q = scale[b] * np.sqrt(f32(1) - share[b]), scale[b] * np.sqrt(share[b])
        grey[:] = f32(0)
        if q > 0:
            _unit(seed[b], at, lines, -1, q, unit)
            for i in range(h):
                red, green, blue = x[b, 0, i], x[b, 1, i], x[b, 2, i]
                for j in range(w):
                    some[j] = f32(0.2989) * red[j] + f32(0.587) * green[j] + f32(0.114) * blue[j]
                _residual(some, unit[i, skip : skip + w], full[b], mean, grey[i])
        for c in range(x.shape[1]):
            _unit(seed[b], at, lines, c, p, unit)
            for i in range(h):
                source, line, g = x[b, c, i], y[b, c, i], grey[i]
                if p > 0:
                    _residual(source, unit[i, skip : skip + w], full[b], mean, some)
                    for j in range(w):
                        line[j] = source[j] + p * some[j] + q * g[j]
                else:
                    for j in range(w):
                        line[j] = source[j] + q * g[j]


def gaussian(
    x: NDArray[np.float32], sigma: Array, grey: Array, seed: Array, start: tuple[int, int]
) -> NDArray[np.float32]:
    """`display.gaussian` of (b, 3, h, w).

    >>> y = gaussian(np.zeros((1, 3, 2, 5), f32), np.ones(1), np.ones(1), np.array([7]), (0, 0))
    >>> bool((y[:, 0] == y[:, 1]).all())
    True
    """
    y = np.empty(x.shape, f32)
    _gaussian(np.ascontiguousarray(x), _f32(sigma), _f32(grey), seed.view(u64), *start, y)
    return y


def poisson(
    x: NDArray[np.float32], scale: Array, levels: Array, grey: Array, seed: Array, start: tuple[int, int]
) -> NDArray[np.float32]:
    """`display.poisson` of (b, 3, h, w)."""
    y = np.empty(x.shape, f32)
    _poisson(np.ascontiguousarray(x), _f32(scale), _f32(levels), _f32(grey), seed.view(u64), *start, y)
    return y


def _f32(numbers: Array) -> NDArray[np.float32]:
    return np.ascontiguousarray(numbers, f32)

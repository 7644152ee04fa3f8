"""The fields of `philox` on a CPU, compiled: the same words, and normals that agree to a few units in the last place.

Loops are kept apart so that each becomes vector code: words, logarithm, sine and cosine, interleaving. Logarithm, sine
and cosine are the single-precision polynomials of Cephes (Moshier 1992), good to one unit in the last place.

Planes that share a noise ask for the same field one after the other: the latest is kept, and handed out as a copy.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy import float32 as f32
from numpy import int32 as i32
from numpy import uint32 as u32
from numpy import uint64 as u64
from numpy.typing import NDArray

from degrade.maths.compiled import compiled

_M0, _M1 = u64(0xD2511F53), u64(0xCD9E8D57)
_W0, _W1 = u64(0x9E3779B9), u64(0xBB67AE85)
_LOW, _HALF = u64(0xFFFFFFFF), u64(32)
_ROOT = i32(0x3F3504F3)  #: bits of sqrt(1/2): mantissas are taken from there up to sqrt(2)
_SPAN = 512  #: blocks of four numbers worked on at a time, so that scratch stays in the first cache
KEPT = 2**22  #: numbers of a field, at most, that are kept until the next is made


@compiled
def _words(k0: Any, k1: Any, x: Any, y: Any, c: Any, stream: Any, w: Any) -> None:
    """Philox-4x32-10 of the counters (x, y, c, stream) into the four lines of w."""
    for j in range(len(x)):
        # words stay in 64 bits, of which the lower half counts: the processor's vectors multiply just that
        a0, a1, a2, a3, q0, q1 = u64(u32(x[j])), u64(u32(y[j])), u64(u32(c)), u64(u32(stream)), u64(k0), u64(k1)
        for _ in range(10):
            p0, p1 = _M0 * (a0 & _LOW), _M1 * (a2 & _LOW)
            a0, a1, a2, a3 = (p1 >> _HALF) ^ a1 ^ q0, p1, (p0 >> _HALF) ^ a3 ^ q1, p0
            q0, q1 = q0 + _W0, q1 + _W1
        w[0, j], w[1, j], w[2, j], w[3, j] = u32(a0), u32(a1), u32(a2), u32(a3)


@compiled
def _unit(w: Any, u: Any) -> None:
    """The upper 23 bits as a number in (0, 1)."""
    for j in range(len(w)):
        u[j] = (f32(w[j] >> u32(9)) + f32(0.5)) * f32(2.0**-23)


@compiled
def _radius(w: Any, u: Any, bits: Any, exponent: Any, r: Any) -> None:
    """``sqrt(-2 ln u)`` of ``u = (w + 1/2) 2^-32``; ``bits`` is ``u`` seen as int32."""
    n = len(w)
    for j in range(n):
        u[j] = (f32(w[j]) + f32(0.5)) * f32(2.0**-32)
    for j in range(n):
        t = bits[j] - _ROOT
        exponent[j] = f32(i32(t >> i32(23)))
        bits[j] = i32((t & i32(0x7FFFFF)) + _ROOT)
    for j in range(n):
        z, e = u[j] - f32(1.0), exponent[j]
        p = f32(7.0376836292e-2) * z + f32(-1.1514610310e-1)
        p = p * z + f32(1.1676998740e-1)
        p = p * z + f32(-1.2420140846e-1)
        p = p * z + f32(1.4249322787e-1)
        p = p * z + f32(-1.6668057665e-1)
        p = p * z + f32(2.0000714765e-1)
        p = p * z + f32(-2.4999993993e-1)
        p = p * z + f32(3.3333331174e-1)
        tail = p * z * (z * z) + e * f32(-2.12194440e-4) - f32(0.5) * (z * z)
        r[j] = np.sqrt(f32(-2.0) * (z + tail + e * f32(0.693359375)))


@compiled
def _circle(w: Any, r: Any, x: Any, y: Any) -> None:
    """``r cos`` and ``r sin`` of the angle whose turns are the upper 24 bits of ``w``."""
    for j in range(len(w)):
        quarters = (f32(w[j] >> u32(8)) + f32(0.5)) * f32(2.0**-22)
        k = np.floor(quarters + f32(0.5))
        t = (quarters - k) * f32(1.5707963267948966)
        t2 = t * t
        sine = ((f32(-1.9515295891e-4) * t2 + f32(8.3321608736e-3)) * t2 + f32(-1.6666654611e-1)) * t2 * t + t
        cosine = (f32(2.443315711809948e-5) * t2 + f32(-1.388731625493765e-3)) * t2 + f32(4.166664568298827e-2)
        cosine = cosine * t2 * t2 - f32(0.5) * t2 + f32(1.0)
        half = np.floor(k * f32(0.5))
        odd = k - f32(2.0) * half
        sign = f32(1.0) - f32(2.0) * (half - f32(2.0) * np.floor(half * f32(0.5)))
        x[j] = r[j] * sign * (cosine + odd * (-sine - cosine))
        y[j] = r[j] * sign * (sine + odd * (cosine - sine))


@compiled
def plane(normal: Any, seed: Any, x: Any, y: Any, c: Any, stream: Any, out: Any) -> None:
    """The numbers of all counters (x, y) of one seed and channel, normal or uniform, into (n, 4)."""
    w, v = np.empty((4, _SPAN), u32), np.empty((4, _SPAN), f32)
    u, e, r = np.empty(_SPAN, f32), np.empty(_SPAN, f32), np.empty(_SPAN, f32)
    bits = u.view(i32)
    n, k0, k1 = len(x), u32(seed & _LOW), u32(seed >> _HALF)
    for s in range(0, n, _SPAN):
        m = min(_SPAN, n - s)
        _words(k0, k1, x[s : s + m], y[s : s + m], c, stream, w)
        for i in range(0, 4, 2):
            if normal:
                _radius(w[i, :m], u, bits, e, r)
                _circle(w[i + 1, :m], r, v[i], v[i + 1])
            else:
                _unit(w[i, :m], v[i])
                _unit(w[i + 1, :m], v[i + 1])
        for j in range(m):
            for i in range(4):
                out[s + j, i] = v[i, j]


@compiled
def _fill(normal: Any, seed: Any, x: Any, y: Any, stream: Any, out: Any) -> None:
    """Planes of (b, c, n, 4)."""
    for b in range(out.shape[0]):
        for c in range(out.shape[1]):
            plane(normal, seed[b], x, y, c, stream, out[b, c])


def counters(x: NDArray[np.integer[Any]], y: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Counters ``x`` by ``y``, x and y of each, line by line.

    >>> [n.tolist() for n in counters(np.arange(2), np.arange(3))]
    [[0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2]]
    """
    return np.tile(x.astype(i32), len(y)), np.repeat(y.astype(i32), len(x))


def field(
    kind: str, seed: NDArray[np.int64], channels: int, x: NDArray[np.int64], y: NDArray[np.int64], stream: int
) -> NDArray[np.float32]:
    """Numbers of the counters ``x`` by ``y`` for each seed and channel: (b, c, len(y), 4 len(x)) float32.

    >>> field("uniform", np.array([7]), 1, np.arange(2), np.arange(3), 0).shape
    (1, 1, 3, 8)
    """
    if 4 * len(seed) * channels * len(x) * len(y) > KEPT:
        return _made(kind, seed, channels, x, y, stream)
    return _latest(kind, seed.tobytes(), channels, x.tobytes(), y.tobytes(), stream).copy()


@functools.lru_cache(1)
def _latest(kind: str, seed: bytes, channels: int, x: bytes, y: bytes, stream: int) -> NDArray[np.float32]:
    seeds, across, down = (np.frombuffer(n, np.int64) for n in (seed, x, y))
    return _made(kind, seeds, channels, across, down, stream)


def _made(
    kind: str, seed: NDArray[np.int64], channels: int, x: NDArray[np.int64], y: NDArray[np.int64], stream: int
) -> NDArray[np.float32]:
    out = np.empty((len(seed), channels, len(x) * len(y), 4), f32)
    _fill(kind == "normal", seed.astype(u64), *counters(x, y), stream, out)
    return out.reshape(len(seed), channels, len(y), 4 * len(x))

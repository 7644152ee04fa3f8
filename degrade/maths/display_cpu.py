"""Poisson numbers of normal quantiles on a CPU, compiled; `display.poisson_of_normal` says what they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import float32 as f32
from numpy.typing import NDArray

from degrade.maths.compiled import compiled


@compiled
def _many(z: Any, mean: Any, out: Any) -> None:
    for i in range(len(z)):
        m, v = mean[i], z[i]
        root, square = np.sqrt(max(m, f32(12.0))), v * v
        count = m + root * v + (f32(1 / 3) + square * f32(1 / 6))
        count -= v * (f32(1 / 36) + square * f32(1 / 72)) / root
        count += (f32(-8 / 405) + square * (f32(7 / 810) + square * f32(1 / 270))) / (root * root)
        out[i] = max(np.floor(count), f32(0))


@compiled
def _few(z: Any, mean: Any, out: Any) -> None:
    for i in range(len(z)):
        if mean[i] < f32(12.0):
            m = float(mean[i])
            u = min(0.5 * math.erfc(-float(z[i]) * math.sqrt(0.5)), 1 - 1e-12)
            term = math.exp(-m)
            reached, k = term, 0
            while u > reached and k < 200:
                k += 1
                term *= m / k
                reached += term
            out[i] = f32(k)


def poisson_of_normal(z: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts of the quantiles of ``z``, of its shape.

    >>> poisson_of_normal(np.float32([0, 0]), np.float32([100, 1])).tolist()
    [100.0, 1.0]
    """
    out = np.empty(z.shape, f32)
    flat = np.ascontiguousarray(z).ravel(), np.ascontiguousarray(mean).ravel(), out.reshape(-1)
    _many(*flat)
    _few(*flat)
    return out

"""The sums of `resize` on a CPU, compiled: down in whole rows, across in vectors of gathered samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32 as f32
from numpy.typing import NDArray

from degrade.maths.compiled import compiled


@compiled
def _down(x: Any, index: Any, weight: Any, y: Any) -> None:
    """(n, h, w) to (n, m, w)."""
    for i in range(x.shape[0]):
        for o in range(y.shape[1]):
            line = y[i, o]
            line[:] = f32(0)
            for k in range(weight.shape[1]):
                w = weight[o, k]
                if w != f32(0):
                    source = x[i, index[o, k]]
                    for j in range(len(line)):
                        line[j] += w * source[j]


@compiled
def _across(x: Any, index: Any, weight: Any, y: Any) -> None:
    """(n, w) to (n, m); index and weight are (k, m)."""
    for i in range(x.shape[0]):
        source, line = x[i], y[i]
        line[:] = f32(0)
        for k in range(weight.shape[0]):
            at, w = index[k], weight[k]
            for o in range(len(line)):
                line[o] += w[o] * source[at[o]]


def summed(x: NDArray[np.float32], rows: Any, columns: Any) -> NDArray[np.float32]:
    """What `resize.resample` gives for (b, c, h, w) float32: the cheaper axis first."""
    b, c, h, w = x.shape
    (down, across), x = (len(rows[0]), len(columns[0])), np.ascontiguousarray(x).reshape(-1, h, w)
    for axis in ("rows", "columns") if down <= h else ("columns", "rows"):
        if axis == "rows":
            y = np.empty((b * c, down, x.shape[2]), f32)
            _down(x, *rows, y)
        else:
            y = np.empty((b * c, x.shape[1], across), f32)
            index, weight = (np.ascontiguousarray(t.T) for t in columns)
            _across(x.reshape(-1, w), index, weight, y.reshape(-1, across))
        x = y
    return x.reshape(b, c, down, across)

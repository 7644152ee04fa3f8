"""Convolution with small kernels on a CPU, compiled: as a sum of separable ones where that is less work.

A kernel is peeled: its largest sample's column and row make a separable kernel that agrees with it on both; taken away,
the rest has rank one less. A Gaussian along the axes is gone after one step, a smooth kernel after a few. A term costs
two lines of products where the kernel itself has as many lines as its side, so that what is not gone after half as
many steps is convolved as it stands.

Source: Bebendorf 2000 (cross approximation, with full pivoting).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy import float32 as f32
from numpy.typing import NDArray

from degrade.maths.compiled import compiled

#: Columns and rows (u, k, k + 3), the latter those of the kernel where it is not peeled; terms, radius, whether peeled.
Terms = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]

REST: Final = 1e-6  #: sum of the samples' sizes that may be left out: the error, in white, is no larger


@compiled
def _peel(kernel: Any, columns: Any, rows: Any) -> Any:
    """Writes the terms' columns and rows, turned round; their number, the radius kept, and whether they are separable.

    Lines are followed by zeros up to a multiple of four.
    """
    middle, total = len(kernel) // 2, np.abs(kernel).sum()
    radius = middle
    while radius > 0:  # the ring that would go, and all outside it
        low, high = middle - radius + 1, middle + radius
        if total - np.abs(kernel[low:high, low:high]).sum() > REST / 2:
            break
        radius -= 1
    side = 2 * radius + 1
    rest = kernel[middle - radius : middle + radius + 1, middle - radius : middle + radius + 1][::-1, ::-1].copy()
    whole = rest.copy()
    for term in range(side // 2 + 1):
        left, most, y, x = 0.0, -1.0, 0, 0
        for i in range(side):
            for j in range(side):
                size = abs(rest[i, j])
                left += size
                if size > most:
                    most, y, x = size, i, j
        if left <= REST / 2:
            return term, radius, True
        if 2 * (term + 1) >= side:
            break
        for i in range(side):
            columns[term, i], rows[term, i] = rest[i, x] / rest[y, x], rest[y, i]
        for i in range(side):
            if i != y:
                rest[i] -= rest[i, x] / rest[y, x] * rest[y]
        rest[y] = 0.0
    rows[:side, :side] = whole
    return side, radius, False


@compiled
def _mirrored(i: Any, n: Any) -> Any:
    """Index ``i`` reflected about the outermost of n samples."""
    if n == 1:
        return 0
    i = abs(i) % (2 * n - 2)
    return min(i, 2 * n - 2 - i)


@compiled
def _pad(x: Any, radius: Any, y: Any) -> None:
    """(h, w) into the middle of its reflection; what a line of zeros may touch is finite."""
    h, w = x.shape
    for i in range(h + 2 * radius):
        source, line = x[_mirrored(i - radius, h)], y[i]
        line[radius : radius + w] = source
        for j in range(radius):
            line[j], line[radius + w + j] = source[_mirrored(j - radius, w)], source[_mirrored(w + j, w)]
        line[2 * radius + w :] = f32(0)
    y[h + 2 * radius :] = f32(0)


@compiled
def _down(x: Any, weight: Any, side: Any, line: Any) -> None:
    """``line[j] = sum_k weight[k] x[k, j]``."""
    for k in range(0, side, 4):
        a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
        p, q, r, s = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        if k == 0:
            for j in range(len(line)):
                line[j] = p * a[j] + q * b[j] + r * c[j] + s * d[j]
        else:
            for j in range(len(line)):
                line[j] += p * a[j] + q * b[j] + r * c[j] + s * d[j]


@compiled
def _across(x: Any, weight: Any, side: Any, line: Any) -> None:
    """``line[j] += sum_k weight[k] x[j + k]``."""
    n = len(line)
    for k in range(0, side, 4):
        a, p, q, r, s = x[k : k + n + 3], weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        for j in range(n):
            line[j] += p * a[j] + q * a[j + 1] + r * a[j + 2] + s * a[j + 3]


@compiled
def _peel_all(kernel: Any, columns: Any, rows: Any, terms: Any, radius: Any, separable: Any) -> None:
    for i in range(len(kernel)):
        terms[i], radius[i], separable[i] = _peel(kernel[i], columns[i], rows[i])


@compiled
def _planes(x: Any, index: Any, columns: Any, rows: Any, terms: Any, radius: Any, separable: Any, out: Any) -> None:
    """(n, h, w), each with kernel ``index`` of it, or left where that is -1."""
    (n, h, w), k = x.shape, rows.shape[-1]
    padded, line = np.empty((h + k, w + k), f32), np.empty(w + k, f32)
    for i in range(n):
        u = index[i]
        if u < 0:
            continue
        side, wide = 2 * radius[u] + 1, w + 2 * radius[u] + 4
        _pad(x[i], radius[u], padded)
        for y in range(h):
            out[i, y] = f32(0)
            for t in range(terms[u]):
                if separable[u]:
                    _down(padded[y:], columns[u, t], side, line[:wide])
                    _across(line, rows[u, t], side, out[i, y])
                else:
                    _across(padded[y + t], rows[u, t], side, out[i, y])


def peeled(kernel: NDArray[np.float32]) -> Terms:
    """Kernels (u, k, k) as sums of separable ones, or as they are."""
    u, k = kernel.shape[:2]
    (columns, rows), (count, radius) = np.zeros((2, u, k, k + 3), f32), np.zeros((2, u), np.int64)
    terms = columns, rows, count, radius, np.zeros(u, np.bool_)
    _peel_all(kernel.astype(np.float64), *terms)
    return terms


def products(terms: Terms) -> NDArray[np.int64]:
    """How many products a sample takes with each kernel.

    >>> bell = np.exp(-0.5 * np.arange(-4, 5.0, dtype=f32) ** 2)
    >>> products(peeled(np.stack((np.outer(bell, bell), np.eye(9, dtype=f32)))))
    array([18, 81])
    """
    _, _, count, radius, separable = terms
    return count * (2 * radius + 1) * (1 + separable)


def convolve(x: NDArray[np.float32], terms: Terms, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """True convolution of (b, c, h, w), mirrored at the border; ``index`` (b, c) says which kernel, -1 leaves a gap.

    >>> dot, kernel = np.zeros((1, 1, 5, 5), f32), np.arange(9.0, dtype=f32).reshape(1, 3, 3)
    >>> dot[0, 0, 2, 2] = 1
    >>> convolve(dot, peeled(kernel), np.zeros((1, 1), np.int64))[0, 0, 1:4, 1:4].tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    """
    h, w = x.shape[-2:]
    out = np.empty(x.shape, f32)
    planes = np.ascontiguousarray(x).reshape(-1, h, w)
    _planes(planes, np.ascontiguousarray(index).ravel(), *terms, out.reshape(-1, h, w))
    return out

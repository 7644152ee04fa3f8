"""The loops of `palette`, compiled: a histogram of colours, Lloyd's iteration, the nearest colour by a table of cells.

Colours are counted in 64 x 64 x 64 cells between their least and greatest values. A cell lists every colour that is
nearest somewhere in its box: ``d_j - d_i`` is linear in the pixel, so its least value over the box is that at the
middle less ``sum |step (c_j - c_i)|``. Most cells list one colour; in the others the few listed are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from degrade.maths.compiled import compiled

SIDE = 64  #: cells each way
LISTED = 16  #: colours that a cell can list; with more, a pixel is compared with all


@compiled
def _cell(a: Any, b: Any, c: Any, low: Any, scale: Any) -> int:
    """The cell that a pixel lies in."""
    i = min(int((a - low[0]) * scale[0]), SIDE - 1)
    j = min(int((b - low[1]) * scale[1]), SIDE - 1)
    k = min(int((c - low[2]) * scale[2]), SIDE - 1)
    return (i * SIDE + j) * SIDE + k


@compiled
def tally(x: Any, low: Any, scale: Any, table: Any) -> None:
    """Adds the pixels of (3, n) to a (cells, 4) table of sums and counts."""
    for p in range(x.shape[1]):
        a, b, c = x[0, p], x[1, p], x[2, p]
        i = _cell(a, b, c, low, scale)
        table[i, 0] += a
        table[i, 1] += b
        table[i, 2] += c
        table[i, 3] += 1


@compiled
def seeds(means: Any, weight: Any, unit: Any, chosen: Any) -> int:
    """Which of the means (m, 3) k-means++ chooses, each the best of a few candidates; how many there are."""
    m = len(means)
    mass, closest = np.empty(m), np.full(m, np.float32(np.inf))
    for step in range(len(chosen)):
        total = 0.0
        for i in range(m):
            total += weight[i] * closest[i] if step else weight[i]
            mass[i] = total
        if total <= 0:  # every colour is chosen
            return step
        least = np.inf
        for n in range(unit.shape[1] if step else 1):
            one = min(np.searchsorted(mass, unit[step, n] * total, side="right"), m - 1)
            a, b, c, cost = means[one, 0], means[one, 1], means[one, 2], 0.0
            for i in range(m):
                d = (means[i, 0] - a) ** 2 + (means[i, 1] - b) ** 2 + (means[i, 2] - c) ** 2
                cost += weight[i] * min(d, closest[i])
            if cost < least:
                least, chosen[step] = cost, one
        a, b, c = means[chosen[step], 0], means[chosen[step], 1], means[chosen[step], 2]
        for i in range(m):
            d = (means[i, 0] - a) ** 2 + (means[i, 1] - b) ** 2 + (means[i, 2] - c) ** 2
            closest[i] = min(d, closest[i])
    return len(chosen)


@compiled
def lloyd(means: Any, weight: Any, centres: Any, sums: Any) -> float:
    """One iteration: (k, 4) weighted sums and weights of the means (m, 3) nearest to centres (3, k); the cost."""
    k = centres.shape[1]
    d = np.empty(k, np.float32)
    sums[:] = 0
    cost = 0.0
    for i in range(len(means)):
        a, b, c = means[i, 0], means[i, 1], means[i, 2]
        for j in range(k):
            d[j] = (a - centres[0, j]) ** 2 + (b - centres[1, j]) ** 2 + (c - centres[2, j]) ** 2
        best = 0
        for j in range(1, k):
            best = j if d[j] < d[best] else best
        w = weight[i]
        sums[best, 0] += w * a
        sums[best, 1] += w * b
        sums[best, 2] += w * c
        sums[best, 3] += w
        cost += w * d[best]
    return cost


@compiled
def _candidates(cell: Any, low: Any, step: Any, colours: Any, d: Any, listed: Any) -> int:
    """Lists the colours (3, k) that are nearest somewhere in a cell; how many, 0 where they are too many to list."""
    k = colours.shape[1]
    a = low[0] + (cell // (SIDE * SIDE) + 0.5) * step[0]
    b = low[1] + (cell // SIDE % SIDE + 0.5) * step[1]
    c = low[2] + (cell % SIDE + 0.5) * step[2]
    for j in range(k):
        d[j] = (a - colours[0, j]) ** 2 + (b - colours[1, j]) ** 2 + (c - colours[2, j]) ** 2
    i = 0
    for j in range(1, k):
        i = j if d[j] < d[i] else i
    found = 0
    for j in range(k):
        swing = (
            abs(colours[0, j] - colours[0, i]) * step[0]
            + abs(colours[1, j] - colours[1, i]) * step[1]
            + abs(colours[2, j] - colours[2, i]) * step[2]
        )
        if d[j] - d[i] <= swing * 1.0001 + 1e-6:  # float32 pixels may lie a rounding outside their cell
            if found == LISTED:
                return 0
            listed[found] = j
            found += 1
    return found


@compiled
def assign(x: Any, low: Any, scale: Any, colours: Any, out: Any) -> None:
    """The index of the nearest colour (3, k) of each pixel of (3, n), the first of equals; cells are listed as met."""
    every, cells = colours.shape[1], SIDE**3
    only = np.full(cells, -1, np.int16)  # the one colour of a cell; -1 not met yet, -2 several
    count, listed = np.empty(cells, np.int16), np.empty((cells, LISTED), np.int16)
    step, d = 1 / scale.astype(np.float64), np.empty(every)
    for p in range(x.shape[1]):
        a, b, c = x[0, p], x[1, p], x[2, p]
        cell = _cell(a, b, c, low, scale)
        best = only[cell]
        if best == -1:
            count[cell] = _candidates(cell, low, step, colours, d, listed[cell])
            best = only[cell] = listed[cell, 0] if count[cell] == 1 else -2
        if best == -2:
            nearest, m = np.float32(np.inf), count[cell]
            for i in range(m if m else every):
                j = listed[cell, i] if m else i
                e = (a - colours[0, j]) ** 2 + (b - colours[1, j]) ** 2 + (c - colours[2, j]) ** 2
                if e < nearest:
                    best, nearest = j, e
        out[p] = best

"""Photon transfer: the straight line ``variance = k1 * mean + k0`` from pictures of an even light, robustly.

Of two pictures A and B of the same light, tile by tile: ``mean = (A + B) / 2`` and ``variance = Var(A - B) / 2``, from
which everything that stands still (vignetting, PRNU, DSNU, a slightly brighter B) has gone.  A variance from n samples
has the relative error ``sqrt(2 / (n - 1))``; the line is fitted with these errors, taken from the line itself: errors
taken from the measured variances would favour the low ones and bias it down.

Source: Janesick, Photon Transfer (SPIE 2007); Huber, Robust Statistics (1981); the one-picture residual is that of
Immerkaer, Fast noise variance estimation (CVIU 1996).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from degrade.maths.types import Array

OUTLIER = 5.0  #: samples beyond so many sigma (a cosmic ray, a blinking pixel) are left out; costs 1.5e-5 of variance
_CORNER = 2.0  # residuals beyond so many sigma pull with a constant force (Huber's corner)


class Points(NamedTuple):
    """Measured tiles; all arrays have the same shape, planes first: ``(c, tiles)``."""

    mean: Array  #: [DN]
    variance: Array  #: [DN^2]
    dof: Array  #: degrees of freedom of the variance


class Line(NamedTuple):
    """A fitted line and one standard error of each coefficient."""

    k1: float  #: slope [DN]
    k0: float  #: value at mean 0 [DN^2]
    k1_error: float
    k0_error: float

    def at(self, mean: ArrayLike) -> Array:
        """Variance [DN^2] at some means [DN]."""
        return self.k1 * np.asarray(mean, np.float64) + self.k0

    def interval(self, name: str, sigmas: float = 1.96) -> tuple[float, float]:
        """Confidence interval of ``k1`` or ``k0``; 1.96 sigma hold 95%.

        >>> Line(2.0, 10.0, 0.5, 1.0).interval("k1", sigmas=2)
        (1.0, 3.0)
        """
        value, error = (self.k1, self.k1_error) if name == "k1" else (self.k0, self.k0_error)
        return value - sigmas * error, value + sigmas * error


def fit(mean: ArrayLike, variance: ArrayLike, dof: ArrayLike, floor: ArrayLike = 0.0) -> Line:
    """Robust line through measured variances.

    Starts at Theil and Sen's median of slopes, then reweights: each point by its known error, at most Huber's pull.

    Args:
        mean: (n,) signal above black [DN].
        variance: (n,) variance without that of rounding [DN^2].
        dof: degrees of freedom of each variance, above 0.
        floor: what was subtracted from each variance (rounding, step^2 / 12) and still feeds its error [DN^2].

    Raises:
        ValueError: with fewer than 3 points, or all at one mean.

    >>> line = fit([0, 100, 200, 300], [10, 210, 410, 610], 10000)
    >>> round(line.k1, 2), round(line.k0, 2)
    (2.0, 10.0)
    """
    x, y, freedom, rounding = (a.ravel() for a in np.broadcast_arrays(*_floats(mean, variance, dof, floor)))
    if len(x) < 3 or np.ptp(x) <= 0:
        raise ValueError(f"a line needs 3 points or more at different means, got {len(x)} over {_span(x)} DN")
    design = np.stack([x, np.ones_like(x)], 1)
    shift = np.array([0.0, float(rounding.min())])
    line, least = _theil_sen(x, y + rounding)
    line = line - shift
    scale = 1.0
    for _ in range(100):
        off, error = _residual(design @ line, y, freedom, rounding, least)
        scale = max(1.4826 * float(np.median(np.abs(off))), 1e-9)
        weight = np.minimum(1, _CORNER * scale / np.maximum(np.abs(off), 1e-30)) / error**2
        step = _damped(_solve(design, weight, off * error), design, line + shift)
        line = line + step
        if float(np.abs(design @ step / error).max()) < 1e-9:
            break
    off, error = _residual(design @ line, y, freedom, rounding, least)
    off = off / scale
    pull = np.clip(off, -_CORNER, _CORNER)
    spread = scale**2 * float((pull**2).mean()) / max(float((np.abs(off) < _CORNER).mean()), 0.1) ** 2
    covariance = spread * len(x) / (len(x) - 2) * np.linalg.inv((design / error[:, None] ** 2).T @ design)
    return Line(*(float(v) for v in (*line, *np.sqrt(np.diag(covariance)))))


def pair_points(a: Array, b: Array, tile: int) -> Points:
    """Means and variances of the tiles of two pictures of the same light.

    Args:
        a, b: (c, h, w) DN.
        tile: side of a tile [pixels]; a rest at the right and lower border is left out.

    Raises:
        ValueError: if the shapes differ or hold no tile.

    >>> rng = np.random.default_rng(0)
    >>> a, b = 100 + 3 * rng.standard_normal((2, 1, 64, 64))
    >>> points = pair_points(a, b, 32)
    >>> points.mean.shape, bool(abs(points.variance.mean() - 9) < 0.5)
    ((1, 4), True)
    """
    if a.shape != b.shape:
        raise ValueError(f"a pair needs equal shapes, got {a.shape} and {b.shape}")
    # plane by plane: a full frame in double precision is large
    planes = [_pair(x[None], y[None], tile) for x, y in zip(a, b, strict=True)]
    return Points(*(np.concatenate(values) for values in zip(*planes, strict=True)))


def _pair(a: Array, b: Array, tile: int) -> Points:
    first, second = _tiles(a, tile), _tiles(b, tile)
    keep = inliers(first - second)
    n = keep.sum(-1)
    _, variance = _moments(first - second, keep)
    mean = ((first + second) * keep).sum(-1) / (2 * np.maximum(n, 1))
    return Points(mean, variance / 2, np.maximum(n - 1.0, 1.0))


def picture_points(picture: Array, tile: int = 8) -> tuple[Points, Array]:
    """Means and variances of the tiles of one picture, and how much coarser structure each tile holds.

    The variance is half the mean square of the differences of neighbours in a row and in a column; it counts the
    finest texture and PRNU as noise.  The structure is the variance of the means of 4 x 4 blocks of the tile, times the
    pixels of a block, hence equal to the variance where there is nothing but noise.

    Args:
        picture: (c, h, w) DN.
        tile: side of a tile [pixels], divisible by 4.

    Returns:
        Points and structure, all ``(c, tiles)``.

    >>> noise = 3 * np.random.default_rng(0).standard_normal((1, 64, 64))
    >>> points, structure = picture_points(noise)
    >>> bool(abs(points.variance.mean() - 9) < 0.5), bool(abs(structure.mean() - 9) < 1.5)
    (True, True)
    """
    means = _tiles(picture, tile)
    c, n, _ = means.shape
    square = means.reshape(c, n, tile, tile)
    # inside the tile: a difference across its border would see the edge of the patch that it lies in
    rows, columns = (np.diff(square, axis=axis).reshape(c, n, -1) for axis in (2, 3))
    steps = np.concatenate([rows, columns], -1)
    keep = inliers(steps)
    used = keep.sum(-1)
    variance = (steps**2 * keep).sum(-1) / (2 * used)
    blocks = means.reshape(c, n, 4, tile // 4, 4, tile // 4).mean((3, 5)).reshape(c, n, 16)
    # neighbouring differences share pixels, which leaves them the worth of 0.4 independent samples each
    points = Points(means.mean(-1), variance, 0.4 * used)
    return points, blocks.var(-1, ddof=1) * (tile // 4) ** 2


def inliers(samples: Array) -> NDArray[np.bool_]:
    """Samples within `OUTLIER` sigma of the mean along the last axis, sigma without those beyond.

    >>> inliers(np.array([*([0.0, 1.0] * 50), 1000.0])).sum()
    np.int64(100)
    """
    keep = np.ones(samples.shape, bool)
    for _ in range(4):
        mean, variance = _moments(samples, keep)
        keep = (samples - mean[..., None]) ** 2 <= OUTLIER**2 * variance[..., None]
    return keep


def _moments(samples: Array, keep: NDArray[np.bool_]) -> tuple[Array, Array]:
    n = np.maximum(keep.sum(-1), 2)
    mean = (samples * keep).sum(-1) / n
    return mean, (((samples - mean[..., None]) * keep) ** 2).sum(-1) / (n - 1)


def _tiles(picture: Array, tile: int) -> Array:
    """(c, tiles, tile * tile)."""
    c, h, w = picture.shape
    rows, columns = h // tile, w // tile
    if rows * columns == 0:
        raise ValueError(f"a picture of {h} x {w} holds no tile of {tile} x {tile}")
    cut = picture[:, : rows * tile, : columns * tile].reshape(c, rows, tile, columns, tile)
    return cut.swapaxes(2, 3).reshape(c, rows * columns, tile * tile)


def _damped(step: Array, design: Array, line: Array) -> Array:
    """The step, shortened so that no point's expected variance falls to less than a quarter.

    Without that bound a step to a negative k0 would give the darkest points all the weight, and never come back.
    """
    now, change = design @ line, design @ step
    falls = (change < 0) & (now > 0)
    return step * min(1.0, float((-0.75 * now[falls] / change[falls]).min())) if falls.any() else step


def _residual(line: Array, y: Array, dof: Array, rounding: Array, least: float) -> tuple[Array, Array]:
    """Residuals in sigma, and sigma [DN^2].

    A variance is skewed as chi square is, and Huber's pull on a skewed residual would bias the line down; its cube root
    is normal to a good approximation (Wilson and Hilferty 1931).
    """
    expected = np.maximum(line + rounding, least)
    root = np.cbrt(np.maximum(y + rounding, 0) / expected)
    return 3 * np.sqrt(dof / 2) * (root - 1 + 2 / (9 * dof)), expected * np.sqrt(2 / dof)


def _theil_sen(x: Array, y: Array) -> tuple[Array, float]:
    """Median of the slopes between the medians of up to 24 groups of neighbours in x, made positive.

    Beside it a variance that surely is too small.
    """
    groups = np.array_split(np.argsort(x, kind="stable"), min(24, len(x)))
    mx, my = (np.array([np.median(values[g]) for g in groups]) for values in (x, y))
    i, j = np.triu_indices(len(groups), 1)
    least = max(1e-6 * float(my.min()), 1e-30)
    apart = mx[j] > mx[i]
    if not apart.any():
        return np.array([0.0, np.median(y)]), least
    slope = float(np.median((my[j] - my[i])[apart] / (mx[j] - mx[i])[apart]))
    return np.array([slope, max(float(np.median(my - slope * mx)), 1000 * least - min(slope, 0) * x.max())]), least


def _solve(design: Array, weight: Array, y: Array) -> Array:
    root = np.sqrt(weight)[:, None]
    return np.asarray(np.linalg.lstsq(design * root, y * root[:, 0], rcond=None)[0], np.float64)


def _floats(*values: ArrayLike) -> list[Array]:
    return [np.asarray(v, np.float64) for v in values]


def _span(x: Array) -> float:
    return float(np.ptp(x)) if len(x) else 0.0

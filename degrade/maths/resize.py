"""Resampling from n samples to m that cover the same ground: sample ``o`` of m lies at ``(o + 1/2) n / m - 1/2``.

Each axis is a short sum over input samples, ``y[o] = sum_k w[o, k] x[i[o, k]]``; the plane is one such sum after the
other.  The first and last outer edges stay where they are, so nothing slips, whatever the sizes.

- antialiased: the kernel is as wide as the coarser grid and cut at the border (Pillow's `resize`);
- not antialiased: the kernel is one input sample wide, the border sample is repeated (torch's ``interpolate`` with
  ``align_corners=False``; its bicubic has a = -3/4, its area is the plain mean of all samples touched);
- with a Gaussian before it, of ``(n / m - 1) / 2`` samples, mirrored at the border (scikit-image's ``resize``).

Source: Keys 1981 (cubic convolution); Mitchell and Netravali 1988; Duchon 1979 (Lanczos windows); Unser 1999 (splines).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.maths.twin import twin
from degrade.maths.types import Array

Taps = tuple[NDArray[np.int32], NDArray[np.float32]]  #: (m, k) indices into the n samples, and their weights

_POLE: Final = 3**0.5 - 2  #: of the cubic spline; its powers fall below 1e-8 in 14 samples
_SPAN: Final = 14


def _cubic(x: Array, b: float, c: float) -> Array:
    """Mitchell and Netravali's family of cubics."""
    x = np.abs(x)
    near = ((12 - 9 * b - 6 * c) * x + (-18 + 12 * b + 6 * c)) * x * x + (6 - 2 * b)
    far = (((-b - 6 * c) * x + (6 * b + 30 * c)) * x + (-12 * b - 48 * c)) * x + (8 * b + 24 * c)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0)) / 6


#: By name: support [samples of the coarser grid] and shape.
_SHAPES: Final[dict[str, tuple[float, Callable[[Array], Array]]]] = {
    "box": (0.5, lambda x: ((x > -0.5) & (x <= 0.5)).astype(np.float64)),
    "bilinear": (1.0, lambda x: np.maximum(1 - np.abs(x), 0)),
    "hamming": (1.0, lambda x: np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0)),
    "bicubic": (2.0, lambda x: _cubic(x, 0, 0.5)),
    "sharp": (2.0, lambda x: _cubic(x, 0, 0.75)),
    "mitchell": (2.0, lambda x: _cubic(x, 1 / 3, 1 / 3)),
    "spline": (2.0, lambda x: _cubic(x, 1, 0)),
    "lanczos": (3.0, lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)),
}
KERNELS: Final = ("nearest", "area", *(n for n in _SHAPES if n != "sharp"))


def support(kernel: str, step: float, antialias: bool = True, gaussian: bool = False) -> float:
    """How far from its place an output sample looks [input samples], ``step`` of which make an output sample.

    >>> support("bicubic", 4.0), support("bicubic", 4.0, antialias=False), support("lanczos", 0.5)
    (8.0, 2.0, 3.0)
    """
    if kernel in ("nearest", "area"):
        reach = max(1.0, step) / 2 + (kernel == "area")
    else:
        reach = _SHAPES[kernel][0] * (max(1.0, step) if antialias and not gaussian else 1.0)
    return reach + len(_before(kernel, step, gaussian)) // 2


@lru_cache(maxsize=256)
def taps(n: int, m: int, kernel: str, antialias: bool = True, gaussian: bool = False) -> Taps:
    """The m short sums over n samples, each (m, k); a sum has as many terms as the longest needs.

    Raises:
        ValueError: for an unknown kernel, or no samples.

    >>> index, weight = taps(4, 2, "bilinear", antialias=False)
    >>> index.tolist(), weight.tolist()
    ([[0, 1], [2, 3]], [[0.5, 0.5], [0.5, 0.5]])
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}, must be one of {', '.join(KERNELS)}")
    if n < 1 or m < 1:
        raise ValueError(f"cannot resample {n} samples to {m}: need at least one of each")
    step, o = n / m, np.arange(m)
    line = _before(kernel, step, gaussian)
    if kernel == "nearest":
        index, weight = np.minimum(((2 * o + 1) * n // (2 * m)), n - 1)[:, None], np.ones((m, 1))
    elif kernel == "area":
        first, last = o * n // m, -(-(o + 1) * n // m)
        index = first[:, None] + np.arange(int((last - first).max()))
        edges = np.clip(np.stack((index, index + 1)), (o * step)[:, None], ((o + 1) * step)[:, None])
        weight = (edges[1] - edges[0]) if antialias else (index < last[:, None]).astype(np.float64)
    else:
        wide = max(1.0, step) if antialias and not gaussian else 1.0
        reach, shape = _SHAPES["sharp" if kernel == "bicubic" and not (antialias or gaussian) else kernel]
        centre = (o + 0.5) * step
        first = np.floor(centre - reach * wide + 0.5).astype(np.int64)
        index = first[:, None] + np.arange(int(np.floor(centre + reach * wide + 0.5).max(initial=0) - first[-1]) + 2)
        weight = shape((index + 0.5 - centre[:, None]) / wide)
    if len(line) > 1:
        r = len(line) // 2
        index = index[:, :1] - r + np.arange(index.shape[1] + 2 * r)
        weight = np.sum([w * np.pad(weight, ((0, 0), (i, 2 * r - i))) for i, w in enumerate(line)], axis=0)
    if gaussian or kernel == "spline":
        index = _mirrored(index, n)
    elif antialias:
        weight = np.where((index >= 0) & (index < n), weight, 0.0)
    used = (weight != 0).any(axis=0)
    index, weight = np.clip(index, 0, n - 1)[:, used], weight[:, used]
    weight = weight / weight.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(index, np.int32), np.ascontiguousarray(weight, np.float32)


def _before(kernel: str, step: float, gaussian: bool) -> Array:
    """What the samples are convolved with first: scikit-image's Gaussian, and what makes a spline pass through them."""
    line = np.ones(1)
    sigma = (step - 1) / 2
    if gaussian and sigma > 0:
        d = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        line = np.exp(-0.5 * (d / sigma) ** 2)
        line /= line.sum()
    if kernel == "spline":
        line = np.convolve(line, 3**0.5 * _POLE ** np.abs(np.arange(-_SPAN, _SPAN + 1.0)))
    return line


def _mirrored(index: NDArray[Any], n: int) -> NDArray[Any]:
    """Indices beyond the border, reflected about the outermost samples."""
    period = max(2 * (n - 1), 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index) if n > 1 else np.zeros_like(index)


def filter_taps(n: int, line: Tensor) -> Taps:
    """The sums of a symmetric filter (2 r + 1 weights) that keeps all n samples, mirrored at the border.

    >>> filter_taps(3, torch.tensor([0.25, 0.5, 0.25]))[0].tolist()
    [[1, 0, 1], [0, 1, 2], [1, 2, 1]]
    """
    r = len(line) // 2
    index = _mirrored(np.arange(n)[:, None] + np.arange(-r, r + 1), n)
    weight = np.tile(line.cpu().numpy().astype(np.float32), (n, 1))
    return np.ascontiguousarray(index, np.int32), weight


def squares(*axes: Taps) -> float:
    """Variance of the result, by that of independent samples: the sum of squared weights, its mean over the picture.

    >>> round(squares(taps(8, 4, "area"), taps(8, 4, "area")), 6)
    0.25
    """
    total = 1.0
    for _, weight in axes:
        total *= float(np.square(weight, dtype=np.float64).sum(axis=1).mean())
    return total


def resample(x: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """The sums down and across: ``(b, c, h, w) -> (b, c, len(rows), len(columns))``.

    On a CPU they are compiled loops, elsewhere, and for gradients, products with the matrices of weights; both
    agree within 1e-6.

    >>> resample(torch.tensor([[[[0.0, 4.0]]]]), taps(1, 1, "area"), taps(2, 4, "bilinear", antialias=False))
    tensor([[[[0., 1., 3., 4.]]]])
    """
    if all(len(i) == n and w.shape[1] == 1 for (i, w), n in zip((rows, columns), x.shape[-2:], strict=True)):
        return x  # each sample is its own sum
    return _summed(x, rows, columns)


@twin("resize_cpu")
def _summed(x: Tensor, rows: Taps, columns: Taps) -> Tensor:
    down, across = (_matrix(t, n, x) for t, n in zip((rows, columns), x.shape[-2:], strict=True))
    return (down @ x @ across.T).contiguous()


def _matrix(axis: Taps, n: int, like: Tensor) -> Tensor:
    """(m, n) matrix of the sums."""
    index, weight = (torch.from_numpy(a).to(like.device) for a in axis)
    return like.new_zeros(len(index), n).scatter_add_(1, index.long(), weight.to(like.dtype))

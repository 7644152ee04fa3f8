"""Palettes: the few colours that stand for a picture (k-means), and the nearest of them for each pixel.

k-means minimises the sum of squared distances to the nearest of k colours (Lloyd 1982), in linear light, sRGB or CIELAB
(CIE 1976, white D65). It runs on a histogram of 64 x 64 x 64 cells that keep the mean and the number of their pixels,
seeded by greedy k-means++ (Arthur and Vassilvitskii 2007), a few times over; the best is kept. So its time hardly
grows with the picture. Which colour is nearest is then exact for each pixel, see `palette_cpu`.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.maths.colour import SRGB_TO_XYZ, srgb_decode, srgb_encode
from degrade.maths.twin import compilable

Colours = NDArray[np.float64]
Metric = Literal["linear", "srgb", "lab"]

TRIALS: Final = 6  #: starts of k-means, of which the best is kept
_STEPS, _ENOUGH = 100, 1e-5  #: most iterations of a start, and the relative gain below which it ends
_STRIP = 2**20  #: pixels converted or compared at a time, so that they stay in the cache


def to_metric(x: Tensor, metric: Metric) -> Tensor:
    """sRGB colours (..., 3, h, w) as coordinates whose distance counts: linear light, sRGB itself, or CIELAB / 100.

    >>> white = torch.ones(1, 3, 1, 1)
    >>> (to_metric(white, "lab").flatten() * 100).round(decimals=3).abs().tolist()
    [100.0, 0.0, 0.0]
    """
    if metric == "srgb":
        return x
    light = srgb_decode(x)
    if metric == "linear":
        return light
    matrix = torch.tensor(SRGB_TO_XYZ, dtype=x.dtype, device=x.device)
    t = torch.stack([(row[:, None, None] / row.sum() * light).sum(-3) for row in matrix], dim=-3)
    fx, fy, fz = torch.where(t > (6 / 29) ** 3, t.clamp(min=1e-6) ** (1 / 3), t / (3 * (6 / 29) ** 2) + 4 / 29).unbind(
        -3
    )
    return torch.stack((1.16 * fy - 0.16, 5 * (fx - fy), 2 * (fy - fz)), dim=-3)


def from_metric(y: Tensor, metric: Metric) -> Tensor:
    """The inverse of `to_metric`."""
    if metric == "srgb":
        return y
    if metric == "linear":
        return srgb_encode(y)
    fy = (y[..., 0, :, :] + 0.16) / 1.16
    f = torch.stack((fy + y[..., 1, :, :] / 5, fy, fy - y[..., 2, :, :] / 2), dim=-3)
    t = torch.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    matrix = torch.tensor(SRGB_TO_XYZ, dtype=torch.float64)
    back = torch.linalg.inv(matrix / matrix.sum(1, keepdim=True)).to(y)
    return srgb_encode(torch.stack([(row[:, None, None] * t).sum(-3) for row in back], dim=-3))


def k_means(x: Tensor, colours: int, unit: NDArray[np.float64], metric: Metric = "srgb") -> Tensor:
    """The palette of a picture.

    Args:
        x: (3, h, w) sRGB, on any device; it is looked at on the CPU.
        colours: how many, at most; fewer come out where the picture has fewer cells of colour.
        unit: (draws(colours),) numbers in [0, 1) that all choices follow from.
        metric: in which distance counts.

    Returns:
        (k, 3) sRGB colours, float32, the most frequent first.

    Raises:
        ValueError: if the picture has no pixel, or one that is not finite.

    >>> half = torch.cat((torch.zeros(3, 4, 4), torch.ones(3, 2, 4)), dim=1)
    >>> k_means(half, 2, np.linspace(0, 0.9, draws(2))).tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    from degrade.maths import palette_cpu as loops

    pixels = _metric_pixels(x.cpu(), metric)
    low, scale = _cells(pixels)
    table = np.zeros((loops.SIDE**3, 4))
    loops.tally(pixels, low, scale, table)
    table = table[table[:, 3] > 0]
    weight = np.ascontiguousarray(table[:, 3])
    means = np.ascontiguousarray(table[:, :3] / weight[:, None], np.float32)
    starts = unit.reshape(TRIALS, colours, -1)
    _, centres, size = min((_start(means, weight, numbers) for numbers in starts), key=lambda found: found[0])
    order = np.argsort(-size, kind="stable")
    return from_metric(torch.from_numpy(centres[:, order].astype(np.float32))[:, :, None], metric)[
        :, :, 0
    ].T.contiguous()


def draws(colours: int) -> int:
    """How many random numbers `k_means` takes.

    >>> draws(64)
    2304
    """
    return TRIALS * colours * (2 + int(math.log(colours)))


def nearest_colours(x: Tensor, palette: Tensor, metric: Metric = "srgb") -> Tensor:
    """The index of the nearest colour of a palette for each pixel, the first of equals.

    Args:
        x: (b, 3, h, w) sRGB.
        palette: (k, 3) sRGB.
        metric: in which distance counts.

    Returns:
        (b, h, w) int32.

    >>> nearest_colours(torch.tensor([0.1, 0.6]).expand(1, 3, 1, 2), torch.tensor([[0.0] * 3, [1.0] * 3])).tolist()
    [[[0, 1]]]
    """
    chosen = to_metric(palette.to(x).T[:, :, None], metric)[:, :, 0]
    if compilable(x, palette):
        return torch.stack([_nearest_cpu(row, chosen, metric) for row in x])
    y = to_metric(x, metric)
    best, least = torch.zeros_like(x[:, 0], dtype=torch.int32), torch.full_like(x[:, 0], torch.inf)
    for j, colour in enumerate(chosen.T):
        distance = (y - colour[:, None, None]).square().sum(1)
        best, least = torch.where(distance < least, j, best), torch.minimum(distance, least)
    return best


def _nearest_cpu(x: Tensor, chosen: Tensor, metric: Metric) -> Tensor:
    from degrade.maths import palette_cpu as loops

    pixels = _metric_pixels(x, metric)
    colours = np.ascontiguousarray(chosen.numpy(), np.float32)
    out = np.empty(pixels.shape[1], np.int32)
    loops.assign(pixels, *_cells(pixels), colours, out)
    return torch.from_numpy(out).reshape(x.shape[1:])


def paint(labels: Tensor, palette: Tensor) -> Tensor:
    """The picture (b, 3, h, w) of (b, h, w) labels in the colours (k, 3) of a palette.

    >>> paint(torch.tensor([[[1, 0]]]), torch.tensor([[0.0, 0.1, 0.2], [0.5, 0.6, 0.7]]))[0, :, 0].T
    tensor([[0.5000, 0.6000, 0.7000],
            [0.0000, 0.1000, 0.2000]])
    """
    rows = [torch.index_select(palette.T.contiguous(), 1, row.flatten()).reshape(-1, *row.shape) for row in labels]
    return torch.stack(rows) if len(rows) > 1 else rows[0][None]


def _metric_pixels(x: Tensor, metric: Metric) -> NDArray[np.float32]:
    """(3, n) coordinates of the pixels, converted a strip at a time."""
    flat = x.reshape(3, -1).float()
    if metric != "srgb":
        y = torch.empty_like(flat)
        for a in range(0, flat.shape[1], _STRIP):
            y[:, a : a + _STRIP] = to_metric(flat[:, a : a + _STRIP, None], metric)[:, :, 0]
        flat = y
    return flat.contiguous().numpy()


def _cells(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(3,) the least of each coordinate and the cells a unit of it."""
    from degrade.maths.palette_cpu import SIDE

    low, high = pixels.min(axis=1, initial=np.inf), pixels.max(axis=1, initial=-np.inf)
    if not np.isfinite(high - low).all():
        raise ValueError(f"a palette needs finite colours, got values from {low.min()} to {high.max()}")
    return low, np.float32(SIDE) / np.maximum(high - low, np.float32(1e-6))


def _start(
    means: NDArray[np.float32], weight: NDArray[np.float64], unit: NDArray[np.float64]
) -> tuple[float, NDArray[np.float32], NDArray[np.float64]]:
    """Cost, (3, k) centres and their weights of one start; ``unit`` is (k, candidates a step)."""
    from degrade.maths.palette_cpu import lloyd, seeds

    chosen = np.empty(len(unit), np.int64)
    chosen = chosen[: seeds(means, weight, unit, chosen)]
    centres = np.ascontiguousarray(means[chosen].T)
    sums, cost = np.empty((len(chosen), 4)), np.inf
    for _ in range(_STEPS):
        before, cost = cost, lloyd(means, weight, centres, sums)
        full = sums[:, 3] > 0
        centres = centres.copy()
        centres[:, full] = (sums[full, :3] / sums[full, 3:]).T
        if before - cost <= _ENOUGH * cost:
            break
    return lloyd(means, weight, centres, sums), centres, sums[:, 3].copy()

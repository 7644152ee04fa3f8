"""Smoothing in windows: Gaussian, bilateral, guided.

- Gaussian: ``sum w(d) x`` with ``w = exp(-d^2 / 2 sigma^2)``, cut at a radius and normalised.
- bilateral: ``w`` times ``exp(-|x(p) - x(q)|^2 / 2 contrast^2)`` over RGB (Tomasi and Manduchi 1998), summed as it is
  written, without a grid: the result depends on no block or tile.
- guided: each channel guides itself, ``q = mean(a) x + mean(b)``, ``a = var / (var + contrast^2)``, ``b = mean - a
  mean`` in boxes (He, Sun and Tang 2013), whose cost hardly grows with the box.

Beyond the border the nearest pixel is repeated. Large pictures go in strips of rows, so that what is worked on stays
small: beside input and output a strip takes a few tens of megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor

STRIP = 2**18  #: pixels of a row of the batch worked on at a time, on a CPU


def gaussian_line(sigma: Tensor, radius: int) -> Tensor:
    """(b, 2 radius + 1) weights of a Gaussian of ``sigma`` (b,) [pixels], float64, summing to 1.

    >>> gaussian_line(torch.tensor([1e-3]), 1).tolist()
    [[0.0, 1.0, 0.0]]
    """
    d = torch.arange(-radius, radius + 1, dtype=torch.float64, device=sigma.device)
    weight = torch.exp(-0.5 * (d / sigma.double()[:, None]).square())
    return weight / weight.sum(-1, keepdim=True)


def gaussian_smoothed(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur.

    Args:
        x: (b, c, h, w).
        sigma: (b,) or (1,) [pixels], above 0.
        radius: half the window [pixels].

    Returns:
        (b, c, h, w).

    >>> dot = torch.zeros(1, 1, 5, 5); dot[..., 2, 2] = 1
    >>> gaussian_smoothed(dot, torch.tensor([0.8]), 2).sum().round(decimals=5)
    tensor(1.)
    """
    line = gaussian_line(sigma, radius).to(x)[:, :, None, None, None]

    def strip(p: Tensor) -> Tensor:
        h, w = p.shape[-2] - 2 * radius, p.shape[-1] - 2 * radius
        y = line[:, radius] * p[..., radius : radius + h, :]
        for i in range(radius):
            y += line[:, i] * (p[..., i : i + h, :] + p[..., 2 * radius - i : 2 * radius - i + h, :])
        z = line[:, radius] * y[..., radius : radius + w]
        for i in range(radius):
            z += line[:, i] * (y[..., i : i + w] + y[..., 2 * radius - i : 2 * radius - i + w])
        return z

    return strips(x, radius, strip)


def bilateral(x: Tensor, sigma: Tensor, contrast: Tensor, radius: int) -> Tensor:
    """Bilateral filter over RGB.

    Args:
        x: (b, c, h, w).
        sigma: (b,) or (1,) width in the picture [pixels].
        contrast: (b,) or (1,) width over values.
        radius: half the square window [pixels].

    Returns:
        (b, c, h, w).

    >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4)
    >>> bilateral(step, torch.tensor([2.0]), torch.tensor([0.05]), 2)[0, 0, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    line = gaussian_line(sigma, radius).to(x)[:, :, None, None, None]
    sharp = (-0.5 / contrast.to(x).square())[:, None, None, None]

    def strip(p: Tensor) -> Tensor:
        h, w = p.shape[-2] - 2 * radius, p.shape[-1] - 2 * radius
        middle = p[..., radius : radius + h, radius : radius + w]
        total, mass = torch.zeros_like(middle), torch.zeros_like(middle[:, :1])
        for dy in range(2 * radius + 1):
            for dx in range(2 * radius + 1):
                # differences are what is summed: a flat area stays exactly what it is
                off = p[..., dy : dy + h, dx : dx + w] - middle
                weight = off.square().sum(1, keepdim=True).mul_(sharp).exp_().mul_(line[:, dy] * line[:, dx])
                total.addcmul_(weight, off)
                mass += weight
        return middle + total / mass

    return strips(x, radius, strip, STRIP // 4)


def guided(x: Tensor, contrast: Tensor, radius: int) -> Tensor:
    """Guided filter, each channel its own guide.

    Args:
        x: (b, c, h, w).
        contrast: (b,) or (1,) spread of values below which an area is smoothed; squared, the epsilon of the paper.
        radius: half the box [pixels]; twice that is looked at.

    Returns:
        (b, c, h, w).

    >>> flat = torch.full((1, 3, 5, 5), 0.25)
    >>> guided(flat, torch.tensor([0.1]), 2)[0, 0, 2].tolist()
    [0.25, 0.25, 0.25, 0.25, 0.25]
    """
    epsilon = contrast.double().square()[:, None, None, None].to(x.device)

    def strip(p: Tensor) -> Tensor:
        p = p.double()
        mean = box(p, radius)
        spread = box(p.square(), radius) - mean.square()
        a = spread.clamp(min=0)
        a = a / (a + epsilon)
        q = box(a, radius) * p[..., 2 * radius : -2 * radius, 2 * radius : -2 * radius] + box(mean - a * mean, radius)
        return q.to(x.dtype)

    return strips(x, 2 * radius, strip) if radius else x


def box(p: Tensor, radius: int) -> Tensor:
    """Mean of each box that lies inside: (..., h, w) -> (..., h - 2 radius, w - 2 radius), by running sums in float64.

    >>> box(torch.arange(9.0).reshape(3, 3), 1)
    tensor([[4.]])
    """
    side = 2 * radius + 1
    for dim, pad in ((-2, (0, 0, 1, 0)), (-1, (1, 0))):
        sums = functional.pad(p.double().cumsum(dim), pad)
        n = sums.shape[dim] - side
        p = ((sums.narrow(dim, side, n) - sums.narrow(dim, 0, n)) / side).to(p.dtype)
    return p


def strips(x: Tensor, reach: int, f: Callable[[Tensor], Tensor], pixels: int = STRIP) -> Tensor:
    """``f`` of a picture with ``reach`` repeated pixels around it, strip by strip on a CPU.

    Args:
        x: (b, c, h, w).
        reach: rows and columns that ``f`` takes off each side.
        f: from (b, c, n + 2 reach, w + 2 reach) to (b, c, n, w).
        pixels: of all rows of the batch, worked on at a time.

    Returns:
        (b, c, h, w), contiguous.
    """
    h = x.shape[-2]
    rows = h if x.device.type != "cpu" else max(4 * reach + 1, pixels // (len(x) * x.shape[-1]), 1)
    parts: list[Tensor] = []
    for top in range(0, h, rows):
        stop = min(top + rows, h)
        first, last = max(top - reach, 0), min(stop + reach, h)
        around = (reach, reach, reach - (top - first), reach - (last - stop))
        parts.append(f(functional.pad(x[..., first:last, :], around, mode="replicate")))
    return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts, dim=-2)


def window(sigma: float) -> int:
    """The radius that holds 99.7% of a Gaussian: three sigma [pixels].

    >>> window(1.5)
    5
    """
    return math.ceil(3 * sigma)

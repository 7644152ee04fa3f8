"""Kernels given in space: generalised and plateau Gaussians, the circular low-pass.

Each is a function of the position; a pixel holds its integral (Gauss-Legendre, five nodes each way, exact to 1e-6 for
widths from half a pixel), or with ``point`` its value at the centre, as the classical chains sample it.

Source: Wang et al., Real-ESRGAN (2021), 3.1 and its published kernels; Liu et al. 2020 (generalised Gaussian).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Shape = Callable[[Tensor, Tensor], Tensor]


def on_pixels(shape: Shape, size: int, point: bool = False) -> Tensor:
    """A function of (y, x) [pixels] on a size x size field, its origin at pixel size // 2, normalised to sum 1.

    >>> on_pixels(lambda y, x: torch.exp(-(y * y + x * x)), 8, point=True)[4, 3:6].round(decimals=3).tolist()
    [0.117, 0.318, 0.117]
    """
    p = torch.arange(size, dtype=torch.float64) - size // 2
    if point:
        field = shape(p[:, None], p[None, :])
    else:
        nodes, weights = (v.tolist() for v in np.polynomial.legendre.leggauss(5))
        line = list(zip(nodes, weights, strict=True))
        parts = [(u * v, a / 2, b / 2) for a, u in line for b, v in line]
        field = sum((w * shape(p[:, None] + dy, p[None, :] + dx) for w, dy, dx in parts), torch.zeros(()))
    return field / field.sum((-2, -1), keepdim=True)


def distance(y: Tensor, x: Tensor, along: Tensor, across: Tensor, angle: Tensor) -> Tensor:
    """Squared distance from 0 in widths: ``along`` [pixels] in the direction ``angle`` [radian], ``across`` beside."""
    c, s = torch.cos(angle), torch.sin(angle)
    return ((c * x + s * y) / along) ** 2 + ((c * y - s * x) / across) ** 2


def generalised(q: Tensor, beta: Tensor) -> Tensor:
    """``exp(-q^beta / 2)``: a Gaussian for beta 1, peaked below, flat above."""
    return torch.exp(-0.5 * q**beta)


def plateau(q: Tensor, beta: Tensor) -> Tensor:
    """``1 / (1 + q^beta)``: a flat top and long tails, endless for beta up to 1."""
    return 1 / (1 + q**beta)


def low_pass(y: Tensor, x: Tensor, cutoff: Tensor) -> Tensor:
    """The circular low-pass ``w J1(w r) / (2 pi r)`` of cut-off w [radian a pixel]: rings, and goes below 0.

    >>> round(low_pass(torch.zeros(()), torch.zeros(()), torch.tensor(2.0)).item(), 4)        # w^2 / (4 pi)
    0.3183
    """
    z = (cutoff * torch.hypot(y, x)).clamp(min=1e-9)
    return cutoff**2 / (2 * torch.pi) * torch.special.bessel_j1(z) / z

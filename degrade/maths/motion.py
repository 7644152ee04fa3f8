"""Motion during the exposure: paths on the pixel grid, and what they do to a point.

A path of equal times is laid down with bilinear weights: never negative, and its centroid is exact. A path by a
Gaussian process is a sum of harmonics, the Karhunen-Loeve series of the squared exponential covariance
``sigma^2 exp(-(t - t')^2 / (2 l^2))`` made periodic in T, 6 l longer than the exposure, so that its ends are free.

Source: Schuler et al., Learning to Deblur (2016), 4.1 (Gaussian-process trajectories); Rasmussen & Williams, 4.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from degrade.maths.philox import normal_field

HARMONICS = 96  #: enough for length scales from 0.02 of the exposure


def line(length: Tensor, angle: Tensor, steps: int = 512) -> Tensor:
    """Straight path through 0.

    Args:
        length: (u,) [pixels].
        angle: (u,) azimuth [radian], x right, y down.
        steps: points on it.

    Returns:
        (u, steps, 2) points (y, x) [pixels], each in the middle of its share of the path.
    """
    t = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps - 0.5
    return length[:, None, None] * t[:, None] * torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1)[:, None, :]


def wander(seed: Tensor, length_scale: Tensor, sigma: Tensor, steps: int = 1000) -> Tensor:
    """Gaussian-process path of unit exposure, its mean at 0.

    Args:
        seed: (u,) int64, 0 .. 2^53 - 1.
        length_scale: (u,) time over which it keeps its way [exposures], from 0.02 up.
        sigma: (u,) standard deviation of each coordinate before the mean is taken off [pixels].
        steps: points on it.

    Returns:
        (u, steps, 2) points (y, x) [pixels].

    >>> path = wander(torch.tensor([7]), torch.tensor([0.3]), torch.tensor([2.0]))
    >>> path.shape, bool(path.mean(1).abs().max() < 1e-12)
    (torch.Size([1, 1000, 2]), True)
    """
    scale = length_scale.double()[:, None]
    period = 1 + 6 * scale
    k = torch.arange(HARMONICS, dtype=torch.float64)
    # spectrum of the periodic covariance; both signs of k > 0
    power = math.sqrt(2 * math.pi) * scale / period * torch.exp(-2 * (math.pi * scale * k / period) ** 2)
    power[:, 1:] *= 2
    amplitude = normal_field(seed, 2, (0, 0), (2, HARMONICS)).double() * power.sqrt()[:, None, None, :]
    t = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    turn = 2 * math.pi * k[:, None] * t / period[..., None]
    path = amplitude[:, :, 0] @ torch.cos(turn) + amplitude[:, :, 1] @ torch.sin(turn)
    path = sigma.double()[:, None, None] * path
    return (path - path.mean(-1, keepdim=True)).mT


def on_grid(path: Tensor, size: int) -> Tensor:
    """What a path leaves on the pixels of a ``size`` x ``size`` field, its origin at pixel size // 2.

    What runs beyond the field is laid on its border, so that it counts as lost when the kernel is cut.

    Args:
        path: (u, steps, 2) points (y, x) [pixels].
        size: side of the field [pixels].

    Returns:
        (u, size, size) float64, sum 1.

    >>> on_grid(torch.tensor([[[0.0, 0.25]]]), 4)[0, 2].tolist()
    [0.0, 0.0, 0.75, 0.25]
    """
    at = (path.double() + size // 2).clamp(0, size - 1)
    corner = at.floor().clamp(max=size - 2)
    part = at - corner
    y, x = corner.long().unbind(-1)
    field = torch.zeros(len(path), size * size, dtype=torch.float64)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (part[..., 0] if dy else 1 - part[..., 0]) * (part[..., 1] if dx else 1 - part[..., 1])
            field.scatter_add_(1, (y + dy) * size + x + dx, weight / path.shape[1])
    return field.reshape(-1, size, size)


def lines(length: Tensor, separation: Tensor, angle: Tensor, steps: int = 512) -> Tensor:
    """Two straight paths side by side, ``separation`` [pixels] apart; else as `line`, with 2 x steps points."""
    one = line(length, angle, steps)
    aside = 0.5 * separation[:, None] * torch.stack((-torch.cos(angle), torch.sin(angle)), dim=-1)
    return torch.cat((one + aside[:, None], one - aside[:, None]), dim=1)

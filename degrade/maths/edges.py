"""Edges: how fast luminance changes, by the operators of Sobel and Prewitt, and where that passes a threshold.

``sqrt(gx^2 + gy^2)`` with ``gx = ([1 2 1] / 4)^T [1 0 -1]`` (Sobel and Feldman 1968) or ``([1 1 1] / 3)^T [1 0 -1]``
(Prewitt 1970): a step of height 1 along a row or column has the strength 1, whichever is used. On 8-bit values, with
the kernels' plain whole numbers, the strength counts 1020 (Sobel) or 765 (Prewitt) for that step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from degrade.maths.colour import SRGB_TO_XYZ
from degrade.maths.smooth import strips

Gradient = Literal["sobel", "prewitt"]


def luminance(x: Tensor) -> Tensor:
    """(b, 1, h, w) weighted sum of R, G and B by BT.709; of sRGB values it is luma.

    >>> luminance(torch.ones(1, 3, 1, 1)).flatten()
    tensor([1.])
    """
    red, green, blue = SRGB_TO_XYZ[1]
    return red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]


def strength(y: Tensor, gradient: Gradient = "sobel") -> Tensor:
    """How strong an edge each pixel lies on; beyond the border the nearest pixel is repeated.

    Args:
        y: (b, 1, h, w) luminance.
        gradient: the operator.

    Returns:
        (b, 1, h, w), 1 at a step from 0 to 1.

    >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 3, 4)
    >>> strength(step)[0, 0, 1].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    middle = 0.5 if gradient == "sobel" else 1 / 3
    side = (1 - middle) / 2

    def strip(p: Tensor) -> Tensor:
        smooth_y = side * (p[..., :-2, :] + p[..., 2:, :]) + middle * p[..., 1:-1, :]
        smooth_x = side * (p[..., :-2] + p[..., 2:]) + middle * p[..., 1:-1]
        return torch.hypot(smooth_y[..., 2:] - smooth_y[..., :-2], smooth_x[..., 2:, :] - smooth_x[..., :-2, :])

    return strips(y, 1, strip)


def edges(x: Tensor, threshold: Tensor | float, gradient: Gradient = "sobel") -> Tensor:
    """1 where the luminance of (b, 3, h, w) changes at least as strongly as ``threshold``, else 0: (b, 1, h, w).

    >>> edges(torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 1, 4), 0.5).flatten().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    return (strength(luminance(x), gradient) >= threshold).to(x.dtype)

"""Resampling on the pixel grid: the integer area mean.

Output pixel ``p`` is the mean of input pixels ``f p ... f p + f - 1``: what a detector with pixels ``f`` times as large
sees.  The outer corner of the first pixel stays where it is (`Grid.scaled`); incomplete pixels at the end are dropped.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def area(x: Tensor, factor: int) -> Tensor:
    """Mean of each ``factor x factor`` square: ``(b, c, h, w) -> (b, c, h // factor, w // factor)``.

    Raises:
        ValueError: if ``factor`` is not a whole number from 1 up, or no whole square fits.

    >>> import torch
    >>> area(torch.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    if isinstance(factor, bool) or factor < 1 or factor != int(factor):
        raise ValueError(f"an area shrink must be a whole number from 1 up, got {factor}")
    if x.ndim != 4 or min(x.shape[-2:]) < factor:
        raise ValueError(f"cannot shrink {tuple(x.shape)} by {factor}: need (b, c, h, w), h and w at least that")
    return x if factor == 1 else functional.avg_pool2d(x, factor)

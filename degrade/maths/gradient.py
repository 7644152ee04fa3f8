"""Gradients where a formula has none: roundings and the root at 0. Values are those of the formula, bit for bit.

Source: Bengio, Leonard and Courville, Estimating or propagating gradients through stochastic neurons (2013).
"""

from __future__ import annotations

import torch
from torch import Tensor


def straight(x: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, with the gradient of ``x``.

    >>> x = torch.tensor([0.4, 1.7], requires_grad=True)
    >>> y = straight(x, x.round())
    >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([0.0, 2.0], [1.0, 1.0])
    """
    return rounded.detach() + (x - x.detach()) if x.requires_grad else rounded


def root(x: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0.

    >>> x = torch.tensor([0.0, 4.0], requires_grad=True)
    >>> torch.autograd.grad(root(x).sum(), x)[0].tolist()
    [0.0, 0.25]
    """
    return torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1)), 0) if x.requires_grad else torch.sqrt(x)

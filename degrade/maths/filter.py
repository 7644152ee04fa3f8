"""Convolution of pictures of their own: what lies beyond the border is the picture mirrored about its outermost pixels.

On a CPU rows whose kernels take few products are compiled (`filter_cpu`): all that are small, and wide ones that are
nearly separable. Others, and all elsewhere and for gradients, go by FFT; both agree within 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from degrade.maths.fourier import fast_size, filtered, reflected, spectrum
from degrade.maths.twin import compilable

FEW_PRODUCTS = 180  #: products a sample that take a CPU as long as the transforms there and back


def convolve_mirrored(data: Sequence[Tensor], kernel: Tensor, index: Sequence[Tensor]) -> list[Tensor]:
    """True convolution, mirrored at the border.

    Args:
        data: (b, c, h, w) float32 each, of any sizes.
        kernel: (u, k, k), odd k.
        index: (b, c) each, which kernel a row and channel takes.

    Returns:
        (b, c, h, w) float32 each, contiguous.

    >>> bell = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    >>> (smooth,) = convolve_mirrored([torch.eye(4)[None, None]], bell[None], [torch.zeros(1, 1).long()])
    >>> smooth[0, 0, 0].tolist()
    [0.5, 0.375, 0.125, 0.0]
    """
    if not all(compilable(x, kernel) for x in data):
        return [_by_transform(x, kernel, i) for x, i in zip(data, index, strict=True)]
    from degrade.maths import filter_cpu

    done, edge, terms = list[Tensor](), 2 * (kernel.shape[-1] // 2), filter_cpu.peeled(kernel.numpy())
    products = filter_cpu.products(terms)
    for x, i in zip(data, index, strict=True):
        which, (h, w) = i.numpy(), x.shape[-2:]
        many = products[which].max(axis=1) > FEW_PRODUCTS * fast_size(h + edge) * fast_size(w + edge) // (h * w)
        y = torch.from_numpy(filter_cpu.convolve(x.numpy(), terms, np.where(many[:, None], -1, which)))
        for row in np.flatnonzero(many).tolist():
            own, of_own = i[row : row + 1].unique(return_inverse=True)
            y[row] = _by_transform(x[row : row + 1], kernel[own], of_own)[0]
        done.append(y)
    return done


def _by_transform(data: Tensor, kernel: Tensor, index: Tensor) -> Tensor:
    (h, w), edge = data.shape[-2:], kernel.shape[-1] // 2
    wide = reflected(data, edge)
    done = filtered(wide, spectrum(kernel, (h + 2 * edge, w + 2 * edge)), index)
    return done[..., edge : edge + h, edge : edge + w].contiguous()

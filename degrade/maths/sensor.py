"""The last steps of a sensor as numbers: noise added, DN counted, DN written down. On a CPU each is one compiled pass
(`sensor_cpu`), elsewhere, and where a gradient is asked for, tensor operations; noise is one pass on a GPU, too."""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.maths.gradient import root, straight
from degrade.maths.philox import fusible, normal_field
from degrade.maths.twin import twin


def noisy(x: Tensor, signal: Tensor, shot: Tensor, read: Tensor, seed: Tensor, start: tuple[int, int]) -> Tensor:
    """``x + sqrt(max(shot clamp(signal, 0, 1) + read, 0)) z`` with the `normal_field` z of the rows' seeds.

    Args:
        x, signal: (b, c, h, w).
        shot, read: (b or 1, c or 1, 1, 1).
        seed: (b,) int64.
        start: (y, x) of the first sample, as in `normal_field`.

    >>> grey = torch.full((1, 4, 64, 64), 0.5)
    >>> line = torch.full((1, 1, 1, 1), 0.01)
    >>> (noisy(grey, grey, line, line, torch.tensor([7]), (0, 0)).var() / 0.015).round(decimals=1).item()
    1.0
    """
    if fusible(x, signal):
        from degrade.maths import philox_gpu

        shot, read = (t.expand(*x.shape[:2], 1, 1) for t in (shot, read))
        return philox_gpu.noisy(x, signal, shot, read, seed, start)
    unit = normal_field(seed, x.shape[1], start, (x.shape[2], x.shape[3]))
    return _noisy(x, signal, shot, read, unit)


@twin("sensor_cpu")
def _noisy(x: Tensor, signal: Tensor, shot: Tensor, read: Tensor, unit: Tensor) -> Tensor:
    return torch.addcmul(x, root((shot * signal.clamp(0, 1) + read).clamp(min=0)), unit)


@twin("sensor_cpu")
def quantised(x: Tensor, black: Tensor, full: Tensor) -> Tensor:
    """A signal of whole DN: ``(clamp(round(x full + black), 0, black + full) - black) / full``, half to even.

    Args:
        x: (b, c, h, w).
        black, full: (b, 1, 1, 1) [DN].
    """
    dn = torch.addcmul(black, x, full)
    dn = straight(dn, torch.round(dn)).clamp(min=0)
    return (torch.minimum(dn, black + full) - black) / full


@twin("sensor_cpu")
def numbers(x: Tensor, black: Tensor, full: Tensor, dtype: torch.dtype) -> Tensor:
    """The DN of a `quantised` signal as whole numbers of ``dtype``.

    >>> x, black, full = (torch.full((1, 1, 1, 1), v) for v in (0.5, 64.0, 1000.0))
    >>> numbers(x, black, full, torch.uint16).item()
    564
    """
    return torch.round(torch.addcmul(black, x, full)).to(dtype)

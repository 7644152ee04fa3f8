"""The last steps of a sensor as numbers: noise added, DN counted, DN written down. On a CPU each is one compiled pass
(`sensor_cpu`), elsewhere, and where a gradient is asked for, tensor operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from degrade.maths.gradient import root, straight


def noisy(x: Tensor, signal: Tensor, shot: Tensor, read: Tensor, unit: Tensor) -> Tensor:
    """``x + sqrt(max(shot signal + read, 0)) unit``.

    Args:
        x, signal, unit: (b, c, h, w).
        shot, read: (b or 1, c or 1, 1, 1).

    >>> noisy(*(torch.full((1, 1, 1, 1), v) for v in (1.0, 0.5, 8.0, 5.0, -2.0))).item()
    -5.0
    """
    if _compilable(x, signal, unit):
        from degrade.maths import sensor_cpu

        s, r = (t.to(torch.float32).expand(*x.shape[:2], 1, 1).reshape(-1).numpy() for t in (shot, read))
        return torch.from_numpy(sensor_cpu.noisy(x.numpy(), signal.numpy(), s, r, unit.numpy()))
    return torch.addcmul(x, root((shot * signal + read).clamp(min=0)), unit)


def quantised(x: Tensor, black: Tensor, full: Tensor) -> Tensor:
    """A signal of whole DN: ``(clamp(round(x full + black), 0, black + full) - black) / full``, half to even.

    Args:
        x: (b, c, h, w).
        black, full: (b, 1, 1, 1) [DN].
    """
    if _compilable(x):
        from degrade.maths import sensor_cpu

        return torch.from_numpy(sensor_cpu.quantised(x.numpy(), *_levels(x, black, full)))
    dn = torch.addcmul(black, x, full)
    dn = straight(dn, torch.round(dn)).clamp(min=0)
    return (torch.minimum(dn, black + full) - black) / full


def numbers(x: Tensor, black: Tensor, full: Tensor, dtype: torch.dtype) -> Tensor:
    """The DN of a `quantised` signal as whole numbers of ``dtype``.

    >>> x, black, full = (torch.full((1, 1, 1, 1), v) for v in (0.5, 64.0, 1000.0))
    >>> numbers(x, black, full, torch.uint16).item()
    564
    """
    if _compilable(x):
        from degrade.maths import sensor_cpu

        kind = str(dtype).removeprefix("torch.")
        low, span = _levels(x, black, full)
        return torch.from_numpy(sensor_cpu.numbers(x.numpy(), low, span, kind))
    return torch.round(torch.addcmul(black, x, full)).to(dtype)


def _compilable(*tensors: Tensor) -> bool:
    return all(t.device.type == "cpu" and t.dtype == torch.float32 and not t.requires_grad for t in tensors)


def _levels(x: Tensor, *levels: Tensor) -> tuple[Any, ...]:
    return tuple(t.to(torch.float32).expand(len(x), 1, 1, 1).reshape(-1).numpy() for t in levels)

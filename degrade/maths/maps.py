"""Maps beside a picture (depth, normals, labels, masks) on other pixels.

A map is brought over in one of three ways: ``nearest`` takes the sample at a pixel's centre, so that depths and labels
are never averaged over an edge; ``mean`` averages what a pixel covers; ``unit`` averages vectors and makes them of
length 1 again.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from degrade.maths.resample import area

How = Literal["nearest", "mean", "unit"]


def unit(vectors: Tensor) -> Tensor:
    """(b, 3, h, w) vectors at length 1; where they cancel, the one that faces the camera.

    >>> unit(torch.tensor([3.0, 0.0, 4.0]).reshape(1, 3, 1, 1)).flatten().tolist()
    [0.6000000238418579, 0.0, 0.800000011920929]
    """
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    facing = torch.tensor([0.0, 0.0, 1.0], dtype=vectors.dtype, device=vectors.device).reshape(1, 3, 1, 1)
    return torch.where(length > 1e-6, vectors / length.clamp(min=1e-6), facing)


def shrunk(x: Tensor, factor: int, how: How) -> Tensor:
    """A map on pixels ``factor`` times as large, (b, c, h, w) to (b, c, h // factor, w // factor).

    >>> steps = torch.tensor([[1.0, 9.0], [1.0, 9.0]]).reshape(1, 1, 2, 2)
    >>> shrunk(steps, 2, "nearest").item(), shrunk(steps, 2, "mean").item()
    (9.0, 5.0)
    """
    if how == "nearest":
        h, w = (n // factor * factor for n in x.shape[-2:])
        return x[..., factor // 2 : h : factor, factor // 2 : w : factor].contiguous()
    return unit(area(x, factor)) if how == "unit" else area(x, factor)


def laid(x: Tensor, size: tuple[int, int], scale: tuple[float, float], start: tuple[float, float], how: How) -> Tensor:
    """A map on a grid of its own: pixel p covers ``scale`` of the map's pixels about ``scale (p + 1/2) + start``.

    Where the map is coarser than the grid, ``mean`` and ``unit`` interpolate linearly.

    Args:
        x: (b, c, h, w).
        size: height and width of the grid [pixels].
        scale: map pixels a pixel (y, x).
        start: outer corner of the grid's first pixel (y, x) [map pixels].
        how: how it is brought over.

    Returns:
        (b, c, *size), of the map's type for ``nearest``, else float32.

    >>> laid(torch.tensor([[[[0.0, 4.0, 8.0, 12.0]]]]), (1, 2), (1.0, 2.0), (0.0, 0.0), "mean").tolist()
    [[[[2.0, 10.0]]]]
    """
    for axis in (0, 1):
        line = x.transpose(2, 3) if axis == 0 else x
        line = _along(line, size[axis], scale[axis], start[axis], how)
        x = line.transpose(2, 3) if axis == 0 else line
    x = x.contiguous()
    return unit(x) if how == "unit" else x


def _along(x: Tensor, count: int, scale: float, start: float, how: How) -> Tensor:
    n = x.shape[-1]
    centre = (torch.arange(count, dtype=torch.float64, device=x.device) + 0.5) * scale + start
    if how == "nearest":
        return x[..., centre.floor().long().clamp(0, n - 1)]
    # a box of one map pixel over constant pixels is linear interpolation
    half = max(scale, 1.0) / 2
    low, high = ((centre + side).clamp(0, n) for side in (-half, half))
    total = torch.nn.functional.pad(x.double().cumsum(-1), (1, 0))

    def until(at: Tensor) -> Tensor:
        i = at.floor().long().clamp(max=n - 1)
        return total[..., i] + (at - i) * (total[..., i + 1] - total[..., i])

    return ((until(high) - until(low)) / (high - low).clamp(min=1e-9)).float()


def mirrored(x: Tensor, axis: Literal["y", "x"], how: How) -> Tensor:
    """A map upside down (``y``) or left for right (``x``); a normal's component of that name changes its sign.

    >>> mirrored(torch.tensor([0.6, 0.0, 0.8]).reshape(1, 3, 1, 1), "x", "unit").flatten()[0].item() < 0
    True
    """
    turned = x.flip(2 if axis == "y" else 3)
    if how == "unit":
        turned = turned * x.new_tensor([-1.0 if axis == n else 1.0 for n in "xyz"]).reshape(1, 3, 1, 1)
    return turned

"""Colour: the sRGB transfer curve, 3 x 3 matrices, and the way from a camera's RGB to sRGB.

The curve is the exact one of IEC 61966-2-1, ``12.92 x`` up to 0.0031308 and ``1.055 x^(1/2.4) - 0.055`` above; nothing
is clipped: negative values keep the straight piece and values above 1 the power.  A camera's matrix (XYZ to camera, as
in DNG's ColorMatrix, at D65) times sRGB-to-XYZ gives sRGB to camera; its rows are divided by their sums, so that white
in sRGB is 1 1 1 in *white-balanced* camera RGB, and the inverse is what we want (dcraw's ``cam_xyz_coeff``).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from degrade.maths.cfa import BAYER

#: Linear sRGB to CIE XYZ, derived from the primaries of BT.709 and the white D65 (0.3127, 0.3290).
SRGB_TO_XYZ: Final[tuple[tuple[float, float, float], ...]] = (
    (0.41239079926595934, 0.357584339383878, 0.1804807884018343),
    (0.21263900587151027, 0.715168678767756, 0.07219231536073371),
    (0.01933081871559182, 0.11919477979462598, 0.9505321522496607),
)


def srgb_encode(x: Tensor) -> Tensor:
    """Linear light to sRGB, 0 to 1 to 0 to 1, any shape.

    >>> srgb_encode(torch.tensor([0.0, 0.0031308, 0.18, 1.0]))
    tensor([0.0000, 0.0404, 0.4614, 1.0000])
    """
    high = 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(x <= 0.0031308, 12.92 * x, high)


def srgb_decode(y: Tensor) -> Tensor:
    """sRGB to linear light, 0 to 1 to 0 to 1, any shape.

    >>> srgb_decode(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.2140, 1.0000])
    """
    high = ((y.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(y <= 0.04045, y / 12.92, high)


def apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """``(b, 3, 3)`` or ``(3, 3)`` matrices times the colours of ``(b, 3, h, w)``.

    >>> swap = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    >>> apply_matrix(swap, torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)).flatten()
    tensor([3., 2., 1.])
    """
    if matrix.shape[-2:] != (3, 3) or x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"expected (b, 3, 3) and (b, 3, h, w), got {tuple(matrix.shape)} and {tuple(x.shape)}")
    # Written out: a batched matrix product may round differently with the size of the batch.
    columns = matrix.to(x.dtype).reshape(-1, 3, 3)[:, :, :, None, None].unbind(2)
    total = columns[0] * x[:, 0:1]
    for c in (1, 2):
        total = total + columns[c] * x[:, c : c + 1]
    return total


def balance(x: Tensor, gains: Tensor) -> Tensor:
    """White balance, then a clip at the smallest balanced white, of camera RGB or packed ``R G1 G2 B``.

    After white balance the channels of a clipped highlight differ, each stopped at 1 before its gain; cut at the
    smallest of them it stays white and does not turn magenta.

    Args:
        x: (b, 3, h, w) or (b, 4, h, w), 1 where it saturates.
        gains: (b, 3) or (1, 3).

    >>> balance(torch.ones(1, 4, 1, 1), torch.tensor([[2.0, 1.0, 1.5]])).flatten()
    tensor([1., 1., 1., 1.])
    """
    gains = gains.to(x)
    gains = (BAYER.spread(gains) if x.shape[1] == 4 else gains)[:, :, None, None]
    return (x * gains).minimum(gains.amin(1, keepdim=True))


def camera_to_srgb(xyz_to_camera: Tensor) -> Tensor:
    """``(..., 3, 3)`` XYZ to camera to the matrix from white-balanced camera RGB to linear sRGB; rows sum to 1.

    Computed in float64. White balance needs no mention: a diagonal in front of the matrix cancels.

    Raises:
        ValueError: if the matrix cannot be inverted.

    >>> camera_to_srgb(torch.linalg.inv(torch.tensor(SRGB_TO_XYZ))).round(decimals=5).abs()
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]], dtype=torch.float64)
    """
    camera = xyz_to_camera.to(torch.float64) @ torch.tensor(SRGB_TO_XYZ, dtype=torch.float64)
    total = camera.sum(-1, keepdim=True)
    balanced = camera / torch.where(total == 0, torch.nan, total)
    if not bool(torch.isfinite(balanced).all()) or bool((torch.linalg.det(balanced).abs() < 1e-9).any()):
        raise ValueError(f"the colour matrix {xyz_to_camera.tolist()} cannot be inverted: give XYZ to camera, 3 x 3")
    return torch.linalg.inv(balanced)

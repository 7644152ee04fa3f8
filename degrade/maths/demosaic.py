"""Demosaicing: packed ``R G1 G2 B`` to RGB at every photosite.

Bilinear and Malvar's are linear: one convolution with a kernel for each of 3 colours at each of 4 photosites.  Menon's
interpolates green along rows and along columns, keeps at each photosite the direction along which colour differences
vary less, takes red and blue from their difference to green, and refines all three.  At the edge the mosaic is
mirrored, which keeps the filters in their places.  All but bilinear take it that the mosaic is white-balanced.

Source: Malvar, He and Cutler 2004 (high-quality linear interpolation); Menon, Andriani and Calvagno 2007 (directional
filtering and a posteriori decision).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from degrade.maths import bayer
from degrade.maths.cfa import BAYER

#: How many packed pixels each method looks beyond a pixel.
REACH: Final[dict[str, int]] = {"bilinear": 1, "malvar": 1, "menon": 6}

Stencil = tuple[tuple[float, ...], ...]

_OWN: Final[Stencil] = ((0,) * 5, (0,) * 5, (0, 0, 8, 0, 0), (0,) * 5, (0,) * 5)
_ALONG: Final[Stencil] = ((0,) * 5, (0,) * 5, (0, 4, 0, 4, 0), (0,) * 5, (0,) * 5)
_CROSS: Final[Stencil] = ((0,) * 5, (0, 0, 2, 0, 0), (0, 2, 0, 2, 0), (0, 0, 2, 0, 0), (0,) * 5)
_CORNERS: Final[Stencil] = ((0,) * 5, (0, 2, 0, 2, 0), (0,) * 5, (0, 2, 0, 2, 0), (0,) * 5)
#: In eighths: green at red and blue, a colour at a green of its own row, and at the opposite colour.
_BILINEAR: Final = (_CROSS, _ALONG, _CORNERS)
_MALVAR: Final[tuple[Stencil, Stencil, Stencil]] = (
    ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0)),
    ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0)),
    ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0)),
)


def demosaic(packed: Tensor, method: str = "malvar") -> Tensor:
    """``(b, 4, h, w)`` packed to ``(b, 3, 2 h, 2 w)`` RGB; nothing is clipped.

    Args:
        packed: R G1 G2 B of RGGB geometry.
        method: "bilinear", "malvar" or "menon".

    Raises:
        ValueError: for an unknown method, or a picture too small to be mirrored at its edge.

    >>> demosaic(torch.tensor([1.0, 2.0, 2.0, 3.0]).reshape(1, 4, 1, 1).expand(1, 4, 3, 3))[0, :, 2, 2].tolist()
    [1.0, 2.0, 3.0]
    """
    if method not in REACH:
        raise ValueError(f"unknown demosaicing {method!r}, must be one of {', '.join(REACH)}")
    if packed.ndim != 4 or packed.shape[1] != 4:
        raise ValueError(f"expected (b, 4, h, w), got {tuple(packed.shape)}")
    edge = 2 * REACH[method]
    if 2 * min(packed.shape[-2:]) <= edge:
        h, w = packed.shape[-2:]
        raise ValueError(f"{method} demosaicing needs more than {edge} photosites each way, got {2 * h} x {2 * w}")
    wide = functional.pad(bayer.unpack(packed)[:, None], (edge,) * 4, mode="reflect")
    if method == "menon":
        return _menon(wide[:, 0])[..., edge:-edge, edge:-edge].contiguous()
    kernels = _kernels(_BILINEAR if method == "bilinear" else _MALVAR).to(packed)
    return functional.pixel_shuffle(functional.conv2d(wide, kernels, stride=2), 2)


def _kernels(cases: tuple[Stencil, Stencil, Stencil]) -> Tensor:
    """(12, 1, 6, 6): for R, G, B at each of the four photosites of a packed pixel, from two photosites before it."""
    green, row, opposite = cases
    column = tuple(zip(*row, strict=True))
    table = (
        (_OWN, row, column, opposite),  # red at R, G1, G2, B
        (green, _OWN, _OWN, green),
        (opposite, column, row, _OWN),
    )
    found = torch.zeros(3, 4, 6, 6)
    for c, kernels in enumerate(table):
        for site, kernel in enumerate(kernels):
            y, x = BAYER.sites[site]
            found[c, site, y : y + 5, x : x + 5] = torch.tensor(kernel) / 8
    return found.reshape(12, 1, 6, 6)


def _menon(raw: Tensor) -> Tensor:
    """``(b, h, w)`` mosaic of phase RGGB to ``(b, 3, h, w)``; the outer 12 photosites are not valid."""
    h, w = raw.shape[-2:]
    odd_row = torch.arange(h, device=raw.device)[:, None] % 2 == 1
    odd_column = torch.arange(w, device=raw.device)[None, :] % 2 == 1
    is_red, is_blue = ~odd_row & ~odd_column, odd_row & odd_column
    is_green = odd_row ^ odd_column
    across, down = (functools.partial(_green, raw, is_green, axis) for axis in (-1, -2))
    (green_across, varies_across), (green_down, varies_down) = across(), down()
    along_rows = varies_down >= varies_across
    green = torch.where(along_rows, green_across, green_down)

    def along(taps: Callable[[Tensor, int], Tensor], x: Tensor, rows: Tensor) -> Tensor:
        return torch.where(rows, taps(x, -1), taps(x, -2))

    # Red lies beside a green of its own row, above and below one of a blue row; blue the other way round.
    colour = raw - green  # of red and blue at their own places
    red = torch.where(is_red, raw, green + along(_two, colour, ~odd_row))
    blue = torch.where(is_blue, raw, green + along(_two, colour, odd_row))
    difference = red - blue
    red, blue = (
        torch.where(is_blue, blue + along(_two, difference, along_rows), red),
        torch.where(is_red, red - along(_two, difference, along_rows), blue),
    )
    # Refinement: green at red and blue, then red and blue at green, then each at the other.
    green = torch.where(is_red, red - along(_three, red - green, along_rows), green)
    green = torch.where(is_blue, blue - along(_three, blue - green, along_rows), green)
    red, blue = (
        torch.where(is_green, green + along(_two, red - green, ~odd_row), red),
        torch.where(is_green, green + along(_two, blue - green, odd_row), blue),
    )
    red = torch.where(is_blue, blue + along(_three, red - blue, along_rows), red)
    blue = torch.where(is_red, red - along(_three, red - blue, along_rows), blue)
    return torch.stack((red, green, blue), dim=1)


def _green(raw: Tensor, is_green: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Green interpolated along one axis, and how much the colour differences vary along it about each photosite."""
    second = 2 * raw - _at(raw, axis, 2) - _at(raw, axis, -2)
    green = torch.where(is_green, raw, _two(raw, axis) + second / 4)
    step = (raw - green).sub_(_at(raw - green, axis, 2)).abs_()
    other = -3 - axis
    near, middle = step + _at(step, axis, -2), _at(step, axis, -1)
    return green, (
        _at(near, other, -2) + _at(near, other, 2) + 3 * near + _at(middle, other, -1) + _at(middle, other, 1)
    )


def _at(x: Tensor, axis: int, by: int) -> Tensor:
    """The value ``by`` photosites further along; what wraps around stays in the outer photosites."""
    return torch.roll(x, -by, axis)


def _two(x: Tensor, axis: int) -> Tensor:
    return (_at(x, axis, -1) + _at(x, axis, 1)) / 2


def _three(x: Tensor, axis: int) -> Tensor:
    return (_at(x, axis, -1) + x + _at(x, axis, 1)) / 3

"""Baseline JPEG there and back, in the whole numbers of libjpeg: what a picture looks like after it, not its bytes.

RGB to YCbCr (JFIF), chroma averaged over 1 x 2 or 2 x 2 pixels, 8 x 8 DCT, rounding to multiples of a table scaled by
quality, and back with triangular ("fancy") upsampling.  Entropy coding loses nothing and is left out.

A pass of libjpeg's `islow` DCT is one product with whole numbers (cosines times 2^13) and one rounding shift; products
of float64 hold them exactly whatever the order of the sums, so that every processor, batch and thread count gives the
same levels, those of libjpeg-turbo. On a CPU the whole way is compiled (`jpeg_cpu`); this one is for other devices and
for gradients.

Source: ITU-T T.81 (tables K.1 and K.2), JFIF 1.02; the Independent JPEG Group's library, the transform after Loeffler,
Ligtenberg and Moschytz 1989.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from degrade.maths.gradient import straight
from degrade.maths.twin import twin

#: Chroma pixels a luma pixel, down and across, by the usual name.
SAMPLING: Final[dict[str, tuple[int, int]]] = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}

# Rows 1 to 7 of the DCT over half a block, times 2^13; the other half mirrors it, odd rows negated.
_HALVES: Final = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)
_LUMA: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


def compress(x: Tensor, quality: int | Tensor, sampling: str = "4:2:0") -> Tensor:
    """The picture after JPEG, on levels of 1/255.

    Blocks start at the first pixel; incomplete ones at the end are filled by repeating the last pixel, as libjpeg does.
    Where a gradient is asked for, roundings pass it straight through.

    Args:
        x: (b, 3, h, w) sRGB, 0 to 1; what lies outside is clipped.
        quality: 1 to 100, one or (b,).
        sampling: "4:4:4", "4:2:2" or "4:2:0".

    Raises:
        ValueError: for an unknown sampling, a quality outside 1 .. 100, or another shape.

    >>> grey = torch.full((1, 3, 8, 8), 0.5)
    >>> (compress(grey, 75) * 255).unique()
    tensor([128.])
    """
    if sampling not in SAMPLING:
        raise ValueError(f"unknown chroma sampling {sampling!r}, must be one of {', '.join(SAMPLING)}")
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"JPEG takes (b, 3, h, w), got {tuple(x.shape)}")
    return requantised(x, *tables(quality, x.device), sampling)


@twin("jpeg_cpu")
def requantised(x: Tensor, luma: Tensor, chroma: Tensor, sampling: str) -> Tensor:
    """`compress` with tables of luma and chroma at hand, (1 or b, 8, 8) as of `tables`.

    >>> requantised(torch.full((1, 3, 8, 8), 0.5), *tables(75), "4:2:0").unique() * 255
    tensor([128.])
    """
    y, cbcr = to_ycc(straight(levels := x.clamp(0, 1) * 255, levels.round()))
    return from_ycc(_coded(y, luma), enlarged(_coded(reduced(cbcr, sampling), chroma), sampling, y)) / 255


def tables(quality: int | Tensor, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Quantisation tables of luma and chroma, each (1 or b, 8, 8) float64, scaled as libjpeg's baseline.

    >>> tables(75)[0][0, 0, :4].tolist(), tables(10)[1].max().item()
    ([8.0, 6.0, 5.0, 8.0], 255.0)
    """
    asked = torch.as_tensor(quality).reshape(-1).tolist()
    if not all(1 <= q <= 100 for q in asked):
        raise ValueError(f"JPEG quality goes from 1 to 100, got {asked}")
    luma, chroma = _scaled(tuple(map(int, asked)))
    return luma.to(device), chroma.to(device)


@lru_cache(maxsize=1024)
def _scaled(quality: tuple[int, ...]) -> Tensor:
    """(2, b, 8, 8) tables of luma and chroma."""
    scale = torch.tensor([5000 // q if q < 50 else 200 - 2 * q for q in quality])[:, None, None]
    whole = torch.tensor((_LUMA, _CHROMA))[:, None]
    return torch.div(whole * scale + 50, 100, rounding_mode="floor").clamp(1, 255).double()


def to_ycc(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Levels (b, 3, h, w) 0 to 255 as luma (b, 1, h, w) and chroma Cb Cr (b, 2, h, w), whole numbers.

    >>> y, cbcr = to_ycc(torch.tensor([255.0, 0.0, 0.0]).reshape(1, 3, 1, 1))
    >>> y.item(), cbcr.flatten().tolist()
    (76.0, [85.0, 255.0])
    """
    r, g, b = rgb.unbind(1)  # sums below 2^24, exact in float32
    half, middle = 1 << 15, (128 << 16) + (1 << 15) - 1
    y = _sixteenth(19595 * r, 38470, g, 7471, b, half)
    cb = _sixteenth(32768 * b, -11059, r, -21709, g, middle)
    cr = _sixteenth(32768 * r, -27439, g, -5329, b, middle)
    return y[:, None], torch.stack((cb, cr), dim=1)


def from_ycc(y: Tensor, cbcr: Tensor) -> Tensor:
    """Luma (b, 1, h, w) and chroma (b, 2, h, w) as RGB levels (b, 3, h, w), clipped to 0 .. 255.

    >>> from_ycc(torch.full((1, 1, 1, 1), 76.0), torch.tensor([85.0, 255.0]).reshape(1, 2, 1, 1)).flatten().tolist()
    [254.0, 0.0, 0.0]
    """
    cb, cr = (cbcr - 128).split(1, dim=1)
    half = 1 << 15
    red = _sixteenth(91881 * cr, 0, cb, 0, cr, half) + y
    green = _sixteenth(-22554 * cb, -46802, cr, 0, cb, half) + y
    blue = _sixteenth(116130 * cb, 0, cb, 0, cr, half) + y
    return torch.cat((red, green, blue), dim=1).clamp(0, 255)


def reduced(chroma: Tensor, sampling: str) -> Tensor:
    """Chroma (b, c, h, w) averaged to its own pixels, in whole blocks of columns; the last pixel is repeated.

    Halves are rounded down and up in turn along a row, so that the mean keeps its level.

    >>> reduced(torch.tensor([0.0, 1, 0, 1]).expand(1, 1, 2, 4), "4:2:2")[0, 0, 0, :2].tolist()
    [0.0, 1.0]
    """
    down, across = SAMPLING[sampling]
    if across == 1:
        return chroma
    h, w = chroma.shape[-2:]
    # as libjpeg does: columns are filled before averaging and rows after it, except the second one of a pair
    x = functional.pad(chroma, (0, -w % 16, 0, -h % down), mode="replicate")
    x = x[..., ::2] + x[..., 1::2]
    if down == 2:
        x = x[..., ::2, :] + x[..., 1::2, :]
    bias = torch.arange(x.shape[-1], device=x.device) % 2 + (down - 1)
    return _floor((x + bias) / (2 * down))


def enlarged(chroma: Tensor, sampling: str, like: Tensor) -> Tensor:
    """Chroma on its own pixels brought to the size of ``like`` by a triangle, 3/4 of the nearer and 1/4 of the other.

    >>> enlarged(torch.tensor([0.0, 100.0]).reshape(1, 1, 1, 2), "4:2:2", torch.zeros(1, 1, 1, 4)).flatten().tolist()
    [0.0, 25.0, 75.0, 100.0]
    """
    down, across = SAMPLING[sampling]
    h, w = like.shape[-2:]
    x = chroma[..., : -(-h // down), : -(-w // across)]
    if across == 1:
        return x
    left, right = 1, 2  # what is added before the shift
    if down == 2:
        x = _spread(x.mT, 0, 0).mT
        left, right = 8, 7
    return _floor(_spread(x, left, right) / (4 * down**2))[..., :h, :w]


def _spread(x: Tensor, left: int, right: int) -> Tensor:
    """Twice as many columns: ``3 x + its left neighbour + left`` and ``3 x + its right neighbour + right``."""
    wide = functional.pad(x, (1, 1, 0, 0), mode="replicate")
    pair = torch.stack((3 * x + wide[..., :-2] + left, 3 * x + wide[..., 2:] + right), dim=-1)
    return pair.flatten(-2)


def _coded(x: Tensor, table: Tensor) -> Tensor:
    """Levels (b, c, h, w) after DCT, rounding to multiples of the row's table, (1 or b, 8, 8), and the way back."""
    h, w = x.shape[-2:]
    half = torch.tensor(_HALVES, dtype=torch.float64, device=x.device)
    signs = torch.tensor((1.0, -1.0) * 4, dtype=torch.float64, device=x.device)[:, None]
    cosines = torch.cat((half, signs * half.flip(1)), dim=1)
    whole = functional.pad(x, (0, -w % 8, 0, -h % 8), mode="replicate").double().sub_(128)
    step = table[:, None, None, :, None, :]
    rows = _shift(whole.unflatten(3, (-1, 8)) @ cosines.T, 11)  # b c y columns u
    both = _shift(cosines @ rows.flatten(3).unflatten(2, (-1, 8)), 15)  # b c rows v x
    kept = _multiples(both.unflatten(4, (-1, 8)), step)  # b c rows v columns u
    columns = _shift(cosines.T @ kept.flatten(4), 11)  # b c rows i x
    levels = _shift(columns.unflatten(4, (-1, 8)) @ cosines, 18).flatten(4).flatten(2, 3)
    return levels[..., :h, :w].to(x.dtype).add_(128).clamp_(0, 255)


def _multiples(x: Tensor, step: Tensor) -> Tensor:
    """Eight times too large coefficients at the nearest multiple of ``step``, halves away from 0."""
    size = x.abs().div_(8 * step).add_(0.5)
    return torch.copysign(_floor(size) * step, x) if x.requires_grad else size.floor_().mul_(step).copysign_(x)


def _sixteenth(total: Tensor, m: int, x: Tensor, n: int, y: Tensor, bias: int) -> Tensor:
    """``(total + m x + n y + bias) >> 16``; the sum may be written into ``total``."""
    return _floor(total.add_(x, alpha=m).add_(y, alpha=n).add_(bias).div_(65536))


def _shift(x: Tensor, bits: int) -> Tensor:
    """``x >> bits`` to the nearest whole number, halves up; ``x`` is overwritten."""
    return _floor(x.mul_(2.0**-bits).add_(0.5))


def _floor(x: Tensor) -> Tensor:
    return straight(x, x.floor()) if x.requires_grad else x.floor_()

"""Bayer mosaics: packing, and linear RGB resampled at the true sample positions.

Packed data is ``R G1 G2 B`` and always has RGGB geometry: red lies at even row and even column, G1 shares red's row.
Coordinates count photosites from the first red one, pixel centres at whole numbers.

A sample of a colour covers the 2 photosites about its own centre; with shrink ``s = 2 m`` the output pixel ``i`` covers
``[s i - 1/2, s i + s - 1/2)``.  Their overlaps, in quarters of a sample, are the weights of one axis::

    even sites 2j,   j = m i ... m i + m:          3 4 ... 4 1
    odd sites 2j+1,  j = m i - 1 ... m i + m - 1:  1 4 ... 4 3       (sum 4 m, centroid s i + (s - 1) / 2 for both)

so that R, G and B share one centroid, where plain 2 x 2 binning leaves red and blue half a pixel apart.  Output pixels
that the samples do not wholly cover are left out: the first row and column (index 0) and those at the far end.  The
sums of whole DN are exact in float32 (16 bits up to shrink 8), thus independent of the order, threads and processor.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from degrade.maths.cfa import BAYER, PHASES
from degrade.maths.twin import twin


def pack(mosaic: Tensor, phase: str = "RGGB") -> Tensor:
    """``(..., h, w)`` photosites to ``(..., 4, h', w')`` planes R G1 G2 B, any dtype, contiguous.

    A leading row or column is dropped where the phase asks for it, and a trailing one where a pair is not complete.

    >>> pack(torch.arange(16).reshape(4, 4), "GRBG")[..., 0, 0]     # column 0 is dropped
    tensor([1, 2, 5, 6])
    """
    y, x = PHASES[phase].phase
    inner = mosaic[..., y:, x:]
    h, w = inner.shape[-2] // 2, inner.shape[-1] // 2
    if h < 1 or w < 1:
        raise ValueError(f"a mosaic of {mosaic.shape[-2]} x {mosaic.shape[-1]} holds no whole RGGB square, need 3 x 3")
    return torch.stack([inner[..., i : 2 * h : 2, j : 2 * w : 2] for i, j in BAYER.sites], dim=-3)


def unpack(packed: Tensor) -> Tensor:
    """``(..., 4, h, w)`` planes to the ``(..., 2 h, 2 w)`` mosaic of phase RGGB; undoes `pack`.

    >>> unpack(torch.arange(4).reshape(4, 1, 1))
    tensor([[0, 1],
            [2, 3]])
    """
    _need(packed, 4)
    *lead, _, h, w = packed.shape
    return packed.unflatten(-3, (2, 2)).movedim((-4, -3), (-3, -1)).reshape(*lead, 2 * h, 2 * w)


def mosaic(linear: Tensor) -> Tensor:
    """Sample ``(b, 3, h, w)`` RGB by the colour filters, ``(b, 4, h/2, w/2)`` packed.

    Raises:
        ValueError: if height or width is odd.

    >>> mosaic(torch.arange(12.0).reshape(1, 3, 2, 2)).flatten()    # R at (0,0), G1 (0,1), G2 (1,0), B (1,1)
    tensor([ 0.,  5.,  6., 11.])
    """
    _need(linear, 3)
    h, w = linear.shape[-2:]
    if h % 2 or w % 2:
        raise ValueError(f"a mosaic needs an even height and width, got {h} x {w}: crop to even sizes")
    return _sampled(linear)


@twin("bayer_cpu")
def _sampled(linear: Tensor) -> Tensor:
    return torch.stack(
        [linear[..., c, i::2, j::2] for c, (i, j) in zip(BAYER.colours, BAYER.sites, strict=True)], dim=-3
    )


def planes(packed: Tensor, shrink: int) -> Tensor:
    """Each CFA plane area-resampled at its true sample positions, ``(..., 4, h, w) -> (..., 4, H, W)`` float32.

    ``H = (h - 1) // (shrink / 2) - 1``; pixel ``p`` of the result lies at ``shrink (p + 1) + (shrink - 1) / 2``
    photosites from the first red one: one pixel is left out before it.

    Raises:
        ValueError: if ``shrink`` is not even and at least 2, or the picture is too small for one pixel.

    >>> ramp = pack(torch.arange(12.0).expand(12, 12))              # the value is the column
    >>> planes(ramp, 4)[:, 0, 0]                                    # pixel 1 of shrink 4 covers columns 4 to 7
    tensor([5.5000, 5.5000, 5.5000, 5.5000])
    """
    _need(packed, 4)
    *lead, _, h, w = packed.shape
    size = BAYER.resampled(2 * h, shrink), BAYER.resampled(2 * w, shrink)
    if min(size) < 1:
        least = 2 * shrink + 2
        raise ValueError(f"a mosaic of {2 * h} x {2 * w} is too small for shrink {shrink}: need {least} x {least}")
    out = torch.empty(*lead, 4, *size, dtype=torch.float32, device=packed.device)
    for c, (i, j) in enumerate(BAYER.sites):
        rows = _axis(packed[..., c, :, :].to(torch.float32).mT, i, shrink, size[0]).mT
        out[..., c, :, :] = _axis(rows, j, shrink, size[1]).mul_(1 / (2 * shrink) ** 2)
    return out


def touched(packed: Tensor, shrink: int) -> Tensor:
    """Pixels of `linear` to which any marked photosite contributes: ``(..., 4, h, w)`` bool to ``(..., H, W)`` bool.

    >>> mark = torch.zeros(4, 8, 8, dtype=torch.bool)
    >>> mark[0, 3, 3] = True
    >>> touched(mark, 2).nonzero().tolist()             # red of site (6, 6) reaches pixels 2 and 3, here 1 and 2
    [[1, 1], [1, 2], [2, 1], [2, 2]]
    """
    _need(packed, 4)
    m = shrink // 2
    planes: list[Tensor] = []
    for c, (i, j) in enumerate(BAYER.sites):
        marked = packed[..., c, :, :]
        for axis, odd in ((-2, i), (-1, j)):
            n = BAYER.resampled(2 * marked.shape[axis], shrink)
            steps = (marked.narrow(axis, m - odd + k, m * (n - 1) + 1) for k in range(m + 1))
            strided = (t[..., ::m, :] if axis == -2 else t[..., ::m] for t in steps)
            marked = functools.reduce(torch.logical_or, strided)
        planes.append(marked)
    return functools.reduce(torch.logical_or, planes)


def linear(packed: Tensor, shrink: int) -> Tensor:
    """``(..., 4, h, w)`` packed to ``(..., 3, H, W)`` RGB at the true sample positions; geometry as in `planes`.

    >>> linear(torch.ones(1, 4, 8, 8), 2).shape
    torch.Size([1, 3, 6, 6])
    """
    return BAYER.merge(planes(packed, shrink), -3)


def _axis(x: Tensor, odd: int, shrink: int, count: int) -> Tensor:
    """Weighted sums along the last axis, in quarters of a sample, from output pixel 1 on."""
    m = shrink // 2
    taps = [1, *[4] * (m - 1), 3] if odd else [3, *[4] * (m - 1), 1]
    cut = [x[..., k : k + m * (count - 1) + 1 : m] for k in range(m - odd, 2 * m + 1 - odd)]
    total = cut[0] * taps[0]
    for tap, part in zip(taps[1:], cut[1:], strict=True):
        total.add_(part, alpha=tap)
    return total


def _need(x: Tensor, channels: int) -> None:
    if x.ndim < 3 or x.shape[-3] != channels:
        raise ValueError(f"expected (..., {channels}, h, w), got {tuple(x.shape)}")

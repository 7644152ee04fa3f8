"""Convolution by FFT. Pixels nearer to the border than the kernel's radius see the opposite side and are not valid;
whoever calls gives a margin of at least that radius and trims it, so that nothing is padded and nothing wraps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as functional
from torch import Tensor

CACHED = 2**18 + 2**16  #: samples that a core keeps close by


def frequencies(size: tuple[int, int], device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """(h, 1) and (1, w // 2 + 1) frequencies [cycles a pixel] of a real FFT, float64."""
    h, w = size
    fy = torch.fft.fftfreq(h, dtype=torch.float64, device=device)
    fx = torch.fft.rfftfreq(w, dtype=torch.float64, device=device)
    return fy[:, None], fx[None, :]


@lru_cache(maxsize=4096)
def fast_size(n: int) -> int:
    """The next length from ``n`` up that has no prime factor above 5: several times quicker to transform than a prime.

    >>> [fast_size(n) for n in (128, 158, 161)]
    [128, 160, 162]
    """
    rest = n
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return n if rest == 1 else fast_size(n + 1)


def spectrum(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Transfer function of a kernel for `filtered` on (h, w) data: complex, on a grid of fast sizes.

    Args:
        kernel: (..., k, k), odd k at most min(h, w).
        size: (h, w) [pixels].

    Raises:
        ValueError: if the kernel does not fit.
    """
    k = kernel.shape[-1]
    if k % 2 == 0 or kernel.shape[-2] != k or k > min(size):
        raise ValueError(f"a kernel has an odd side of at most {min(size)} pixels here, got {tuple(kernel.shape[-2:])}")
    h, w = fast_size(size[0]), fast_size(size[1])
    if torch.equal(kernel, kernel.flip(-1)) and torch.equal(kernel, kernel.flip(-2)):
        # two products with cosines are quicker than a transform
        down, across = (_cosines(n, count, k // 2).to(kernel) for n, count in ((h, h), (w, w // 2 + 1)))
        even = down @ (kernel[..., k // 2 :, k // 2 :] @ across.mT)
        return even.to(kernel.dtype.to_complex())
    # only the kernel's own rows are transformed along x: the others are empty
    rows = torch.fft.rfft(torch.roll(functional.pad(kernel, (0, w - k)), -(k // 2), -1))
    field = rows.new_zeros(*rows.shape[:-2], h, rows.shape[-1])
    field[..., : k - k // 2, :], field[..., h - k // 2 :, :] = rows[..., k // 2 :, :], rows[..., : k // 2, :]
    return torch.fft.fft(field, dim=-2)


@lru_cache(8)
def _cosines(n: int, count: int, radius: int) -> Tensor:
    """(count, radius + 1) float64 weights that transform an even line of n, given by its middle and one side."""
    with torch.inference_mode(False):  # for whoever asks next may want gradients
        turn = (torch.outer(torch.arange(count), torch.arange(radius + 1)) % n).double()
        wave = torch.cos(turn * (2 * math.pi / n))
        wave[:, 1:] *= 2
    return wave


def rows_at_once(data: Tensor) -> int:
    """How many rows of (b, c, h, w) to transform together: on a CPU as many as stay in its cache, with their spectra.

    >>> rows_at_once(torch.zeros(256, 3, 160, 160))
    4
    """
    return max(1, CACHED // max(data[0].numel(), 1)) if data.device.type == "cpu" and len(data) else max(len(data), 1)


def filtered(data: Tensor, transfer: Tensor, index: Tensor | None = None) -> Tensor:
    """Data times a transfer function from `spectrum`.

    Args:
        data: (b, c, h, w).
        transfer: (b or 1, c or 1, ...), or (u, ...) with an index.
        index: (b or 1, c) which of the u transfer functions a row and channel takes.

    Returns:
        (b, c, h, w), contiguous.
    """
    done = torch.empty_like(data, memory_format=torch.contiguous_format)
    for rows in _pieces(data):
        which = transfer if index is None else index
        which = which[rows] if len(which) > 1 else which
        done[rows] = _through(data[rows], which if index is None else transfer[which])
    return done


def _pieces(data: Tensor) -> Iterator[slice]:
    step = rows_at_once(data)
    return (slice(i, i + step) for i in range(0, len(data), step))


def _through(data: Tensor, transfer: Tensor) -> Tensor:
    h, w = data.shape[-2:]
    grid = fast_size(h), fast_size(w)
    return torch.fft.irfft2(torch.fft.rfft2(data, s=grid).mul_(transfer), s=grid)[..., :h, :w]


def convolve(data: Tensor, kernel: Tensor) -> Tensor:
    """True convolution: a delta becomes the kernel, upright.

    Args:
        data: (b, c, h, w) float32.
        kernel: (b or 1, c or 1, k, k), odd k at most min(h, w).

    Returns:
        (b, c, h, w) float32; the outer k // 2 pixels are not valid.

    >>> dot = torch.zeros(1, 1, 8, 8); dot[..., 4, 4] = 1
    >>> kernel = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> torch.allclose(convolve(dot, kernel)[..., 3:6, 3:6], kernel, atol=1e-5)
    True
    """
    size = data.shape[-2], data.shape[-1]
    if len(kernel) <= 1:
        return filtered(data, spectrum(kernel.to(data.dtype), size))
    done = torch.empty_like(data, memory_format=torch.contiguous_format)
    for rows in _pieces(data):
        done[rows] = _through(data[rows], spectrum(kernel[rows].to(data.dtype), size))
    return done


def reflected(data: Tensor, radius: int) -> Tensor:
    """Data with its reflection about the outermost pixels around it: (..., h, w) to (..., h + 2 radius, w + 2 radius).

    >>> reflected(torch.arange(3.0).reshape(1, 1, 1, 3), 3)[0, 0, 0].tolist()
    [1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0]
    """
    if radius < min(data.shape[-2:]):
        return functional.pad(data, (radius,) * 4, mode="reflect")
    for axis in (-2, -1):
        n = data.shape[axis]
        at = torch.arange(-radius, n + radius, device=data.device).abs() % max(2 * n - 2, 1)
        data = data.index_select(axis, torch.minimum(at, 2 * n - 2 - at) if n > 1 else at * 0)
    return data

"""The fields of `philox`, and noise of them, on a GPU: kernels compiled by Triton that pass over memory once.

The same words; normals agree with those of tensor operations to a few units in the last place. A program makes ``SPAN``
counters of one plane, each four neighbours in x, and leaves out what lies beyond the field.
"""

# Triton reads the kernels' own source and knows no annotation but its own.
# pyright: basic
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

jit: Any = triton.jit
SPAN = 256  #: counters a program; with 8 samples a thread, loads and stores are whole lines of memory


@jit
def _unit(word):
    return ((word >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07  # 2^-23


@jit
def _radius(word):
    return tl.sqrt_rn(-2.0 * tl.log((word.to(tl.float32) + 0.5) * 2.3283064365386963e-10))  # 2^-32


@jit
def _circle(word):
    """Cosine and sine of the angle whose turns are the upper 24 bits of a word."""
    quarters = ((word >> 8).to(tl.float32) + 0.5) * 2.384185791015625e-07  # 2^-22
    k = tl.floor(quarters + 0.5)
    t = (quarters - k) * 1.5707963267948966
    sine, cosine = tl.sin(t), tl.cos(t)
    half = tl.floor(k * 0.5)
    odd, sign = k - 2 * half, 1 - 2 * (half - 2 * tl.floor(half * 0.5))
    return sign * (cosine + odd * (-sine - cosine)), sign * (sine + odd * (cosine - sine))


@jit
def _numbers(seeds, plane, first, channels, left, top, blocks, stream, span, normal):
    """Numbers of ``span`` counters of a plane from ``first`` on: (4 span,)."""
    at = first + tl.arange(0, span)
    channel = tl.zeros_like(at) + plane % channels
    seed = tl.load(seeds + plane // channels)
    a, b, c, d = tl.philox(seed, left + at % blocks, top + at // blocks, channel, tl.zeros_like(at) + stream)
    if normal:
        r, q = _radius(a), _radius(c)
        x, y = _circle(b)
        z, w = _circle(d)
        a, b, c, d = r * x, r * y, q * z, q * w
    else:
        a, b, c, d = _unit(a), _unit(b), _unit(c), _unit(d)
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d))


@jit
def _places(plane, first, skip, height, width, blocks, span):
    """Where these numbers belong in (planes, h, w), and which of them lie within."""
    e = 4 * first + tl.arange(0, 4 * span)
    y, x = e // (4 * blocks), e % (4 * blocks) - skip
    return plane.to(tl.int64) * height * width + y * width + x, (y < height) & (x >= 0) & (x < width)


@jit
def _field(
    seeds, out, channels, left, top, skip, height, width,
    blocks, pieces, stream, normal: tl.constexpr, span: tl.constexpr,
):  # fmt: skip
    plane, first = tl.program_id(0) // pieces, tl.program_id(0) % pieces * span
    at, within = _places(plane, first, skip, height, width, blocks, span)
    n = _numbers(seeds, plane, first, channels, left, top, blocks, stream, span, normal)
    tl.store(out + at, n, within)


@jit
def _noisy(
    x, signal, shot, read, seeds, out, channels, left, top, skip,
    height, width, blocks, pieces, span: tl.constexpr,
):  # fmt: skip
    plane, first = tl.program_id(0) // pieces, tl.program_id(0) % pieces * span
    at, within = _places(plane, first, skip, height, width, blocks, span)
    light = tl.minimum(tl.maximum(tl.load(signal + at, within), 0.0), 1.0)
    variance = tl.maximum(tl.load(shot + plane) * light + tl.load(read + plane), 0.0)
    n = _numbers(seeds, plane, first, channels, left, top, blocks, 0, span, True)
    tl.store(out + at, tl.load(x + at, within) + tl.sqrt_rn(variance) * n, within)


def field(kind: str, seed: Tensor, channels: int, start: tuple[int, int], size: tuple[int, int], stream: int) -> Tensor:
    """`philox.uniform_field` or `philox.normal_field`.

    >>> if torch.cuda.is_available():
    ...     seven = torch.tensor([7], device="cuda")
    ...     assert field("uniform", seven, 1, (-2, -3), (4, 5), 0).shape == (1, 1, 4, 5)
    """
    out = torch.empty(len(seed), channels, *size, dtype=torch.float32, device=seed.device)
    pieces, place = _grid(channels, start, size)
    with torch.cuda.device_of(out):
        _field[(len(seed) * channels * pieces,)](seed.contiguous(), out, *place, pieces, stream, kind == "normal", SPAN)
    return out


def noisy(x: Tensor, signal: Tensor, shot: Tensor, read: Tensor, seed: Tensor, start: tuple[int, int]) -> Tensor:
    """`sensor.noisy`, with a line for each row and channel.

    >>> if torch.cuda.is_available():
    ...     grey = torch.full((1, 4, 64, 64), 0.5, device="cuda")
    ...     line = torch.zeros(1, 4, 1, 1, device="cuda")
    ...     assert torch.equal(noisy(grey, grey, line, line, torch.tensor([7], device="cuda"), (0, 0)), grey)
    """
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    b, channels, *size = x.shape
    pieces, place = _grid(channels, start, (size[0], size[1]))
    planes = (t.contiguous() for t in (x, signal, shot, read, seed))
    with torch.cuda.device_of(out):
        _noisy[(b * channels * pieces,)](*planes, out, *place, pieces, SPAN)
    return out


def _grid(channels: int, start: tuple[int, int], size: tuple[int, int]) -> tuple[int, tuple[int, ...]]:
    """Programs a plane; channels, first counters x and y, columns left out, height, width, counters a line."""
    (top, left), (height, width) = start, size
    blocks = (left + width - 1) // 4 - left // 4 + 1
    return -(-blocks * height // SPAN), (channels, left // 4, top, left % 4, height, width, blocks)

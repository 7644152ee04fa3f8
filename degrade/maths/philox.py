"""Random fields by address: Philox-4x32-10, the same numbers on every device, in any block, thread or order.

A sample belongs to (seed, channel, y, x), not to a moment: fields of two sizes or margins agree where they overlap.
Four neighbours in x share one counter ``(x // 4, y, channel, stream)``; its four words give two Box-Muller pairs.

On a CPU the fields are compiled (`philox_cpu`), on a GPU for which Triton is there, too (`philox_gpu`), elsewhere they
are tensor operations; words are the same, normals agree within 1e-6.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011). As tensors, words are held in int64, where
the product of two 32-bit words wraps as in uint64 and its halves can be masked out.
"""

from __future__ import annotations

import functools
import importlib.util
import math

import torch
from torch import Tensor

from degrade.maths.twin import twin

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF


def _mul(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of a 32 x 32 bit product."""
    product = b * a
    # the shift of a negative int64 keeps its sign: the mask removes it
    return (product >> 32) & _MASK, product & _MASK


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox-4x32-10 of int64 tensors that hold 32-bit words (broadcast against each other).

    >>> zero = torch.zeros(1, dtype=torch.int64)
    >>> [hex(int(w)) for w in philox((zero, zero, zero, zero), (zero, zero))]      # the authors' known answer
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _mul(_M0, c0)
        high1, low1 = _mul(_M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


def _covering(start: tuple[int, int], size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Counters x and y that cover a field, and the first column's place in its block of four."""
    (top, left), (height, width) = start, size
    first, last = left // 4, (left + width - 1) // 4
    return (
        torch.arange(first, last + 1, device=device),
        torch.arange(top, top + height, device=device),
        left - 4 * first,
    )


def _words(seed: Tensor, channels: int, x: Tensor, y: Tensor, stream: int) -> Tensor:
    """(b, c, h, blocks, 4) words."""
    c = torch.arange(channels, device=seed.device).reshape(1, -1, 1, 1)
    s = seed.reshape(-1, 1, 1, 1)
    counter = (x & _MASK).reshape(1, 1, 1, -1), (y & _MASK).reshape(1, 1, -1, 1), c, torch.full_like(c, stream)
    return torch.stack(torch.broadcast_tensors(*philox(counter, (s & _MASK, (s >> 32) & _MASK))), dim=-1)


def uniform_field(
    seed: Tensor, channels: int, start: tuple[int, int], size: tuple[int, int], stream: int = 0
) -> Tensor:
    """Uniform numbers in (0, 1), float32.

    Args:
        seed: (b,) int64, one a row, 0 .. 2^53 - 1.
        channels: number of channels c.
        start: (y, x) of the first sample, counted from the patch's own origin; negative in its margin.
        size: (h, w) [pixels].
        stream: which of the independent fields of this seed.

    Returns:
        (b, c, h, w) float32.

    >>> seed = torch.tensor([7])
    >>> wide = uniform_field(seed, 1, (-2, -3), (6, 8))
    >>> torch.equal(wide[..., 2:, 3:], uniform_field(seed, 1, (0, 0), (4, 5)))
    True
    """
    return _field("uniform", seed, channels, start, size, stream)


def normal_field(seed: Tensor, channels: int, start: tuple[int, int], size: tuple[int, int], stream: int = 0) -> Tensor:
    """Independent standard normals by Box and Muller (1958); arguments and shape as `uniform_field`.

    The radius keeps 32 bits, so that tails reach 6.7 sigma.

    >>> z = normal_field(torch.tensor([1, 2]), 4, (0, 0), (64, 64))
    >>> z.shape, bool(abs(z.mean()) < 0.03), bool(abs(z.std() - 1) < 0.03)
    (torch.Size([2, 4, 64, 64]), True, True)
    """
    return _field("normal", seed, channels, start, size, stream)


def _field(
    kind: str, seed: Tensor, channels: int, start: tuple[int, int], size: tuple[int, int], stream: int
) -> Tensor:
    if fusible(seed):
        from degrade.maths import philox_gpu

        return philox_gpu.field(kind, seed, channels, start, size, stream)
    x, y, skip = _covering(start, size, seed.device)
    return field(kind, seed, channels, x, y, stream)[..., skip : skip + size[1]].contiguous()


def fusible(*tensors: Tensor) -> bool:
    """Whether `philox_gpu` takes them: on a GPU, no gradient asked for, and Triton there, as with torch on Linux.

    >>> fusible(torch.zeros(1))
    False
    """
    return all(t.device.type == "cuda" and not t.requires_grad for t in tensors) and _triton()


@functools.cache
def _triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@twin("philox_cpu", torch.int64)
def field(kind: str, seed: Tensor, channels: int, x: Tensor, y: Tensor, stream: int) -> Tensor:
    """Numbers of the counters ``x`` by ``y``, "uniform" or "normal": (b, c, len(y), 4 len(x)) float32."""
    words = _words(seed, channels, x, y, stream)
    if kind == "uniform":
        return _unit(words).flatten(-2)
    radius = torch.sqrt(-2.0 * torch.log((words[..., 0::2].to(torch.float32) + 0.5) * 2.0**-32))
    # in quarters of a turn the angle is reduced without rounding
    quarters = ((words[..., 1::2] >> 8).to(torch.float32) + 0.5) * 2.0**-22
    k = torch.floor(quarters + 0.5)
    t = (quarters - k) * (math.pi / 2)
    sine, cosine = torch.sin(t), torch.cos(t)
    half = torch.floor(k * 0.5)
    odd, sign = k - 2 * half, 1 - 2 * torch.remainder(half, 2)
    pairs = (sign * (cosine + odd * (-sine - cosine)), sign * (sine + odd * (cosine - sine)))
    return torch.stack([radius * p for p in pairs], dim=-1).flatten(-3)


def _unit(words: Tensor) -> Tensor:
    # 23 bits, at the middle of their step: exact in float32 and never 0 or 1
    return ((words >> 9).to(torch.float32) + 0.5) * 2.0**-23

"""Random fields by address: Philox-4x32-10, the same numbers on every device, in any block, thread or order.

A sample belongs to (seed, channel, y, x), not to a moment: fields of two sizes or margins agree where they overlap.
Four neighbours in x share one counter ``(x // 4, y, channel, stream)``; its four words give two Box-Muller pairs.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011). Word arithmetic is done in int64, where
the product of two 32-bit words wraps as in uint64 and its halves can be masked out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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


def _words(
    seed: Tensor, channels: int, start: tuple[int, int], size: tuple[int, int], stream: int
) -> tuple[Tensor, int]:
    """(b, c, h, blocks, 4) words that cover the field, and the first column's place in its block of four."""
    (top, left), (height, width) = start, size
    first, last = left // 4, (left + width - 1) // 4
    device = seed.device
    x = (torch.arange(first, last + 1, device=device) & _MASK).reshape(1, 1, 1, -1)
    y = (torch.arange(top, top + height, device=device) & _MASK).reshape(1, 1, -1, 1)
    c = torch.arange(channels, device=device).reshape(1, -1, 1, 1)
    s = seed.reshape(-1, 1, 1, 1)
    words = philox((x, y, c, torch.full_like(c, stream)), (s & _MASK, (s >> 32) & _MASK))
    return torch.stack(torch.broadcast_tensors(*words), dim=-1), left - 4 * first


def _field(blocks: Tensor, skip: int, width: int) -> Tensor:
    return blocks.flatten(-2)[..., skip : skip + width].contiguous()


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
    words, skip = _words(seed, channels, start, size, stream)
    return _field(_unit(words), skip, size[1])


def _unit(words: Tensor) -> Tensor:
    # 24 bits, at the middle of their step: exact in float32 and never 0 or 1
    return ((words >> 8).to(torch.float32) + 0.5) * 2.0**-24


def normal_field(seed: Tensor, channels: int, start: tuple[int, int], size: tuple[int, int], stream: int = 0) -> Tensor:
    """Independent standard normals by Box and Muller (1958); arguments and shape as `uniform_field`.

    The radius keeps 32 bits, so that tails reach 6.7 sigma.

    >>> z = normal_field(torch.tensor([1, 2]), 4, (0, 0), (64, 64))
    >>> z.shape, bool(abs(z.mean()) < 0.03), bool(abs(z.std() - 1) < 0.03)
    (torch.Size([2, 4, 64, 64]), True, True)
    """
    words, skip = _words(seed, channels, start, size, stream)
    radius = torch.sqrt(-2.0 * torch.log((words[..., 0::2].to(torch.float32) + 0.5) * 2.0**-32))
    angle = _unit(words[..., 1::2]) * (2.0 * math.pi)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
    return _field(pairs.flatten(-2), skip, size[1])

"""Noise as numbers: quantile functions that turn uniforms into counts and read noise, and the units of noise curves.

Uniforms are shared, so that two pictures with nearly the same light get nearly the same photons; a sampler, which
takes as many numbers as its mean asks for, could not do that.

Units: ``k1`` [DN] and ``k0`` [DN^2] are those of ``sigma^2 = [k1 S + k0] ISO / 100``. Others say the same as
(K, sigma_read) at one ISO [DN / e-, DN], as DNG NoiseProfile (S, O) on the normalised signal, or as ELD's line
``log sigma_read = slope log K + bias`` (natural logarithm, 14-bit DN).

Sources: Giles, Algorithm 955: approximation of the inverse Poisson CDF (2016); Joiner and Rosenblatt, Some properties
of the range in samples from Tukey's symmetric lambda distributions (1971); Wei et al., A physics-based noise formation
model for extreme low-light raw denoising (2020, ELD).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from degrade.maths.gradient import straight

EXACT: Final = 64.0  #: mean count below which the Poisson quantile is summed exactly
_LEAST, _MOST = 2.0**-25, 1 - 2.0**-25  # a float32 uniform may round to 1, where quantiles are infinite

#: ELD's published (slope, bias) of log sigma_read over log K.
ELD: Final[Mapping[str, tuple[float, float]]] = {
    "sony-a7s2": (0.541, 1.218),
    "nikon-d850": (0.563, 0.799),
    "canon-5d4": (0.677, 1.512),
    "canon-70d": (0.568, 1.998),
    "canon-700d": (0.652, 2.080),
}


# -- quantiles --------------------------------------------------------------------------------------------------------


def poisson_quantile(uniform: Tensor, mean: Tensor) -> Tensor:
    """Counts: the smallest k whose Poisson probability of at most k reaches ``uniform``.

    Exact to float64 below a mean of 64; above by Giles's normal asymptotic expansion, whose count differs by one in
    less than one of 10^4. Gradients pass straight through to ``mean``.

    Args:
        uniform: numbers in (0, 1), any shape.
        mean: expected counts, at least 0, broadcast to it.

    Returns:
        float32 counts; float32 holds all whole numbers up to 16 million.

    >>> poisson_quantile(torch.tensor([0.3, 0.4, 0.95]), torch.tensor(1.0)).tolist()
    [0.0, 1.0, 3.0]
    """
    if mean.requires_grad:
        return straight(mean, poisson_quantile(uniform, mean.detach()))
    u, mean = torch.broadcast_tensors(uniform.double().clamp(_LEAST, _MOST), mean.double())
    few = mean < EXACT
    counts = _many(u, mean)
    counts[few] = _few(u[few], mean[few])
    return counts.to(torch.float32)


def _few(u: Tensor, mean: Tensor) -> Tensor:
    """Sums the probabilities of 0, 1, 2, ...; every eight of them, samples that have arrived drop out."""
    found, at = torch.zeros_like(mean), torch.arange(len(mean), device=mean.device)
    term = torch.exp(-mean)
    reached, count, k = term.clone(), torch.zeros_like(mean), 0
    while len(at) and k < 4 * EXACT:
        for _ in range(8):
            k += 1
            count += u > reached
            term = term * mean / k
            reached += term
        found[at] = count
        rest = u > reached
        at, u, mean, term, reached, count = (t[rest] for t in (at, u, mean, term, reached, count))
    return found


def _many(u: Tensor, mean: Tensor) -> Tensor:
    z, root = torch.special.ndtri(u), torch.sqrt(mean.clamp(min=EXACT))
    square = z * z
    first = 1 / 3 + square / 6
    second = -z * (1 / 36 + square / 72) / root
    third = (-8 / 405 + square * (7 / 810 + square / 270)) / root**2
    return torch.floor(mean + root * z + first + second + third).clamp(min=0)


def tukey_lambda(uniform: Tensor, shape: Tensor) -> Tensor:
    """Tukey's lambda distribution, scaled to variance 1: ``Q(u) = (u^s - (1 - u)^s) / s``.

    A shape of 0.14 is nearly normal, 0 logistic, negative ones have heavy tails (below -1/4 kurtosis is infinite).

    Args:
        uniform: numbers in (0, 1), any shape.
        shape: above -1/2, broadcast to it.

    >>> tukey_lambda(torch.tensor([0.25, 0.5, 0.75]), torch.tensor(1.0))     # uniform on -sqrt(3) .. sqrt(3)
    tensor([-0.8660,  0.0000,  0.8660])
    """
    u, s = uniform.double().clamp(_LEAST, _MOST), shape.double()
    low, high = torch.log(u), torch.log1p(-u)
    small = s.abs() < 1e-5
    safe = torch.where(small, 1.0, s)
    curved = (torch.expm1(safe * low) - torch.expm1(safe * high)) / safe
    return (torch.where(small, low - high, curved) / torch.sqrt(tukey_variance(s))).to(torch.float32)


def tukey_variance(shape: Tensor) -> Tensor:
    """Variance of ``(u^s - (1 - u)^s) / s``, for shapes above -1/2.

    >>> tukey_variance(torch.tensor([0.0, 1.0], dtype=torch.float64))        # pi^2 / 3 and 1 / 3
    tensor([3.2899, 0.3333], dtype=torch.float64)
    """
    small = shape.abs() < 1e-5
    s = torch.where(small, 1.0, shape)
    beta = torch.exp(2 * torch.lgamma(s + 1) - torch.lgamma(2 * s + 2))
    return torch.where(small, math.pi**2 / 3, 2 / s**2 * (1 / (1 + 2 * s) - beta))


# -- units ------------------------------------------------------------------------------------------------------------


def from_gain(gain: float, read: float, iso: float = 100.0) -> tuple[float, float]:
    """(k1, k0) of a gain K [DN / e-] and read noise sigma [DN], both measured at ``iso``.

    >>> from_gain(0.5, 3.0, iso=200)
    (0.25, 4.5)
    """
    return gain * 100 / iso, read**2 * 100 / iso


def to_gain(k1: float, k0: float, iso: float = 100.0) -> tuple[float, float]:
    """(K [DN / e-], sigma_read [DN]) at ``iso``.

    >>> to_gain(0.25, 4.5, iso=200)
    (0.5, 3.0)
    """
    return k1 * iso / 100, math.sqrt(k0 * iso / 100)


def line_of_profile(shot: float, offset: float, span: float, iso: float) -> tuple[float, float]:
    """(k1, k0) of a DNG NoiseProfile: variance ``S x + O`` of the normalised signal at ``iso``.

    Args:
        shot: S.
        offset: O.
        span: white minus black [DN].
        iso: of the photo.

    >>> line_of_profile(1e-4, 1e-6, span=1000.0, iso=200)
    (0.05, 0.5)
    """
    return shot * span * 100 / iso, offset * span**2 * 100 / iso


def to_profile(k1: float, k0: float, span: float, iso: float) -> tuple[float, float]:
    """(S, O) of a DNG NoiseProfile at ``iso``; ``span`` is white minus black [DN].

    >>> to_profile(0.05, 0.5, span=1000.0, iso=200)
    (0.0001, 1e-06)
    """
    return k1 / span * iso / 100, k0 / span**2 * iso / 100


def from_eld(gain: float, slope: float, bias: float) -> tuple[float, float, float]:
    """(k1, k0, exponent) of ELD's line, with ``gain`` K [DN / e-] at ISO 100 and K proportional to ISO.

    Read variance then follows ``k0 (ISO / 100)^exponent`` with ``exponent = 2 slope``.

    >>> [round(v, 3) for v in from_eld(0.09563, *ELD["sony-a7s2"])]
    [0.096, 0.901, 1.082]
    """
    return gain, math.exp(2 * (slope * math.log(gain) + bias)), 2 * slope


def to_eld(k1: float, k0: float, exponent: float = 1.0) -> tuple[float, float, float]:
    """(K at ISO 100, slope, bias) of ELD's line; k1 and k0 are above 0.

    >>> [round(v, 3) for v in to_eld(*from_eld(0.09563, 0.541, 1.218))]
    [0.096, 0.541, 1.218]
    """
    slope = exponent / 2
    return k1, slope, math.log(k0) / 2 - slope * math.log(k1)

"""Noise of developed pictures, as the classical chains add it: shared by the channels, correlated, counted; sharpening.

Source: Zhang et al. 2021 (BSRGAN), 4.2; Wang et al. 2021 (Real-ESRGAN), 3.1 and its published code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.maths import resize
from degrade.maths.gradient import straight
from degrade.maths.noise import poisson_quantile
from degrade.maths.philox import normal_field, uniform_field
from degrade.maths.smooth import gaussian_line
from degrade.maths.twin import twin

FEW_COUNTS = 12.0  #: mean count below which Poisson numbers are summed up exactly


def luma(rgb: Tensor) -> Tensor:
    """(b, 3, h, w) to (b, 1, h, w) by the weights of BT.601."""
    r, g, b = rgb.split(1, dim=1)
    return 0.2989 * r + 0.587 * g + 0.114 * b


def mixed(own: Tensor, shared: Tensor, grey: Tensor) -> Tensor:
    """Noise of each channel and noise of all, of one variance, with the share ``grey`` (b, 1, 1, 1) of the latter's."""
    return torch.sqrt(1 - grey) * own + torch.sqrt(grey) * shared


def poisson_of_normal(z: Tensor, mean: Tensor) -> Tensor:
    """Poisson numbers of the quantiles of normal ones, float32; compiled on a CPU.

    From a mean of 12 by the normal expansion (Giles 2016), less than one count in 1000 off by one; below exactly.
    Gradients pass straight through to ``mean``.

    >>> poisson_of_normal(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(100.0)).tolist()
    [90.0, 100.0, 110.0]
    """
    z, mean = torch.broadcast_tensors(z, mean)
    if mean.requires_grad:
        return straight(mean, _counts(z, mean.detach()))
    return _counts(z, mean)


@twin("display_cpu")
def _counts(z: Tensor, mean: Tensor) -> Tensor:
    root, square = torch.sqrt(mean.clamp(min=FEW_COUNTS)), z * z
    done = torch.floor(
        mean
        + root * z
        + (1 / 3 + square / 6)
        - z * (1 / 36 + square / 72) / root
        + (-8 / 405 + square * (7 / 810 + square / 270)) / root**2
    ).clamp_(min=0)
    few = mean < FEW_COUNTS
    done[few] = poisson_quantile(torch.special.ndtr(z[few].double()), mean[few])
    return done


@twin("display_cpu")
def gaussian(x: Tensor, sigma: Tensor, grey: Tensor, seed: Tensor, start: tuple[int, int]) -> Tensor:
    """White noise added: ``x + sigma n``; compiled on a CPU.

    Args:
        x: (b, 3, h, w).
        sigma: (b,), in the numbers of x.
        grey: (b,) share of the variance that the channels have in common.
        seed: (b,) of the fields.
        start: (y, x) of the first pixel, as in `normal_field`.

    >>> x = gaussian(torch.zeros(1, 3, 64, 64), torch.tensor([0.1]), torch.tensor([0.4]), torch.tensor([1]), (0, 0))
    >>> abs(x.std().item() / 0.1 - 1) < 0.03, abs(x[0].flatten(1).corrcoef()[0, 1].item() - 0.4) < 0.03
    (True, True)
    """
    size = x.shape[2], x.shape[3]
    return x + _column(sigma) * mixed(
        normal_field(seed, 3, start, size), normal_field(seed, 1, start, size, 1), _column(grey)
    )


@twin("display_cpu")
def poisson(x: Tensor, scale: Tensor, levels: Tensor, grey: Tensor, seed: Tensor, start: tuple[int, int]) -> Tensor:
    """Counts' noise added: ``x + scale (Poisson(levels x) / levels - x)``, grey that of the luma; compiled on a CPU.

    Args:
        x: (b, 3, h, w).
        scale: (b,) of the noise.
        levels: (b,) counts at white.
        grey, seed, start: as in `gaussian`.

    >>> one = torch.ones(1)
    >>> x = poisson(torch.full((1, 3, 64, 64), 0.5), one, 256 * one, 0 * one, torch.tensor([1]), (0, 0))
    >>> abs(x.std().item() / (0.5 / 256) ** 0.5 - 1) < 0.02
    True
    """

    def residual(x: Tensor, stream: int) -> Tensor:
        signal, full = x.clamp(0, 1), _column(levels)
        unit = normal_field(seed, x.shape[1], start, (x.shape[2], x.shape[3]), stream=stream)
        return poisson_of_normal(unit, signal * full) / full - signal

    return x + _column(scale) * mixed(residual(x, 0), residual(luma(x), 1), _column(grey))


def _column(value: Tensor) -> Tensor:
    return value[:, None, None, None]


def colour_mix(seed: Tensor) -> Tensor:
    """Random colours of noise: (b,) seeds to (b, 3, 3) factors of a covariance of at most 1, float64.

    The covariance is ``|U^T D U|``, D three uniform numbers, U the left singular vectors of a matrix of nine.

    >>> colour_mix(torch.tensor([1, 2])).shape
    torch.Size([2, 3, 3])
    """
    seed = seed.cpu()
    turn = torch.linalg.svd(uniform_field(seed, 1, (0, 0), (3, 3), stream=1)[:, 0].double()).U
    size = uniform_field(seed, 1, (0, 0), (1, 3), stream=2)[:, 0, 0].double()
    covariance = (turn.mT @ (size[:, :, None] * turn)).abs()
    # the entries' absolute values need not make a covariance: its eigenvalues' do, as numpy's generator takes them
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * torch.sqrt(values.abs())[:, None, :]


def correlated(seed: Tensor, colours: Tensor, start: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Normal fields whose channels vary together as `colour_mix` says: (b, 3, *size)."""
    unit = normal_field(seed, 3, start, size)
    mix = colour_mix(colours).to(unit)
    return (mix @ unit.flatten(2)).reshape(unit.shape)


def unsharp(x: Tensor, weight: Tensor, radius: int, threshold: Tensor) -> Tensor:
    """Unsharp masking where it matters: ``x + m (clip(x + weight d) - x)``, ``d = x - blur(x)``.

    The mask m is the blur of ``|d| > threshold``; the blur is a Gaussian of OpenCV's width for its window,
    ``sigma = 0.3 (radius - 1) + 0.8``, mirrored at the border.

    Args:
        x: (b, c, h, w), 0 to 1.
        weight: (b or 1, 1, 1, 1).
        radius: half the window [pixels].
        threshold: (b or 1, 1, 1, 1), in the numbers of x.

    >>> flat = torch.full((1, 1, 8, 8), 0.5)
    >>> torch.allclose(unsharp(flat, torch.tensor(0.5), 3, torch.tensor(0.04)), flat)
    True
    """
    line = gaussian_line(torch.tensor([0.3 * (radius - 1) + 0.8]), radius)[0]
    axes = [resize.filter_taps(n, line) for n in x.shape[-2:]]
    detail = x - resize.resample(x, axes[0], axes[1])
    mask = resize.resample((detail.abs() > threshold).to(x), axes[0], axes[1])
    return torch.lerp(x, (x + weight * detail).clamp_(0, 1), mask)

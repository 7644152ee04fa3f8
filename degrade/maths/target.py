"""The point spread function in two dimensions, from a known target and its capture, by regularised least squares.

At the photosites p of one colour: ``capture(p) = sum_k kernel(k) target(p - k) + offset + noise``.  Minimised is
``|capture - A kernel - offset|^2 + s |grad kernel|^2``, zero beyond the kernel's border, with the strength s that
generalised cross-validation (GCV) finds: ``n RSS / (n - tr H)^2`` is least.  The errors are Bayesian,
``sigma^2 (A^T A + s G)^-1``: they hold what the smoothing takes away too.  The kernel's sum is the gain, and is divided
out.

Sources: Golub, Heath & Wahba, Technometrics 21 (1979); Wahba, Bayesian confidence intervals (JRSS B 1983); Delbracio et
al., The non-parametric sub-pixel local PSF estimation problem is well posed (IJCV 2012); Kuglin & Hines 1975.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from degrade.maths.fourier import frequencies
from degrade.maths.psf import grid_size

_SAMPLES = 2**16  # used at most; 68 an unknown at radius 15
_AT_ONCE = 4096  # rows of the design matrix
_EXPLAINED = 0.5  # least share of the capture's variance
_SURE = 8.0  # least peak of the phase correlation, in standard deviations of the rest


@dataclass(frozen=True)
class Fit:
    """A kernel and how well it is known; tensors float64."""

    kernel: Tensor  #: (k, k) upright, sum 1
    error: Tensor  #: (k, k) its standard error
    gain: float  #: signal of the capture over that of the target
    offset: float  #: signal of the capture where the target has none
    noise: float  #: standard deviation of the residuals
    explained: float  #: share of the capture's variance
    strength: float  #: of the smoothing, in means of the diagonal of ``A^T A``
    count: int  #: samples used
    signal: Tensor  #: (m,) what the model says at some of the samples
    residual: Tensor  #: (m,) what the capture has beyond it


def psf_from_target(target: Tensor, capture: Tensor, mask: Tensor, radius: int, strength: float | None = None) -> Fit:
    """Find the kernel that makes the capture of the target.

    Args:
        target, capture: (h, w) linear signal on the same pixels, whole pixels aligned.
        mask: (h, w) bool, where the capture has samples: the photosites of one colour.
        radius: of the kernel [pixels]; the side is 2 radius + 1.
        strength: of the smoothing; None finds it.

    Raises:
        ValueError: if the arguments do not fit, there are too few samples, or the target does not explain the capture.

    >>> from degrade.maths.fourier import convolve
    >>> from degrade.maths.philox import uniform_field
    >>> target = uniform_field(torch.tensor([1]), 1, (0, 0), (64, 64)).double()
    >>> truth = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.1, 0.0]], dtype=torch.float64)
    >>> capture = 0.1 + 0.8 * convolve(target, truth[None, None])[0, 0]
    >>> found = psf_from_target(target[0, 0], capture, torch.ones(64, 64, dtype=torch.bool), 2)
    >>> bool((found.kernel[1:4, 1:4] - truth).abs().max() < 1e-6), round(found.gain, 3), round(found.offset, 3)
    (True, 0.8, 0.1)
    """
    if not target.shape == capture.shape == mask.shape or target.ndim != 2:
        raise ValueError(
            f"target, capture and mask need one shape (h, w), got {tuple(target.shape)}, {tuple(capture.shape)} and "
            f"{tuple(mask.shape)}"
        )
    h, w = target.shape
    inside = mask.bool().clone()
    inside[:radius], inside[h - radius :], inside[:, :radius], inside[:, w - radius :] = (False,) * 4
    place = torch.nonzero(inside.view(-1))[:, 0]
    size = (2 * radius + 1) ** 2
    if len(place) < 2 * size:
        raise ValueError(
            f"too few samples: {len(place)} for {size} unknowns, needs {2 * size}: take a larger area or smaller radius"
        )
    if len(place) > _SAMPLES:
        # the golden section spreads the chosen evenly, in step with no row
        place = place[(torch.arange(len(place), dtype=torch.float64) * 0.6180339887498949) % 1 < _SAMPLES / len(place)]
    flat, b = target.reshape(-1).double(), capture.reshape(-1)[place].double()
    level, base = float(flat[place].mean()), float(b.mean())
    k = torch.arange(-radius, radius + 1)
    shift = (k[:, None] * w + k).reshape(-1)
    gram, right, total = torch.zeros(size, size).double(), torch.zeros(size).double(), torch.zeros(size).double()
    for i in range(0, len(place), _AT_ONCE):
        rows = flat[place[i : i + _AT_ONCE, None] - shift] - level
        gram.addmm_(rows.T, rows)
        right += rows.T @ (b[i : i + _AT_ONCE] - base)
        total += rows.sum(0)
    n, means = len(place), total / len(place)
    gram -= n * means[:, None] * means  # the offset is free: it takes the means away
    energy = float(((b - base) ** 2).sum())
    mean = float(gram.diagonal().mean())
    if not mean > 1e-12 * max(level**2, 1e-30) * n or not energy > 0:
        raise ValueError("the target, or its capture, is even: there is nothing to see a kernel by")
    root = torch.linalg.cholesky(_roughness(2 * radius + 1))
    half = torch.linalg.solve_triangular(root, gram / mean, upper=False)
    values, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.T, upper=False))
    values = values.clamp(min=0)
    z = vectors.T @ torch.linalg.solve_triangular(root, right[:, None] / mean, upper=False)[:, 0]
    chosen = _least_gcv(values, z, energy / mean, n) if strength is None else strength
    rest, freedom = _rest(values, z, energy / mean, chosen)
    explained = 1 - rest * mean / energy
    back = torch.linalg.solve_triangular(root.T, vectors, upper=True)
    found = back @ (z / (values + chosen))
    gain = float(found.sum())
    if explained < _EXPLAINED or gain <= 0:
        raise ValueError(
            f"the target explains {max(explained, 0):.0%} of the capture's variance, needs {_EXPLAINED:.0%}: it is "
            "another target, not aligned, or lost in noise"
        )
    variance = rest * mean / max(n - freedom - 1, 1)
    error = (variance / mean * (back**2 / (values + chosen)).sum(1)).sqrt() / gain
    few = torch.arange(0, n, max(1, n // 1500))
    signal = base + (flat[place[few, None] - shift] - level - means) @ found
    return Fit(
        kernel=(found / gain).view(2 * radius + 1, -1),
        error=error.view(2 * radius + 1, -1),
        gain=gain,
        offset=base - float(means @ found) - level * gain,
        noise=math.sqrt(max(variance, 0.0)),
        explained=explained,
        strength=chosen,
        count=n,
        signal=signal,
        residual=b[few] - signal,
    )


def misregistration(target: Tensor, capture: Tensor, mask: Tensor, limit: int) -> tuple[int, int]:
    """Whole pixels (down, right) by which the capture lies off the target, by phase correlation.

    Args:
        target, capture: (h, w) linear signal.
        mask: (h, w) bool, where the capture has samples.
        limit: most of it each way [pixels].

    Raises:
        ValueError: if none within the limit stands out.

    >>> from degrade.maths.philox import uniform_field
    >>> target = uniform_field(torch.tensor([1]), 1, (0, 0), (64, 64))[0, 0]
    >>> misregistration(target, target.roll((3, -2), (0, 1)), torch.ones(64, 64, dtype=torch.bool), 8)
    (3, -2)
    """
    h, w = target.shape
    window = torch.hann_window(h, False, dtype=torch.float64)[:, None] * torch.hann_window(
        w, False, dtype=torch.float64
    )
    weight = mask * window
    seen = capture.double() * weight
    seen = seen - weight * (seen.sum() / weight.sum())
    cross = torch.fft.rfft2(seen) * torch.fft.rfft2((target.double() - target.double().mean()) * window).conj()
    found = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-30), s=(h, w))
    near = torch.roll(found, (limit, limit), (0, 1))[: 2 * limit + 1, : 2 * limit + 1]
    best = int(near.argmax())
    if not float(near.max()) > _SURE * float(found.std()):
        raise ValueError(
            f"the capture does not show the target within {limit} pixels: the best match stands out by "
            f"{float(near.max() / found.std().clamp(min=1e-30)):.1f} standard deviations, needs {_SURE:g}"
        )
    return best // (2 * limit + 1) - limit, best % (2 * limit + 1) - limit


def centroid(kernel: Tensor, error: Tensor | None = None) -> tuple[float, float]:
    """(y, x) of a (k, k) kernel's centroid from its middle [pixels]; what is below 3 errors does not count.

    >>> centroid(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]))
    (0.0, 0.5)
    """
    sure = kernel.double() if error is None else kernel.double() * (kernel.abs() > 3 * error)
    k = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
    total = float(sure.sum())
    return float((sure.sum(1) * k).sum()) / total, float((sure.sum(0) * k).sum()) / total


def moved(kernels: Tensor, shift: tuple[float, float]) -> Tensor:
    """(..., k, k) kernels of sum 1 moved down and right by fractions of a pixel, by the phase of their transfer.

    >>> moved(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), (0.0, 1.0)).abs().round(decimals=6)[1]
    tensor([0., 0., 1.], dtype=torch.float64)
    """
    k = kernels.shape[-1]
    size = grid_size(max(k // 2, 1))
    fy, fx = frequencies((size, size))
    angle = -2 * math.pi * (fy * shift[0] + fx * shift[1])
    turned = torch.fft.rfft2(kernels.double(), s=(size, size)) * torch.polar(torch.ones_like(angle), angle)
    done = torch.fft.irfft2(turned, s=(size, size))[..., :k, :k]
    return done / done.sum((-2, -1), keepdim=True)


def _roughness(k: int) -> Tensor:
    """(k^2, k^2) the matrix G of ``kernel^T G kernel = |grad kernel|^2``, zeros beyond the border."""
    line = (
        2 * torch.eye(k).double()
        - torch.eye(k).double().roll(1, 0).triu(1)
        - torch.eye(k).double().roll(-1, 0).tril(-1)
    )
    return torch.kron(line, torch.eye(k).double()) + torch.kron(torch.eye(k).double(), line)


def _rest(values: Tensor, z: Tensor, energy: float, strength: float) -> tuple[float, float]:
    """Residual sum of squares and the unknowns that the smoothing leaves free."""
    kept = values + strength
    rest = energy - float((z**2 * (values + 2 * strength) / kept**2).sum())
    return max(rest, 1e-14 * energy), float((values / kept).sum())


def _least_gcv(values: Tensor, z: Tensor, energy: float, n: int) -> float:
    def score(exponent: float) -> float:
        rest, freedom = _rest(values, z, energy, 10.0**exponent)
        return math.log(rest) - 2 * math.log(n - freedom - 1)

    return 10.0 ** min((i / 8 for i in range(-96, 17)), key=score)

"""Point spread functions as one product of transfer functions.

Every kernel is given by its transfer function on the baseband (-1/2 .. 1/2 cycles a pixel); products are taken there,
cut at Nyquist once by being evaluated nowhere else, and turned into a kernel on the pixel grid at the end. Kernels
that are given in space (Gaussian, disc) are integrated over pixels first, so they are never negative. A pupil whose
cut-off lies above Nyquist has true negative lobes: f/4 at 4 um reaches -0.5%.

Sources: Goodman, Introduction to Fourier Optics, 3rd ed., 4.4.2 and 6.3.2; Born & Wolf, 8.5.2.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from degrade.maths.fourier import fast_size, frequencies


def grid_size(radius: int) -> int:
    """Side of the working grid [pixels] for a kernel of ``radius``: four times as wide, so that tails hardly wrap.

    It is odd: an even grid has a frequency at Nyquist that belongs to both of its ends, and only one of them is kept.

    >>> [grid_size(r) for r in (1, 8, 15)]
    [9, 75, 125]
    """
    n = 8 * radius + 1
    while fast_size(n) != n or n % 2 == 0:
        n += 1
    return n


def airy_transfer(cutoff: Tensor, size: int) -> Tensor:
    """MTF of a round pupil in focus: ``2/pi (acos v - v sqrt(1 - v^2))``, ``v = f / cutoff``.

    Args:
        cutoff: (...,) pitch / (wavelength x f-number) [cycles a pixel].
        size: side of the working grid [pixels].

    Returns:
        (..., size, size // 2 + 1) float64.

    >>> airy_transfer(torch.tensor(0.5), 8)[0].round(decimals=3).tolist()     # nothing left at cut-off and beyond
    [1.0, 0.685, 0.391, 0.144, 0.0]
    """
    _, fx = frequencies((size, size), cutoff.device)
    v = (torch.hypot(fx.T, fx) / cutoff.double()[..., None, None]).clamp(max=1.0)
    return _mirrored((2 / math.pi) * (torch.acos(v) - v * torch.sqrt(1 - v * v)), size)


def _mirrored(quarter: Tensor, size: int) -> Tensor:
    """Frequencies from 0 up, (..., size // 2 + 1, size // 2 + 1), with the negative ones of the first axis behind."""
    return torch.cat((quarter, quarter[..., 1 : size - size // 2, :].flip(-2)), dim=-2)


def aperture_transfer(fill: Tensor, size: int) -> Tensor:
    """Transfer of a square photosite of ``fill`` pixels, ``sinc(fill fx) sinc(fill fy)``; shapes as `airy_transfer`."""
    fy, fx = frequencies((size, size), fill.device)
    w = fill.double()[..., None, None]
    return torch.sinc(w * fy) * torch.sinc(w * fx)


def _box_profile(edges: Tensor, sigma: Tensor) -> Tensor:
    """Integral of a unit Gaussian line between neighbouring edges."""
    z = edges / (sigma * math.sqrt(2.0))
    return 0.5 * (torch.erf(z[..., 1:]) - torch.erf(z[..., :-1]))


def gaussian_transfer(sigma: Tensor, size: int) -> Tensor:
    """Transfer of a Gaussian of ``sigma`` [pixels] integrated over pixels; shapes as `airy_transfer`."""
    edges = torch.arange(size + 1, dtype=torch.float64, device=sigma.device) - (size // 2 + 0.5)
    line = _box_profile(edges, sigma.double()[..., None].clamp(min=1e-6))
    line = torch.fft.ifftshift(line / line.sum(-1, keepdim=True), dim=-1)
    spectrum = torch.fft.fft(line).real
    return spectrum[..., :, None] * spectrum[..., None, : size // 2 + 1]


def _circle_area(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """Area of the circle of radius r about 0 that lies in [0, x] x [0, y], for x, y >= 0."""
    x, y = torch.minimum(x, r), torch.minimum(y, r)
    # the arc leaves the top edge at x = a; beyond it the circle, not the edge, bounds the area
    a = torch.sqrt((r * r - y * y).clamp(min=0))
    lower = torch.minimum(a, x)

    def primitive(t: Tensor) -> Tensor:
        u = (t / r).clamp(max=1)
        return 0.5 * r * r * (u * torch.sqrt((1 - u * u).clamp(min=0)) + torch.asin(u))

    return lower * y + primitive(x) - primitive(lower)


def disc_transfer(radius: Tensor, size: int) -> Tensor:
    """Transfer of a uniform disc of ``radius`` [pixels], each pixel holding its exact overlap with the disc."""
    edges = torch.arange(size + 1, dtype=torch.float64, device=radius.device) - (size // 2 + 0.5)
    r = radius.double()[..., None, None].clamp(min=1e-6)
    x, y = edges[None, :].expand(size + 1, -1), edges[:, None].expand(-1, size + 1)
    corner = torch.sign(x) * torch.sign(y) * _circle_area(x.abs(), y.abs(), r)
    area = corner[..., 1:, 1:] - corner[..., :-1, 1:] - corner[..., 1:, :-1] + corner[..., :-1, :-1]
    area = torch.fft.ifftshift(area / area.sum((-2, -1), keepdim=True), dim=(-2, -1))
    return torch.fft.rfft2(area).real


def kernel_from_transfer(transfer: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The kernel on the pixel grid, cut to ``radius`` and normalised to sum 1.

    Args:
        transfer: (..., n, n // 2 + 1) with 1 at frequency 0, n at least 2 radius + 1; its `quarter` is quicker.
        radius: kernel radius [pixels]; the side is 2 radius + 1.

    Returns:
        (..., k, k) float32 kernel, and (...,) float32 energy lost by the cut [fraction].

    Raises:
        ValueError: if a kernel is not finite, or keeps nothing within its radius.

    >>> kernel, lost = kernel_from_transfer(airy_transfer(torch.tensor(4 / (0.54 * 8)), 128), 15)
    >>> kernel.shape, round(lost.item(), 3)
    (torch.Size([31, 31]), 0.012)
    """
    kernel = _within(transfer, radius)
    inside = kernel.sum((-2, -1))
    if not bool(torch.isfinite(inside).all()):
        raise ValueError("a kernel holds values that are not finite")
    if bool((inside < 1e-3).any()):
        raise ValueError(f"a kernel keeps nothing within its radius of {radius} pixels: give a larger one")
    # nine decimals: what rounding alone loses is nothing
    return (kernel / inside[..., None, None]).float(), (1.0 - inside).round(decimals=9).float()


def _within(transfer: Tensor, radius: int) -> Tensor:
    """The inverse transform about the origin, (..., k, k) float64."""
    rows, half = transfer.shape[-2:]
    if rows > half:
        psf = torch.fft.fftshift(torch.fft.irfft2(transfer, s=(rows, rows)), dim=(-2, -1))
        a, b = rows // 2 - radius, rows // 2 + radius + 1
        return psf[..., a:b, a:b]
    # two products with cosines give a quarter of the kernel, and nothing that is cut off
    n = 2 * half - 1
    turn = torch.outer(torch.arange(radius + 1), torch.arange(half)).to(transfer) % n
    wave = torch.cos(turn * (2 * math.pi / n)) / n
    wave[:, 1:] *= 2  # for frequencies below 0, too
    corner = wave @ transfer @ wave.T
    right = torch.cat((corner[..., 1:, :].flip(-2), corner), dim=-2)
    return torch.cat((right[..., 1:].flip(-1), right), dim=-1)


def quarter(transfer: Tensor) -> Tensor:
    """All there is to a transfer (..., n, n // 2 + 1), n odd, that is even along both axes: frequencies from 0 up.

    >>> quarter(airy_transfer(torch.tensor(0.5), 9)).shape
    torch.Size([5, 5])
    """
    return transfer[..., : transfer.shape[-1], :]


def windowed(kernel: Tensor, lost: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Kernels and their lost energy after all beyond ``window`` (u,) [pixels] is cut off, again of sum 1.

    >>> kernel, lost = windowed(torch.full((1, 3, 3), 1 / 9), torch.zeros(1), torch.zeros(1))
    >>> kernel[0, 1].tolist(), round(lost.item(), 3)
    ([0.0, 1.0, 0.0], 0.889)
    """
    near = _rings(kernel.shape[-1] // 2).to(kernel.device) <= window.to(kernel.device)[:, None, None]
    kernel = torch.where(near, kernel, 0.0)
    kept = kernel.sum((-2, -1), dtype=torch.float64)
    if bool((kept < 1e-3).any()):
        raise ValueError(f"a kernel keeps nothing within its window of {int(window.min())} pixels: give a larger one")
    return (kernel / kept[:, None, None]).float(), (1 - (1 - lost) * kept).float()


@lru_cache(maxsize=32)
def _rings(radius: int) -> Tensor:
    """(2 radius + 1, 2 radius + 1) rings of pixels about the middle one, counted from 0."""
    at = torch.arange(-radius, radius + 1).abs()
    return torch.maximum(at[:, None], at[None, :])


def radial_kernel(frequency: Tensor, mtf: Tensor, radius: int) -> tuple[Tensor, float]:
    """The PSF that has this MTF in every direction and no phase: circularly symmetric, an assumption.

    Args:
        frequency, mtf: (n,) rising from 0 to at least 0.7071 [cycles a pixel].
        radius: of the kernel [pixels].

    Returns:
        (k, k) float32 kernel of side 2 radius + 1 and sum 1, and what it lost by being cut [fraction].

    >>> f = torch.arange(257) / 256
    >>> radial_kernel(f, torch.exp(-2 * (math.pi * f) ** 2), 4)[0][4, 3:6]       # a Gaussian of 1 pixel, cut at Nyquist
    tensor([0.0967, 0.1587, 0.0967])
    """
    size = grid_size(radius)
    fy, fx = frequencies((size, size))
    f = torch.hypot(fy, fx)
    step = float(frequency[1] - frequency[0])
    i = (f / step).floor().long().clamp(max=len(mtf) - 2)
    part = f / step - i
    kernel, lost = kernel_from_transfer(mtf.double()[i] * (1 - part) + mtf.double()[i + 1] * part, radius)
    return kernel, float(lost)


def lifted(kernel: Tensor, oversample: int) -> Tensor:
    """A kernel that gives no photosite of ``oversample`` x ``oversample`` pixels less than none of another one's light.

    A cut-off above the finer grid's Nyquist leaves lobes that means over photosites all but cancel; what remains below
    0 is added back with the least change, and the sum is made 1 again. f/4 at 4 um changes by 0.2% of the light.

    Args:
        kernel: (u, k, k).
        oversample: at least 2.

    Returns:
        (u, k, k).

    >>> ringing, _ = kernel_from_transfer(airy_transfer(torch.tensor([2 / (0.54 * 4)]), 243), 30)
    >>> def darkest(kernel):
    ...     site = torch.nn.functional.avg_pool2d(kernel, 2, stride=1, padding=1)
    ...     return torch.nn.functional.avg_pool2d(site, 2, stride=1, padding=1).min().item()
    >>> darkest(ringing) < -1e-6, darkest(lifted(ringing, 2)) > -1e-9
    (True, True)
    """
    line = torch.ones(oversample, dtype=torch.float64).reshape(1, 1, -1)
    line = torch.nn.functional.conv1d(line, line, padding=oversample - 1)[0, 0]  # one photosite seen by another
    seen, edge = (line[:, None] * line).to(kernel.device)[None, None], 2 * oversample - 2
    share = torch.nn.functional.conv2d(torch.ones_like(kernel[:1, None], dtype=torch.float64), seen**2, padding=edge)
    lack = (-torch.nn.functional.conv2d(kernel.double()[:, None], seen, padding=edge)).clamp(min=0)
    light = kernel.double() + torch.nn.functional.conv_transpose2d(lack / share, seen, padding=edge)[:, 0]
    return (light / light.sum((-2, -1), keepdim=True)).to(kernel.dtype)


def field_transfer(field: Tensor) -> Tensor:
    """Transfer of a kernel given on the whole working grid: (..., n, n), its origin at n // 2, to (..., n, n // 2 + 1).

    >>> dot = torch.zeros(4, 4); dot[2, 2] = 1
    >>> field_transfer(dot).real.unique()
    tensor([1.])
    """
    return torch.fft.rfft2(torch.fft.ifftshift(field, dim=(-2, -1)))


def annular_transfer(radius: Tensor, inner: Tensor, size: int) -> Tensor:
    """Transfer of a uniform ring from ``inner`` (a fraction of ``radius``, below 1) to ``radius`` [pixels]."""
    share = inner.double()[..., None, None] ** 2
    return (disc_transfer(radius, size) - share * disc_transfer(radius * inner, size)) / (1 - share)


def four_dot_transfer(separation: Tensor, size: int) -> Tensor:
    """Transfer of an optical low-pass of two crossed plates, four dots ``separation`` [pixels] apart each way.

    >>> four_dot_transfer(torch.tensor(1.0), 4)[0].round(decimals=3).tolist()        # nothing at Nyquist
    [1.0, 0.707, 0.0]
    """
    fy, fx = frequencies((size, size), separation.device)
    s = math.pi * separation.double()[..., None, None]
    return torch.cos(s * fy) * torch.cos(s * fx)


def shift_line(shift: Tensor, radius: int, half: float = 6.0) -> Tensor:
    """One-dimensional kernel that moves a signal by ``shift`` [pixels], positive towards higher indices.

    A sinc under a Kaiser window of ``half`` pixels each way: exact to 1e-3 for waves of three pixels and longer.

    Args:
        shift: (...,), at most radius - half.
        radius: the side is 2 radius + 1.

    Returns:
        (..., 2 radius + 1) float64, sum 1.

    >>> shift_line(torch.tensor(1.0), 7)[6:10].abs().round(decimals=6).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    at = torch.arange(-radius, radius + 1, dtype=torch.float64) - shift.double().cpu()[..., None]
    window = torch.special.i0(6.2 * torch.sqrt((1 - (at / half) ** 2).clamp(min=0))) * (at.abs() < half)
    line = torch.sinc(at) * window
    return line / line.sum(-1, keepdim=True)

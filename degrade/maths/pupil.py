"""From the wavefront in a lens's pupil to its transfer function.

The pupil is ``P = A exp(2 pi i W)`` with W in waves; the transfer function is its autocorrelation. The pupil is
sampled in steps of 1/q of the working grid's frequency step, so the autocorrelation is read off exactly at that grid's
frequencies, whatever the wavelength and f-number: its diameter is pitch / (wavelength x f-number) [cycles a pixel].
Pupil and picture share their axes: x right, y down, azimuth ``atan2(y, x)``; a wavefront that rises to the right moves
the point to the right.

Sources: Goodman, Introduction to Fourier Optics, 3rd ed., 6.3 and 6.4; Noll, JOSA 66 (1976) 207 (Zernike index and
norm: rms 1 over the round pupil); Welford, Aberrations of Optical Systems, 8 (Seidel terms).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from degrade.maths.fourier import fast_size

SAMPLES = 192  #: least number of samples across the pupil: the transfer function is then good to 1e-3


@lru_cache(256)
def noll(j: int) -> tuple[int, int]:
    """Radial order n and signed azimuthal order m of Noll's index j; cosine for m >= 0, sine for m < 0.

    >>> [noll(j) for j in (1, 2, 3, 4, 7, 8, 11)]
    [(0, 0), (1, 1), (1, -1), (2, 0), (3, -1), (3, 1), (4, 0)]
    """
    n = (math.isqrt(8 * j - 7) - 1) // 2
    place = j - n * (n + 1) // 2  # 1 .. n + 1 within the order
    m = 2 * ((place - 1) // 2) + 1 if n % 2 else 2 * (place // 2)
    return n, m if j % 2 == 0 else -m


def zernike(j: int, rho: Tensor, phi: Tensor) -> Tensor:
    """Zernike polynomial of Noll's index j at radius ``rho`` (1 at the rim) and angle ``phi``: rms 1 over the disc.

    >>> defocus = zernike(4, torch.tensor([0.0, 1.0]), torch.zeros(2))
    >>> [round(v, 3) for v in defocus.tolist()]
    [-1.732, 1.732]
    """
    n, m = noll(j)
    k = abs(m)
    radial = torch.zeros_like(rho)
    for s in range((n - k) // 2 + 1):
        top = (-1) ** s * math.factorial(n - s)
        under = math.factorial(s) * math.factorial((n + k) // 2 - s) * math.factorial((n - k) // 2 - s)
        radial = radial + top / under * rho ** (n - 2 * s)
    turn = torch.cos(k * phi) if m >= 0 else torch.sin(k * phi)
    return math.sqrt((n + 1) * (1 if m == 0 else 2)) * radial * turn


def seidel(rho: Tensor, phi: Tensor, terms: Sequence[float], azimuth: float) -> Tensor:
    """Wavefront [the unit of the terms] at one place of the field, whose azimuth turns the pupil.

    ``W = s rho^4 + c rho^3 cos + a rho^2 cos^2 + d rho^2`` with ``cos = cos(phi - azimuth)`` and terms s, c, a, d:
    spherical aberration, coma, astigmatism, defocus, each already multiplied by its power of the field height.
    """
    s, c, a, d = terms
    turn = torch.cos(phi - azimuth)
    return rho**2 * (s * rho**2 + c * rho * turn + a * turn**2 + d)


def aperture(
    x: Tensor,
    y: Tensor,
    step: float,
    *,
    obscuration: float = 0.0,
    blades: int = 0,
    rotation: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    rim: float = 1.0,
) -> Tensor:
    """Share of each sample of the pupil that is open: a round or polygonal stop, a round obstacle, a second rim.

    Args:
        x: coordinates in radii of the pupil.
        y: likewise, downwards.
        step: distance of samples in radii; edges are as soft as one sample is wide.
        obscuration: radius of the central obstacle.
        blades: corners of the stop, which lie on the rim; below 3 it is round.
        rotation: azimuth of the first corner [radian].
        shift: centre (y, x) of the second aperture, which vignettes: the cat's eye.
        rim: radius of the second aperture.
    """

    def soft(inside: Tensor) -> Tensor:
        return (0.5 + inside / step).clamp(0, 1)

    r = torch.hypot(x, y)
    opening = soft(1 - r)
    for k in range(blades if blades >= 3 else 0):
        side = rotation + (2 * k + 1) * math.pi / blades
        opening = opening * soft(math.cos(math.pi / blades) - x * math.cos(side) - y * math.sin(side))
    if obscuration > 0:
        opening = opening * soft(r - obscuration)
    if rim < 1 + math.hypot(*shift):
        opening = opening * soft(rim - torch.hypot(x - shift[1], y - shift[0]))
    return opening


def pupil_transfer(
    cutoff: float,
    size: int,
    *,
    wave: float = 1.0,
    terms: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    azimuth: float = 0.0,
    zernikes: Mapping[int, float] | None = None,
    **stop: float | int | tuple[float, float],
) -> Tensor:
    """Transfer function of one pupil at one wavelength.

    Args:
        cutoff: pitch / (wavelength x f-number) [cycles a pixel].
        size: side of the working grid [pixels].
        wave: waves at this wavelength for one of the coefficients' waves.
        terms: as `seidel` takes them [waves].
        azimuth: of the place in the field [radian].
        zernikes: rms [waves] by Noll's index.
        stop: what `aperture` takes.

    Returns:
        (size, size // 2 + 1) complex128, 1 at frequency 0.

    Raises:
        ValueError: if no light passes.

    >>> open_lens = pupil_transfer(0.5, 32)
    >>> [round(abs(v), 2) for v in open_lens[0, [0, 4, 8, 16]].tolist()]      # an Airy pattern's
    [1.0, 0.69, 0.39, 0.0]
    """
    fine = max(1, math.ceil(SAMPLES / (cutoff * size)))  # samples a frequency step
    radius = cutoff * size * fine / 2  # samples
    half = math.ceil(radius) + 1
    at = torch.arange(-half, half + 1, dtype=torch.float64) / radius
    y, x = at[:, None], at[None, :]
    opening = aperture(x, y, 1 / radius, **stop)  # pyright: ignore[reportArgumentType]
    area = opening.sum()
    if area <= 0:
        raise ValueError("no light passes the pupil: its obstacle and second aperture cover it")
    rho, phi = torch.hypot(x, y), torch.atan2(y, x)
    path = seidel(rho, phi, terms, azimuth)
    for j, rms in (zernikes or {}).items():
        path = path + rms * zernike(j, rho, phi)
    pupil = torch.polar(opening, 2 * math.pi * wave * path)
    # lags up to Nyquist must not meet the pupil's other side
    n = fast_size(len(at) + min(len(at), size * fine // 2 + 1))
    spread = torch.fft.fft2(pupil, s=(n, n))
    correlation = torch.fft.fft2(spread.abs().square()) / n**2
    row, column = (torch.fft.fftfreq(size, 1 / size) * fine).long(), torch.arange(size // 2 + 1) * fine
    inside = (row.abs() < len(at))[:, None] & (column < len(at))[None, :]
    transfer = correlation[row % n][:, column % n] / area
    transfer[0, 0] = 1.0  # soft edges correlate with themselves to less than their area: at no lag only
    return torch.where(inside, transfer, torch.zeros_like(transfer))

"""The slanted edge: closed forms come back, intervals hold what they say, and what is no edge is named."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from degrade.maths.psf import airy_transfer, gaussian_transfer, kernel_from_transfer, radial_kernel
from degrade.maths.slanted_edge import Edge, slanted_edge

CUT = 4 / (0.54 * 8)  # f/8, 0.54 um, 4 um [cycles a pixel]


def lattice(n: int, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Rows and columns of every stride-th photosite."""
    y, x = torch.meshgrid(*[torch.arange(0, n, stride, dtype=torch.float64)] * 2, indexing="ij")
    return y, x


def off(y: Tensor, x: Tensor, degrees: float, bend: float = 0.0) -> Tensor:
    """Distance from an edge through about the middle."""
    n, a = float(y.max()) + 1, math.radians(degrees)
    return (x - n / 2 - 0.3) * math.cos(a) - (y - n / 2) * math.sin(a) + bend * ((y - n / 2) / (n / 2)) ** 2


def gauss(d: Tensor, sigma: float = 0.8) -> Tensor:
    return torch.special.ndtr(d / sigma)


def gauss_mtf(f: Tensor, sigma: float = 0.8) -> Tensor:
    return torch.exp(-2 * (math.pi * sigma * f) ** 2)


def box(d: Tensor, degrees: float) -> Tensor:
    """A sharp edge seen by square pixels: their area beyond it."""
    a, b = math.cos(math.radians(degrees)), abs(math.sin(math.radians(degrees)))
    ramp = [((d + s * (a + t * b) / 2).clamp(min=0) ** 2) / 2 for s, t in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    return (ramp[0] - ramp[1] + ramp[2] - ramp[3]) / (a * b)


def airy_mtf(f: Tensor) -> Tensor:
    v = (f / CUT).clamp(max=1)
    return 2 / math.pi * (torch.acos(v) - v * torch.sqrt(1 - v * v))


def airy(d: Tensor) -> Tensor:
    """By the sine transform of its MTF, on a fine line."""
    f = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000 * CUT
    line = torch.arange(-100, 100, 0.02, dtype=torch.float64)
    esf = torch.cat(
        [
            0.5 + torch.sin(2 * math.pi * p[:, None] * f) @ (airy_mtf(f) / (math.pi * f)) * CUT / 2000
            for p in line.split(1000)
        ]
    )
    u = (d + 100) / 0.02
    i = u.floor().long()
    return esf[i] * (1 - (u - i)) + esf[i + 1] * (u - i)


def worst(edge: Edge, truth: Callable[[Tensor], Tensor]) -> float:
    """Largest error of the MTF up to Nyquist."""
    part = edge.frequency <= 0.5
    return float((edge.mtf - truth(edge.frequency))[part].abs().max())


@pytest.mark.parametrize("degrees", [2, -3, 5, 7, 10, 13, 17, 20])
@pytest.mark.parametrize("stride", [1, 2])
def test_closed_forms_come_back(degrees: float, stride: int) -> None:
    y, x = lattice(128, stride)
    d = off(y, x, degrees)
    a = math.radians(degrees)
    for esf, truth, error in (
        (gauss(d), gauss_mtf, 1e-5),
        (gauss(d, 3.0), lambda f: gauss_mtf(f, 3.0), 1e-6),
        (box(d, degrees), lambda f: (torch.sinc(f * math.cos(a)) * torch.sinc(f * math.sin(a))).abs(), 2e-3),
        (airy(d), airy_mtf, 4e-3),  # its tail beyond the window
    ):
        edge = slanted_edge(y, x, 0.1 + 0.6 * esf)
        assert worst(edge, truth) < error
        assert edge.angle == pytest.approx(degrees, abs=3e-3)
        assert edge.contrast == pytest.approx(0.6, rel=5e-3)


@pytest.mark.parametrize("degrees", [95, 185, 275])
def test_any_side_may_be_bright(degrees: float) -> None:
    y, x = lattice(96)
    edge = slanted_edge(y, x, gauss(off(y, x, degrees)))
    assert worst(edge, gauss_mtf) < 1e-5
    assert edge.upright == (degrees == 185)
    assert abs(edge.angle) == pytest.approx(5, abs=1e-3)
    row, column = edge.position
    a = math.radians(degrees)
    assert (column - 48.3) * math.cos(a) - (row - 48) * math.sin(a) == pytest.approx(0, abs=1e-3)
    assert edge.lsf.sum() * (edge.distance[1] - edge.distance[0]) == pytest.approx(1, abs=1e-6)


def test_a_quincunx_and_a_ragged_piece_do() -> None:
    y, x = lattice(120)
    keep = ((y + x) % 2 == 1) & ((y - 60) ** 2 + (x - 60) ** 2 < 50**2)
    edge = slanted_edge(y[keep], x[keep], gauss(off(y, x, 8))[keep])
    assert worst(edge, gauss_mtf) < 1e-4


def test_a_bend_is_followed() -> None:
    y, x = lattice(128)
    edge = slanted_edge(y, x, gauss(off(y, x, 5, bend=0.8)))
    assert abs(edge.bend) == pytest.approx(0.8, rel=0.02)
    assert worst(edge, gauss_mtf) < 1e-3


def test_intervals_hold_what_they_say() -> None:
    generator = torch.Generator().manual_seed(1)
    y, x = lattice(100, 2)
    signal = 0.1 + 0.5 * gauss(off(y, x, 6))
    apart: list[Tensor] = []
    for _ in range(20):
        noise = 0.01 * torch.sqrt(signal) * torch.randn(signal.shape, generator=generator, dtype=torch.float64)
        edge = slanted_edge(y, x, signal + noise)
        apart.append(((edge.mtf - gauss_mtf(edge.frequency)) / edge.error)[16:120:8])
    z = torch.stack(apart)
    assert 0.9 < float((z.abs() < 1.96).double().mean()) < 0.99
    assert float(z.mean(0).abs().max()) < 0.7


def test_more_samples_are_less_error() -> None:
    generator = torch.Generator().manual_seed(2)
    errors: list[float] = []
    for n in (64, 256):
        y, x = lattice(n)
        value = gauss(off(y, x, 5)) + 0.02 * torch.randn(y.shape, generator=generator, dtype=torch.float64)
        errors.append(float(slanted_edge(y, x, value).error[64]))
    assert errors[1] < 0.6 * errors[0]


def bad(name: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    y, x = lattice(128, 2)
    noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    tilted = x - 0.1 * y
    value = {
        "even": 0.3 + 0.01 * noise,
        "weak": 0.3 + 0.02 * gauss(off(y, x, 5)) + 0.01 * noise,
        "bar": ((tilted > 40) & (tilted < 80)).double(),
        "checks": ((tilted // 32 + (y + 0.1 * x) // 32) % 2),
        "wave": (x > 64 + 6 * torch.sin(y / 10)).double(),
        "curve": gauss(off(y, x, 5, bend=5)),
        "broad": gauss(off(y, x, 5), 30),
        "aside": gauss(off(y, x, 2) - 61.5),
        "0": gauss(off(y, x, 0)),
        "45": gauss(off(y, x, 45)),
        "fraction": gauss(off(y, x, math.degrees(math.atan(0.25)))),
        "constant": torch.zeros_like(y),
        "nan": torch.full_like(y, math.nan),
    }[name]
    return y, x, value


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("even", "no single straight edge: .* of the rows or columns have it elsewhere"),
        ("weak", "too little contrast: .* times the noise, needs 8 times"),
        ("bar", "place it in the middle"),
        ("checks", "no single straight edge"),
        ("wave", "no single straight edge: .* leaves residuals"),
        ("curve", r"not straight: it bends by \d.\d pixels"),
        ("broad", "the two sides differ by .*, are uneven"),
        ("aside", "seen in . rows or columns, needs 8"),
        ("0", r"at 0.00 degrees .* too few places, 2.00 pixels apart"),
        ("45", r"at 45.00 degrees .* too few places"),
        ("fraction", r"at 14.04 degrees .* turn it"),
        ("constant", "no single straight edge"),
        ("nan", "not finite"),
    ],
)
def test_what_is_no_edge_is_named(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        slanted_edge(*bad(name))


def test_too_few_samples_are_named() -> None:
    y, x = lattice(9)
    with pytest.raises(ValueError, match="too few samples: 81"):
        slanted_edge(y, x, gauss(off(y, x, 5)))
    with pytest.raises(ValueError, match="one shape"):
        slanted_edge(y, x[1:], y)


def test_a_symmetrical_kernel_comes_back_from_its_mtf() -> None:
    f = torch.arange(257, dtype=torch.float64) / 256
    for mtf, transfer in (
        (airy_mtf(f), airy_transfer(torch.tensor(CUT), 125)),
        (gauss_mtf(f, 1.5), gaussian_transfer(torch.tensor(1.5), 125)),
    ):
        kernel, lost = radial_kernel(f, mtf, 15)
        truth, energy = kernel_from_transfer(transfer, 15)
        # a Gaussian that is integrated over pixels is a little wider than its point samples
        assert (kernel - truth).abs().max() < (2e-4 if mtf[200] > 1e-3 else 4e-3)
        assert lost == pytest.approx(float(energy), abs=1e-3)

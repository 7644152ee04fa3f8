"""Kernels against closed forms, brute force and each other; convolution against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, signal, special
from torch import Tensor

from degrade.maths import fourier, psf

N = 64


def kernel(transfer: Tensor, n: int = N) -> Tensor:
    """The whole kernel before any window, its centre at n // 2."""
    return torch.fft.fftshift(torch.fft.irfft2(transfer, s=(n, n)), dim=(-2, -1))


def moments(k: Tensor) -> tuple[float, float, float, float, float]:
    """Sum, centroid (y, x) and variance (y, x) about the middle pixel [pixels] of a (k, k) kernel."""
    a = k.double().numpy()
    p = np.arange(len(a)) - len(a) // 2
    total = a.sum()
    y, x = (a.sum(1) * p).sum() / total, (a.sum(0) * p).sum() / total
    vy, vx = (a.sum(1) * p**2).sum() / total - y**2, (a.sum(0) * p**2).sum() / total - x**2
    return total, y, x, vy, vx


# -- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f_number", [1.4, 2.8, 8.0, 22.0])
def test_airy_mtf_is_the_closed_form(f_number: float) -> None:
    """MTF of a round pupil, before windowing, at all angles, per wavelength."""
    cutoff = 4.0 / (torch.tensor([0.60, 0.54, 0.46]) * f_number)
    transfer = psf.airy_transfer(cutoff, N)
    fy, fx = np.fft.fftfreq(N)[:, None], np.fft.rfftfreq(N)[None]
    for t, c in zip(transfer, cutoff.tolist(), strict=True):
        v = np.minimum(np.hypot(fy, fx) / c, 1)
        expected = 2 / np.pi * (np.arccos(v) - v * np.sqrt(1 - v**2))
        np.testing.assert_allclose(t.numpy(), expected, atol=1e-6)


def test_airy_mtf_is_the_pattern_of_the_airy_disc() -> None:
    """The transform of (2 J1(r) / r)^2, integrated numerically: an independent way to the same curve."""
    c = 0.4  # cycles a pixel
    transfer = psf.airy_transfer(torch.tensor(c), N)[0]
    for k in (0, 3, 9, 16, 24, 30):
        f = k / N

        def ring(r: float, f: float = f) -> float:
            z = math.pi * c * r
            airy = (special.j1(z) / z) ** 2 if z else 0.25
            return airy * special.j0(2 * math.pi * f * r) * r

        value = integrate.quad(ring, 0, 600, limit=4000)[0]
        total = 1 / (2 * (math.pi * c) ** 2)  # of the whole plane: the integral of J1(z)^2 / z is 1/2
        assert transfer[k].item() == pytest.approx(value / total, abs=1e-3)


@given(st.floats(0, 5))
def test_gaussian_integrated_over_pixels(sigma: float) -> None:
    k = kernel(psf.gaussian_transfer(torch.tensor(sigma, dtype=torch.float64), N))
    total, y, x, vy, vx = moments(k)
    assert total == pytest.approx(1, abs=1e-12)
    assert k.min() > -1e-15
    assert max(abs(y), abs(x)) < 1e-6
    if sigma >= 0.7:  # below, the pixels' own sampling shows: the grid's variance is that of a rounded Gaussian
        assert vx == pytest.approx(sigma**2 + 1 / 12, abs=2e-3)
        assert vy == pytest.approx(vx, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0])
def test_gaussian_pixels_are_differences_of_the_error_function(sigma: float) -> None:
    k = kernel(psf.gaussian_transfer(torch.tensor(sigma, dtype=torch.float64), N))
    edges = np.arange(-5.5, 6) / (sigma * math.sqrt(2))
    line = np.diff(special.erf(edges)) / 2
    np.testing.assert_allclose(k[27:38, 27:38].numpy(), np.outer(line, line), atol=1e-12)


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.9, 1.5, 2.71, 6.0])
def test_disc_is_its_exact_overlap_with_each_pixel(radius: float) -> None:
    k = kernel(psf.disc_transfer(torch.tensor([radius], dtype=torch.float64), N))[0]
    fine, half = 101, 8
    p = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    inside = np.hypot(p[:, None], p[None]) < radius
    brute = inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean((1, 3))
    cut = slice(N // 2 - half, N // 2 + half + 1)
    np.testing.assert_allclose(k[cut, cut].numpy(), brute / (math.pi * radius**2), atol=2e-3 / (math.pi * radius**2))
    total, y, x, vy, vx = moments(k)
    assert total == pytest.approx(1, abs=1e-12)
    assert k.min() > -1e-15
    assert max(abs(y), abs(x)) < 1e-9
    assert vx == pytest.approx(vy, abs=1e-9)
    if radius > 2:  # a sharp edge is not band-limited: the lattice sees a little more or less of it
        assert vx == pytest.approx(radius**2 / 4 + 1 / 12, abs=0.03)


def test_a_disc_inside_one_pixel_is_a_dot() -> None:
    k = kernel(psf.disc_transfer(torch.tensor([0.0, 0.4], dtype=torch.float64), N))
    assert k[:, N // 2, N // 2].tolist() == pytest.approx([1, 1])


def test_aperture_is_a_box() -> None:
    """Three pixels wide it averages three pixels: closed form on the grid, where the sinc is that of a box."""
    transfer = psf.aperture_transfer(torch.tensor(3.0), N)[0]
    assert transfer.tolist() == pytest.approx(np.sinc(3 * np.fft.rfftfreq(N)).tolist(), abs=1e-12)
    assert psf.aperture_transfer(torch.tensor([0.0]), N).eq(1).all()


# -- products and windows ---------------------------------------------------------------------------------------------


def test_a_product_of_transfers_is_a_convolution_of_kernels() -> None:
    a = psf.gaussian_transfer(torch.tensor(1.2, dtype=torch.float64), N)
    b = psf.disc_transfer(torch.tensor(2.3, dtype=torch.float64), N)
    expected = signal.fftconvolve(kernel(a).numpy(), kernel(b).numpy())
    product = kernel(a * b).numpy()
    np.testing.assert_allclose(product[16:48, 16:48], expected[48:80, 48:80], atol=1e-9)


@pytest.mark.parametrize("f_number", [2.8, 8.0, 16.0])
def test_energy_lost_to_the_window(f_number: float) -> None:
    """What lies beyond the window, by the closed form of the energy in a circle: 1 - J0^2 - J1^2.

    A square window holds more than its inscribed circle and less than the circle about it.
    """
    radius, c = 15, 4 / (0.54 * f_number)
    k, found = psf.kernel_from_transfer(psf.airy_transfer(torch.tensor(c), psf.grid_size(radius)), radius)

    def beyond(r: float) -> float:
        return special.j0(math.pi * c * r) ** 2 + special.j1(math.pi * c * r) ** 2

    half = radius + 0.5
    assert beyond(half * math.sqrt(2)) * 0.8 < found < beyond(half) * 1.1
    _, wide = psf.kernel_from_transfer(psf.airy_transfer(torch.tensor(c), 2048), radius)
    assert found.item() == pytest.approx(wide.item(), rel=0.1)  # hardly anything wraps on the working grid
    assert k.double().sum().item() == pytest.approx(1, abs=1e-6)
    assert k.shape == (31, 31)
    assert max(abs(v) for v in moments(k)[1:3]) < 1e-6


def test_a_cut_off_above_nyquist_has_true_negative_lobes_and_one_below_has_none() -> None:
    sharp, _ = psf.kernel_from_transfer(psf.airy_transfer(torch.tensor(4 / (0.54 * 4)), 128), 15)
    soft, _ = psf.kernel_from_transfer(psf.airy_transfer(torch.tensor(4 / (0.54 * 16)), 128), 15)
    assert -0.02 < sharp.min() < -0.001
    assert soft.min() > -1e-6


@given(st.integers(1, 255))
def test_the_working_grid_is_wide_odd_and_fast(radius: int) -> None:
    n = psf.grid_size(radius)
    assert n >= 8 * radius + 1
    assert n % 2 == 1
    assert fourier.fast_size(n) == n


# -- convolution ------------------------------------------------------------------------------------------------------


def test_a_delta_becomes_the_kernel_upright() -> None:
    rng = np.random.default_rng(0)
    k = torch.from_numpy(rng.random((2, 3, 5, 5)).astype(np.float32))
    dot = torch.zeros(2, 3, 21, 17)
    dot[..., 10, 8] = 1
    torch.testing.assert_close(fourier.convolve(dot, k)[..., 8:13, 6:11], k, atol=1e-6, rtol=0)


@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_convolution_is_scipys_inside_the_margin(h: int, w: int, r: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, k = (rng.normal(size=s).astype(np.float32) for s in ((2, 2, h, w), (2, 1, 2 * r + 1, 2 * r + 1)))
    found = fourier.convolve(torch.from_numpy(x), torch.from_numpy(k))
    assert found.shape == x.shape
    assert found.is_contiguous()
    for i in range(2):
        for c in range(2):
            expected = signal.convolve2d(x[i, c], k[i, 0], mode="valid")
            np.testing.assert_allclose(found[i, c, r : h - r, r : w - r].numpy(), expected, atol=5e-5)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (11, 11)])
def test_kernels_that_do_not_fit_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"odd side of at most 9 pixels here"):
        fourier.convolve(torch.zeros(1, 1, 9, 12), torch.zeros(1, 1, *shape))


@given(st.integers(1, 3000))
def test_fast_sizes(n: int) -> None:
    fast = fourier.fast_size(n)
    assert fast >= n
    assert math.gcd(fast, 30**12) == fast
    assert not any(math.gcd(m, 30**12) == m for m in range(n, fast))


# -- symmetry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1, 7, 15])
def test_a_quarter_of_an_even_transfer_gives_the_same_kernel(radius: int) -> None:
    size = psf.grid_size(radius)
    whole = psf.airy_transfer(torch.tensor([0.4, 1.3]), size) * psf.gaussian_transfer(torch.tensor([0.3, 1.1]), size)
    quarter = psf.quarter(whole)
    assert quarter.shape[-2:] == (size // 2 + 1, size // 2 + 1)
    for found, expected in zip(
        psf.kernel_from_transfer(quarter, radius), psf.kernel_from_transfer(whole, radius), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("size", [(40, 41), (64, 50)])
def test_the_spectrum_of_an_even_kernel_is_that_of_any(size: tuple[int, int]) -> None:
    kernel = psf.kernel_from_transfer(psf.airy_transfer(torch.tensor([0.5, 0.9]), psf.grid_size(7)), 7)[0].double()
    assert torch.equal(kernel, kernel.flip(-1))
    h, w = map(fourier.fast_size, size)
    laid = torch.nn.functional.pad(kernel, (0, w - 15, 0, h - 15)).roll((-7, -7), (-2, -1))
    torch.testing.assert_close(fourier.spectrum(kernel, size), torch.fft.rfft2(laid), atol=1e-12, rtol=0)
    one = fourier.spectrum(kernel.float(), size)
    assert one.dtype is torch.complex64
    torch.testing.assert_close(one.to(torch.complex128), torch.fft.rfft2(laid), atol=1e-6, rtol=0)

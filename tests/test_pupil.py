"""Pupils against closed forms, Gauss quadrature and prysm."""

from __future__ import annotations

import importlib
import math
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from degrade.maths import psf
from degrade.maths.pupil import aperture, noll, pupil_transfer, seidel, zernike

N = 125


def image(transfer: Tensor) -> np.ndarray:
    """The PSF on the working grid, its origin in the middle."""
    return torch.fft.fftshift(torch.fft.irfft2(transfer, s=(N, N))).numpy()


def centroid(a: np.ndarray) -> tuple[float, float]:
    """(y, x) from the middle pixel."""
    p = np.arange(len(a)) - len(a) // 2
    return float((a.sum(1) * p).sum() / a.sum()), float((a.sum(0) * p).sum() / a.sum())


@pytest.fixture(scope="module")
def prysm() -> Any:
    """prysm's polynomials; it reads its own version through a module that newer setuptools no longer have."""
    if "pkg_resources" not in sys.modules:
        stand_in = ModuleType("pkg_resources")
        vars(stand_in)["get_distribution"] = metadata.distribution
        sys.modules["pkg_resources"] = stand_in
        try:
            return importlib.import_module("prysm.polynomials")
        finally:
            del sys.modules["pkg_resources"]
    return importlib.import_module("prysm.polynomials")


@pytest.mark.parametrize("f_number", [1.4, 2.8, 4.0, 5.6, 8.0, 16.0, 32.0])
def test_without_aberration_it_is_airys(f_number: float) -> None:
    for wavelength in (0.46, 0.60):
        cutoff = 4.0 / (wavelength * f_number)
        expected = psf.airy_transfer(torch.tensor(cutoff), N)
        found = pupil_transfer(cutoff, N)
        assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_a_central_obstacle_has_its_closed_form(ratio: float) -> None:
    """At half the cut-off's frequency and beyond 1 - ratio of it, from circles' overlaps (O'Neill 1956)."""
    cutoff = 0.8
    found = pupil_transfer(cutoff, N, obscuration=ratio)[0].real

    def overlap(d: float, a: float, b: float) -> float:
        """Area common to circles of radii a and b, their centres d apart."""
        if d >= a + b:
            return 0.0
        if d <= abs(a - b):
            return math.pi * min(a, b) ** 2
        p, q = math.acos((d * d + a * a - b * b) / (2 * d * a)), math.acos((d * d + b * b - a * a) / (2 * d * b))
        return a * a * (p - math.sin(2 * p) / 2) + b * b * (q - math.sin(2 * q) / 2)

    area = math.pi * (1 - ratio**2)
    for k in range(0, N // 2, 5):
        d = 2 * k / N / cutoff
        expected = (overlap(d, 1, 1) - 2 * overlap(d, 1, ratio) + overlap(d, ratio, ratio)) / area
        assert found[k].item() == pytest.approx(expected, abs=1e-3)


def test_zernikes_are_orthonormal_in_nolls_order() -> None:
    r, w = np.polynomial.legendre.leggauss(24)
    rho = torch.from_numpy((r + 1) / 2)[:, None]
    phi = torch.arange(48, dtype=torch.float64)[None] * (2 * math.pi / 48)
    weight = torch.from_numpy(w / 2)[:, None] * rho * (2 / 48)
    z = torch.stack([zernike(j, rho, phi) for j in range(1, 37)])
    gram = torch.einsum("iab,jab,ab->ij", z, z, weight)
    torch.testing.assert_close(gram, torch.eye(36, dtype=torch.float64), atol=1e-10, rtol=0)
    orders = [(abs(noll(j)[1]), noll(j)[0]) for j in range(1, 37)]
    assert [n for _, n in orders] == sorted(n for _, n in orders)


def test_zernikes_are_prysms(prysm: Any) -> None:
    rho, phi = np.meshgrid(np.linspace(0, 1, 40), np.linspace(-math.pi, math.pi, 50))
    for j in range(1, 30):
        expected = prysm.zernike_nm(*prysm.noll_to_nm(j), rho, phi, norm=True)
        found = zernike(j, torch.from_numpy(rho), torch.from_numpy(phi)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-9)


WAVEFRONTS: list[dict[str, Any]] = [
    {},
    {"zernikes": {4: 0.3}},
    {"zernikes": {7: 0.2}},
    {"zernikes": {8: -0.2, 11: 0.1}},
    {"zernikes": {5: 0.15, 6: 0.1, 9: 0.1, 22: 0.05}},
    {"terms": (0.5, -0.8, 0.4, 0.7), "azimuth": 2.2},
    {"zernikes": {11: 0.2}, "obscuration": 0.35},
]


@pytest.mark.parametrize("given", WAVEFRONTS, ids=str)
def test_point_spread_is_prysms(given: dict[str, Any], prysm: Any) -> None:
    """prysm propagates the same pupil, finely sampled, straight to the pixel grid; its energy stays unwrapped."""
    propagation = importlib.import_module("prysm.propagation")
    cutoff, samples = 0.45, 1024
    t = (np.arange(samples) - samples // 2) / (samples / 2) * 1.01
    x, y = np.meshgrid(t, t)
    rho, phi = np.hypot(x, y), np.arctan2(y, x)
    path = np.zeros_like(rho)
    for j, rms in given.get("zernikes", {}).items():
        path += rms * prysm.zernike_nm(*prysm.noll_to_nm(j), rho, phi, norm=True)
    if "terms" in given:
        s, c, a, d = given["terms"]
        turn = np.cos(phi - given["azimuth"])
        path += s * rho**4 + c * rho**3 * turn + a * rho**2 * turn**2 + d * rho**2
    step = t[1] - t[0]
    opening = np.clip(0.5 + (1 - rho) / step, 0, 1)
    if "obscuration" in given:
        opening *= np.clip(0.5 + (rho - given["obscuration"]) / step, 0, 1)
    # a pupil 2 mm wide; a pixel is as many waves as puts the cut-off where it belongs
    field, flat = (
        propagation.focus_fixed_sampling(p, step, 2.0, 1.0, cutoff, 97)
        for p in (opening * np.exp(2j * np.pi * path), opening.astype(complex))
    )
    # the peer's scale: without aberration the peak is the pupil's area [cycles^2 a pixel^2]
    area = (opening.sum() * step**2) * (cutoff / 2) ** 2
    expected = np.abs(field) ** 2 * area / np.abs(flat[48, 48]) ** 2
    found = torch.fft.fftshift(torch.fft.irfft2(pupil_transfer(cutoff, 512, **given), s=(512, 512))).numpy()
    assert np.abs(found[208:305, 208:305] - expected).max() / expected.max() < 1e-3


def test_upright() -> None:
    """Tilts move the point along the axes, coma throws its tail outwards at the azimuth of the field."""
    right, down = (pupil_transfer(0.4, N, zernikes={j: 0.5}) for j in (2, 3))
    # a tilt of W waves at the rim is W / (cutoff / 2) pixels; the slope of the phase is the centroid of the whole
    for transfer, shift in ((right, (0, 0.5 * 2 / (0.4 / 2))), (down, (0.5 * 2 / (0.4 / 2), 0))):
        slope = [-np.angle(complex(transfer[f])) * N / (2 * math.pi) for f in ((1, 0), (0, 1))]
        assert slope == pytest.approx(shift, abs=1e-6)
    for azimuth in (0.0, 0.7, -2.1):
        y, x = centroid(image(pupil_transfer(0.4, N, terms=(0, 1.0, 0, 0), azimuth=azimuth)))
        assert math.atan2(y, x) == pytest.approx(azimuth, abs=1e-3)


@pytest.mark.parametrize(
    "given", [*WAVEFRONTS, {"blades": 6, "terms": (0, 0, 0, 2.0)}, {"shift": (0.5, -0.3)}], ids=str
)
def test_a_cut_off_below_half_a_cycle_has_no_negative_value(given: dict[str, Any]) -> None:
    a = image(pupil_transfer(0.5, N, **given))
    assert a.sum() == pytest.approx(1, abs=1e-9)
    assert a.min() > -1e-6


def test_geometric_limit_of_blades_and_cats_eye() -> None:
    """Far out of focus the spread is a picture of the pupil: corners and the missing side where they were put."""
    cutoff, waves = 0.9, 16.0
    a = image(pupil_transfer(cutoff, N, terms=(0, 0, 0, waves), blades=5, rotation=0.4))
    reach = 4 * waves / cutoff  # of the rim [pixels]: the gradient 2 W over the pupil's radius cutoff / 2
    y, x = (np.indices(a.shape) - N // 2) / reach
    r, phi = np.hypot(y, x), np.arctan2(y, x)
    ring = (r > 0.86) & (r < 0.94)
    corners, sides = (
        a[ring & (np.abs(np.angle(np.exp(5j * (phi - angle)))) < 0.4)].mean() for angle in (0.4, 0.4 + math.pi / 5)
    )
    assert corners > 4 * sides
    eye = image(pupil_transfer(cutoff, N, terms=(0, 0, 0, waves), shift=(0.0, 0.6)))
    y0, x0 = centroid(eye)
    assert x0 / reach > 0.2
    assert abs(y0) < 1e-6
    lens = 2 * math.acos(0.3) - 0.3 * 2 * math.sqrt(1 - 0.09)  # area of the overlap of unit circles 0.6 apart
    assert (eye > 0.4 * np.median(eye[eye > 0.5 * eye.max()])).mean() * N**2 / reach**2 == pytest.approx(lens, rel=0.1)


def test_area_of_the_apertures() -> None:
    at = torch.linspace(-1.1, 1.1, 1501, dtype=torch.float64)
    step = (at[1] - at[0]).item()
    y, x = at[:, None], at[None]
    for blades in (3, 5, 6, 9):
        area = aperture(x, y, step, blades=blades, rotation=0.3).sum().item() * step**2
        assert area == pytest.approx(blades / 2 * math.sin(2 * math.pi / blades), rel=1e-3)
    assert aperture(x, y, step, obscuration=0.3).sum().item() * step**2 == pytest.approx(math.pi * 0.91, rel=1e-4)


def test_an_azimuth_turns_the_wavefront() -> None:
    rho, phi = torch.rand(50, generator=torch.Generator().manual_seed(0)), torch.linspace(-3, 3, 50)
    terms = (0.1, 0.2, 0.3, 0.4)
    torch.testing.assert_close(seidel(rho, phi, terms, 0.5), seidel(rho, phi - 0.5, terms, 0.0))


def test_a_covered_pupil_is_refused() -> None:
    with pytest.raises(ValueError, match="no light passes the pupil"):
        pupil_transfer(0.5, 32, shift=(2.0, 0.0), rim=0.5)

"""Every kernel: its sum, its centroid, its sign, and what it does to a constant and to a dot, to 1e-6."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from degrade import Frame, Sensor, Space
from degrade.operators.optics import PsfBlur

SPATIAL: list[dict[str, Any]] = [
    {"psf": "gaussian", "sigma": 2.0},
    {"psf": "gaussian", "sigma": [0.3, 1.0, 4.0]},
    {"psf": "disc", "radius": 3.3},
    {"psf": "annular", "radius": 4.0, "inner": 0.6},
    {"psf": "anisotropic_gaussian", "sigma_x": 3.0, "sigma_y": 1.5, "rotation": 30.0},
    {"psf": "generalised_gaussian", "sigma_x": 2.0, "beta": 2.0},
    {"psf": "plateau_gaussian", "sigma_x": 1.0, "beta": 3.0},
    {"psf": "linear_motion", "length": 6.3, "angle": 20.0},
    {"psf": "double_line", "length": 3.0, "separation": 4.0, "angle": 20.0},
    {"psf": "gp_motion", "extent": 10.0, "seed": 3},
]
IN_FOCUS: list[dict[str, Any]] = [  # cut off at 1/2 cycle a pixel or less, with photosites of 4 um
    {"psf": "airy", "f_number": 18.0},
    {"psf": "pupil", "f_number": 18.0, "defocus": 0.4, "blades": 6},
    {"psf": "pupil", "f_number": 20.0, "spherical": 0.5, "obscuration": 0.3},
]
LOBED: list[dict[str, Any]] = [
    {"psf": "airy", "f_number": 4.0},
    {"psf": "pupil", "f_number": 2.8, "astigmatism": 0.5},
    {"psf": "olpf", "separation": 0.7},
    {"psf": "pixel_aperture"},
    {"psf": "sinc", "cutoff": 1.0},
]
RADIUS = 12
SENSOR = Sensor.make(pitch=4.0)
FIELD = torch.tensor([[0.3, -0.4]])


def named(kernel: dict[str, Any]) -> str:
    return "-".join(str(v) for v in kernel.values())


def blur(kernel: dict[str, Any], radius: int = RADIUS) -> PsfBlur:
    return PsfBlur(kernels=[kernel], radius=radius)


@pytest.mark.parametrize("radius", [12, 40])
@pytest.mark.parametrize("kernel", [*SPATIAL, *IN_FOCUS, *LOBED], ids=named)
def test_sum_and_centroid(kernel: dict[str, Any], radius: int) -> None:
    psf, index, lost = blur(kernel, radius).psf(SENSOR, FIELD)
    psf = psf[index[0]].double()
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    assert (psf.sum((-2, -1)) - 1).abs().max() < 1e-6
    assert ((psf * at).sum((-2, -1))).abs().max() < 1e-6
    assert ((psf * at[:, None]).sum((-2, -1))).abs().max() < 1e-6
    assert lost.abs().max() < 0.1
    if kernel not in LOBED:
        assert psf.min() > -1e-6


@pytest.mark.parametrize("kernel", [*SPATIAL, *IN_FOCUS, *LOBED], ids=named)
def test_a_kernel_that_is_said_to_be_even_is(kernel: dict[str, Any]) -> None:
    (drawn,) = blur(kernel).kernels
    whole = drawn.transfer(drawn.values(SENSOR, FIELD).flatten(0, 1), 45)
    mirrored = torch.cat((whole[:, :1], whole[:, 1:].flip(1)), dim=1)
    even = not whole.is_complex() and torch.allclose(whole, mirrored, atol=1e-12)
    assert even or not drawn.even
    assert drawn.even == (drawn.psf in {"gaussian", "disc", "annular", "airy", "olpf", "pixel_aperture"})


@pytest.mark.parametrize("kernel", [*SPATIAL, *IN_FOCUS, *LOBED], ids=named)
def test_a_constant_stays(kernel: dict[str, Any]) -> None:
    grey = Frame(torch.full((1, 3, 20 + 2 * RADIUS, 17 + 2 * RADIUS), 0.37), Space.LINEAR, SENSOR, field=FIELD)
    assert (blur(kernel).apply(grey).trim(RADIUS).data - 0.37).abs().max() < 1e-6


@pytest.mark.parametrize("kernel", [*SPATIAL, *IN_FOCUS, *LOBED], ids=named)
def test_a_dot_in_each_corner_of_the_patch_is_the_kernel(kernel: dict[str, Any]) -> None:
    size = 15
    op, side = blur(kernel), size + 2 * RADIUS
    psf = op.kernel(SENSOR, FIELD)[0]
    for y in (0, size - 1):
        for x in (0, size - 1):
            dot = torch.zeros(1, 3, side, side)
            dot[..., RADIUS + y, RADIUS + x] = 1
            found = op.apply(Frame(dot, Space.LINEAR, SENSOR, field=FIELD)).trim(RADIUS).data[0]
            there = torch.zeros(3, side, side)
            there[:, y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1] = psf
            assert (found - there[:, RADIUS:-RADIUS, RADIUS:-RADIUS]).abs().max() < 1e-6

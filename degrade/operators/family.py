"""The family of kernels: all that `psf_blur` multiplies, and products of them that show every kind of field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from degrade.operators.kernels import (
    AiryKernel,
    AnnularKernel,
    ApertureKernel,
    DiscKernel,
    GaussianKernel,
    OlpfKernel,
    PupilKernel,
)
from degrade.operators.lens import LensKernel
from degrade.operators.spatial import (
    AnisotropicKernel,
    DoubleLineKernel,
    GeneralisedKernel,
    LinearMotionKernel,
    PlateauKernel,
    SincKernel,
    WanderingMotionKernel,
)

AnyKernel = Annotated[
    GaussianKernel
    | DiscKernel
    | AiryKernel
    | ApertureKernel
    | PupilKernel
    | OlpfKernel
    | AnnularKernel
    | AnisotropicKernel
    | GeneralisedKernel
    | PlateauKernel
    | SincKernel
    | LinearMotionKernel
    | DoubleLineKernel
    | WanderingMotionKernel
    | LensKernel,
    Field(discriminator="psf"),
]

GAUSSIAN = {"psf": "gaussian", "sigma": {"uniform": [0.5, 1.5]}}
LENS = {
    "psf": "pupil",
    "f_number": {"choice": [4, 8]},
    "wavelength": [[0.58, 0.62], 0.54, 0.46],
    "coma": {"uniform": [0.1, 0.4]},
    "zernike": [{"noll": 4, "waves": {"normal": [0, 0.1, -0.2, 0.2]}}],
    "blades": {"integer": [5, 7]},
    "vignetting": 0.3,
}
SPATIAL = [
    {"psf": "generalised_gaussian", "sigma_x": 1.2, "sigma_y": 0.6, "beta": {"uniform": [0.5, 4]}},
    {"psf": "plateau_gaussian", "sigma_x": {"uniform": [0.4, 1]}, "beta": 1.5, "point": True},
    {"psf": "anisotropic_gaussian", "sigma_x": 1.4, "sigma_y": 0.7, "rotation": 30},
    {"psf": "sinc", "cutoff": {"uniform": [1.1, 3]}},
    {"psf": "linear_motion", "length": 3, "angle": {"uniform": [-90, 90]}},
    {"psf": "double_line", "length": 2, "separation": {"uniform": [1, 3]}},
]

#: Kernels that are multiplied, undrawn, as a recipe writes them.
PRODUCTS: tuple[list[dict[str, Any]], ...] = (
    [{"psf": "disc", "radius": [1.0, {"uniform": [0.6, 2.5]}, 1.5]}, {"psf": "pixel_aperture"}],
    [{"psf": "airy", "f_number": {"choice": [2.8, 8]}}, {"choice": [GAUSSIAN, GAUSSIAN]}],
    [LENS, {"psf": "olpf"}],
    [{"psf": "gp_motion", "extent": 4}, {"psf": "annular", "radius": [1.5, 1.4, 1.3]}],
    [{"choice": SPATIAL}],
)

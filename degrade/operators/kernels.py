"""Kernels: the factors that a point spread function is made of.

A kernel says in ``values`` which p numbers shape it in each row and channel, from its own fields, the row's camera and
the row's place in the field; rows and channels with equal numbers share one ``transfer``. A place is the field height
(1 at the corner) and the azimuth ``atan2(y, x)``, x right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Sensor
from degrade.core.param import Model, Param
from degrade.maths import psf as spread
from degrade.maths.pupil import pupil_transfer

Width = Annotated[float, Field(ge=0, le=100)]
Sigma = Annotated[float, Field(ge=0.05, le=100)]
FNumber = Annotated[float, Field(gt=0, le=512)]
Wavelength = Annotated[float, Field(gt=0.1, le=20)]
Waves = Annotated[float, Field(ge=-20, le=20)]
Angle = Annotated[float, Field(ge=-360, le=360)]
Obscured = Annotated[float, Field(ge=0, le=0.95)]
OUTSIDE = 1.5  #: field height from which a place can be in no picture [half diagonals]


class Kernel(Model):
    """One factor of the transfer function; a width is the same in all channels, or one for each of R, G and B."""

    lengths: ClassVar[int] = 1  #: how many of its first numbers are lengths in pixels of the simulated sensor
    diffracts: ClassVar[bool] = False  #: a pupil's, so that no photosite can get less light than none
    even: ClassVar[bool] = False  #: the same in both mirrors, whatever its numbers: a quarter of its transfer tells all

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        """The p numbers that shape it in each row and channel.

        Args:
            sensor: the camera of each of b rows; its pitch is that of the plane's own pixels.
            field: (b, 2) place of each row (y, x) [half diagonals]; NaN where unknown.

        Returns:
            (b or 1, 3, p) float64, or (b or 1, 1, p) where the channels have the same.
        """
        raise NotImplementedError

    def suits(self, sensor: Sensor) -> None:
        """Raises RecipeError where a camera (one row) cannot do, whatever is drawn."""
        if self.diffracts:
            _pitch(sensor, getattr(self, "psf", ""))

    def spatial(self, values: Tensor, radius: int) -> tuple[Tensor, Tensor] | None:
        """What `degrade.maths.psf.kernel_from_transfer` gives, for a kernel that is known on the pixels themselves.

        A factor that stands alone then needs no transform.
        """
        return None

    def transfer(self, values: Tensor, size: int) -> Tensor:
        """(u, p) numbers to (u, size, size // 2 + 1) float64 or, where the kernel is not symmetric, complex128."""
        raise NotImplementedError


def _joined(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Arrays of one or the same lengths, side by side along a last axis."""
    done = np.empty((*map(max, zip(*(c.shape for c in columns), strict=True)), len(columns)))
    for i, column in enumerate(columns):
        done[..., i] = column
    return done


def _field(value: Any) -> NDArray[np.float64]:
    """A field that is a number, n numbers, or a triple of either, as (b or 1, 1 or 3)."""
    each = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
    return _joined([np.asarray(v, np.float64).reshape(-1) for v in each])


def _channels(value: Any) -> Tensor:
    """`_field` as a tensor."""
    return torch.from_numpy(_field(value))


def by_channel(*values: Any) -> Tensor:
    """Several such fields as (b or 1, 1 or 3, p)."""
    return torch.from_numpy(_joined([_field(v) for v in values]))


def _pitch(sensor: Sensor, name: str) -> Tensor:
    """(b, 1) pixel pitch [um]."""
    pitch = sensor.pitch.double().reshape(-1, 1).cpu()
    if not bool(torch.isfinite(pitch).all()):
        article = "an" if name == "airy" else "a"
        raise RecipeError(
            f"psf_blur: {article} {name} kernel needs the pixel pitch: name a camera in `source: {{camera: ...}}`"
        )
    return pitch


def placed(field: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Field height [half diagonals] and azimuth [radian] of each row: (b,) each, float64.

    Raises:
        PhotoError: if a place is not known, or lies where no picture is.
    """
    at = field.double().cpu()
    if not bool(torch.isfinite(at).all()):
        raise PhotoError(
            f"{what} needs the place in the field, which this photo does not tell: say `field: unknown` in the "
            "recipe's source to draw one"
        )
    height = torch.hypot(at[:, 0], at[:, 1])
    if bool((height > OUTSIDE).any()):
        raise PhotoError(
            f"{what}: a patch lies {height.max():.3g} half diagonals from the optical centre; "
            f"fields reach from 0 to {OUTSIDE}, check the sensor's centre and half_diagonal"
        )
    return height, torch.atan2(at[:, 0], at[:, 1])


class GaussianKernel(Kernel):
    """Gaussian, integrated over pixels."""

    even: ClassVar[bool] = True

    psf: Literal["gaussian"] = "gaussian"
    sigma: Param[Width] | tuple[Param[Width], Param[Width], Param[Width]] = Field(
        description="standard deviation [pixels]"
    )

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.sigma)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.gaussian_transfer(values[:, 0], size)


class DiscKernel(Kernel):
    """Uniform disc (geometric defocus), each pixel holding its exact overlap."""

    even: ClassVar[bool] = True

    psf: Literal["disc"] = "disc"
    radius: Param[Width] | tuple[Param[Width], Param[Width], Param[Width]] = Field(description="radius [pixels]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.radius)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.disc_transfer(values[:, 0], size)


class AnnularKernel(Kernel):
    """Uniform ring (defocus of a mirror lens), each pixel holding its exact overlap."""

    even: ClassVar[bool] = True

    psf: Literal["annular"] = "annular"
    radius: Param[Width] | tuple[Param[Width], Param[Width], Param[Width]] = Field(description="outer radius [pixels]")
    inner: Param[Obscured] = Field(default=0.5, description="inner radius [fraction of the outer]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.radius, self.inner)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.annular_transfer(values[:, 0], values[:, 1], size)


class AiryKernel(Kernel):
    """Diffraction at a round pupil in focus; the cut-off is pitch / (wavelength x f-number) [cycles a pixel]."""

    lengths: ClassVar[int] = 0
    diffracts: ClassVar[bool] = True
    even: ClassVar[bool] = True

    psf: Literal["airy"] = "airy"
    f_number: Param[FNumber] = Field(description="working f-number")
    wavelength: tuple[float, float, float] = Field(default=(0.60, 0.54, 0.46), description="of R, G and B [um]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return (_pitch(sensor, self.psf) / (_channels(self.wavelength) * _channels(self.f_number)))[..., None]

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.airy_transfer(values[:, 0], size)


class Zernike(Model):
    """One term of a wavefront."""

    noll: int = Field(description="Noll's index; 4 is defocus, 7 and 8 coma, 11 spherical", ge=2, le=66)
    waves: Param[Waves] = Field(description="rms over the round pupil [waves at the reference wavelength]")


class PupilKernel(Kernel):
    """A lens: the autocorrelation of its pupil, in each channel the mean of the PSFs of its wavelengths.

    Wavefront coefficients are waves at the reference wavelength: Zernike terms (Noll's index and norm) are the same all
    over the field; Seidel terms are peak values at the rim of the pupil and in the corner of the picture, and follow
    the field height h: spherical 1, coma h, astigmatism h^2, field curvature h^2, turned to the azimuth. Distortion
    and tilts that follow the field are left out: they would move the subject. Light lost to vignetting is left to
    ``illumination``: the kernel has sum 1.
    """

    lengths: ClassVar[int] = 0
    diffracts: ClassVar[bool] = True

    psf: Literal["pupil"] = "pupil"
    f_number: Param[FNumber] = Field(description="working f-number of the open round pupil")
    wavelength: tuple[
        Wavelength | tuple[Wavelength, ...], Wavelength | tuple[Wavelength, ...], Wavelength | tuple[Wavelength, ...]
    ] = Field(default=(0.60, 0.54, 0.46), description="of R, G and B, one or several each, weighted alike [um]")
    reference: Wavelength = Field(default=0.54, description="wavelength of one wave of the coefficients [um]")
    defocus: Param[Waves] = Field(default=0.0, description="at the rim of the pupil [waves]")
    spherical: Param[Waves] = Field(default=0.0, description="Seidel, at the rim [waves]")
    coma: Param[Waves] = Field(default=0.0, description="Seidel, at the rim, in the corner [waves]")
    astigmatism: Param[Waves] = Field(default=0.0, description="Seidel, at the rim, in the corner [waves]")
    curvature: Param[Waves] = Field(default=0.0, description="of the field, at the rim, in the corner [waves]")
    zernike: tuple[Zernike, ...] = Field(default=(), description="further terms")
    obscuration: Param[Obscured] = Field(default=0.0, description="radius of the central obstacle [pupil radii]")
    blades: Param[Annotated[int, Field(ge=0, le=32)]] = Field(default=0, description="of the stop; below 3 it is round")
    rotation: Param[Angle] = Field(default=0.0, description="azimuth of the stop's first corner [degree]")
    vignetting: Param[Annotated[float, Field(ge=-1, le=1)]] = Field(
        default=0.0, description="how far a second aperture is shifted outwards in the corner [pupil radii]"
    )
    rim: Param[Annotated[float, Field(ge=0.5, le=3)]] = Field(
        default=1.0, description="radius of that second aperture [pupil radii]"
    )

    @field_validator("wavelength")
    @classmethod
    def _some(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(v == () for v in value):
            raise RecipeError("each channel needs at least one wavelength")
        return value

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        cone = _pitch(sensor, self.psf) / _channels(self.f_number)
        coma, astigmatism, curvature, shift = (
            _channels(v) for v in (self.coma, self.astigmatism, self.curvature, self.vignetting)
        )
        azimuth = torch.zeros(1, 1, dtype=torch.float64)
        if any(bool(v.any()) for v in (coma, astigmatism, curvature, shift)):
            height, turn = (v[:, None] for v in placed(field, "psf_blur: a pupil kernel whose terms follow the field"))
            coma, astigmatism, curvature = height * coma, height**2 * astigmatism, height**2 * curvature
            shift = height * shift
            azimuth = torch.where((coma != 0) | (astigmatism != 0) | (shift != 0), turn, 0.0)
        several = [v if isinstance(v, tuple) else (v,) for v in self.wavelength]
        most = max(map(len, several))
        spectrum = torch.tensor([v + (0.0,) * (most - len(v)) for v in several], dtype=torch.float64)
        columns = torch.broadcast_tensors(
            cone,
            _channels(self.spherical),
            coma,
            astigmatism,
            _channels(self.defocus) + curvature,
            azimuth,
            _channels(self.obscuration),
            _channels(self.blades),
            _channels(self.rotation),
            shift,
            _channels(self.rim),
            *(_channels(z.waves) for z in self.zernike),
            *spectrum.T[:, None],
        )
        return torch.stack(columns, dim=-1)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        last = 11 + len(self.zernike)
        rows: list[Tensor] = []
        for row in values.tolist():
            cone, *terms, azimuth, obscuration, blades, rotation, shift, rim = row[:11]
            waves = [w for w in row[last:] if w > 0]
            zernikes: dict[int, float] = {}
            for term, rms in zip(self.zernike, row[11:last], strict=True):
                zernikes[term.noll] = zernikes.get(term.noll, 0.0) + rms
            each = [
                pupil_transfer(
                    cone / w,
                    size,
                    wave=self.reference / w,
                    terms=terms,
                    azimuth=azimuth,
                    zernikes=zernikes,
                    obscuration=obscuration,
                    blades=int(blades),
                    rotation=math.radians(rotation),
                    shift=(shift * math.sin(azimuth), shift * math.cos(azimuth)),
                    rim=rim,
                )
                for w in waves
            ]
            rows.append(torch.stack(each).mean(0))
        return torch.stack(rows)


class ApertureKernel(Kernel):
    """The photosite's square aperture. A photo shrunk by area means holds one already: leave it out there."""

    even: ClassVar[bool] = True

    psf: Literal["pixel_aperture"] = "pixel_aperture"
    fill: Param[Width] = Field(default=1.0, description="side of the photosite [pixels]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.fill)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.aperture_transfer(values[:, 0], size)


class OlpfKernel(Kernel):
    """Optical low-pass filter: four dots. It cuts at Nyquist for a separation of one pixel."""

    even: ClassVar[bool] = True

    psf: Literal["olpf"] = "olpf"
    separation: Param[Annotated[float, Field(ge=0, le=4)]] = Field(default=0.5, description="of the dots [pixels]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.separation)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.four_dot_transfer(values[:, 0], size)

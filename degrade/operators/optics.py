"""Optics: blur by one product of transfer functions, before the colour filters."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.maths import fourier
from degrade.maths import psf as spread
from degrade.recipe.errors import RecipeError
from degrade.recipe.frame import Frame, Sensor, Space
from degrade.recipe.operator import Model, Operator, register
from degrade.recipe.param import Param

Width = Annotated[float, Field(ge=0, le=100)]
FNumber = Annotated[float, Field(gt=0, le=512)]


class Kernel(Model):
    """One factor of the transfer function; a width is the same in all channels, or one for each of R, G and B."""

    def values(self, sensor: Sensor) -> Tensor:
        """The number that shapes it in each row and channel: (b or 1, 3) float64."""
        raise NotImplementedError

    def transfer(self, values: Tensor, size: int) -> Tensor:
        """(..., size, size // 2 + 1) float64 for those numbers."""
        raise NotImplementedError


def _channels(value: Any) -> Tensor:
    """A field that is a number, n numbers, or a triple of either, as (b or 1, 3)."""
    each = value if isinstance(value, tuple) else (value, value, value)
    return torch.stack(
        torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64).reshape(-1) for v in each)), dim=-1
    )


class GaussianKernel(Kernel):
    """Gaussian, integrated over pixels."""

    psf: Literal["gaussian"] = "gaussian"
    sigma: Param[Width] | tuple[Param[Width], Param[Width], Param[Width]] = Field(
        description="standard deviation [pixels]"
    )

    def values(self, sensor: Sensor) -> Tensor:
        return _channels(self.sigma)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.gaussian_transfer(values, size)


class DiscKernel(Kernel):
    """Uniform disc (geometric defocus), each pixel holding its exact overlap."""

    psf: Literal["disc"] = "disc"
    radius: Param[Width] | tuple[Param[Width], Param[Width], Param[Width]] = Field(description="radius [pixels]")

    def values(self, sensor: Sensor) -> Tensor:
        return _channels(self.radius)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.disc_transfer(values, size)


class AiryKernel(Kernel):
    """Diffraction at a round pupil in focus; the cut-off is pitch / (wavelength x f-number) [cycles a pixel]."""

    psf: Literal["airy"] = "airy"
    f_number: Param[FNumber] = Field(description="working f-number")
    wavelength: tuple[float, float, float] = Field(default=(0.60, 0.54, 0.46), description="of R, G and B [um]")

    def values(self, sensor: Sensor) -> Tensor:
        pitch = sensor.pitch.double().reshape(-1, 1).cpu()
        if not bool(torch.isfinite(pitch).all()):
            raise RecipeError(
                "psf_blur: an airy kernel needs the pixel pitch: name a camera in `source: {camera: ...}`"
            )
        return pitch / (_channels(self.wavelength) * _channels(self.f_number))

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.airy_transfer(values, size)


class ApertureKernel(Kernel):
    """The photosite's square aperture. A photo shrunk by area means holds one already: leave it out there."""

    psf: Literal["pixel_aperture"] = "pixel_aperture"
    fill: Param[Width] = Field(default=1.0, description="side of the photosite [pixels]")

    def values(self, sensor: Sensor) -> Tensor:
        return _channels(self.fill)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return spread.aperture_transfer(values, size)


AnyKernel = Annotated[GaussianKernel | DiscKernel | AiryKernel | ApertureKernel, Field(discriminator="psf")]


@register("psf_blur")
class PsfBlur(Operator):
    """Blur by a point spread function: the product of its kernels' transfer functions, cut at Nyquist once.

    The result is windowed to ``radius`` and normalised, and then it *is* the operator; the energy that the window cut
    off is recorded as ``lost`` (the largest of the channels). Distortion is left out: it would move the subject.
    The outer ``radius`` pixels of the result are not valid; a recipe gives them as margin.

    >>> from degrade import Frame, Sensor, Space
    >>> dot = torch.zeros(1, 3, 64, 64); dot[..., 32, 32] = 1
    >>> photo = Frame(dot, Space.LINEAR, Sensor.make(pitch=4.0))
    >>> blurred = PsfBlur(kernels=[{"psf": "airy", "f_number": 8.0}]).apply(photo)
    >>> red, green, blue = blurred.data[0, :, 32, 32].tolist()
    >>> red < green < blue                       # diffraction grows with the wavelength
    True
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR, Space.DISPLAY})
    notes: ClassVar[tuple[str, ...]] = ("lost",)

    kernels: tuple[Param[AnyKernel], ...] = Field(description="the factors", min_length=1)
    radius: int = Field(default=15, description="kernel radius [pixels]", ge=1, le=255)

    @property
    def reach(self) -> tuple[int, int]:
        return self.radius, 1

    def psf(self, sensor: Sensor) -> tuple[Tensor, Tensor, Tensor]:
        """The kernels of these rows, each computed once.

        Returns:
            (u, k, k) float32 kernels, (b or 1, 3) index of each row's and channel's kernel, (u,) lost energy.
        """
        kernels: list[Any] = list(self.kernels)
        values = torch.broadcast_tensors(*(k.values(sensor) for k in kernels))
        numbers = torch.stack(values, dim=-1)
        unique, index = torch.unique(numbers.reshape(-1, len(kernels)), dim=0, return_inverse=True)
        size = spread.grid_size(self.radius)
        transfer = torch.ones((), dtype=torch.float64)
        for i, kernel in enumerate(kernels):
            transfer = transfer * kernel.transfer(unique[:, i], size)
        kernel, lost = spread.kernel_from_transfer(transfer, self.radius)
        return kernel, index.reshape(numbers.shape[:-1]), lost

    def kernel(self, sensor: Sensor) -> Tensor:
        kernel, index, _ = self.psf(sensor)
        return kernel[index]

    def apply(self, frame: Frame) -> Frame:
        kernel, index, lost = (t.to(frame.data.device) for t in self.psf(frame.sensor))
        spectrum = fourier.spectrum(kernel, frame.size)
        noise = frame.noise
        if noise is not None:
            noise = noise * kernel.square().sum((-2, -1))[index][:, None, :]
        data = fourier.filtered(frame.data, spectrum[index])
        return frame.with_data(
            data, noise=noise, notes={**frame.notes, "lost": lost[index].amax(-1).expand(len(frame))}
        )

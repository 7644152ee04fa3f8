"""Kernels given in space: shapes on the pixel grid, and the paths of motion."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.core.frame import Sensor
from degrade.core.param import Param
from degrade.core.prior import Seed
from degrade.maths import motion, shapes
from degrade.maths.psf import field_transfer
from degrade.operators.kernels import Angle, Kernel, Sigma, Width, by_channel

Beta = Annotated[float, Field(ge=0.1, le=16)]


def _sampled(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """A kernel of point samples, which is what it is within its window: nothing of it counts as lost."""
    return kernel.float(), torch.zeros(len(kernel))


class _Bell(Kernel):
    """An ellipse of widths with some profile."""

    lengths: ClassVar[int] = 2

    sigma_x: Param[Sigma] = Field(description="width along `rotation` [pixels]")
    sigma_y: Param[Sigma] | None = Field(default=None, description="width across it; the same by default [pixels]")
    rotation: Param[Angle] = Field(default=0.0, description="azimuth of the first width [degree]")
    point: bool = Field(default=False, description="sampled at pixel centres, as the classical chains do")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        across = self.sigma_x if self.sigma_y is None else self.sigma_y
        return by_channel(self.sigma_x, across, self.rotation, self.exponent)

    @property
    def exponent(self) -> Param[float]:
        """The profile's exponent."""
        return 1.0

    def profile(self, q: Tensor, beta: Tensor) -> Tensor:
        """Height at a squared distance of ``q`` widths."""
        return shapes.generalised(q, beta)

    def spatial(self, values: Tensor, radius: int) -> tuple[Tensor, Tensor] | None:
        return _sampled(self.field(values, 2 * radius + 1)) if self.point else None

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return field_transfer(self.field(values, size))

    def field(self, values: Tensor, size: int) -> Tensor:
        """(u, size, size) kernels, their centre at size // 2."""
        along, across, angle, beta = values.T[..., None, None]
        turn = torch.deg2rad(angle)

        def shape(y: Tensor, x: Tensor) -> Tensor:
            return self.profile(shapes.distance(y, x, along, across, turn), beta)

        return shapes.on_pixels(shape, size, self.point)


class AnisotropicKernel(_Bell):
    """Elliptic Gaussian."""

    psf: Literal["anisotropic_gaussian"] = "anisotropic_gaussian"


class GeneralisedKernel(_Bell):
    """Generalised Gaussian ``exp(-q^beta / 2)``, q the squared distance in widths."""

    psf: Literal["generalised_gaussian"] = "generalised_gaussian"
    beta: Param[Beta] = Field(description="1 is a Gaussian, more is flatter")

    @property
    def exponent(self) -> Param[float]:
        return self.beta


class PlateauKernel(_Bell):
    """Plateau ``1 / (1 + q^beta)``, q the squared distance in widths; its tails end with the working grid."""

    psf: Literal["plateau_gaussian"] = "plateau_gaussian"
    beta: Param[Beta] = Field(description="more is flatter, with shorter tails")

    @property
    def exponent(self) -> Param[float]:
        return self.beta

    def profile(self, q: Tensor, beta: Tensor) -> Tensor:
        return shapes.plateau(q, beta)


class SincKernel(Kernel):
    """Circular low-pass, point-sampled as the classical chains do: it rings, and has values below 0."""

    psf: Literal["sinc"] = "sinc"
    cutoff: Param[Annotated[float, Field(gt=0, le=3.1416)]] = Field(description="[radian a pixel]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return 1 / by_channel(self.cutoff)

    def spatial(self, values: Tensor, radius: int) -> tuple[Tensor, Tensor]:
        return _sampled(self.field(values, 2 * radius + 1))

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return field_transfer(self.field(values, size))

    def field(self, values: Tensor, size: int) -> Tensor:
        """(u, size, size) kernels, their centre at size // 2."""
        cutoff = 1 / values[:, :1, None]
        return shapes.on_pixels(lambda y, x: shapes.low_pass(y, x, cutoff), size, point=True)


class LinearMotionKernel(Kernel):
    """Steady motion along a straight line, centred."""

    psf: Literal["linear_motion"] = "linear_motion"
    length: Param[Width] = Field(description="of the path [pixels]")
    angle: Param[Angle] = Field(default=0.0, description="azimuth of the path [degree]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.length, self.angle)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        return field_transfer(motion.on_grid(motion.line(values[:, 0], torch.deg2rad(values[:, 1])), size))


class DoubleLineKernel(Kernel):
    """Two parallel lines, such as harsh defocus makes of one: `length` 0 gives two dots."""

    lengths: ClassVar[int] = 2

    psf: Literal["double_line"] = "double_line"
    length: Param[Width] = Field(description="of each line [pixels]")
    separation: Param[Width] = Field(description="of the lines [pixels]")
    angle: Param[Angle] = Field(default=0.0, description="azimuth of the lines [degree]")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.length, self.separation, self.angle)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        length, separation, angle = values.T
        return field_transfer(motion.on_grid(motion.lines(length, separation, torch.deg2rad(angle)), size))


class WanderingMotionKernel(Kernel):
    """Camera shake: a path by a Gaussian process, 1000 steps, its centroid at 0."""

    psf: Literal["gp_motion"] = "gp_motion"
    extent: Param[Width] = Field(default=15.0, description="what `sigma` counts in [pixels]")
    length_scale: Param[Annotated[float, Field(ge=0.02, le=10)]] = Field(
        default=0.3, description="over which the path keeps its way [exposures]"
    )
    sigma: Param[Annotated[float, Field(ge=0, le=2)]] = Field(
        default=0.25, description="standard deviation of the place, each way [extents]"
    )
    seed: Param[int] = Field(default=Seed(), description="seed of the path")

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        return by_channel(self.extent, self.length_scale, self.sigma, self.seed)

    def transfer(self, values: Tensor, size: int) -> Tensor:
        extent, scale, sigma, seed = values.T
        return field_transfer(motion.on_grid(motion.wander(seed.long(), scale, sigma * extent), size))

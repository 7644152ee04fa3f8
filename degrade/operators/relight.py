"""Relighting: the scene under other lights, from the normals of its surfaces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.core import maps
from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Model, Param, column
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import shade
from degrade.maths.colour import apply_matrix

Intensity = Annotated[float, Field(ge=0, le=100)]
Length = Annotated[float, Field(gt=0, le=1e6)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Harmonic = Annotated[float, Field(ge=-100, le=100)]

Ray = tuple[Tensor, Tensor]  #: unit vectors to a light and its strength: (b, 3, h or 1, w or 1), (b, 1, h or 1, w or 1)


class Light(Model):
    """Base of lights: strength 1 gives a surface that faces it its albedo."""

    intensity: Param[Intensity] = Field(default=1.0, description="strength at the picture's centre")
    colour: tuple[Param[Intensity], Param[Intensity], Param[Intensity]] = Field(
        default=(1.0, 1.0, 1.0), description="of the light, white-balanced camera RGB"
    )

    def strength(self, like: Tensor) -> Tensor:
        """(b or 1, 3, 1, 1) intensity times colour."""
        return column(self.intensity, like) * _vector(like, *self.colour)

    def rays(self, points: Tensor) -> Iterator[Ray]:
        """The light as it comes to points (b or 1, 3, h, w) [pixels]; several rays where it has an extent."""
        raise NotImplementedError


class DirectionalLight(Light):
    """Light from far away, such as the sun's."""

    light: Literal["directional"] = "directional"
    azimuth: Param[Annotated[float, Field(ge=-360, le=360)]] = Field(
        description="where it stands in the picture: 0 right, 90 below [degree]"
    )
    elevation: Param[Annotated[float, Field(ge=0, le=90)]] = Field(
        description="above the picture's plane; 90 is beside the camera [degree]"
    )

    def rays(self, points: Tensor) -> Iterator[Ray]:
        turn, rise = (torch.deg2rad(column(v, points).reshape(-1)) for v in (self.azimuth, self.elevation))
        yield shade.direction(*torch.broadcast_tensors(turn, rise)), points.new_ones(1, 1, 1, 1)


class NearLight(Light):
    """Base of lights near the scene."""

    x: Param[Coordinate] = Field(default=0.0, description="right of the patch's centre [pixels]")
    y: Param[Coordinate] = Field(default=0.0, description="below it [pixels]")
    z: Param[Length] = Field(description="before it, towards the camera [pixels]")


class PointLight(NearLight):
    """A small lamp: its light falls off with the squared distance."""

    light: Literal["point"] = "point"

    def rays(self, points: Tensor) -> Iterator[Ray]:
        yield shade.towards(points, _vector(points, self.x, self.y, self.z))


class AreaLight(NearLight):
    """A matt bright rectangle that faces the patch's centre, taken at samples x samples points of it."""

    light: Literal["area"] = "area"
    width: Param[Length] = Field(description="of the rectangle, level [pixels]")
    height: Param[Length] = Field(description="of the rectangle [pixels]")
    samples: int = Field(default=4, description="points each way", ge=1, le=16)

    def rays(self, points: Tensor) -> Iterator[Ray]:
        centre = _vector(points, self.x, self.y, self.z)
        facing = centre / torch.linalg.vector_norm(centre, dim=1, keepdim=True)
        size = column(self.width, points), column(self.height, points)
        for at, weight in shade.rectangle(centre, *size, self.samples):
            way = at - points
            far = way.square().sum(1, keepdim=True).clamp(min=1e-12)
            way = way / far.sqrt()
            yield way, weight * shade.lambert(way, facing) * centre.square().sum(1, keepdim=True) / far


class EnvironmentLight(Light):
    """Light from all around, smooth: spherical harmonics to the second order. Matt surfaces only, no shadows."""

    light: Literal["environment"] = "environment"
    harmonics: tuple[Param[Harmonic], ...] = Field(
        default=(math.sqrt(4 * math.pi), *(0.0,) * 8),
        description="radiance: L00, L1-1, L10, L11, L2-2, L2-1, L20, L21, L22 with x right, y down, z to the camera; "
        "1 from everywhere by default",
        min_length=9,
        max_length=9,
    )

    def rays(self, points: Tensor) -> Iterator[Ray]:
        yield from ()


AnyLight = Annotated[
    DirectionalLight | PointLight | AreaLight | EnvironmentLight,
    Field(discriminator="light"),
]


def _vector(like: Tensor, *values: Any) -> Tensor:
    """Fields as the components of vectors, (b or 1, n, 1, 1)."""
    parts = torch.broadcast_tensors(*(column(v, like).reshape(-1) for v in values))
    return torch.stack(parts, dim=1)[..., None, None]


@register("relight")
class Relight(Operator):
    """Other lights on the scene: ``y = x S / S0``, the shades of the new lights and of those it was taken under.

    Reads ``aux["normal"]`` and, as its fields ask, ``aux["albedo"]`` and ``aux["height"]``. Without ``taken`` the photo
    is the albedo, as flat light shows it; with ``albedo: map`` its pixels are not used at all. Gloss is added in the
    lights' own colour, grey light being what this camera sees as grey. Shadows fall over the height map, no further
    than ``shadow`` pixels. Lights near the scene are placed from the patch's centre.

    Source noise is scaled by the shade and its square, means over the patch; none is left with ``albedo: map``.

    >>> from degrade import Frame, Sensor, Space
    >>> aux = {"normal": torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)}
    >>> grey = Frame(torch.full((1, 3, 2, 2), 0.5), Space.LINEAR, Sensor.make(), aux=aux)
    >>> lamp = DirectionalLight(azimuth=0.0, elevation=30.0)
    >>> round(Relight(lights=(lamp,)).apply(grey).data.max().item(), 6)
    0.25
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})
    version: ClassVar[int] = 2

    lights: tuple[AnyLight, ...] = Field(description="the new lights", min_length=1)
    taken: tuple[AnyLight, ...] = Field(
        default=(), description="lights that the photo was taken under, to be divided out; the photo is albedo without"
    )
    floor: float = Field(default=0.05, description="least shade that is divided out", gt=0, le=1)
    albedo: Literal["photo", "map"] = Field(default="photo", description="the photo itself, or the map `albedo`")
    f0: Param[Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None, description="reflectance of gloss at normal incidence; none for matt surfaces"
    )
    roughness: Param[Annotated[float, Field(ge=0.05, le=1)]] = Field(default=0.5, description="of glossy surfaces")
    shadow: int = Field(default=0, description="how far shadows reach [pixels]; 0 for none", ge=0, le=512)
    pixel: float = Field(default=1.0, description="what a pixel of the sensor spans [units of the height map]", gt=0)

    examples = (
        {
            "lights": [{"light": "directional", "azimuth": {"uniform": [0, 360]}, "elevation": 40}],
            "taken": [{"light": "environment", "intensity": {"uniform": [0.5, 1]}}],
            "f0": {"uniform": [0, 0.1]},
        },
        {
            "lights": [
                {"light": "point", "x": {"uniform": [-9, 9]}, "z": 20, "colour": [1, {"uniform": [0.5, 1]}, 0.4]},
                {"light": "area", "y": -30, "z": {"uniform": [20, 40]}, "width": 9, "height": 4, "samples": 2},
            ],
            "albedo": "map",
            "shadow": 6,
            "per": "photo",
        },
    )

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it reads."""
        return "normal", *("albedo",) * (self.albedo == "map"), *("height",) * (self.shadow > 0)

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, self.shadow)

    def apply(self, frame: Frame) -> Frame:
        diffuse, gloss = self.shades(frame, self.lights)
        if self.taken:
            diffuse = diffuse / self.shades(frame, self.taken)[0].clamp(min=self.floor)
        noise = frame.noise
        if self.albedo == "map":
            # reflectances of linear sRGB as this camera sees them under white light
            base = maps.need(frame, "albedo", self.op)
            base = apply_matrix(torch.linalg.inv(frame.sensor.matrix), base) * frame.neutral
            noise = None if noise is None else torch.zeros_like(noise)
        else:
            base = frame.data
            if noise is not None:
                gain = torch.stack([maps.patch_mean(frame, v) for v in (diffuse, diffuse * diffuse)], dim=1)
                shot, noise = noise[:, 0], noise * gain
                if gloss is not None:  # brightens a pixel and brings no noise
                    noise[:, 1] -= shot * maps.patch_mean(frame, diffuse * gloss * frame.neutral)
        data = base * diffuse
        return frame.with_data(data if gloss is None else data + gloss * frame.neutral, noise=noise)

    def shades(self, frame: Frame, lights: tuple[Any, ...]) -> tuple[Tensor, Tensor | None]:
        """Shades of a matt and of a glossy surface under lights, (b, 3, h, w) each; no gloss where there is none."""
        normal = maps.need(frame, "normal", self.op)
        # lights stand in the sensor's pixels, however fine the picture is
        points = shade.surface(normal) / frame.oversample
        height = None
        if self.shadow:
            height = maps.need(frame, "height", self.op) / self.pixel
            points = torch.cat((points[:, :2].expand(len(height), -1, -1, -1), height), dim=1)
        matt = torch.zeros_like(frame.data)
        gloss = None if self.f0 is None else torch.zeros_like(frame.data)
        for light in lights:
            strength = light.strength(normal)
            if isinstance(light, EnvironmentLight):
                matt = matt + strength * shade.surrounding(normal, _vector(normal, *light.harmonics)[..., 0, 0])
            for way, falling in light.rays(points):
                if height is not None:
                    fine = frame.oversample
                    falling = falling * shade.unshadowed(height * fine, way, self.shadow * fine)
                matt = matt + strength * (falling * shade.lambert(normal, way))
                if gloss is not None:
                    surface = column(self.roughness, normal), column(self.f0, normal)
                    gloss = gloss + strength * (falling * shade.ggx(normal, way, *surface))
        return matt, gloss

"""Weather: what stands in the air between the camera and the scene."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from degrade.core import maps
from degrade.core.errors import PhotoError
from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, column
from degrade.core.registry import register

FAR = 1e7  #: from here on a depth is the horizon [m]


@register("fog")
class Fog(Operator):
    """Koschmieder fog: ``y = x t + A (1 - t)`` with ``t = exp(-beta d)``; the airlight A is grey to this camera.

    Reads ``aux["depth"]``, the way to the scene along the ray [m]; infinite depths are sky. With a ``scale_height`` H
    the fog thins with the height over the ground, ``beta exp(-h / H)``: a ray that leaves the camera at height h0 and
    climbs at an elevation e passes ``beta exp(-h0 / H) (H / sin e) (1 - exp(-d sin e / H))``. The ground is flat, the
    camera upright, its axis ``tilt`` above the horizon; a place in the picture sees along
    ``tan(angle)`` times its distance from the optical centre in half diagonals. Before the crop each row of pixels
    has its own elevation; behind it, a patch has that of its centre.

    Source noise is scaled by t and t^2, means over the patch: as the picture has it on average, not pixel by pixel.

    Source: Koschmieder, Beitr. Phys. fr. Atm. 12 (1924); Narasimhan & Nayar, IJCV 48 (2002) 233.

    >>> from degrade import Frame, Sensor, Space
    >>> aux = {"depth": torch.full((1, 1, 2, 2), 100.0)}
    >>> dark = Frame(torch.zeros(1, 3, 2, 2), Space.LINEAR, Sensor.make(white_balance=(2.0, 1.0, 1.6)), aux=aux)
    >>> Fog(beta=1.0, airlight=0.8).apply(dark).data[0, :, 0, 0].tolist()
    [0.4000000059604645, 0.800000011920929, 0.5]
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})
    maps: ClassVar[tuple[str, ...]] = ("depth",)

    beta: Param[Annotated[float, Field(ge=0, le=100)]] = Field(
        description="extinction [1/m], on the ground where it thins with height; 3.9 over it is the visual range"
    )
    airlight: Param[Annotated[float, Field(ge=0, le=16)]] = Field(
        default=0.8, description="light of endless fog [fraction of white]"
    )
    scale_height: Param[Annotated[float, Field(gt=0, le=1e5)]] | None = Field(
        default=None, description="height at which the fog is 1/e as dense [m]; none for one that is even"
    )
    camera_height: Param[Annotated[float, Field(ge=0, le=1e5)]] = Field(
        default=1.6, description="of the camera over the ground, where the fog thins with height [m]"
    )
    tilt: Param[Annotated[float, Field(ge=-90, le=90)]] = Field(
        default=0.0, description="of the camera's axis, above 0 up from the horizon [degree]"
    )
    angle: Param[Annotated[float, Field(gt=0, le=80)]] = Field(
        default=30.0, description="between the axis and the light to the corner [degree]"
    )

    examples = (
        {"beta": {"log_uniform": [0.01, 1]}, "airlight": {"uniform": [0.6, 0.95]}},
        {"beta": {"choice": [0, 0.5]}, "scale_height": {"log_uniform": [1, 50]}, "tilt": 10, "per": "photo"},
    )

    def apply(self, frame: Frame) -> Frame:
        depth = maps.need(frame, "depth", self.op)
        clear = torch.exp(-self.column("beta", frame) * self._path(frame, depth.clamp(max=FAR)))
        veil = self.column("airlight", frame) * frame.neutral
        noise = frame.noise
        if noise is not None:
            # variance a x + b of the signal becomes t a (y - A (1 - t)) + t^2 b
            t, t2 = maps.patch_mean(frame, clear), maps.patch_mean(frame, clear * clear)
            shot, read = noise[:, 0], noise[:, 1]
            noise = torch.stack((t * shot, t2 * read - (t - t2) * shot * veil[..., 0, 0]), dim=1)
        return frame.with_data(frame.data * clear + veil * (1 - clear), noise=noise)

    def _path(self, frame: Frame, depth: Tensor) -> Tensor:
        """What extinction on the ground is multiplied by [m]."""
        if self.scale_height is None:
            return depth
        height, start = column(self.scale_height, depth), column(self.camera_height, depth)
        climb = self._climb(frame)
        k = (depth * climb / height).clamp(-80, 80)  # beyond, the ray is in the ground or in clear air
        level = k.abs() < 1e-3
        bent = -torch.expm1(-k) * height / torch.where(level, torch.ones_like(k), climb)
        return torch.exp(-start / height) * torch.where(level, depth * (1 - k / 2), bent)

    def _climb(self, frame: Frame) -> Tensor:
        """Sine of the elevation at which each pixel, or each patch, looks: (b, 1, h or 1, w or 1)."""
        slope = torch.tan(torch.deg2rad(self.column("angle", frame)))
        tilt = torch.deg2rad(self.column("tilt", frame))
        y, x = self._place(frame)
        up = torch.sin(tilt) - y * slope * torch.cos(tilt)
        return up / torch.sqrt(1 + slope**2 * (x * x + y * y))

    def _place(self, frame: Frame) -> tuple[Any, Any]:
        """Place in the field (y, x) [half diagonals], y down."""
        if bool(torch.isfinite(frame.field).all()):
            y, x = frame.field.T[..., None, None, None]
            return y, x
        sensor = frame.sensor
        if not bool(torch.isfinite(sensor.half_diagonal).all() & torch.isfinite(sensor.centre).all()):
            raise PhotoError(
                "fog that thins with height needs the place in the field, which this photo does not tell: "
                "say `field: unknown` in the recipe's source to draw one"
            )
        at = [
            s * (torch.arange(n, dtype=frame.data.dtype, device=frame.data.device) + 0.5) - 0.5 + o
            for n, s, o in zip(frame.size, frame.grid.scale, frame.grid.offset, strict=True)
        ]
        centre, half = sensor.centre[:, :, None, None, None], sensor.half_diagonal[:, None, None, None]
        return (at[0][:, None] - centre[:, 0]) / half, (at[1] - centre[:, 1]) / half

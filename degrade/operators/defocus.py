"""Defocus by depth: what lies off the focus is spread over its circle of confusion."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from degrade.core import maps
from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Sensor, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, column
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import depth as optics


@register("depth_defocus")
class DepthDefocus(Operator):
    """Defocus by depth: discs of radius ``blur |1 / focus - 1 / depth|``, near surfaces over far ones.

    Reads ``aux["depth"]``, along the axis [m]. The blur is given in pixels a dioptre, or follows from a thin lens of
    ``focal_length`` f and ``f_number`` N on the camera's pixel pitch, ``f^2 focus / (2 N pitch (focus - f))``. Radii
    end at ``radius``; the share of pixels that would need more is recorded as ``limited``. Discs between two layers
    are mixed in shares that keep their variance. In focus, and at a blur of 0, the picture stays bit for bit.

    Source noise is scaled by each pixel's sum of squared weights, the mean over the patch.

    >>> from degrade import Frame, Sensor, Space
    >>> dot = torch.zeros(1, 3, 9, 9); dot[..., 4, 4] = 1
    >>> far = Frame(dot, Space.LINEAR, Sensor.make(), aux={"depth": torch.full((1, 1, 9, 9), 4.0)})
    >>> spread = DepthDefocus(blur=8.0, focus=2.0, radius=2).apply(far).data[0, 0]
    >>> round(spread[4, 4].item(), 3), round(spread.sum().item(), 3)            # a disc of radius 2 at 4 m: 1 / (4 pi)
    (0.08, 1.0)
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})
    notes: ClassVar[tuple[str, ...]] = ("limited",)
    maps: ClassVar[tuple[str, ...]] = ("depth",)

    focus: Param[Annotated[float, Field(gt=0.01, le=1e6)]] = Field(description="depth that is sharp [m]")
    blur: Param[Annotated[float, Field(ge=0, le=1e4)]] | None = Field(
        default=None, description="radius of the disc [pixels a dioptre]"
    )
    focal_length: Param[Annotated[float, Field(gt=0, le=5000)]] | None = Field(
        default=None, description="of a thin lens, in place of blur [mm]"
    )
    f_number: Param[Annotated[float, Field(gt=0, le=512)]] | None = Field(default=None, description="of that lens")
    radius: int = Field(default=15, description="largest radius of a disc [pixels]", ge=1, le=64)
    layers: int = Field(default=8, description="layers of depth on each side of the focus", ge=1, le=64)

    examples = (
        {"focus": {"uniform": [1, 3]}, "blur": {"uniform": [0, 6]}, "radius": 5, "layers": 4},
        {
            "focus": {"log_uniform": [1, 3]},
            "focal_length": 8,
            "f_number": {"choice": [2, 4]},
            "radius": 6,
            "per": "photo",
        },
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        lens = self.focal_length is not None, self.f_number is not None
        if any(lens) != all(lens) or (self.blur is None) != all(lens):
            raise RecipeError("give either blur, or both focal_length and f_number")
        return self

    def plan(self, spec: Spec) -> Spec:
        spec = super().plan(spec)
        if spec.whole:
            raise RecipeError("depth_defocus looks beyond a patch, but here it is a picture of its own: put it before")
        return spec

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, self.radius)

    def suits(self, sensor: Sensor) -> None:
        if self.blur is None and not bool(torch.isfinite(sensor.pitch).all()):
            raise RecipeError(
                "depth_defocus: a lens needs the pixel pitch: name a camera in `source: {camera: ...}`, or give blur"
            )

    def apply(self, frame: Frame) -> Frame:
        depth, radius = maps.need(frame, "depth", self.op), self.radius * frame.oversample
        focus = column(self.focus, depth)
        spread = optics.confusion(depth, focus, self._blur(frame.sensor, focus, depth) * frame.oversample)
        limited = maps.patch_mean(frame, (spread.abs() > radius).float())[:, 0]
        data, gain = optics.defocused(frame.data, spread.clamp(-radius, radius), radius, self.layers)
        noise = frame.filtered(maps.patch_mean(frame, gain)[:, None])
        return frame.with_data(data, noise=noise, correlated=True, notes={**frame.notes, "limited": limited})

    def _blur(self, sensor: Sensor, focus: Tensor, like: Tensor) -> Any:
        if self.blur is not None:
            return column(self.blur, like)
        self.suits(sensor)
        length = column(self.focal_length, like) * 1e-3
        if bool((length >= focus).any()):
            raise RecipeError("depth_defocus: a lens focuses beyond its focal length; give a larger focus")
        pitch = column(sensor.pitch, like) * 1e-6
        return length**2 * focus / (2 * column(self.f_number, like) * pitch * (focus - length))

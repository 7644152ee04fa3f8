"""Sharpening of developed pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, column
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import display


@register("usm")
class UnsharpMask(Operator):
    """Unsharp masking of what stands out: details above ``threshold`` grow by ``weight``, softly masked; clipped.

    Source: Wang et al. 2021 (Real-ESRGAN), its targets: weight 0.5, radius 50, threshold 10.

    >>> from degrade import Frame, Sensor, Space
    >>> edge = (torch.arange(32) >= 16).float().expand(1, 3, 32, 32) * 0.5 + 0.25
    >>> sharp = UnsharpMask(radius=10).apply(Frame(edge.contiguous(), Space.DISPLAY, Sensor.make())).data
    >>> bool(sharp[0, 0, 16, 15] < 0.25) and bool(sharp[0, 0, 16, 16] > 0.75)
    True
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    weight: Param[Annotated[float, Field(ge=0, le=10)]] = Field(default=0.5, description="how much detail is added")
    radius: int = Field(
        default=50, description="side of the Gaussian's window, the next odd one [pixels]", ge=2, le=255
    )
    threshold: Param[Annotated[float, Field(ge=0, le=255)]] = Field(
        default=10.0, description="detail from which it is sharpened [1/255]"
    )

    examples = ({"radius": 4, "weight": {"uniform": [0.3, 1]}, "threshold": {"uniform": [5, 20]}},)

    def plan(self, spec: Spec) -> Spec:
        return replace(super().plan(spec), digital=False)

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, 2 * (self.radius // 2))

    def apply(self, frame: Frame) -> Frame:
        weight, threshold = (column(v, frame.data) for v in (self.weight, self.threshold))
        done = display.unsharp(frame.data, torch.as_tensor(weight), self.radius // 2, threshold / 255)
        return frame.with_data(done)

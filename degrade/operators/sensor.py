"""The sensor less its noise: colour filters, saturation, ADC."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Space
from degrade.core.maps import how
from degrade.core.operator import Operator
from degrade.core.param import Param, column
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import bayer, sensor
from degrade.maths.cfa import BAYER
from degrade.maths.maps import shrunk


@register("mosaic")
class Mosaic(Operator):
    """The colour filter array: samples RGB at each photosite, packed ``R G1 G2 B`` with RGGB geometry.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.ones(1, 3, 4, 4), Space.LINEAR, Sensor.make())
    >>> raw = Mosaic().apply(grey)
    >>> raw.data.shape, raw.grid.at(0)
    (torch.Size([1, 4, 2, 2]), (0.5, 0.5))
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})
    photosites: ClassVar[bool] = True

    examples = ({},)

    def plan(self, spec: Spec) -> Spec:
        spec = super().plan(spec)
        assert spec.size is not None
        if spec.size[0] % 2 or spec.size[1] % 2:
            raise RecipeError(f"mosaic: the patch must have an even size, got {spec.size[0]} x {spec.size[1]}")
        size = spec.size[0] // 2, spec.size[1] // 2
        return Spec(Space.MOSAIC, 4, size, spec.grid.scaled(2))

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(
            bayer.mosaic(frame.data),
            noise=None if frame.noise is None else BAYER.spread(frame.noise).contiguous(),
            space=Space.MOSAIC,
            grid=frame.grid.scaled(2),
            aux={k: shrunk(v, 2, how(k)) for k, v in frame.aux.items()},
        )


@register("saturate")
class Saturate(Operator):
    """The full well: ``y = min(x, level)``. Below black nothing is cut.

    >>> from degrade import Frame, Sensor, Space
    >>> bright = Frame(torch.tensor([[[[-0.1, 0.5, 3.0]]]]).expand(1, 3, 1, 3), Space.LINEAR, Sensor.make())
    >>> [round(v, 3) for v in Saturate().apply(bright).data[0, 0, 0].tolist()]
    [-0.1, 0.5, 1.0]
    """

    level: Param[Annotated[float, Field(gt=0)]] = Field(default=1.0, description="saturation [fraction of white]")

    examples = ({"level": {"uniform": [0.4, 0.8]}},)

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(torch.minimum(frame.data, self.column("level", frame)), noise=frame.noise)


@register("quantise")
class Quantise(Operator):
    """The ADC: ``DN = clamp(round(x (white - black) + black), 0, white)``, half to even, with each row's own levels.

    The black level is kept, so noise below black survives. DISPLAY becomes 8 bits. Where a gradient is asked for, the
    rounding passes it straight through.

    >>> from degrade import Frame, Sensor, Space
    >>> signal = torch.tensor([-0.5, 0.0, 0.12, 9.0]).reshape(1, 4, 1, 1)
    >>> raw = Quantise().apply(Frame(signal, Space.MOSAIC, Sensor.make(black=4, white=14)))
    >>> (raw.data * 10 + 4).flatten().tolist()
    [0.0, 4.0, 5.0, 14.0]
    """

    examples = ({},)

    def plan(self, spec: Spec) -> Spec:
        return replace(super().plan(spec), digital=True)

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(sensor.quantised(frame.data, *levels(frame)))


def levels(frame: Frame) -> tuple[Tensor, Tensor]:
    """(b, 1, 1, 1) black level and white minus black [DN]; 0 and 255 for DISPLAY."""
    if frame.space is Space.DISPLAY:
        zero = torch.zeros_like(column(frame.sensor.black, frame.data))
        return zero, zero + 255
    return column(frame.sensor.black, frame.data), column(frame.sensor.range, frame.data)

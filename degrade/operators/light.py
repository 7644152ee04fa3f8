"""Light: how much of it reaches the sensor."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param
from degrade.core.registry import register


@register("exposure")
class Exposure(Operator):
    """More or less light: ``y = x 2^stops``. Nothing is clipped, so highlights above white survive for what follows.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 2, 2), 0.5), Space.LINEAR, Sensor.make())
    >>> Exposure(stops=1.0).apply(grey).data.max()
    tensor(1.)
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR, Space.MOSAIC})

    stops: Param[Annotated[float, Field(ge=-20, le=20)]] = Field(
        description="exposure change; positive is brighter [EV]"
    )

    examples = (
        {"stops": {"uniform": [-1, 1]}},
        {"stops": {"normal": [0.5, 0.2, -1, 1]}, "per": "photo"},
    )

    def apply(self, frame: Frame) -> Frame:
        gain = torch.exp2(self.column("stops", frame))
        noise = frame.noise
        if noise is not None:
            g = gain.reshape(-1, 1)
            noise = noise * torch.stack((g, g * g), dim=1)
        return frame.with_data(frame.data * gain, noise=noise)

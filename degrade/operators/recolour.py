"""Other colours: of an object, of night."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, Share, column
from degrade.core.prior import Uniform
from degrade.core.registry import register
from degrade.maths import regions
from degrade.maths.colour import SRGB_TO_XYZ, srgb_decode, srgb_encode
from degrade.maths.edges import luminance
from degrade.operators.style import Whole, row_values

#: What rods make of a light of luminance 1: the colour of moonlit night, chromaticity (0.25, 0.25), as linear sRGB.
NIGHT = tuple(
    float(v) for v in np.linalg.inv(np.array(SRGB_TO_XYZ)) @ np.array([0.25 / 0.25, 1.0, (1 - 0.25 - 0.25) / 0.25])
)


@register("recolour")
class Recolour(Whole):
    """The brightest, or the most saturated, object in another hue: its colours turned about grey, luma kept.

    The object is the largest connected area of the ``share`` of pixels with the most luma, or with the most chroma
    ``max - min`` of HSV.

    >>> from degrade import Frame, Sensor, Space
    >>> spot = torch.full((1, 3, 4, 4), 0.5); spot[0, 0, 1:3, 1:3] = 0.9
    >>> turned = Recolour(which="saturated", share=0.25, turn=120.0).apply(Frame(spot, Space.DISPLAY, Sensor.make()))
    >>> turned.data[0, :, 1, 1].argmax().item(), turned.data[0, :, 0, 0].tolist()
    (1, [0.5, 0.5, 0.5])
    """

    which: Literal["bright", "saturated"] = Field(default="bright", description="what the object stands out by")
    share: Param[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=0.1, description="share of the pixels among which it is sought"
    )
    turn: Param[Annotated[float, Field(ge=-360, le=360)]] = Field(
        default=Uniform(60.0, 300.0), description="turn of the hue, red to green to blue [degree]"
    )

    examples = ()  # it looks at whole pictures, and the contract tries patches

    def apply(self, frame: Frame) -> Frame:
        x = frame.data
        worth = luminance(x)[:, 0] if self.which == "bright" else x.amax(1) - x.amin(1)
        shares = row_values(self.share, frame).expand(len(x)).tolist()
        masks = [regions.largest(w >= _least(w, share)) for w, share in zip(worth, shares, strict=True)]
        angle = torch.deg2rad(column(self.turn, x))
        side = (x.roll(1, 1) - x.roll(-1, 1)) / 3**0.5
        turned = (x - x.mean(1, keepdim=True)) * torch.cos(angle) + side * torch.sin(angle)
        turned = (turned + luminance(x) - luminance(turned)).clamp(0, 1)
        return frame.with_data(torch.where(torch.stack(masks)[:, None], turned, x))


def _least(worth: Tensor, share: float) -> Tensor:
    """The value that a share of the pixels reach."""
    values = worth.flatten()
    return values.kthvalue(max(1, len(values) - round(share * len(values)) + 1)).values


@register("day_to_night")
class DayToNight(Operator):
    """Night from day: less light, seen partly by rods, which see no colour and give a bluish tone.

    In linear light ``y = 2^stops ((1 - rods) x + rods V n)`` with the scotopic luminance of Larson, Rushmeier and
    Piatko 1997, ``V ~ Y (1.33 (1 + (Y + Z) / X) - 1.68)`` scaled to V = Y at white, and the colour n of night of Jensen
    et al. 2000, chromaticity (0.25, 0.25).

    >>> from degrade import Frame, Sensor, Space
    >>> day = Frame(torch.full((1, 3, 1, 1), 0.8), Space.DISPLAY, Sensor.make())
    >>> r, g, b = DayToNight(stops=-3.0, rods=0.8).apply(day).data.flatten().tolist()
    >>> r < g < b < 0.5
    True
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    stops: Param[Annotated[float, Field(ge=-20, le=0)]] = Field(
        default=Uniform(-5.0, -2.0), description="change of light [EV]"
    )
    rods: Param[Share] = Field(default=Uniform(0.4, 0.9), description="share that is seen by rods")

    examples = ({"rods": {"uniform": [0.2, 1]}},)

    def apply(self, frame: Frame) -> Frame:
        light = srgb_decode(frame.data.clamp(0, 1))
        rows = torch.tensor(SRGB_TO_XYZ, dtype=light.dtype, device=light.device)
        x, y, z = ((row[:, None, None] * light).sum(1, keepdim=True) for row in rows)
        white = [sum(row) for row in SRGB_TO_XYZ]
        even = 1.33 * (1 + (white[1] + white[2]) / white[0]) - 1.68
        seen = y * (1.33 * (1 + (y + z) / x.clamp(min=1e-6)) - 1.68).clamp(0, 4 * even) / even
        rods = column(self.rods, light)
        night = torch.tensor(NIGHT, dtype=light.dtype, device=light.device)[:, None, None]
        dark = torch.exp2(column(self.stops, light)) * ((1 - rods) * light + rods * seen * night)
        return frame.with_data(srgb_encode(dark.clamp(0, 1)))

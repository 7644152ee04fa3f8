"""Embroidery: a picture in few colours of thread, in regions that can be stitched."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from degrade.core.frame import Frame
from degrade.core.param import Param
from degrade.core.prior import Seed
from degrade.core.registry import register
from degrade.maths import palette as few
from degrade.maths import regions
from degrade.maths.edges import luminance
from degrade.operators.style import Colour, Whole, palette_of


@register("threads")
class Threads(Whole):
    """Prepared for embroidery: few thread colours, no region too small to stitch, clear outlines.

    The picture's colours by k-means in CIELAB, each as the nearest of the ``chart`` of threads where one is given;
    regions of fewer than ``least`` pixels go to the nearest larger one; borders between regions are drawn in the
    darkest colour used.

    >>> from degrade import Frame, Key, Sensor, Space
    >>> grey = Frame(torch.tensor([0.1, 0.1, 0.8, 0.8]).expand(1, 3, 4, 4), Space.DISPLAY, Sensor.make())
    >>> sewn = Threads(colours=2, chart=[[0, 0, 0], [1, 0, 0], [1, 1, 1]], least=2, width=0)
    >>> sewn.draw(Key(1).at("sew")).apply(grey).data[0, 1, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    colours: int = Field(default=12, description="thread colours, at most", ge=1, le=256)
    chart: tuple[Colour, ...] = Field(default=(), description="threads there are [sRGB, 0 to 1]; any if empty")
    least: int = Field(default=400, description="pixels of the smallest region", ge=1)
    width: int = Field(default=2, description="thickness of outlines; 0 leaves them out [pixels]", ge=0, le=64)
    seed: Param[int] = Field(default=Seed(), description="seed of k-means' starts")

    examples = ()  # it looks at whole pictures, and the contract tries patches

    def apply(self, frame: Frame) -> Frame:
        seeds = np.broadcast_to(np.asarray(self.seed), len(frame)).tolist()
        return frame.with_data(torch.cat([self._sewn(x[None], s) for x, s in zip(frame.data, seeds, strict=True)]))

    def _sewn(self, x: Tensor, seed: int) -> Tensor:
        palette = palette_of(x[0], self.colours, seed, "lab")
        if self.chart:
            chart = torch.tensor(self.chart)
            palette = torch.unique(
                chart[few.nearest_colours(palette.T[None, :, :, None], chart, "lab")[0, :, 0].long()], dim=0
            )
        palette = palette.to(x)
        labels = regions.without_small(few.nearest_colours(x, palette, "lab")[0], self.least)[None]
        used = palette[labels.unique().long()]
        darkest = used[luminance(used.T[None, :, :, None])[0, 0, :, 0].argmin()]
        return torch.where(regions.outlines(labels, self.width) > 0, darkest[:, None, None], few.paint(labels, palette))

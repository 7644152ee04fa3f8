"""Crops that prefer some places: those rich in edges."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from degrade.core.frame import Frame
from degrade.core.key import Key
from degrade.core.patches import ABSENT, Patches, Pixels
from degrade.core.registry import register
from degrade.operators.crop import TRIES, MarkedShare
from degrade.operators.style import edge_map


@register("edge_crop")
class EdgeCrop(Patches):
    """Patches at random places, those rich in edges more often.

    A rectangle is drawn uniformly and taken if a uniform number exceeds ``rich`` where at least ``share`` of its pixels
    are edges, else ``poor``: by default 7 and 4 of 10 are taken. After 64 rectangles the last is. One with more than
    ``max_clipped`` is never taken; a row that found no other is absent. Reads the map of an `edges` operator before it.

    >>> import torch
    >>> from degrade import Sensor, Space
    >>> photo = Frame(torch.rand(1, 3, 90, 90), Space.DISPLAY, Sensor.make(), aux={"edges": torch.ones(1, 1, 90, 90)})
    >>> crop = EdgeCrop(size=64, margin=8, per_photo=5).draw(Key(1).at(np.arange(5)), photo)
    >>> crop.apply(photo).data.shape
    torch.Size([5, 3, 80, 80])
    """

    share: float = Field(default=0.05, description="share of edge pixels from which a place is rich", ge=0, le=1)
    rich: float = Field(default=0.3, description="share of rich places that are passed over", ge=0, le=1)
    poor: float = Field(default=0.6, description="share of other places that are passed over", ge=0, le=1)
    aux: str = Field(default="edges", description="name of the map", min_length=1)

    examples = (
        {"size": 16, "margin": 4, "per_photo": 7, "aux": "clipped", "share": 0.1},
        {"size": 8, "margin": 2, "per_photo": 7, "oversample": 2, "aux": "clipped"},
    )

    def places(self, key: Key, tops: Pixels, lefts: Pixels, frame: Frame) -> tuple[Pixels, Pixels]:
        edge_map(frame, self.aux, self.op)
        edges, clipped = (MarkedShare(frame, name, self.side) for name in (self.aux, "clipped"))
        top, left = np.full(len(key), ABSENT), np.full(len(key), ABSENT)
        waiting = np.arange(len(key))
        for attempt in range(TRIES):
            here = key[waiting]
            y, x = (
                inside[np.floor(here.at(name, attempt).unit() * len(inside)).astype(np.int64)]
                for name, inside in (("top", tops), ("left", lefts))
            )
            sound = clipped(y, x) <= self.max_clipped
            top[waiting[sound]], left[waiting[sound]] = y[sound], x[sound]
            bar = np.where(edges(y, x) >= self.share, self.rich, self.poor)
            waiting = waiting[~(sound & (here.at("taken", attempt).unit() > bar))]
            if not len(waiting):
                break
        return top, left

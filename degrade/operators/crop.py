"""Crops: uniform places, a grid, or those rich in edges."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from degrade.core.frame import Frame
from degrade.core.key import Key
from degrade.core.patches import ABSENT, Patches, Pixels
from degrade.core.registry import register
from degrade.operators.style import edge_map

TRIES = 64  #: rectangles tried for a row before it is given up


@register("crop")
class Crop(Patches):
    """Patches at uniformly drawn places.

    A place where more than ``max_clipped`` of the photo is saturated is drawn again, up to 64 times; after that the
    row is left absent.

    >>> from degrade import Frame, Key, Sensor, Space
    >>> photo = Frame(torch.rand(1, 3, 200, 300), Space.LINEAR, Sensor.make())
    >>> crop = Crop(size=64, margin=8, per_photo=5).draw(Key(1).at(np.arange(5)), photo)
    >>> crop.apply(photo).data.shape
    torch.Size([5, 3, 80, 80])
    """

    examples = (
        {"size": 16, "margin": 4, "per_photo": 7},
        {"size": 8, "margin": 2, "per_photo": 7, "oversample": 2},
    )

    def places(self, key: Key, tops: Pixels, lefts: Pixels, frame: Frame) -> tuple[Pixels, Pixels]:
        clipped = MarkedShare(frame, "clipped", self.side)
        top, left = np.full(len(key), ABSENT), np.full(len(key), ABSENT)
        waiting = np.arange(len(key))
        for attempt in range(TRIES):
            y, x = (
                inside[np.floor(key[waiting].at(name, attempt).unit() * len(inside)).astype(np.int64)]
                for name, inside in (("top", tops), ("left", lefts))
            )
            good = clipped(y, x) <= self.max_clipped
            top[waiting[good]], left[waiting[good]] = y[good], x[good]
            waiting = waiting[~good]
            if not len(waiting):
                break
        return top, left


@register("grid_crop")
class GridCrop(Patches):
    """Patches side by side, spread evenly over the photo.

    ``per_photo`` is the maximum: where the grid has more places, that many are taken at even steps through it; where
    it has fewer, the remaining rows are absent.
    """

    stride: int | None = Field(
        default=None, description="from one patch to the next [pixels]; the patch size by default", ge=1
    )

    examples = ({"size": 16, "margin": 4, "per_photo": 7, "stride": 10},)

    def places(self, key: Key, tops: Pixels, lefts: Pixels, frame: Frame) -> tuple[Pixels, Pixels]:
        stride = (self.stride or self.size) * self.oversample
        # the first admissible place at or after each multiple of the stride
        lines = (inside[np.unique((inside - inside[0]) // stride, return_index=True)[1]] for inside in (tops, lefts))
        ys, xs = (axis.ravel() for axis in np.meshgrid(*lines, indexing="ij"))
        good = MarkedShare(frame, "clipped", self.side)(ys, xs) <= self.max_clipped
        ys, xs = ys[good], xs[good]
        count = min(len(key), len(ys))
        chosen = np.arange(count) * len(ys) // max(count, 1)
        top, left = np.full(len(key), ABSENT), np.full(len(key), ABSENT)
        top[:count], left[:count] = ys[chosen], xs[chosen]
        return top, left


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


class MarkedShare:
    """Share of any rectangle that a map marks, from one summed-area table; 0 where the photo has no such map."""

    def __init__(self, frame: Frame, name: str, size: int) -> None:
        self.size = size
        mask = frame.aux.get(name)
        self.table: NDArray[np.int32] | None = None
        if mask is not None and bool(torch.any(mask > 0)):
            marked = (mask[0, 0] > 0).cpu().numpy()
            self.table = np.zeros((marked.shape[0] + 1, marked.shape[1] + 1), np.int32)
            np.cumsum(marked, axis=0, out=self.table[1:, 1:])
            np.cumsum(self.table[1:, 1:], axis=1, out=self.table[1:, 1:])

    def __call__(self, top: Pixels, left: Pixels) -> NDArray[np.float64]:
        if self.table is None:
            return np.zeros(len(top))
        t, s = self.table, self.size
        count = t[top + s, left + s] - t[top, left + s] - t[top + s, left] + t[top, left]
        return count / s**2

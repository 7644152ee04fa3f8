"""Patches: the one operator of a path that turns a photo into rows.

What stands before it runs once a photo, what stands behind it on blocks of rows. A subclass says in ``places`` where
the rectangles lie; they become the fields ``top`` and ``left`` of the drawn operator, so that a replay never looks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame, Grid, Space
from degrade.core.key import Key, Keys
from degrade.core.operator import Drawn, Operator
from degrade.core.spec import Spec

Pixels = NDArray[np.int64]  #: places on the photo [photo pixels]
ABSENT = -1  #: ``top`` and ``left`` of a row that could not be placed


class Patches(Operator):
    """Base of crops: ``per_photo`` rectangles of one size, each with a margin for the operators behind it."""

    accepts: ClassVar[frozenset[Space]] = frozenset(Space)

    size: int = Field(description="side of a patch [pixels of the simulated sensor]", ge=1)
    margin: int = Field(
        default=32, description="what is cut around it for operators that look beyond a pixel [pixels], even", ge=0
    )
    oversample: int = Field(
        default=1,
        description="pixels of the photo, each way, that make one of the simulated sensor's: what is brighter than "
        "white is then blurred on a finer grid, and `downsample` brings it back",
        ge=1,
        le=8,
    )
    per_photo: int = Field(default=256, description="rows of each photo, at most", ge=1)
    max_clipped: float = Field(
        default=0.02, description="largest share of a patch that may be clipped in the photo", ge=0, le=1
    )
    border: int = Field(
        default=0, description="pixels at the photo's edge that no patch may touch; set by the recipe", ge=0
    )
    on: str | None = Field(
        default=None, description="plane whose picture it looks at; the first that has this crop by default"
    )
    top: Any = Field(default=None, description="first row of each rectangle, found when drawn [photo pixels]")
    left: Any = Field(default=None, description="first column of each rectangle, found when drawn [photo pixels]")

    @field_validator("margin")
    @classmethod
    def _even(cls, margin: int) -> int:
        if margin % 2:
            raise RecipeError(f"margin must be even, got {margin}")
        return margin

    def plan(self, spec: Spec) -> Spec:
        self.check_space(spec)
        if spec.size is not None:
            raise RecipeError(f"{self.op}: the path has already been cropped; a path has exactly one crop")
        if self.oversample > 1 and spec.space is Space.MOSAIC:
            raise RecipeError(f"{self.op}: a mosaic cannot be finer than its own sensor; oversample reads LINEAR")
        return replace(
            spec, size=(self.side, self.side), grid=Grid().scaled(1 / self.oversample), oversample=self.oversample
        )

    @property
    def side(self) -> int:
        """Side of a patch in pixels of the photo."""
        return self.size * self.oversample

    def places(self, key: Key, tops: Pixels, lefts: Pixels, frame: Frame) -> tuple[Pixels, Pixels]:
        """First row and column of n rectangles, from those that lie inside; ABSENT where there is none."""
        raise NotImplementedError

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        if self.top is not None:
            return self
        if frame is None:
            raise RecipeError(f"{self.op} looks at the photo: give draw(key, frame)")
        # in LINEAR, rectangles start on whole 2 x 2 squares of the colour filters
        step = (2 if frame.space is Space.LINEAR else 1) * self.oversample
        edge = -(-(self.margin * self.oversample + self.border) // step) * step
        tops, lefts = (np.arange(edge, n - self.side - edge + 1, step) for n in frame.size)
        if not (len(tops) and len(lefts)):
            need = self.side + 2 * edge
            raise PhotoError(
                f"the photo has {frame.size[0]} x {frame.size[1]} pixels here; patches of {self.side} with a margin of "
                f"{edge} need {need} x {need}: use a smaller size, margin or shrink"
            )
        own = key.own
        top, left = self.places(own if own.many else Key(own.word[None]), tops, lefts, frame)
        return self.model_copy(
            update={"top": top, "left": left} if key.many else {"top": int(top[0]), "left": int(left[0])}
        )

    def apply(self, frame: Frame) -> Frame:
        """The rectangles with their whole margin."""
        return self.cut(frame, self.margin * self.oversample)

    def cut(self, photo: Frame, margin: int) -> Frame:
        """The drawn rectangles of a photo (b = 1) with ``margin`` of its pixels around each: (n, c, h, w)."""
        top, left = np.atleast_1d(self.top), np.atleast_1d(self.left)
        n, side = len(top), self.side + 2 * margin

        def patches(t: Tensor) -> Tensor:
            starts = zip((top - margin).tolist(), (left - margin).tolist(), strict=True)
            return torch.stack([t[0, :, y : y + side, x : x + side] for y, x in starts])

        def rows(t: Tensor) -> Tensor:
            return t.expand(n, *t.shape[1:]).contiguous()

        sites = 2 if photo.space is Space.MOSAIC else 1
        return Frame(
            data=patches(photo.data),
            space=photo.space,
            sensor=photo.sensor.map(rows),
            grid=Grid().scaled(1 / self.oversample).moved(-margin, -margin),
            origin=self._corner().to(photo.data.device) // self.oversample * sites,
            oversample=self.oversample,
            field=self.field(photo),
            noise=None if photo.noise is None else rows(photo.noise),
            correlated=photo.correlated,
            aux={k: patches(v) for k, v in photo.aux.items()},
        )

    def _corner(self) -> Tensor:
        return torch.from_numpy(np.stack((np.atleast_1d(self.top), np.atleast_1d(self.left)), axis=1).astype(np.int64))

    def field(self, photo: Frame) -> Tensor:
        """(n, 2) patch centres (y, x) relative to the optical centre [half diagonals]."""
        middle = self._corner().to(photo.data.device) + self.side / 2
        scale, offset = (
            torch.tensor(v, dtype=torch.float32, device=middle.device) for v in (photo.grid.scale, photo.grid.offset)
        )
        place = scale * middle - 0.5 + offset
        return (place - photo.sensor.centre) / photo.sensor.half_diagonal[:, None]

"""Sampling: from one pixel grid to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame, Grid, Space
from degrade.core.group import Group, Slots, agreeing, merge
from degrade.core.maps import how
from degrade.core.operator import Operator
from degrade.core.param import Param
from degrade.core.prior import Choice, Prior, bounds
from degrade.core.registry import register
from degrade.core.spec import Spec, tidy
from degrade.maths import resize
from degrade.maths.maps import laid, shrunk
from degrade.maths.resample import area

FilterShape = Literal["nearest", "area", "box", "bilinear", "hamming", "bicubic", "mitchell", "spline", "lanczos"]


@register("downsample")
class Downsample(Operator):
    """Area downsampling: each output pixel is the mean of ``factor`` x ``factor`` input pixels.

    The grid follows, so that pixel ``p`` lies at ``factor (p + 1/2) - 1/2``; source noise falls with ``1 / factor^2``.
    Behind a crop that oversamples it leads back to the sensor's own pixels.

    >>> from degrade import Frame, Sensor, Space
    >>> ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    >>> half = Downsample(factor=2).apply(Frame(ramp, Space.LINEAR, Sensor.make()))
    >>> half.data[0, 0, 0].tolist(), half.grid.at(0)
    ([0.5, 2.5], (0.5, 0.5))
    """

    factor: int = Field(description="input pixels an output pixel, each way", ge=2)

    examples = (
        {"factor": 2},
        {"factor": 3},
    )

    def plan(self, spec: Spec) -> Spec:
        spec = super().plan(spec)
        size = spec.size
        if size is not None:
            if size[0] % self.factor or size[1] % self.factor:
                raise RecipeError(f"downsample: {size[0]} x {size[1]} pixels do not divide by {self.factor}")
            size = size[0] // self.factor, size[1] // self.factor
        if max(spec.oversample, self.factor) % min(spec.oversample, self.factor):
            raise RecipeError(
                f"downsample: the crop made pixels {spec.oversample} times finer; a factor of {self.factor} does not "
                f"lead back to them, {spec.oversample} does"
            )
        return replace(
            spec,
            size=size,
            grid=spec.grid.scaled(self.factor),
            oversample=max(1, spec.oversample // self.factor),
            digital=False,
        )

    def apply(self, frame: Frame) -> Frame:
        f = self.factor
        h, w = (n - n % f for n in frame.size)
        if not min(h, w):
            raise PhotoError(f"downsample: {frame.size[0]} x {frame.size[1]} pixels are too few for a factor of {f}")
        return frame.with_data(
            area(frame.data[..., :h, :w], f),
            grid=frame.grid.scaled(f),
            # the origin counts the sensor's own pixels already
            origin=torch.div(frame.origin, max(1, f // frame.oversample), rounding_mode="floor"),
            oversample=max(1, frame.oversample // f),
            noise=None if frame.noise is None or frame.correlated else frame.noise / f**2,
            aux={k: shrunk(v[..., :h, :w], f, how(k)) for k, v in frame.aux.items()},
        )


@register("resize")
class Resize(Operator):
    """Resampling to other pixels that cover the same ground: by a ``scale``, by ``factor`` = 1 / scale, or to a size.

    A scale is kept to the next whole number of pixels below, and the grid says what came of it: the picture's outer
    edges stay where they are, so that LR and HR never slip. A patch that lies in its surroundings is resampled with
    them, and its size must come out whole. A drawn scale or factor, or any behind an operator with ``border: reflect``,
    takes the patch as a picture of its own, as the classical chains do: no margin, border treated as in `maths.resize`,
    and rows of different sizes, which a `resize` with ``size`` brings together at the end.

    ``antialias: true`` is Pillow's `resize`, ``false`` is torch's ``interpolate``, ``prefilter: gaussian``
    scikit-image's. A `nearest` or `box` at an even factor has no middle sample and takes the later one.

    >>> from degrade import Frame, Sensor, Space
    >>> ramp = Frame(torch.arange(6.0).expand(1, 3, 6, 6).contiguous(), Space.DISPLAY, Sensor.make())
    >>> small = Resize(size=4, filter="area").apply(ramp)
    >>> [round(v, 3) for v in small.data[0, 0, 0].tolist()], small.grid.scale
    ([0.333, 1.667, 3.333, 4.667], (1.5, 1.5))
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR, Space.DISPLAY})

    scale: Param[Annotated[float, Field(gt=0, le=64)]] | None = Field(
        default=None, description="output pixels an input pixel, each way"
    )
    of: Literal["picture", "patch"] = Field(
        default="picture", description="what a scale counts from: what comes in, or the patch as it was cut"
    )
    factor: Param[Annotated[float, Field(ge=1 / 64, le=1024)]] | None = Field(
        default=None, description="input pixels an output pixel, each way"
    )
    size: int | None = Field(
        default=None, description="height of the patch afterwards, without its margin [pixels]; width follows", ge=1
    )
    filter: Param[FilterShape] = Field(
        default="bicubic", description="the kernel; area is the mean over each output pixel"
    )
    antialias: bool = Field(default=True, description="as wide as the coarser of both grids, not as the input's")
    prefilter: Literal["gaussian"] | None = Field(
        default=None, description="a Gaussian of (n / m - 1) / 2 pixels before a kernel of the input's width"
    )

    examples = (
        {"scale": {"uniform": [0.3, 1.5]}, "filter": {"choice": ["bilinear", "area"]}, "antialias": False},
        {"size": 8},
        {"factor": 3, "filter": "mitchell", "prefilter": "gaussian"},
        {"scale": 1.5, "filter": {"choice": ["lanczos", "hamming", "nearest"]}},
        {"scale": 0.5, "filter": "area"},
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(v is not None for v in (self.scale, self.factor, self.size)) != 1:
            raise RecipeError("resize takes one of scale, factor and size")
        if self.prefilter and any(k in ("nearest", "area") for k in self.filters):
            raise RecipeError("a nearest or area kernel takes no prefilter; bilinear and spline are scikit-image's")
        return self

    @property
    def filters(self) -> tuple[str, ...]:
        """All filters that may be drawn."""
        return self.filter.values if isinstance(self.filter, Choice) else (str(self.filter),)

    def plan(self, spec: Spec) -> Spec:
        spec = replace(super().plan(spec), digital=False)
        if spec.oversample > 1:
            raise RecipeError(
                f"resize works on the sensor's own pixels, which the crop made {spec.oversample} times finer: "
                f"put a downsample with factor: {spec.oversample} before it"
            )
        ground, drawn = spec.ground, isinstance(self.scale, Prior) or isinstance(self.factor, Prior)
        if ground is None:
            if drawn or self.size is not None:
                raise RecipeError(
                    "resize: a drawn scale or factor and a size need a patch: before the crop give one scale"
                )
            return replace(spec, grid=spec.grid.scaled(1 / self._fixed()))
        if self.size is not None:
            size = self.size, self.size * ground[1] / ground[0]
        elif drawn or spec.size is None:
            return replace(spec.alone(), size=None, grid=Grid())
        else:
            side = spec.size if self.of == "picture" else ground
            size = side[0] * self._fixed(), side[1] * self._fixed()
        whole = tidy(size[0]), tidy(size[1])
        if any(v % 1 for v in whole):
            if spec.whole and self.size is None:
                return replace(spec, size=None, grid=Grid())
            raise RecipeError(
                f"resize: the patch would have {size[0]:g} x {size[1]:g} pixels, which must be whole: "
                "choose another scale, or another size of the crop"
            )
        h, w = int(whole[0]), int(whole[1])
        return replace(spec, size=(h, w), grid=Grid((ground[0] / h, ground[1] / w), spec.grid.offset))

    def needs(self, spec: Spec, after: int) -> int:
        if self.plan(spec).whole:
            if after:
                raise RecipeError(
                    f"resize: what follows looks {after} pixels beyond the patch, set border: reflect there"
                )
            return 0
        ratio, soft = self.ratio(spec), self.prefilter is not None
        return self.margin_of(spec, after, max(resize.support(k, ratio, self.antialias, soft) for k in self.filters))

    def _fixed(self) -> float:
        return 1 / bounds(self.factor)[0] if self.factor is not None else bounds(self.scale)[1]

    def target(self, frame: Frame, slots: Any = slice(None)) -> Any:
        """Height and width after it, with the margin, of a frame's rows in some slots: (2,), or (2, rows)."""
        if self.size is not None:
            (h, w), (sy, sx) = frame.size, frame.grid.scale
            edge = max(0, round(-frame.grid.offset[0] / sy))
            height, width = (h - 2 * edge) * sy, (w - 2 * edge) * sx
            margin = 2 * round(edge * self.size * sy / height)
            return np.array([self.size + margin, round(self.size * width / height) + margin])
        factor: Any = self.factor
        scale: Any = self.scale if factor is None else 1 / factor
        scale = scale[slots] if isinstance(scale, np.ndarray) else scale
        side = np.array(frame.size, np.float64)
        if self.of == "patch":
            side *= frame.grid.scale
        side = side if np.ndim(scale) == 0 else side[:, None]
        return np.maximum(np.floor(side * scale + 1e-6), 1).astype(np.int64)

    def over(self, groups: Sequence[Group], slots: Slots) -> list[Group]:
        parts, goals = list[Group](), list[tuple[int, int]]()
        for group in groups:
            goal = self.target(group.frame, slots[group.slots])
            for part, at in agreeing(group, np.arange(len(group.slots)), list(goal)):  # rows of one size go together
                m, n = (goal if goal.ndim == 1 else goal[:, at[0]]).tolist()
                parts.append(part)
                goals.append((m, n))
        done = self._to([g.frame for g in parts], goals)
        return merge([Group(g.slots, frame) for g, frame in zip(parts, done, strict=True)])

    def apply(self, frame: Frame) -> Frame:
        goal = self.target(frame).reshape(2, -1)
        if (goal != goal[:, :1]).any():
            raise ValueError("rows that end in different sizes are resized by `over`")
        m, n = goal[:, 0].tolist()
        return self._to([frame], [(m, n)])[0]

    def _to(self, frames: Sequence[Frame], goals: Sequence[tuple[int, int]]) -> list[Frame]:
        """Frames at these heights and widths."""
        sizes, done = [len(f) for f in frames], list[Frame]()
        steps = [(f.size[0] / m, f.size[1] / n) for f, (m, n) in zip(frames, goals, strict=True)]
        each = np.repeat(np.array(steps).reshape(-1, 2), sizes, axis=0)
        origins = torch.cat([f.origin for f in frames])
        origins = torch.floor(origins / torch.from_numpy(each).to(origins.device)).long().split(sizes)
        for frame, (m, n), step, origin in zip(frames, goals, steps, origins, strict=True):
            (h, w), (sy, sx) = frame.size, frame.grid.scale
            rows, columns = (
                resize.taps(*sides, str(self.filter), self.antialias, self.prefilter is not None)
                for sides in ((h, m), (w, n))
            )
            after = frame.with_data(
                resize.resample(frame.data, rows, columns),
                grid=Grid((tidy(sy * h) / m, tidy(sx * w) / n), frame.grid.offset),
                origin=origin,
                noise=None if frame.noise is None else frame.filtered(resize.squares(rows, columns)),
                correlated=True,
                aux={k: laid(v, (m, n), step, (0.0, 0.0), how(k)) for k, v in frame.aux.items()},
            )
            done.append(after)
        return done

"""Style: smooth areas, few colours, darkened edges; what makes a photograph look painted.

The published order is `smooth`, `reduce_colours`, `darken_edges`, on whole developed pictures, with `edges` of the
original before them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Space
from degrade.core.key import Key, Keys
from degrade.core.operator import Drawn, Operator
from degrade.core.param import Param, Share, column
from degrade.core.prior import Seed, bounds
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import edges as edge
from degrade.maths import palette as few
from degrade.maths import smooth as windows

Colour = tuple[Share, Share, Share]


def row_values(value: Any, frame: Frame) -> Tensor:
    """A field as one number a row of the frame, or one for all: (b,) or (1,)."""
    return column(value, frame.data).reshape(-1)


def edge_map(frame: Frame, name: str, op: str) -> Tensor:
    """The map ``aux[name]``, (b, 1, h, w).

    Raises:
        RecipeError: if no operator before it wrote one.
    """
    if name not in frame.aux:
        there = ", ".join(sorted(frame.aux)) or "none"
        raise RecipeError(f"{op} reads the map {name!r}: put an `edges` operator before it (maps there: {there})")
    return frame.aux[name]


def palette_of(x: Tensor, colours: int, seed: int, metric: few.Metric) -> Tensor:
    """(k, 3) the palette of a picture (3, h, w), by k-means whose choices follow from ``seed``; on the CPU."""
    return few.k_means(x, colours, Key(seed).at(np.arange(few.draws(colours))).unit(), metric).clamp(0, 1)


class Whole(Operator):
    """Base of operators that need the whole picture, and so stand before the crop."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    def plan(self, spec: Spec) -> Spec:
        spec = super().plan(spec)
        if spec.size is not None:
            raise RecipeError(f"{self.op} looks at the whole picture: put it before the crop")
        return spec


class Windowed(Operator):
    """Base of operators that look at a window. A whole picture's border is no edge of a patch: the nearest pixel is
    repeated beyond it, and what comes out is valid up to the border."""

    def margin_of(self, spec: Spec, after: int, pixels: float = 0) -> int:
        return after if spec.size is None else super().margin_of(spec, after, pixels)


@register("smooth")
class Smooth(Windowed):
    """Smoothing that blurs (`gaussian`), or that keeps edges (`bilateral`, `guided`); see `degrade.maths.smooth`.

    Only the Gaussian is linear: behind the others nothing is known of the noise.

    >>> from degrade import Frame, Sensor, Space
    >>> step = Frame(torch.tensor([0.2, 0.2, 0.8, 0.8]).expand(1, 3, 4, 4), Space.DISPLAY, Sensor.make())
    >>> kept = Smooth(method="bilateral", sigma=1.0, contrast=0.05, radius=2).apply(step)
    >>> kept.data[0, 0, 0].tolist() == step.data[0, 0, 0].tolist()
    True
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY, Space.LINEAR})

    method: Literal["gaussian", "bilateral", "guided"] = Field(default="gaussian", description="how it smooths")
    sigma: Param[Annotated[float, Field(gt=0, le=64)]] = Field(
        default=2.0, description="width of the Gaussian [pixels]; guided has boxes of `radius` / 2 instead"
    )
    contrast: Param[Annotated[float, Field(gt=0, le=10)]] = Field(
        default=0.1, description="spread of values that edges stand out from [fraction of white]; not of gaussian"
    )
    radius: int = Field(default=6, description="how far it looks [pixels]", ge=1, le=192)

    examples = (
        {"sigma": {"uniform": [0.5, 2]}, "radius": 6},
        {"method": "bilateral", "sigma": {"uniform": [0.5, 2]}, "contrast": 0.3, "radius": 2},
        {"method": "guided", "contrast": {"uniform": [0.05, 0.4]}, "radius": 6, "per": "photo"},
    )

    @model_validator(mode="after")
    def _holds_it(self) -> Self:
        widest = bounds(self.sigma)[1]
        if self.method == "gaussian" and windows.window(widest) > self.radius:
            raise RecipeError(
                f"smooth: a Gaussian of sigma {widest:g} reaches {windows.window(widest)} pixels, radius is "
                f"{self.radius}: set radius: {windows.window(widest)}"
            )
        return self

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, self.radius)

    def apply(self, frame: Frame) -> Frame:
        fine = frame.oversample
        x, radius = frame.data, self.radius * fine
        sigma, contrast = row_values(self.sigma, frame) * fine, row_values(self.contrast, frame)
        if self.method == "bilateral":
            return frame.with_data(windows.bilateral(x, sigma, contrast, radius))
        if self.method == "guided":
            return frame.with_data(windows.guided(x, contrast, radius // 2))
        squares = windows.gaussian_line(sigma, radius).square().sum(-1).square()
        noise = frame.filtered(squares.to(x)[:, None, None])
        return frame.with_data(windows.gaussian_smoothed(x, sigma, radius), noise=noise, correlated=True)


@register("reduce_colours")
class ReduceColours(Operator):
    """Each pixel in the nearest of a few colours: those of k-means, or a given palette.

    k-means looks at the whole picture and stands before the crop; what it finds is the field ``palette`` of the drawn
    operator, and then every pixel stands alone. A palette that is given may also stand behind the crop.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.tensor([0.1, 0.2, 0.8, 0.9]).expand(1, 3, 2, 4), Space.DISPLAY, Sensor.make())
    >>> drawn = ReduceColours(colours=2).draw(Key(1).at("few"), grey)
    >>> drawn.apply(grey).data[0, 0, 0].round(decimals=3)
    tensor([0.1500, 0.1500, 0.8500, 0.8500])
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    colours: Param[Annotated[int, Field(ge=1, le=1024)]] = Field(default=64, description="colours, at most")
    metric: Literal["srgb", "linear", "lab"] = Field(default="srgb", description="where distance is counted")
    palette: tuple[Colour, ...] | None = Field(
        default=None, description="the colours [sRGB, 0 to 1]; found in the picture if not given", min_length=1
    )
    seed: Param[int] = Field(default=Seed(), description="seed of k-means' starts")

    examples = (
        {"palette": [[0, 0, 0], [1, 0.2, 0.1], [0.3, 0.5, 1], [1, 1, 1]], "metric": "srgb"},
        {"palette": [[0, 0, 0], [1, 0.2, 0.1], [0.3, 0.5, 1], [1, 1, 1]], "metric": "linear"},
        {"palette": [[0, 0, 0], [1, 0.2, 0.1], [0.3, 0.5, 1], [1, 1, 1]], "metric": "lab"},
    )

    def plan(self, spec: Spec) -> Spec:
        spec = super().plan(spec)
        if spec.size is not None and self.palette is None:
            raise RecipeError(
                f"{self.op} looks at the whole picture: put it before the crop, or give it a palette: of colours"
            )
        return spec

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        drawn = super().draw(key, frame)
        return drawn if frame is None or key.many or not isinstance(drawn, ReduceColours) else drawn.looking(frame)

    def looking(self, frame: Frame) -> Self:
        """The same with the palette of a picture (b = 1), unless it has one, or is not drawn yet."""
        if self.palette is not None or not (isinstance(self.seed, int) and isinstance(self.colours, int)):
            return self
        if len(frame) != 1:
            raise RecipeError(f"{self.op}: a palette is of one picture, got {len(frame)}")
        found = palette_of(frame.data[0], self.colours, self.seed, self.metric)
        return self.model_copy(update={"palette": tuple(map(tuple, found.tolist()))})

    def apply(self, frame: Frame) -> Frame:
        palette = self.looking(frame).palette
        if palette is None:
            raise RecipeError(f"{self.op} is not drawn yet: op.draw(key, frame) comes before apply")
        colours = torch.tensor(palette, dtype=frame.data.dtype, device=frame.data.device)
        return frame.with_data(few.paint(few.nearest_colours(frame.data, colours, self.metric), colours))


@register("edges")
class Edges(Windowed):
    """Writes where the luminance of the picture, as it is here, changes at least as strongly as a threshold.

    The picture stays what it is; `darken_edges` and `edge_crop` read the map. A step from black to white along a row or
    column has the strength 1 (see `degrade.maths.edges` for thresholds on 8-bit sums).

    >>> from degrade import Frame, Sensor, Space
    >>> step = Frame(torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4), Space.DISPLAY, Sensor.make())
    >>> Edges(threshold=0.5).apply(step).aux["edges"][0, 0, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    threshold: Param[Annotated[float, Field(ge=0, le=2)]] = Field(
        default=0.1, description="least strength of an edge [luma a step]"
    )
    gradient: Literal["sobel", "prewitt"] = Field(default="sobel", description="operator")
    aux: str = Field(default="edges", description="name of the map", min_length=1)

    examples = (
        {"threshold": {"uniform": [0.1, 0.9]}},
        {"gradient": "prewitt", "aux": "lines", "per": "photo"},
    )

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, pixels=1)

    def apply(self, frame: Frame) -> Frame:
        found = edge.edges(frame.data, self.column("threshold", frame), self.gradient)
        return frame.with_data(frame.data, noise=frame.noise, aux={**frame.aux, self.aux: found})


@register("darken_edges")
class DarkenEdges(Operator):
    """Multiplies R, G and B at edges by a factor: ``y = x (1 - m (1 - factor))`` with the map m of an `edges` operator.

    >>> from degrade import Frame, Sensor, Space
    >>> white = Frame(torch.ones(1, 3, 1, 2), Space.DISPLAY, Sensor.make(), aux={"edges": torch.eye(2)[None, None, :1]})
    >>> DarkenEdges(factor=0.25).apply(white).data[0, 0].tolist()
    [[0.25, 1.0]]
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    factor: Param[Share] = Field(default=0.5, description="what is left of the light at an edge")
    aux: str = Field(default="edges", description="name of the map", min_length=1)

    examples = ({"factor": {"uniform": [0, 0.8]}, "aux": "clipped"},)

    def apply(self, frame: Frame) -> Frame:
        kept = 1 - edge_map(frame, self.aux, self.op) * (1 - self.column("factor", frame))
        return frame.with_data(frame.data * kept)

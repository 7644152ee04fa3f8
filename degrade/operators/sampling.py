"""Sampling: from one pixel grid to another."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field

from degrade.maths.resample import area
from degrade.recipe.errors import RecipeError
from degrade.recipe.frame import Frame
from degrade.recipe.operator import Operator, Spec, register


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

    @property
    def reach(self) -> tuple[int, int]:
        return 0, self.factor

    def apply(self, frame: Frame) -> Frame:
        f = self.factor
        h, w = (n - n % f for n in frame.size)
        return frame.with_data(
            area(frame.data[..., :h, :w], f),
            grid=frame.grid.scaled(f),
            # the origin counts the sensor's own pixels already
            origin=torch.div(frame.origin, max(1, f // frame.oversample), rounding_mode="floor"),
            oversample=max(1, frame.oversample // f),
            noise=None if frame.noise is None else frame.noise / f**2,
            aux={k: area(v[..., :h, :w], f) for k, v in frame.aux.items()},
        )

"""Optics, before the colour filters: blur by one product of transfer functions, lateral colour, fall-off of light.

What follows the field is taken at the centre of a patch. Distortion is left out: it would move the subject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Sensor, Space
from degrade.core.operator import Operator
from degrade.core.param import Param
from degrade.core.prior import Choice, bounds
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import filter, fourier
from degrade.maths import psf as spread
from degrade.operators.family import GAUSSIAN, PRODUCTS, AnyKernel
from degrade.operators.kernels import OUTSIDE, Kernel, Zernike, by_channel, placed
from degrade.operators.lens import check_lenses

__all__ = ["AnyKernel", "Illumination", "LateralChromatic", "PsfBlur", "Zernike"]

Shift = Annotated[float, Field(ge=-32, le=32)]


@register("psf_blur")
class PsfBlur(Operator):
    """Blur by a point spread function: the product of its kernels' transfer functions, cut at Nyquist once.

    The result is windowed to ``radius`` and normalised, and then it *is* the operator; the energy that the window cut
    off is recorded as ``lost`` (the largest of the channels). Distortion is left out: it would move the subject.
    The outer ``radius`` pixels of the result are not valid; a recipe gives them as margin. Lengths count pixels of the
    simulated sensor, also where the crop oversamples; no photosite then gets less light from a pupil than none.

    >>> from degrade import Frame, Sensor, Space
    >>> dot = torch.zeros(1, 3, 64, 64); dot[..., 32, 32] = 1
    >>> photo = Frame(dot, Space.LINEAR, Sensor.make(pitch=4.0))
    >>> blurred = PsfBlur(kernels=[{"psf": "airy", "f_number": 8.0}]).apply(photo)
    >>> red, green, blue = blurred.data[0, :, 32, 32].tolist()
    >>> red < green < blue                       # diffraction grows with the wavelength
    True
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR, Space.DISPLAY})
    notes: ClassVar[tuple[str, ...]] = ("lost",)

    kernels: tuple[Param[AnyKernel], ...] = Field(description="the factors", min_length=1)
    radius: int = Field(default=15, description="kernel radius [pixels]", ge=1, le=255)
    window: Param[Annotated[int, Field(ge=0, le=255)]] | None = Field(
        default=None, description="radius within which a kernel is kept, at most `radius`; that by default [pixels]"
    )
    border: Literal["margin", "reflect"] = Field(
        default="margin", description="what lies beyond a patch: its margin, or as a picture of its own its reflection"
    )

    examples = (
        {"radius": 4, "kernels": [GAUSSIAN]},
        {
            "radius": 4,
            "border": "reflect",
            "window": {"integer": [1, 4]},
            "kernels": [{"psf": "anisotropic_gaussian", "sigma_x": 1.5, "sigma_y": 0.7, "point": True}],
        },
        *({"radius": 4, "kernels": kernels} for kernels in PRODUCTS),
    )

    @model_validator(mode="after")
    def _hold_lenses(self) -> Self:
        check_lenses(self.kernels, self.radius)
        if self.window is not None and bounds(self.window)[1] > self.radius:
            raise RecipeError(f"a window of {bounds(self.window)[1]} pixels is wider than the radius of {self.radius}")
        return self

    def plan(self, spec: Spec) -> Spec:
        spec = replace(super().plan(spec), digital=False)
        if spec.whole and self.border == "margin":
            raise RecipeError("psf_blur: a patch is a picture of its own here and has no margin: set border: reflect")
        return spec.alone() if self.border == "reflect" else spec

    def needs(self, spec: Spec, after: int) -> int:
        if self.border == "margin":
            return self.margin_of(spec, after, self.radius)
        if after:
            raise RecipeError(
                f"psf_blur: what follows looks {after} pixels beyond the patch, set border: reflect there"
            )
        return 0

    def suits(self, sensor: Sensor) -> None:
        for drawn in self.kernels:
            for kernel in drawn.values if isinstance(drawn, Choice) else (drawn,):
                cast(Kernel, kernel).suits(sensor)
        check_lenses(self.kernels, self.radius, sensor)

    def psf(self, sensor: Sensor, field: Tensor | None = None, oversample: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """The kernels of these rows, each computed once.

        Args:
            sensor: the camera of each of b rows.
            field: (b, 2) their places (y, x) [half diagonals]; unknown by default.
            oversample: pixels of the plane, each way, that make one of the simulated sensor's.

        Returns:
            (u, k, k) float32 kernels, (b or 1, 3) index of each row's and channel's kernel, (u,) lost energy.

        Raises:
            RecipeError: if a kernel cannot be: no pitch, no light, nothing within the radius.
            PhotoError: if a kernel needs a place in the field that is unknown or outside.
        """
        at = sensor.centre.new_full((len(sensor), 2), float("nan")) if field is None else field
        fine = sensor if oversample == 1 else replace(sensor, pitch=sensor.pitch / oversample)
        radius = self.radius * oversample
        kernels: list[Any] = list(self.kernels)
        values = [_finer(k.values(fine, at), k.lengths, oversample) for k in kernels]
        if self.window is not None:
            values.append(by_channel(self.window) * oversample)
        shape = max(len(v) for v in values), max(v.shape[1] for v in values)  # rows, and channels where they differ
        mixed, index = _distinct(torch.cat([v.expand(*shape, -1) for v in values], dim=-1).flatten(0, 1))
        each = mixed.split([v.shape[-1] for v in values], dim=-1)
        try:
            known = kernels[0].spatial(each[0], radius) if len(kernels) == 1 else None
            if known is None:
                # one transfer for each set of a kernel's numbers, one product for each combination of sets
                size, found = spread.grid_size(radius), [_distinct(v) for _, v in zip(kernels, each, strict=False)]
                pairs = zip(kernels, found, strict=True)
                transfers = [factor.transfer(unique, size) for factor, (unique, _) in pairs]
                if all(factor.even for factor in kernels):
                    transfers = [spread.quarter(t) for t in transfers]
                # whole pictures are taken, which an index in brackets would take number by number
                taken = (t.index_select(0, i) for t, (_, i) in zip(transfers, found, strict=True))
                product = reduce(torch.mul, taken)
                known = spread.kernel_from_transfer(product, radius)
            if self.window is not None:
                known = spread.windowed(known[0], known[1], each[-1][:, 0])
        except ValueError as wrong:
            raise RecipeError(f"psf_blur: {wrong}") from wrong
        kernel, lost = known
        if oversample > 1 and any(k.diffracts for k in kernels):
            kernel = spread.lifted(kernel, oversample)
        return kernel, index.reshape(shape).expand(-1, 3), lost

    def kernel(self, sensor: Sensor, field: Tensor | None = None) -> Tensor:
        kernel, index, _ = self.psf(sensor, field)
        return kernel[index]

    def apply(self, frame: Frame) -> Frame:
        return self.together([frame])[0]

    def together(self, frames: Sequence[Frame]) -> list[Frame]:
        # kernels of all rows are computed at once, whatever their pictures' sizes
        sizes, device = [len(f) for f in frames], frames[0].data.device
        sensor, field = Sensor.joined([f.sensor for f in frames]), torch.cat([f.field for f in frames])
        kernel, index, lost = (t.to(device) for t in self.psf(sensor, field, frames[0].oversample))
        index = index.expand(sum(sizes), -1)
        each, worst = index.split(sizes), lost[index].amax(-1).split(sizes)
        if self.border == "reflect":
            blurred = filter.convolve_mirrored([f.data for f in frames], kernel, each)
        else:
            blurred = [_within_margin(f.data, kernel, i) for f, i in zip(frames, each, strict=True)]
        squares = None if all(f.noise is None for f in frames) else kernel.square().sum((-2, -1))
        done = list[Frame]()
        for frame, data, which, part in zip(frames, blurred, each, worst, strict=True):
            noise = None if squares is None else frame.filtered(squares[which][:, None])
            done.append(frame.with_data(data, noise=noise, correlated=True, notes={**frame.notes, "lost": part}))
        return done


def _within_margin(data: Tensor, kernel: Tensor, index: Tensor) -> Tensor:
    """Data whose margin is lost to kernels (u, k, k), ``index`` (b, 3) says which."""
    own, index = index.unique(return_inverse=True)
    if len(own) == index.numel():  # none is shared: transformed where they are used, they stay in the cache
        return fourier.convolve(data, kernel[own][index])
    return fourier.filtered(data, fourier.spectrum(kernel[own], (data.shape[-2], data.shape[-1])), index)


def _distinct(sets: Tensor) -> tuple[Tensor, Tensor]:
    """The different ones of n sets of numbers, and which of them each is."""
    seen = dict[bytes, int]()
    lines: list[bytes] = sets.contiguous().numpy().view(f"V{8 * sets.shape[1]}").ravel().tolist()
    index = torch.tensor([seen.setdefault(line, len(seen)) for line in lines])
    return torch.from_numpy(np.frombuffer(b"".join(seen)).reshape(len(seen), sets.shape[1]).copy()), index


def _finer(values: Tensor, lengths: int, oversample: int) -> Tensor:
    """The numbers of a kernel with its lengths counted in finer pixels."""
    return values if oversample == 1 else torch.cat((values[..., :lengths] * oversample, values[..., lengths:]), dim=-1)


@register("lateral_chromatic")
class LateralChromatic(Operator):
    """Lateral colour: red and blue are magnified about the optical centre, green stays.

    A patch is shifted as its centre is: outwards along its azimuth by ``corner (h + cubic h^3) / (1 + cubic)`` at field
    height h. Like every kernel it is constant over a patch. Needs the place in the field.

    >>> from degrade import Frame, Sensor, Space
    >>> dot = torch.zeros(1, 3, 41, 41); dot[..., 20, 20] = 1
    >>> right = Frame(dot, Space.LINEAR, Sensor.make(), field=torch.tensor([[0.0, 0.5]]))
    >>> moved = LateralChromatic(red=2.0, blue=-4.0).apply(right).data[0, :, 20]
    >>> moved.argmax(-1).tolist()
    [21, 20, 18]
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR, Space.DISPLAY})

    red: Param[Shift] = Field(default=0.0, description="shift of red in the corner, outwards [pixels]")
    blue: Param[Shift] = Field(default=0.0, description="shift of blue in the corner, outwards [pixels]")
    cubic: Param[Annotated[float, Field(ge=0, le=10)]] = Field(
        default=0.0, description="cubic part, counted in the linear one; 0 is a change of scale alone"
    )

    examples = ({"red": {"uniform": [0.2, 1.5]}, "blue": -0.5, "cubic": 0.4},)

    def needs(self, spec: Spec, after: int) -> int:
        widest = max(abs(v) for field in (self.red, self.blue) for v in bounds(field))
        cubic = bounds(self.cubic)[1]
        far = (OUTSIDE + cubic * OUTSIDE**3) / (1 + cubic)
        return self.margin_of(spec, after, 0 if widest == 0 else math.ceil(widest * far) + 6)

    def shift(self, field: Tensor) -> Tensor:
        """(b, 2, 2) shift (y, x) of red and blue in each row [pixels], float64."""
        height, azimuth = placed(field, "lateral_chromatic")
        corner = torch.stack([by_channel(v)[:, 0, 0].expand(len(height)) for v in (self.red, self.blue)], dim=-1)
        cubic = by_channel(self.cubic)[:, 0, 0]
        far = (height + cubic * height**3) / (1 + cubic)
        way = torch.stack((torch.sin(azimuth), torch.cos(azimuth)), dim=-1)
        return corner[..., None] * (far[:, None] * way)[:, None]

    def apply(self, frame: Frame) -> Frame:
        shift = self.shift(frame.field) * frame.oversample
        if not bool(shift.any()):
            return frame
        line = spread.shift_line(shift, math.ceil(shift.abs().max().item()) + 6)
        kernel = (line[..., 0, :, None] * line[..., 1, None, :]).float().to(frame.data.device)
        data = frame.data.clone()
        data[:, ::2] = fourier.convolve(frame.data[:, ::2], kernel)
        squares = kernel.square().sum((-2, -1))
        squares = torch.stack((squares[:, 0], torch.ones_like(squares[:, 0]), squares[:, 1]), dim=-1)
        return frame.with_data(data, noise=frame.filtered(squares[:, None]), correlated=True)


@register("illumination")
class Illumination(Operator):
    """Fall-off of light towards the corners: ``cos^4`` of the field angle times a polynomial of the field height h.

    ``y = x cos^4(atan(h tan angle)) (1 + a h^2 + b h^4 + ...)``. A patch is dimmed as its centre is. Needs the place in
    the field.

    Source: Reiss, JOSA 35 (1945) 283 (the fourth power of the cosine).

    >>> from degrade import Frame, Sensor, Space
    >>> corner = Frame(torch.ones(1, 3, 2, 2), Space.LINEAR, Sensor.make(), field=torch.tensor([[0.6, -0.8]]))
    >>> round(Illumination(angle=45.0).apply(corner).data.max().item(), 3)
    0.25
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR, Space.MOSAIC})

    angle: Param[Annotated[float, Field(ge=0, le=80)]] = Field(
        default=0.0, description="between the axis and the light to the corner, at the sensor [degree]"
    )
    polynomial: tuple[Param[Annotated[float, Field(ge=-2, le=2)]], ...] = Field(
        default=(), description="coefficients of h^2, h^4, ..."
    )

    examples = ({"angle": {"uniform": [10, 40]}, "polynomial": [-0.2, 0.05]},)

    def apply(self, frame: Frame) -> Frame:
        height, _ = placed(frame.field, "illumination")
        slope = height * torch.tan(torch.deg2rad(by_channel(self.angle)[:, 0, 0]))
        gain = torch.ones_like(height)
        for k, coefficient in enumerate(self.polynomial):
            gain = gain + by_channel(coefficient)[:, 0, 0] * height ** (2 * k + 2)
        gain = (gain.clamp(min=0) / (1 + slope**2) ** 2).to(frame.data).reshape(-1, 1)
        noise = frame.noise
        if noise is not None:
            noise = noise * torch.stack((gain, gain * gain), dim=1)
        return frame.with_data(frame.data * gain[..., None, None], noise=noise)

"""Develop and unprocess: from a camera's numbers to a picture for the eye, and back.

Every step is the same in all planes and none looks at the picture, so that pairs stay pairs: two planes developed
differ by what was done to them, and noise comes out correlated as a camera's own processing leaves it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Final, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Sensor, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, column
from degrade.core.prior import Choice, LogUniform, Normal, Seed, Uniform
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import colour, demosaic
from degrade.maths.sensor import noisy
from degrade.operators.noise import RAW

ToneCurve = Literal["srgb", "gamma", "filmic"]
Method = Literal["bilinear", "malvar", "menon"]
Gain = Annotated[float, Field(gt=0)]
_Row = tuple[float, float, float]
CameraMatrix = tuple[_Row, _Row, _Row]
GAMMA: Final = 2.2


@register("develop")
class Develop(Operator):
    """A camera's processing: white balance, clip at white, demosaic, colour matrix, clip to 0 .. 1, tone curve.

    White balance and matrix are the row's own. A MOSAIC doubles its size. ``filmic`` is a gamma of 2.2 and the
    smoothstep ``3 y^2 - 2 y^3``, as `unprocess` inverts it.

    Source: Malvar et al. 2004; Menon et al. 2007; Brooks et al. 2019 (the smoothstep).

    >>> from degrade import Frame, Sensor, Space
    >>> raw = Frame(torch.full((1, 4, 4, 4), 0.5), Space.MOSAIC, Sensor.make())
    >>> picture = Develop().apply(raw)
    >>> picture.data.shape, round(picture.data.mean().item() * 255), picture.grid.scale
    (torch.Size([1, 3, 8, 8]), 188, (0.5, 0.5))
    """

    accepts: ClassVar[frozenset[Space]] = RAW

    demosaic: Param[Method] = Field(default="malvar", description="interpolation of a MOSAIC")
    curve: Param[ToneCurve] = Field(default="srgb", description="tone curve")

    examples = (
        {"curve": {"choice": ["srgb", "gamma"]}},
        {"demosaic": {"choice": ["bilinear", "menon"]}, "curve": "filmic"},
    )

    def plan(self, spec: Spec) -> Spec:
        self.check_space(spec)
        if spec.space is Space.LINEAR:
            return replace(spec, space=Space.DISPLAY, digital=False)
        size = spec.size and (2 * spec.size[0], 2 * spec.size[1])
        return replace(spec, space=Space.DISPLAY, channels=3, size=size, grid=spec.grid.scaled(0.5), digital=False)

    def needs(self, spec: Spec, after: int) -> int:
        if spec.space is Space.LINEAR:
            return after
        methods = self.demosaic.values if isinstance(self.demosaic, Choice) else (self.demosaic,)
        return self.margin_of(spec, after, max(demosaic.REACH[str(m)] for m in methods))

    def apply(self, frame: Frame) -> Frame:
        rgb, grid, aux = colour.balance(frame.data, frame.sensor.white_balance), frame.grid, frame.aux
        if frame.space is Space.MOSAIC:
            rgb, grid = demosaic.demosaic(rgb, str(self.demosaic)), grid.scaled(0.5)
            aux = {k: v.repeat_interleave(2, 2).repeat_interleave(2, 3) for k, v in aux.items()}
        shown = toned(colour.apply_matrix(frame.sensor.matrix, rgb).clamp(0, 1), str(self.curve))
        return frame.with_data(shown, space=Space.DISPLAY, grid=grid, aux=aux)


#: XYZ to camera RGB of the four cameras of Brooks et al. 2019.
MATRICES: Final[tuple[CameraMatrix, ...]] = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.613, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.838, -0.263, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.097, 0.1581, 0.5181)),
)


@register("unprocess")
class Unprocess(Operator):
    """A picture as a camera might have seen it: inverse tone curve, inverse matrix, inverse gains; `develop` undoes it.

    The matrix is a random mixture of cameras', the gains are drawn, and both become the row's own camera in all its
    planes. ``exposure`` is what white reads, so that the green gain is 1 / exposure. Where the mean of the colours
    exceeds 0.9 the gains fade to 1, so that white stays saturated instead of turning magenta; nothing is clipped.

    Source: Brooks et al. 2019 (unprocessing images for learned raw denoising).

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 2, 2), 0.5), Space.DISPLAY, Sensor.make())
    >>> raw = Unprocess(red_gain=2.0, blue_gain=1.6, exposure=0.8, matrices=()).apply(grey)
    >>> [round(v, 3) for v in raw.data[0, :, 0, 0].tolist()], raw.sensor.white_balance.tolist()
    ([0.087, 0.174, 0.109], [[2.5, 1.25, 2.0]])
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    red_gain: Param[Gain] = Field(default=Uniform(1.9, 2.4), description="white balance of red over green")
    blue_gain: Param[Gain] = Field(default=Uniform(1.5, 1.9), description="white balance of blue over green")
    exposure: Param[Gain] = Field(
        default=Normal(0.8, 0.1, 0.5, 1.0), description="green of white before its gain [fraction of saturation]"
    )
    matrices: tuple[CameraMatrix, ...] = Field(
        default=MATRICES,
        description="XYZ to camera RGB at D65, as DNG's ColorMatrix, of the cameras mixed; none keeps the photo's own",
    )
    weights: tuple[Param[Gain], ...] = Field(
        default=(Uniform(1e-8, 1.0),) * 4, description="share of each matrix, relative to the others'"
    )
    curve: Param[ToneCurve] = Field(default="filmic", description="tone curve that the picture was given")

    examples = (
        {},
        {"matrices": [], "exposure": 1, "curve": {"choice": ["srgb", "gamma"]}, "per": "photo"},
    )

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if self.matrices and len(self.weights) != len(self.matrices):
            raise RecipeError(f"unprocess: {len(self.matrices)} matrices need as many weights, got {len(self.weights)}")
        colour.camera_to_srgb(torch.tensor(self.matrices).reshape(-1, 3, 3))  # says which cannot be inverted
        return self

    def plan(self, spec: Spec) -> Spec:
        self.check_space(spec)
        return replace(spec, space=Space.LINEAR, digital=False)

    def camera(self, sensor: Sensor) -> Sensor:
        b, like = len(sensor), sensor.white_balance
        red, blue, exposure = (
            torch.as_tensor(v, dtype=torch.float32, device=like.device).expand(b)
            for v in (self.red_gain, self.blue_gain, self.exposure)
        )
        gains = torch.stack((red, torch.ones_like(red), blue), dim=1) / exposure[:, None]
        return replace(sensor, white_balance=gains, matrix=self.matrix(sensor))

    def matrix(self, sensor: Sensor) -> Tensor:
        """(b, 3, 3) white-balanced camera RGB to linear sRGB of each row, float32."""
        if not self.matrices:
            return sensor.matrix
        mixed = torch.zeros(len(sensor), 3, 3, dtype=torch.float64)
        for weight, camera in zip(self.weights, self.matrices, strict=True):  # their sum cancels, rows are normalised
            share = torch.as_tensor(weight, dtype=torch.float64).reshape(-1, 1, 1)
            mixed = mixed + share * torch.tensor(camera, dtype=torch.float64)
        return colour.camera_to_srgb(mixed).to(sensor.matrix)

    def apply(self, frame: Frame) -> Frame:
        sensor = self.camera(frame.sensor)
        linear = untoned(frame.data, str(self.curve))
        inverse = torch.linalg.inv(sensor.matrix.double()).to(linear.dtype)
        seen = colour.apply_matrix(inverse, linear)
        lower = (1 / sensor.white_balance)[:, :, None, None]
        bright = ((seen.mean(1, keepdim=True) - 0.9) / 0.1).clamp(0, 1) ** 2
        safe = torch.maximum(bright + (1 - bright) * lower, lower)
        return frame.with_data(seen * safe, space=Space.LINEAR, sensor=sensor)


@register("unprocess_noise")
class UnprocessNoise(Operator):
    """Shot and read noise of cameras at large: variance ``shot x + read``, ``log read = 2.18 log shot + 1.20 + error``.

    The line was fitted to the cameras of a data set, on signals normalised to 0 .. 1; no camera's curve is asked.
    With ``reference`` the variance is that of the named plane, and the identical residual goes into all planes.

    Source: Brooks et al. 2019; Plotz and Roth 2017 (the Darmstadt cameras).

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 4, 256, 256), 0.5), Space.MOSAIC, Sensor.make())
    >>> noisy = UnprocessNoise(shot=0.01, error=0.0, seed=1).apply(grey)
    >>> round(noisy.data.var().item(), 4)
    0.0051
    """

    accepts: ClassVar[frozenset[Space]] = RAW
    photosites: ClassVar[bool] = True

    shot: Param[Gain] = Field(default=LogUniform(1e-4, 0.012), description="variance a unit of signal")
    error: Param[float] = Field(default=Normal(0.0, 0.26), description="scatter of log read about its line")
    reference: str | None = Field(default=None, description="plane whose signal sets the variance in all planes")
    seed: Param[int] = Field(default=Seed(), description="seed of the unit field")

    examples = (
        {},
        {"shot": 0.01, "per": "photo"},
    )

    def apply(self, frame: Frame) -> Frame:
        signal = (frame.reference or frame).data
        shot = column(self.shot, signal)
        read = torch.exp(2.18 * torch.log(shot) + 1.20 + column(self.error, signal))
        seeds = torch.as_tensor(self.seed, dtype=torch.int64, device=signal.device).expand(len(frame))
        return frame.with_data(noisy(frame.data, signal, shot, read, seeds, frame.grid.start), reference=None)


def toned(x: Tensor, curve: str) -> Tensor:
    """Linear light 0 .. 1 through a tone curve.

    >>> toned(torch.tensor(0.5), "filmic")
    tensor(0.8204)
    """
    if curve == "srgb":
        return colour.srgb_encode(x)
    y = x ** (1 / GAMMA)
    return y * y * (3 - 2 * y) if curve == "filmic" else y


def untoned(y: Tensor, curve: str) -> Tensor:
    """Linear light of a picture that a tone curve made; undoes `toned` where it lies within 0 .. 1.

    >>> untoned(toned(torch.tensor([0.0, 0.3, 1.0]), "filmic"), "filmic")
    tensor([0.0000, 0.3000, 1.0000])
    """
    if curve == "srgb":
        return colour.srgb_decode(y)
    y = y.clamp(0, 1)
    y = 0.5 - torch.sin(torch.asin(1 - 2 * y) / 3) if curve == "filmic" else y
    return y**GAMMA

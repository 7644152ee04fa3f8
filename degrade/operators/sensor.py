"""The sensor: colour filters, noise, saturation, ADC."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from degrade.maths import bayer
from degrade.maths.philox import normal_field
from degrade.maths.resample import area
from degrade.recipe.errors import PhotoError, RecipeError
from degrade.recipe.frame import Frame, Sensor, Space
from degrade.recipe.key import Key
from degrade.recipe.operator import Drawn, Operator, Spec, column, register
from degrade.recipe.param import Param
from degrade.recipe.prior import Seed

RAW = frozenset({Space.LINEAR, Space.MOSAIC})
Iso = Annotated[float, Field(gt=0)]
Curve = Annotated[float, Field(ge=0)]
FOREIGN = 0.25  #: share of the target variance above which noise already in the photo is worth a warning
FOOTROOM = 6.0  #: read noise kept above zero DN [sigma]


@register("mosaic")
class Mosaic(Operator):
    """The colour filter array: samples RGB at each photosite, packed ``R G1 G2 B`` with RGGB geometry.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.ones(1, 3, 4, 4), Space.LINEAR, Sensor.make())
    >>> raw = Mosaic().apply(grey)
    >>> raw.data.shape, raw.grid.at(0)
    (torch.Size([1, 4, 2, 2]), (0.5, 0.5))
    """

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})

    def plan(self, spec: Spec) -> Spec:
        spec = super().plan(spec)
        if spec.size is None:
            raise RecipeError("mosaic stands behind the crop, where the simulated sensor begins")
        if spec.size[0] % 2 or spec.size[1] % 2:
            raise RecipeError(f"mosaic: the patch must have an even size, got {spec.size[0]} x {spec.size[1]}")
        size = spec.size[0] // 2, spec.size[1] // 2
        return Spec(Space.MOSAIC, 4, size, spec.grid.scaled(2))

    @property
    def reach(self) -> tuple[int, int]:
        return 0, 2

    def apply(self, frame: Frame) -> Frame:
        return replace(
            frame.with_data(bayer.mosaic(frame.data)),
            space=Space.MOSAIC,
            grid=frame.grid.scaled(2),
            noise=None if frame.noise is None else frame.noise[..., [0, 1, 1, 2]].contiguous(),
            aux={k: area(v, 2) for k, v in frame.aux.items()},
        )


@register("sensor_noise")
class SensorNoise(Operator):
    """Shot and read noise: ``sigma^2 = [k1 (S - OB) + k0] ISO / 100``, times a unit normal field.

    ``S - OB`` is the signal above black, clamped to black .. white; k1 and k0 are in DN at ISO 100. The curve is the
    operator's own, else the camera's, else the photo's NoiseProfile. With ``reference`` the variance is that of the
    named plane, and the identical residual goes into every plane that passes here. Where black is less than 6 sigma
    of read noise, black and white of the row rise by a whole ``pedestal``, in all its planes, so that nothing is lost
    below 0 DN.

    Source: JP7686428 (pairs with correlated components); Foi et al. 2008 (the affine noise model).

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 4, 256, 256), 0.5), Space.MOSAIC, Sensor.make(black=512, white=4607))
    >>> noisy = SensorNoise(iso=400.0, k1=0.5, k0=4.0, seed=1).apply(grey)
    >>> variance = (noisy.data * 4095).var().item()
    >>> expected = (0.5 * 4095 * 0.5 + 4.0) * 4
    >>> abs(variance / expected - 1) < 0.02
    True
    """

    accepts: ClassVar[frozenset[Space]] = RAW

    iso: Param[Iso | Literal["photo"]] = Field(description="ISO speed, or `photo` for the photo's own")
    k1: Param[Curve | tuple[Curve, Curve, Curve, Curve] | None] = Field(
        default=None, description="shot-noise slope, one or R G1 G2 B [DN at ISO 100]"
    )
    k0: Param[Curve | tuple[Curve, Curve, Curve, Curve] | None] = Field(
        default=None, description="dark variance, one or R G1 G2 B [DN^2 at ISO 100]"
    )
    reference: str | None = Field(default=None, description="plane whose signal sets the variance in all planes")
    source: Literal["keep", "subtract", "refuse"] = Field(
        default="keep", description="noise that the photo brought along"
    )
    pedestal: bool = Field(default=True, description="raise black where read noise would reach below 0 DN")
    seed: Param[int] = Field(default=Seed(), description="seed of the unit field")

    def plan(self, spec: Spec) -> Spec:
        if spec.size is None:
            raise RecipeError("sensor_noise stands behind the crop, where the simulated sensor begins")
        return super().plan(spec)

    def draw(self, key: Key, frame: Frame | None = None, own: bool | None = None) -> Drawn:
        if self.iso == "photo" and frame is not None and bool(torch.isfinite(frame.sensor.iso).all()):
            # found here it is a field of the record, whatever another noise operator calls the row
            return self.model_copy(update={"iso": frame.sensor.iso[0].item()}).draw(key, frame, own)
        return super().draw(key, frame, own)

    def speed(self, sensor: Sensor) -> Tensor:
        """(b,) ISO of each row.

        Raises:
            PhotoError: if the photo's own is asked for and not known.
        """
        if isinstance(self.iso, str):
            if not bool(torch.isfinite(sensor.iso).all()):
                raise PhotoError(
                    "the photo does not tell its ISO: give it with --iso, or `iso:` in the recipe's source"
                )
            return sensor.iso
        return torch.as_tensor(self.iso, dtype=torch.float32, device=sensor.iso.device).expand(len(sensor))

    def curve(self, sensor: Sensor) -> tuple[Tensor, Tensor]:
        """(b, 4) k1 and k0 for R G1 G2 B.

        Raises:
            PhotoError: if neither operator nor camera nor photo gives them.
        """
        found: list[Tensor] = []
        for name in ("k1", "k0"):
            own, known = getattr(self, name), cast(Tensor, getattr(sensor, name))
            if own is not None:
                known = torch.as_tensor(own, dtype=torch.float32, device=known.device)
                known = known.reshape(-1, 1) if known.ndim == 1 and not isinstance(own, tuple) else known
                known = known.expand(len(sensor), 4)
            if not bool(torch.isfinite(known).all()):
                raise PhotoError(
                    f"no noise curve: neither sensor_noise nor a camera nor the photo gives {name}: "
                    "name a camera in source:, or give k1 and k0"
                )
            found.append(known)
        return found[0], found[1]

    def camera(self, sensor: Sensor) -> Sensor:
        iso = self.speed(sensor)
        if self.pedestal:
            _, k0 = self.curve(sensor)
            need = FOOTROOM * torch.sqrt(k0.amax(1) * iso / 100)
            rise = torch.ceil(need - sensor.black).clamp(min=0)
            sensor = replace(sensor, black=sensor.black + rise, white=sensor.white + rise)
        return replace(sensor, iso=iso)  # of several noise operators in a row the last one names it

    def variance(self, frame: Frame) -> Tensor:
        """(b, c, h, w) target variance on the normalised signal, source noise taken into account."""
        judge = frame.reference or frame
        signal = judge.data.clamp(0, 1)
        k1, k0 = (_channels(k, signal.shape[1]) for k in self.curve(frame.sensor))
        full = column(frame.sensor.range, signal)
        gain = column(self.speed(frame.sensor) / 100, signal)
        shot, read = gain * column(k1, signal) / full, gain * column(k0, signal) / full**2
        target = shot * signal + read
        return (
            target if self.source == "keep" and judge.noise is None else self._less_source(target, signal, judge.noise)
        )

    def _less_source(self, target: Tensor, signal: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            if self.source == "subtract":
                raise PhotoError(
                    "the noise already in the photo is unknown, so it cannot be subtracted: "
                    "use source: keep, or a photo with NoiseProfile and ISO"
                )
            return target
        there = noise[:, 0, :, None, None] * signal + noise[:, 1, :, None, None]
        if self.source == "subtract":
            return (target - there).clamp(min=0)
        share = float(there.mean() / target.mean().clamp(min=1e-30))
        if share > FOREIGN:
            said = f"the photo's own noise has {share:.0%} of the variance to be added"
            if self.source == "refuse":
                raise PhotoError(f"{said}, more than {FOREIGN:.0%}: shrink more, or use source: subtract")
            warnings.warn(f"{said}: shrink more, or use `source: subtract`", stacklevel=2)
        return target

    def apply(self, frame: Frame) -> Frame:
        b, c, _, _ = frame.data.shape
        seed = torch.as_tensor(self.seed, dtype=torch.int64, device=frame.data.device).expand(b)
        unit = normal_field(seed, c, frame.grid.start, frame.size)
        return frame.with_data(torch.addcmul(frame.data, torch.sqrt(self.variance(frame)), unit), reference=None)


def _channels(four: Tensor, c: int) -> Tensor:
    """(b, 4) values of R G1 G2 B for c channels; LINEAR green takes the mean of G1 and G2."""
    return four if c == 4 else torch.stack((four[:, 0], (four[:, 1] + four[:, 2]) / 2, four[:, 3]), dim=1)


@register("saturate")
class Saturate(Operator):
    """The full well: ``y = min(x, level)``. Below black nothing is cut.

    >>> from degrade import Frame, Sensor, Space
    >>> bright = Frame(torch.tensor([[[[-0.1, 0.5, 3.0]]]]).expand(1, 3, 1, 3), Space.LINEAR, Sensor.make())
    >>> [round(v, 3) for v in Saturate().apply(bright).data[0, 0, 0].tolist()]
    [-0.1, 0.5, 1.0]
    """

    level: Param[Annotated[float, Field(gt=0)]] = Field(default=1.0, description="saturation [fraction of white]")

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(torch.minimum(frame.data, column(self.level, frame.data)))


@register("quantise")
class Quantise(Operator):
    """The ADC: ``DN = clamp(round(x (white - black) + black), 0, white)``, half to even, with each row's own levels.

    The black level is kept, so noise below black survives. DISPLAY becomes 8 bits.

    >>> from degrade import Frame, Sensor, Space
    >>> signal = torch.tensor([-0.5, 0.0, 0.12, 9.0]).reshape(1, 4, 1, 1)
    >>> raw = Quantise().apply(Frame(signal, Space.MOSAIC, Sensor.make(black=4, white=14)))
    >>> (raw.data * 10 + 4).flatten().tolist()
    [0.0, 4.0, 5.0, 14.0]
    """

    def plan(self, spec: Spec) -> Spec:
        return replace(super().plan(spec), digital=True)

    def apply(self, frame: Frame) -> Frame:
        black, full = levels(frame)
        dn = torch.round(torch.addcmul(black, frame.data, full)).clamp(min=0)
        return frame.with_data((torch.minimum(dn, black + full) - black) / full)


def levels(frame: Frame) -> tuple[Tensor, Tensor]:
    """(b, 1, 1, 1) black level and white minus black [DN]; 0 and 255 for DISPLAY."""
    if frame.space is Space.DISPLAY:
        zero = torch.zeros_like(column(frame.sensor.black, frame.data))
        return zero, zero + 255
    return column(frame.sensor.black, frame.data), column(frame.sensor.range, frame.data)

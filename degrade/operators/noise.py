"""Photon and read noise on a camera's curve: Gaussian by the formula, or exact counts with heavy-tailed read noise.

``sigma^2 = [k1 (S - OB) + k0] ISO / 100``; a camera may refine how k1 and k0 follow ISO (`degrade.gear.cameras`).
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame, Sensor, Space
from degrade.core.key import Key, Keys
from degrade.core.operator import Drawn, Operator
from degrade.core.param import Param, column
from degrade.core.prior import Seed, bounds
from degrade.core.registry import register
from degrade.gear import cameras
from degrade.maths.cfa import BAYER
from degrade.maths.gradient import root
from degrade.maths.noise import poisson_quantile, tukey_lambda
from degrade.maths.philox import normal_field, uniform_field
from degrade.maths.sensor import noisy

RAW = frozenset({Space.LINEAR, Space.MOSAIC})
Iso = Annotated[float, Field(gt=0)]
Coefficient = Annotated[float, Field(ge=0)]
TailShape = Annotated[float, Field(gt=-0.45, le=2)]
FOREIGN = 0.25  #: share of the target variance above which noise already in the photo is worth a warning
FOOTROOM = 6.0  #: read noise kept above zero DN [sigma]


class CurveNoise(Operator):
    """Base of noise that follows a camera's curve; its fields, the row's camera, and the curve on a picture.

    The curve is the operator's own, else the camera's, else the photo's NoiseProfile. With ``reference`` it is taken
    at the signal of the named plane, and the identical residual goes into every plane that passes here. Where black is
    less than 6 sigma of read noise, black and white of the row rise by a whole ``pedestal``, in all its planes, so that
    nothing is lost below 0 DN.
    """

    accepts: ClassVar[frozenset[Space]] = RAW
    photosites: ClassVar[bool] = True

    iso: Param[Iso | Literal["photo"]] = Field(description="ISO speed, or `photo` for the photo's own")
    k1: Param[Coefficient | tuple[Coefficient, Coefficient, Coefficient, Coefficient] | None] = Field(
        default=None, description="shot-noise slope, one or R G1 G2 B [DN at ISO 100]"
    )
    k0: Param[Coefficient | tuple[Coefficient, Coefficient, Coefficient, Coefficient] | None] = Field(
        default=None, description="dark variance, one or R G1 G2 B [DN^2 at ISO 100]"
    )
    reference: str | None = Field(default=None, description="plane whose signal sets the variance in all planes")
    pedestal: bool = Field(default=True, description="raise black where read noise would reach below 0 DN")
    seed: Param[int] = Field(default=Seed(), description="seed of the unit field")

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        if isinstance(self.iso, str) and frame is not None and bool(torch.isfinite(frame.sensor.iso).all()):
            # found here it is a field of the record, whatever another noise operator calls the row
            known = frame.sensor.iso.cpu().numpy()
            return self.model_copy(update={"iso": known if len(known) > 1 else known[0].item()}).draw(key, frame)
        return super().draw(key, frame)

    def suits(self, sensor: Sensor) -> None:
        steps = sensor.ladder[0, :, 0]
        if self.iso == "photo" or not len(steps) or (self.k1 is not None and self.k0 is not None):
            return
        low, high = bounds(self.iso)
        if low < steps[0] or high > steps[-1]:
            raise RecipeError(
                f"{self.op}: iso goes from {low:g} to {high:g}, the camera's table from {steps[0]:g} to {steps[-1]:g}: "
                "draw ISO within it, or measure more"
            )

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
        """(b, 4) k1 and k0 for R G1 G2 B at each row's ISO.

        Raises:
            PhotoError: if neither operator nor camera nor photo gives them, or the ISO lies outside a camera's table.
        """
        found: list[Tensor] = []
        whole = self.k1 is not None and self.k0 is not None  # then a camera's table is not asked
        camera = (sensor.k1, sensor.k0) if whole else cameras.curve(sensor, self.speed(sensor))
        for name, known in zip(("k1", "k0"), camera, strict=True):
            own = getattr(self, name)
            if own is not None:
                known = torch.as_tensor(own, dtype=torch.float32, device=known.device)
                known = known.reshape(-1, 1) if known.ndim == 1 and not isinstance(own, tuple) else known
                known = known.expand(len(sensor), 4)
            if not bool(torch.isfinite(known).all()):
                raise PhotoError(
                    f"no noise curve: neither {self.op} nor a camera nor the photo gives {name}: "
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

    def lines(self, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
        """Signal whose part in 0 .. 1 the curve is taken at, (b, c, h, w); its shot and read variance, (b, c, 1, 1)."""
        signal = (frame.reference or frame).data
        k1, k0 = (_channels(k, signal.shape[1]) for k in self.curve(frame.sensor))
        full = column(frame.sensor.range, signal)
        gain = column(self.speed(frame.sensor) / 100, signal)
        return signal, gain * column(k1, signal) / full, gain * column(k0, signal) / full**2

    def seeds(self, frame: Frame) -> Tensor:
        """(b,) seed of each row."""
        return torch.as_tensor(self.seed, dtype=torch.int64, device=frame.data.device).expand(len(frame))


@register("sensor_noise")
class SensorNoise(CurveNoise):
    """Shot and read noise: ``sigma^2 = [k1 (S - OB) + k0] ISO / 100``, times a unit normal field.

    ``S - OB`` is the signal above black, clamped to black .. white; k1 and k0 are in DN at ISO 100.

    Source: JP7686428 (pairs with correlated components); Foi et al. 2008 (the affine noise model).

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 4, 256, 256), 0.5), Space.MOSAIC, Sensor.make(black=512, white=4607))
    >>> noisy = SensorNoise(iso=400.0, k1=0.5, k0=4.0, seed=1).apply(grey)
    >>> variance = (noisy.data * 4095).var().item()
    >>> expected = (0.5 * 4095 * 0.5 + 4.0) * 4
    >>> abs(variance / expected - 1) < 0.02
    True
    """

    source: Literal["keep", "subtract", "refuse"] = Field(
        default="keep", description="noise that the photo brought along"
    )

    examples = (
        {"iso": {"choice": [100, 800]}, "k1": 0.4, "k0": {"log_uniform": [1, 4]}},
        {
            "iso": {"choice": [100, "photo"]},
            "k1": [0.1, 0.2, 0.3, 0.4],
            "k0": {"log_uniform": [1, 4]},
            "source": "subtract",
        },
        {"iso": {"choice": [100, 800]}, "k1": 0.4, "k0": None, "per": "photo", "pedestal": False},
    )

    def added(self, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
        """As `lines`, of the noise to be added: that of the source taken into account."""
        signal, shot, read = self.lines(frame)
        noise = (frame.reference or frame).noise
        if noise is None:
            if self.source == "subtract":
                raise PhotoError(
                    "the noise already in the picture is unknown, so it cannot be subtracted: use source: keep, or a "
                    f"photo with NoiseProfile and ISO; put {self.op} before operators that add noise of their own"
                )
            return signal, shot, read
        there = noise[:, 0, :, None, None], noise[:, 1, :, None, None]
        if self.source == "subtract":
            return signal, shot - there[0], read - there[1]
        mean = signal.clamp(0, 1).mean((2, 3), keepdim=True)
        _compare(
            there[0] * mean + there[1],
            shot * mean + read,
            refuse=self.source == "refuse",
            help="shrink more, or use {}source: subtract{}",
        )
        return signal, shot, read

    def variance(self, frame: Frame) -> Tensor:
        """(b, c, h, w) variance that is added to the normalised signal."""
        signal, shot, read = self.added(frame)
        return (shot * signal.clamp(0, 1) + read).clamp(min=0)

    def apply(self, frame: Frame) -> Frame:
        data = noisy(frame.data, *self.added(frame), self.seeds(frame), frame.grid.start)
        return frame.with_data(data, reference=None)


@register("photon_noise")
class PhotonNoise(CurveNoise):
    """Counted photons and read noise with tails: as `sensor_noise`, for so little light that a Gaussian is wrong.

    A photosite of signal x holds on average ``x / s`` electrons, ``s = k1 ISO / 100 / (white - black)``; its count is
    the Poisson quantile of a uniform that all planes share. Read noise has the variance of the curve, normal or, with
    ``tails``, Tukey's lambda distribution of that shape. k1 of 0 leaves the light without noise.

    Source: Wei et al. 2020 (ELD); Foi et al. 2008.

    >>> from degrade import Frame, Sensor, Space
    >>> dim = Frame(torch.full((1, 4, 64, 64), 0.001), Space.MOSAIC, Sensor.make(black=64, white=1064))
    >>> counts = PhotonNoise(iso=100.0, k1=0.5, k0=0.0, seed=1).apply(dim).data * 2000       # 2 electrons on average
    >>> counts.round().unique().tolist()[:4], (counts - counts.round()).abs().max().item() < 1e-3
    ([0.0, 1.0, 2.0, 3.0], True)
    """

    shot: Literal["poisson", "gaussian"] = Field(default="poisson", description="law of the counts")
    tails: Param[TailShape | None] = Field(
        default=None, description="shape of Tukey's lambda for the read noise, -0.24 .. 0.2 in ELD; normal by default"
    )
    source: Literal["keep", "refuse"] = Field(default="keep", description="noise that the photo brought along")

    examples = (
        {"iso": {"choice": [100, 3200]}, "tails": {"uniform": [-0.2, 0.2]}},
        {"iso": 800, "k1": 5, "k0": 1, "tails": {"choice": [None, 0.0]}, "source": "refuse"},
        {"iso": 800, "shot": "gaussian", "per": "photo"},
    )

    def apply(self, frame: Frame) -> Frame:
        signal, shot, read = self.lines(frame)
        signal = signal.clamp(0, 1)
        noise = (frame.reference or frame).noise
        if noise is not None:
            there = noise[:, 0, :, None, None] * signal + noise[:, 1, :, None, None]
            _compare(there, shot * signal + read, refuse=self.source == "refuse", help="shrink more")
        seeds, where = self.seeds(frame), (frame.data.shape[1], frame.grid.start, frame.size)
        if self.shot == "gaussian":
            light = root(shot * signal) * normal_field(seeds, *where, stream=1)
        else:
            electron = torch.where(shot > 0, shot, 1)
            counts = poisson_quantile(uniform_field(seeds, *where, stream=1), signal / electron)
            light = torch.where(shot > 0, counts * shot - signal, 0)
        if self.tails is None:
            unit = normal_field(seeds, *where, stream=2)
        else:
            uniform = uniform_field(seeds, *where, stream=2)
            unit = tukey_lambda(uniform, column(self.tails, uniform.double()))
        return frame.with_data(frame.data + light + torch.sqrt(read) * unit, reference=None)


def _compare(there: Tensor, target: Tensor, refuse: bool, help: str) -> None:
    """Says where the photo's own noise is a large part of what is to be added."""
    share = (there.mean() / target.mean().clamp(min=1e-30)).item()
    if share > FOREIGN:
        said = f"the photo's own noise has {share:.0%} of the variance to be added"
        if refuse:
            raise PhotoError(f"{said}, more than {FOREIGN:.0%}: {help.format('', '')}")
        warnings.warn(f"{said}: {help.format('`', '`')}", stacklevel=3)


def _channels(four: Tensor, c: int) -> Tensor:
    """(b, 4) values of R G1 G2 B for c channels; LINEAR green takes the mean of G1 and G2."""
    return four if c == 4 else BAYER.merge(four)


def electron(sensor: Sensor, gain: Any, channels: int) -> Tensor:
    """(b, c) signal that one electron makes at the row's ISO [fraction of white - black].

    Args:
        sensor: the rows' cameras.
        gain: K at ISO 100, one or (b,) [DN / e-]; None takes the camera's k1, which is the same.
        channels: 4 for MOSAIC, 3 for LINEAR.

    Raises:
        PhotoError: if ISO or gain are unknown, or the gain is 0.
    """
    if not bool(torch.isfinite(sensor.iso).all()):
        raise PhotoError("electrons are counted at an ISO, which the photo does not tell: give it in source:")
    if gain is None:
        k1, _ = cameras.curve(sensor, sensor.iso)
    else:
        k1 = torch.as_tensor(gain, dtype=torch.float32, device=sensor.k1.device).reshape(-1, 1).expand(len(sensor), 4)
    if not bool((k1 > 0).all()):  # also where it is not known
        raise PhotoError("electrons need the camera's gain k1: name a camera in source:, or give `gain`")
    return _channels(k1 * (sensor.iso / 100 / sensor.range)[:, None], channels)

"""What a sensor adds besides photon and read noise: rows, dark current, unequal and broken photosites, the full well.

Patterns are addressed by the photosite's place on the simulated sensor: R and G1 share a row, and a photosite keeps
its value wherever the patch around it is cut. Fixed patterns belong to a camera: their seed is a number, no prior, and
every photo sees the same map; row noise belongs to a readout and has a seed to draw.

Source: EMVA Standard 1288 (PRNU, DSNU, dark current); Wei et al. 2020 (row noise).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.core.errors import PhotoError
from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, Positive, Share, column
from degrade.core.prior import Integer, Seed
from degrade.core.registry import register
from degrade.maths import bayer
from degrade.maths.noise import poisson_quantile
from degrade.maths.philox import normal_field, uniform_field
from degrade.operators.noise import RAW, electron

Amount = Annotated[float, Field(ge=0)]
Celsius = Annotated[float, Field(ge=-273.15, le=200)]
Random = Callable[[Tensor, int, tuple[int, int], tuple[int, int], int], Tensor]
LAST_SEED = 2**53 - 1


class Readout(Operator):
    """Base: operators on RAW data behind the crop, where places on the sensor are known."""

    accepts: ClassVar[frozenset[Space]] = RAW
    photosites: ClassVar[bool] = True


def _sites(frame: Frame) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """First photosite (y, x) of each row of the batch, and how many photosites it spans."""
    sites = 2 if frame.space is Space.MOSAIC else 1
    (top, left), (h, w) = frame.grid.start, frame.size
    starts = [(y + sites * top, x + sites * left) for y, x in frame.origin.tolist()]
    return starts, (sites * h, sites * w)


def _map(random: Random, seed: Any, frame: Frame, stream: int, along: str = "yx") -> Tensor:
    """(b, 1, h, w), packed (b, 4, h, w), numbers by photosite; ``along`` "y" or "x": one a row or column."""
    starts, (h, w) = _sites(frame)
    seeds = torch.as_tensor(seed, dtype=torch.int64, device=frame.data.device).expand(len(frame))
    size = h if "y" in along else 1, w if "x" in along else 1
    cut = [
        random(seeds[i : i + 1], 1, (y if "y" in along else 0, x if "x" in along else 0), size, stream)
        for i, (y, x) in enumerate(starts)
    ]
    return _packed(torch.cat(cut).expand(len(frame), 1, h, w), frame.space)


def _packed(sites: Tensor, space: Space) -> Tensor:
    return bayer.pack(sites[:, 0]) if space is Space.MOSAIC else sites


with warnings.catch_warnings():
    # recipes call it `column`, and so the field hides the method of that name, about which pydantic warns
    warnings.filterwarnings("ignore", 'Field name "column"', UserWarning)

    @register("row_noise")
    class RowNoise(Readout):
        """Offsets that a whole sensor row or column shares, and banding: a wave that runs down the rows.

        All three are standard deviations in DN at the row's ISO. Patches are readouts of their own; with ``per: photo``
        those of one photo share theirs, so that overlapping patches agree.

        >>> from degrade import Frame, Sensor, Space
        >>> dark = Frame(torch.zeros(1, 4, 8, 8), Space.MOSAIC, Sensor.make(black=64, white=1064))
        >>> r, g1, g2, b = RowNoise(row=2.0, seed=1).apply(dark).data[0]
        >>> torch.equal(r, g1), torch.equal(g2, b), torch.equal(r, g2), r[0].unique().numel()
        (True, True, False, 1)
        """

        row: Param[Amount] = Field(default=0.0, description="offset of each sensor row [DN]")
        column: Param[Amount] = Field(  # pyright: ignore[reportIncompatibleMethodOverride]
            default=0.0, description="offset of each sensor column [DN]"
        )
        band: Param[Amount] = Field(default=0.0, description="banding, root mean square of the wave [DN]")
        period: Param[Positive] = Field(default=64.0, description="period of the banding [sensor rows]")
        seed: Param[Annotated[int, Field(ge=0, le=LAST_SEED)]] = Field(
            default=Integer(0, LAST_SEED), description="seed of one readout"
        )

        examples = (
            {"row": {"uniform": [0, 4]}, "column": 1, "band": 2, "period": {"uniform": [9, 30]}},
            {"row": 1, "per": "photo"},
        )

        def apply(self, frame: Frame) -> Frame:
            like = frame.data
            offset = column(self.row, like) * _map(normal_field, self.seed, frame, 0, "y")
            offset = offset + column(self.column, like) * _map(normal_field, self.seed, frame, 1, "x")
            seeds = torch.as_tensor(self.seed, dtype=torch.int64, device=like.device).expand(len(frame))
            phase = uniform_field(seeds, 1, (0, 0), (1, 1), 2).double()
            starts, (h, w) = _sites(frame)
            first = torch.tensor([y for y, _ in starts], dtype=torch.float64, device=like.device).reshape(-1, 1, 1, 1)
            y = first + torch.arange(h, dtype=torch.float64, device=like.device).reshape(1, 1, -1, 1)
            turns = y / column(self.period, y) + phase
            wave = math.sqrt(2) * torch.sin(2 * math.pi * (turns - turns.floor())).to(like.dtype)
            offset = offset + column(self.band, like) * _packed(wave.expand(len(frame), 1, h, w), frame.space)
            return frame.with_data(like + offset / column(frame.sensor.range, like))


@register("dark_current")
class DarkCurrent(Readout):
    """Thermal electrons: Poisson counts of mean ``D = rate t 2^((T - at) / doubling)``, each worth the row's gain.

    ``t`` is the exposure time, ``T`` the sensor's temperature. Cameras that measure black on covered photosites take
    the mean away again: ``mean: subtract`` leaves the noise alone. The gain is k1 ISO / 100 of the row's camera.

    >>> from degrade import Frame, Sensor, Space
    >>> sensor = Sensor.make(black=64, white=1064, iso=100, k1=0.5, exposure=30)
    >>> dark = Frame(torch.zeros(1, 4, 64, 64), Space.MOSAIC, sensor)
    >>> warm = DarkCurrent(rate=1.0, temperature=28.0, seed=1).apply(dark)
    >>> round(warm.data.mean().item() * 1000 / 0.5)        # 30 s of 1 e-/s at 20 C, doubled by 8 degrees
    60
    """

    rate: Param[Amount] = Field(description="dark current of a photosite at the temperature `at` [e- / s]")
    temperature: Param[Celsius | Literal["photo"]] = Field(
        description="of the sensor, or `photo` for the photo's own [degree Celsius]"
    )
    exposure: Param[Positive | Literal["photo"]] = Field(
        default="photo", description="exposure time, or `photo` for the photo's own [s]"
    )
    at: Celsius = Field(default=20.0, description="temperature that `rate` was measured at [degree Celsius]")
    doubling: Positive = Field(default=8.0, description="rise in temperature that doubles it [K]")
    gain: Param[Positive | None] = Field(default=None, description="K at ISO 100 [DN / e-]; the camera's k1 by default")
    mean: Literal["keep", "subtract"] = Field(default="keep", description="whether the mean stays in the signal")
    seed: Param[int] = Field(default=Seed(), description="seed of the unit field")

    examples = (
        {"rate": {"log_uniform": [0.1, 5]}, "temperature": {"uniform": [10, 40]}, "exposure": 10},
        {
            "rate": 40,
            "temperature": 30,
            "exposure": {"choice": [1, 8]},
            "mean": "subtract",
            "gain": {"uniform": [0.1, 0.5]},
            "per": "photo",
        },
    )

    def apply(self, frame: Frame) -> Frame:
        like, sensor = frame.data, frame.sensor
        seconds = _stated(self.exposure, sensor.exposure, "exposure time", "exposure")
        degrees = _stated(self.temperature, sensor.temperature, "sensor temperature", "temperature")
        warmer = torch.exp2((degrees - self.at) / self.doubling)
        electrons = column(self.rate, like) * column(seconds * warmer, like)
        seeds = torch.as_tensor(self.seed, dtype=torch.int64, device=like.device).expand(len(frame))
        uniform = uniform_field(seeds, like.shape[1], frame.grid.start, frame.size)
        counts = poisson_quantile(uniform, electrons)
        counts = counts - electrons if self.mean == "subtract" else counts
        return frame.with_data(torch.addcmul(like, counts, column(electron(sensor, self.gain, like.shape[1]), like)))


def _stated(given: Any, known: Tensor, what: str, field: str) -> Tensor:
    """(b,) the operator's own value, or the photo's."""
    if not isinstance(given, str):
        return torch.as_tensor(given, dtype=known.dtype, device=known.device).expand(len(known))
    if not bool(torch.isfinite(known).all()):
        raise PhotoError(f"the photo does not tell its {what}: give `{field}` in dark_current")
    return known


@register("pixel_response")
class PixelResponse(Readout):
    """Photosites that are not alike: ``y = x (1 + prnu z1) + dsnu z2``, the same map in every photo of a camera.

    Beyond a prnu of 0.1 nothing is known of the noise that was there.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 4, 8, 8), 0.5), Space.MOSAIC, Sensor.make(black=64, white=1064))
    >>> one, other = (PixelResponse(prnu=0.01, camera_seed=s).apply(grey).data for s in (7, 8))
    >>> torch.equal(one, PixelResponse(prnu=0.01, camera_seed=7).apply(grey).data), torch.equal(one, other)
    (True, False)
    """

    prnu: Param[Share] = Field(default=0.0, description="standard deviation of the response [fraction]")
    dsnu: Param[Amount] = Field(default=0.0, description="standard deviation of the dark offset [DN]")
    camera_seed: int = Field(default=0, description="which camera of its kind it is", ge=0, le=LAST_SEED)

    examples = ({"prnu": {"uniform": [0, 0.02]}, "dsnu": 2, "camera_seed": 5},)

    def apply(self, frame: Frame) -> Frame:
        like = frame.data
        response = 1 + column(self.prnu, like) * _map(normal_field, self.camera_seed, frame, 3)
        offset = column(self.dsnu, like) * _map(normal_field, self.camera_seed, frame, 4)
        # the variance is multiplied by the squared response, 1 + prnu^2 on average: that is 1% at 0.1
        noise = frame.noise if bool((torch.as_tensor(self.prnu) <= 0.1).all()) else None
        return frame.with_data(like * response + offset / column(frame.sensor.range, like), noise=noise)


@register("bad_pixels")
class BadPixels(Readout):
    """Photosites that fail, the same in every photo of a camera: dead ones read black, hot ones have charge to spare.

    The excess of hot ones is exponential, of mean ``level``; `saturate` and `quantise` behind it cut it.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 4, 128, 128), 0.25), Space.MOSAIC, Sensor.make())
    >>> y = BadPixels(hot=0.01, dead=0.02).apply(grey).data
    >>> round((y > 0.25).float().mean().item(), 2), round((y == 0).float().mean().item(), 2)
    (0.01, 0.02)
    """

    hot: Param[Share] = Field(default=1e-4, description="share of hot photosites")
    dead: Param[Share] = Field(default=1e-5, description="share of dead photosites")
    level: Param[Amount] = Field(default=0.5, description="mean excess of hot ones [fraction of white]")
    camera_seed: int = Field(default=0, description="which camera of its kind it is", ge=0, le=LAST_SEED)

    examples = ({"hot": {"uniform": [0.01, 0.05]}, "dead": 0.02, "level": 0.7, "camera_seed": 3},)

    def apply(self, frame: Frame) -> Frame:
        like = frame.data
        chance, height = (_map(uniform_field, self.camera_seed, frame, stream) for stream in (5, 6))
        dead, hot = chance < column(self.dead, like), chance > 1 - column(self.hot, like)
        excess = -column(self.level, like) * torch.log(height)
        return frame.with_data(torch.where(dead, 0, like + torch.where(hot, excess, 0)))


@register("full_well")
class FullWell(Readout):
    """Charge that a photosite can hold: ``y = min(x, electrons K / (white - black))``, before black level and ADC.

    K is the row's gain, k1 ISO / 100: at high ISO the ADC is full long before the well is.

    >>> from degrade import Frame, Sensor, Space
    >>> bright = Frame(torch.full((1, 4, 2, 2), 3.0), Space.MOSAIC, Sensor.make(black=64, white=1064, iso=100, k1=0.5))
    >>> round(FullWell(electrons=1800.0).apply(bright).data.max().item(), 4)
    0.9
    """

    electrons: Param[Positive | None] = Field(default=None, description="full well [e-]; the camera's own by default")
    gain: Param[Positive | None] = Field(default=None, description="K at ISO 100 [DN / e-]; the camera's k1 by default")

    examples = ({"electrons": {"uniform": [2000, 9000]}, "gain": 0.4},)

    def apply(self, frame: Frame) -> Frame:
        like = frame.data
        well = frame.sensor.full_well if self.electrons is None else self.electrons
        if not bool(torch.isfinite(torch.as_tensor(well)).all()):
            raise PhotoError("the camera's full well is not known: give `electrons` in full_well, or in its file")
        level = column(well, like) * column(electron(frame.sensor, self.gain, like.shape[1]), like)
        return frame.with_data(torch.minimum(like, level), noise=frame.noise)

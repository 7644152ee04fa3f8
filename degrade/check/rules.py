"""What each operator says of a constant subject and of a sharp edge: mean, noise variance and transfer.

One rule an operator, in closed form and apart from its ``apply``; what no rule covers is NaN from there on. Rules are
found by class, so an operator of one's own that extends a known one is held to what that one promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.compose import Container
from degrade.core.frame import Sensor, Space
from degrade.core.operator import Drawn, Operator, Split
from degrade.core.patches import Patches
from degrade.core.spec import Spec
from degrade.maths.cfa import BAYER
from degrade.maths.types import Array
from degrade.operators.light import Exposure
from degrade.operators.noise import CurveNoise, PhotonNoise, electron
from degrade.operators.optics import Illumination, LateralChromatic, PsfBlur
from degrade.operators.readout import BadPixels, DarkCurrent, FullWell, PixelResponse, RowNoise
from degrade.operators.sampling import Downsample
from degrade.operators.sensor import Mosaic, Quantise, Saturate

Spectrum = NDArray[np.complex128]
_K = TypeVar("_K", bound=Operator)

CLEAR = 5.5  #: a level is clipped where it comes so near to a limit [sigma]
TIE = 0.01  #: rounding cannot be told so near to half a step [DN]
COARSE = 2.0  #: noise below which rounding is worked out level by level [DN]


@dataclass(frozen=True)
class State:
    """What is said of one row somewhere along its path; NaN where nothing can be."""

    mean: Array  #: (c,) signal
    variance: Array  #: (c,) of the noise
    transfer: Spectrum  #: (c, f) contrast that waves have kept, with their phase
    bell: bool = True  #: the noise is normal
    white: bool = True  #: and independent from pixel to pixel
    iso: float = float("nan")  #: of the last noise on the path

    def silent(self, channels: int) -> State:
        """Nothing said."""
        nothing = np.full(channels, np.nan)
        return State(nothing, nothing, np.full((channels, self.transfer.shape[1]), np.nan + 0j), iso=self.iso)

    def filtered(self, transfer: Spectrum) -> State:
        """After a filter that keeps the mean; noise that it would correlate is no longer said."""
        variance = np.where(self.variance == 0, 0.0, np.nan)
        return replace(self, variance=variance, transfer=self.transfer * transfer)

    def clipped(self, low: Any, high: Any) -> State:
        """Between limits (c,) or one; not said where noise reaches them."""
        room = CLEAR * np.sqrt(self.variance)
        touched = (room > 0) & ((self.mean - room < low) | (self.mean + room > high))
        mean = np.where(touched, np.nan, np.clip(self.mean, low, high))
        return replace(self, mean=mean, variance=np.where(touched, np.nan, self.variance))


@dataclass(frozen=True)
class At:
    """Where an operator stands."""

    sensor: Sensor  #: of the row
    field: Tensor  #: (1, 2) place of the row [half diagonals]
    spec: Spec  #: what enters
    pixel: float  #: side of a pixel that enters [pixels of the crop]
    waves: Array  #: (f, 2) frequencies (y, x) [cycles a pixel of the crop]
    reference: State | None = None  #: the plane that an operator refers to


Rule: TypeAlias = Callable[[Any, State, At], State]
RULES: dict[type[Operator], Rule] = {}


def rule(*kinds: type[Operator]) -> Callable[[Rule], Rule]:
    """Decorator: the function says what operators of these classes do."""

    def add(said: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, said))
        return said

    return add


def predicted(op: Operator, state: State, at: At) -> State:
    """What an operator, drawn for one row, makes of what enters it."""
    known = next((RULES[kind] for kind in type(op).__mro__ if kind in RULES), None)
    return state.silent(op.plan(at.spec).channels) if known is None else known(op, state, at)


def of_row(drawn: Drawn, row: int) -> Operator:
    """A drawn operator as one row has it, in a stack of one."""
    if isinstance(drawn, Split):
        rows, op = next((rows, op) for rows, op in drawn.parts if row in rows)
        return of_row(op, int(np.searchsorted(rows, row)))
    return drawn.take(np.array([row]))


def _one(value: Any) -> float:
    return float(np.asarray(value, np.float64).reshape(-1)[0])


def _numbers(t: Tensor) -> Array:
    return t[0].double().cpu().numpy().reshape(-1)


# -- what each operator says ------------------------------------------------------------------------------------------


@rule(Container)
def _container(op: Container, state: State, at: At) -> State:
    for step in op.sequence():
        one = of_row(step, 0)
        if isinstance(one, BadPixels):  # told apart only where it stands for itself
            return state.silent(op.plan(at.spec).channels)
        after = one.plan(at.spec)
        state = predicted(one, state, at)
        at = replace(at, spec=after, pixel=at.pixel * after.grid.scale[0] / at.spec.grid.scale[0])
    return state


@rule(Patches, BadPixels)  # broken photosites are left out of what is measured
def _as_it_was(op: Operator, state: State, at: At) -> State:
    return state


@rule(Exposure)
def _exposure(op: Exposure, state: State, at: At) -> State:
    gain = 2 ** _one(op.stops)
    return replace(state, mean=state.mean * gain, variance=state.variance * gain**2)


@rule(Illumination)
def _illumination(op: Illumination, state: State, at: At) -> State:
    h = float(torch.hypot(*at.field[0]))
    fall = np.cos(np.arctan(h * np.tan(np.radians(_one(op.angle))))) ** 4
    gain = fall * max(1 + sum(_one(a) * h ** (2 * k + 2) for k, a in enumerate(op.polynomial)), 0)
    return replace(state, mean=state.mean * gain, variance=state.variance * gain**2)


@rule(PsfBlur)
def _blur(op: PsfBlur, state: State, at: At) -> State:
    if not len(at.waves):
        return state.filtered(np.ones_like(state.transfer))
    kernels, index, _ = op.psf(at.sensor, at.field, at.spec.oversample)
    kernel = kernels[index[0]].double().numpy()
    steps = (np.arange(kernel.shape[-1]) - kernel.shape[-1] // 2) * at.pixel
    y, x = (np.exp(-2j * np.pi * np.outer(at.waves[:, axis], steps)) for axis in (0, 1))
    transfer = np.einsum("fi,cij,fj->cf", y, kernel, x) / kernel.sum((1, 2))[:, None]
    return state.filtered(transfer)


@rule(LateralChromatic)
def _lateral(op: LateralChromatic, state: State, at: At) -> State:
    moved = np.zeros((3, 2))
    moved[::2] = op.shift(at.field)[0].numpy() * at.spec.oversample * at.pixel
    return state.filtered(np.exp(-2j * np.pi * moved @ at.waves.T))


@rule(Downsample)
def _downsample(op: Downsample, state: State, at: At) -> State:
    places = (np.arange(op.factor) - (op.factor - 1) / 2) * at.pixel
    y, x = (np.cos(2 * np.pi * np.outer(at.waves[:, axis], places)).mean(1) for axis in (0, 1))
    white = np.where((state.variance == 0) | state.white, state.variance / op.factor**2, np.nan)
    return replace(state, variance=white, transfer=state.transfer * (y * x))


@rule(Mosaic)
def _mosaic(op: Mosaic, state: State, at: At) -> State:
    mean, variance = BAYER.spread(state.mean), BAYER.spread(state.variance)
    return replace(state, mean=mean, variance=variance, transfer=BAYER.spread(state.transfer, 0))


@rule(CurveNoise)
def _curve_noise(op: CurveNoise, state: State, at: At) -> State:
    signal = np.clip((at.reference or state).mean, 0, 1)
    k1, k0 = (_planes(_numbers(k), len(signal)) for k in op.curve(at.sensor))
    full, iso = _one(at.sensor.range), _one(op.speed(at.sensor))
    added = (k1 * signal * full + k0) * iso / 100 / full**2
    bell = not isinstance(op, PhotonNoise) or (op.shot == "gaussian" and op.tails is None)
    return replace(state, variance=state.variance + added, bell=state.bell and bell, iso=iso)


def _planes(four: Array, channels: int) -> Array:
    return four if channels == 4 else BAYER.merge(four)


@rule(DarkCurrent)
def _dark_current(op: DarkCurrent, state: State, at: At) -> State:
    seconds = _one(at.sensor.exposure) if isinstance(op.exposure, str) else _one(op.exposure)
    degrees = _one(at.sensor.temperature) if isinstance(op.temperature, str) else _one(op.temperature)
    count = _one(op.rate) * seconds * 2 ** ((degrees - op.at) / op.doubling)
    each = _electron(op, state, at)
    mean = state.mean + (count * each if op.mean == "keep" else 0)
    return replace(state, mean=mean, variance=state.variance + count * each**2, bell=False)


def _electron(op: DarkCurrent | FullWell, state: State, at: At) -> Array:
    return _numbers(electron(at.sensor, op.gain, len(state.mean)))


@rule(PixelResponse)
def _pixel_response(op: PixelResponse, state: State, at: At) -> State:
    prnu, dsnu = _one(op.prnu), _one(op.dsnu) / _one(at.sensor.range)
    return replace(state, variance=state.variance * (1 + prnu**2) + (state.mean * prnu) ** 2 + dsnu**2)


@rule(RowNoise)
def _row_noise(op: RowNoise, state: State, at: At) -> State:
    if _one(op.band) > 0:  # what a patch shows of a wave depends on its phase
        return replace(state, variance=state.variance * np.nan)
    h, w = cast("tuple[int, int]", at.spec.size)
    added = _one(op.row) ** 2 * (1 - 1 / h) + _one(op.column) ** 2 * (1 - 1 / w)
    return replace(state, variance=state.variance + added / _one(at.sensor.range) ** 2, white=added == 0)


@rule(FullWell)
def _full_well(op: FullWell, state: State, at: At) -> State:
    well = _one(at.sensor.full_well if op.electrons is None else op.electrons)
    return state.clipped(-np.inf, well * _electron(op, state, at))


@rule(Saturate)
def _saturate(op: Saturate, state: State, at: At) -> State:
    return state.clipped(-np.inf, np.asarray(op.level, np.float64).reshape(-1))


@rule(Quantise)
def _quantise(op: Quantise, state: State, at: At) -> State:
    display = at.spec.space is Space.DISPLAY
    black, full = (0.0, 255.0) if display else (_one(at.sensor.black), _one(at.sensor.range))
    if len(at.waves):  # across an edge rounding averages out
        return state.clipped(-black / full, 1.0)
    each = [
        rounded(black + m * full, float(np.sqrt(v)) * full, black + full, state.bell)
        for m, v in zip(state.mean, state.variance, strict=True)
    ]
    mean, variance = np.array(each).T
    return replace(state, mean=(mean - black) / full, variance=variance / full**2)


def rounded(mean: float, sigma: float, top: float, bell: bool = True) -> tuple[float, float]:
    """Mean and variance of a noisy level after rounding to whole DN in 0 .. top; NaN where they cannot be told.

    Fine noise adds 1/12 (Sheppard); noise of less than `COARSE` is summed over the levels, if it is normal.

    >>> rounded(100.3, 0.0, 4095)
    (100.0, 0.0)
    >>> [round(v, 3) for v in rounded(100.3, 0.2, 4095)]
    [100.159, 0.134]
    """
    if sigma == 0:
        return (float("nan") if abs(mean % 1 - 0.5) < TIE else min(max(float(np.round(mean)), 0.0), top)), 0.0
    if not np.isfinite(mean + sigma):
        return float("nan"), float("nan")
    if bell and sigma < COARSE:
        levels = np.arange(np.floor(mean - 8 * sigma) - 1, np.ceil(mean + 8 * sigma) + 2)
        edges = torch.from_numpy((np.append(levels, levels[-1] + 1) - 0.5 - mean) / sigma)
        share = np.diff(torch.special.ndtr(edges).numpy())
        kept = np.clip(levels, 0, top)
        middle = float(share @ kept)
        return middle, float(share @ (kept - middle) ** 2)
    if mean - CLEAR * sigma < 0 or mean + CLEAR * sigma > top:
        return float("nan"), float("nan")
    return mean, sigma**2 + 1 / 12 if bell or sigma > 1 else float("nan")

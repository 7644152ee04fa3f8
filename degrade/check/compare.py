"""Check: what a recipe really does to subjects that are known exactly, beside what it says.

No photograph is needed. Even greys (`degrade.check.measure`) give the photon-transfer curve (variance within a patch
against its mean), the energy (mean out over mean in), the ADC's rounding and the colour of grey; a slanted edge gives
the MTF. A figure is right within `SIGMAS` standard errors and a stated tolerance of what `degrade.check.predict` works
out.

Source: Janesick, Photon PhotonTransfer (SPIE 2007); EMVA Standard 1288; ISO 12233 (slanted edge).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.check.measure import LEVELS, Greys, Spread, edge_spreads, greys, neutral
from degrade.core.errors import DegradeError, RecipeError, noting
from degrade.core.frame import Space
from degrade.gear import cameras
from degrade.maths.cfa import BAYER
from degrade.maths.types import Array
from degrade.recipe.block import one_thread
from degrade.recipe.recipe import Recipe

Marks = NDArray[np.bool_]
Places = NDArray[np.int64]
Isos = tuple[float, float]

SIGMAS = 4.0  #: standard errors that a right figure may be off
NORMAL = 1.96  #: half a 95% interval [standard errors]
GROUPS = 8  #: ISO speeds that are told apart; more are joined with their neighbours
ENERGY, COLOUR, ROUNDING, QUIET, MTF = 2e-4, 1e-3, 0.02, 0.01, 0.01  #: tolerances: relative, relative, DN, DN, of MTF
BRIGHT = 0.02  #: greys that energy and colour are taken from, and brighter [fraction of white]
FULL = 0.8  #: signal up to which a plane of which nothing is said counts as not clipped


@dataclass(frozen=True)
class Figure:
    """One measured number, and what the recipe says."""

    name: str
    value: float
    said: float = math.nan  #: NaN where it cannot be told beforehand
    error: float = 0.0  #: standard error of ``value``
    tolerance: float = 0.0  #: absolute

    @property
    def ok(self) -> bool | None:
        """Whether both agree; None where nothing is said."""
        if math.isnan(self.said):
            return None
        return abs(self.value - self.said) <= SIGMAS * self.error + self.tolerance

    @property
    def texts(self) -> tuple[str, str]:
        """What it is, with half its 95% interval, and what is said, to the digits that count.

        >>> Figure("energy", 0.98123, said=1.0, error=0.0004).texts
        ('0.98123 +- 0.00078', '1.00000')
        """
        half = NORMAL * self.error
        digits = min(max(1 - math.floor(math.log10(half)), 2), 5) if 0 < half < math.inf else 5
        around = f" +- {half:.{digits}f}" if half >= 0.5 * 10**-digits else ""
        # a zero has no sign
        value, said = (
            f"{v:.{digits}f}".replace("-0." + "0" * digits, "0." + "0" * digits) for v in (self.value, self.said)
        )
        return value + around, "" if self.ok is None else said


@dataclass(frozen=True)
class PhotonTransfer:
    """Photon transfer of the rows of one ISO, or of neighbours; NaN where no row of a grey and channel is left."""

    iso: Isos  #: lowest and highest
    mean: Array  #: (g, c) signal above black [DN]
    variance: Array  #: (g, c) [DN^2]
    error: Array  #: (g, c) standard error of ``variance``
    said: Array  #: (g, c) [DN^2]


@dataclass(frozen=True)
class PlaneCheck:
    """All that was measured of one plane."""

    name: str
    space: Space
    figures: tuple[Figure, ...]
    speeds: tuple[PhotonTransfer, ...]  #: none where the plane has no noise
    spread: Spread | None
    remark: str = ""  #: why there is no MTF


@dataclass(frozen=True)
class Check:
    """What a recipe says and does."""

    camera: str
    rows: int  #: patches of each grey
    planes: tuple[PlaneCheck, ...]
    notes: Mapping[str, tuple[float, float]]  #: mean and greatest of the numbers that operators recorded

    @property
    def wrong(self) -> list[str]:
        """The figures that disagree, as ``plane: figure``."""
        return [f"{p.name}: {f.name}" for p in self.planes for f in p.figures if f.ok is False]


def named(iso: Isos) -> str:
    """What a group of ISO speeds is called.

    >>> named((100, 100)), named((100, 166.7))
    ('ISO 100', 'ISO 100 to 167')
    """
    low, high = iso
    return f"ISO {low:.0f}" if low == high else f"ISO {low:.0f} to {high:.0f}"


def check(recipe: Recipe, *, camera: str | None = None, rows: int = 32) -> Check:
    """Measure what a recipe does, and work out what it says, in the planes that it stores.

    Args:
        recipe: any recipe; behind operators that no rule covers nothing is said, and all is measured.
        camera: a camera in place of the recipe's, needed where that is `auto` or the photo's own.
        rows: patches of each grey, and of the edge, 2 or more.

    Raises:
        UnknownName: if there is no such camera.
        RecipeError: if it cannot be rendered on probes, or for too few rows.

    >>> found = check(Recipe.load("residual-maps").changed(store=["noise"]), rows=2)
    >>> [p.name for p in found.planes], found.wrong
    (['noise'], [])
    """
    if rows < 2:
        raise RecipeError(f"rows must be 2 or more, got {rows}")
    if (camera or recipe.source.camera) == cameras.AUTO:
        raise RecipeError("`camera: auto` takes the camera of each photo, and probes have none: name one with --camera")
    if camera is not None:
        cameras.Camera.named(camera)
        recipe = recipe.changed(source=recipe.source.model_copy(update={"camera": camera}))
    try:
        with torch.no_grad(), one_thread(), noting("on probes, plain photos without maps beside them"):
            patches, notes = greys(recipe, rows)
            spreads = edge_spreads(recipe, rows)
    except DegradeError as wrong:
        raise RecipeError(f"the recipe cannot be rendered on probes: {wrong}") from wrong
    planes = tuple(_plane(recipe, name, patches[name], spreads[name]) for name in recipe.stored)
    summed = {n: (float(v.mean()) + 0.0, float(v.max()) + 0.0) for n, v in notes.items() if len(v)}
    return Check(recipe.source.camera or "none", rows, planes, summed)


def _plane(recipe: Recipe, name: str, g: Greys, spread: Spread | str) -> PlaneCheck:
    spec = recipe.specs[name]
    display = spec.space is Space.DISPLAY and recipe.source.space is not Space.DISPLAY
    white = np.ones(3) if display else neutral(spec.space)
    known = np.isfinite(g.said_variance) & np.isfinite(g.said)
    quiet = bool(known.any()) and not bool(g.said_variance[known].any())
    speeds = () if quiet else tuple(_speeds(g))
    figures = [_energy(g)]
    if spec.digital and known.any():
        figures.append(_rounding(g))
    figures += [_quiet(g, known)] if quiet else list(_noise(g))
    figures += _colour(g, white)
    if isinstance(spread, Spread):
        figures.append(_mtf(spread))
        return PlaneCheck(name, spec.space, tuple(figures), speeds, spread)
    return PlaneCheck(name, spec.space, tuple(figures), speeds, None, spread)


# -- figures ----------------------------------------------------------------------------------------------------------


def _bright(g: Greys) -> tuple[Greys, bool]:
    """The bright rows of which all is said or, where of none, those that surely are not clipped; and which."""
    enough = np.array(LEVELS)[g.level.astype(int)] >= BRIGHT
    known = np.isfinite(g.said).all(1) & enough
    if known.any():
        return _rows(g, known), True
    return _rows(g, enough & (g.mean < FULL).all(1)), False


def _rows(g: Greys, at: Any) -> Greys:
    return Greys(*(values[at] for values in g.__dict__.values()))


def _ratio(over: Array, under: Array) -> tuple[float, float]:
    """Ratio of two sums over rows, and its standard error from the rows' own scatter."""
    if not len(over) or under.sum() == 0:
        return math.nan, math.nan
    ratio = float(over.sum() / under.sum())
    return ratio, float(np.sqrt(((over - ratio * under) ** 2).sum()) / abs(under.sum()))


def _energy(g: Greys) -> Figure:
    """Mean signal out over in; the error is that of the difference from what is said, row by row."""
    g, known = _bright(g)
    under = g.subject.sum(1)
    value, error = _ratio(g.mean.sum(1), under)
    if not known:
        return Figure("energy", value, error=error)
    said = float(g.said.sum() / under.sum())
    _, error = _ratio(g.mean.sum(1) - g.said.sum(1) + under, under)
    return Figure("energy", value, said, error, ENERGY * said)


def _rounding(g: Greys) -> Figure:
    """Mean offset in DN, quiet rows weighing most: truncation shows as -1/2."""
    off = (g.mean - g.said) * g.full[:, None]
    weight = g.count / (g.said_variance * g.full[:, None] ** 2 + 1 / 12)
    good = np.isfinite(off * weight)
    off, weight = np.where(good, off, 0.0), np.where(good, weight, 0.0) / weight[good].sum()
    mean = float((weight * off).sum())
    scatter = (weight * (off - mean)).sum(1)  # channels of a row may share their noise
    return Figure("offset [DN]", mean, 0.0, float(np.sqrt((scatter**2).sum())), ROUNDING)


def _quiet(g: Greys, known: Marks) -> Figure:
    """The largest deviation within a patch that should be even."""
    sigma = np.sqrt(g.variance) * g.full[:, None]
    return Figure("noise [DN]", float(sigma[known].max()), 0.0, tolerance=QUIET)


def _noise(g: Greys) -> Iterator[Figure]:
    """Variance over what is said, by ISO, each row weighing as its pixels, with the scatter that rows really have."""
    groups = list(_by_iso(g))
    known = (g.said_variance > 0) & np.isfinite(g.said)
    ratio = np.where(known, g.variance / np.where(known, g.said_variance, 1), np.nan)
    weight = np.where(known, (g.count - 1) / 2, 0.0)
    values = [float(np.nansum(ratio[at] * weight[at]) / max(weight[at].sum(), 1e-30)) for at, _ in groups]
    # chi square, in which each term is 1 where noise is normal and white: of all rows, or of a group where it is more
    terms = np.concatenate([weight[at] * (ratio[at] - v) ** 2 for (at, _), v in zip(groups, values, strict=True)])
    common = float(np.nansum(terms)) / max(int(known.sum()), 1)
    for (at, iso), value in zip(groups, values, strict=True):
        if known[at].any():
            own = float(np.nansum(weight[at] * (ratio[at] - value) ** 2)) / int(known[at].sum())
            error = math.sqrt(max(1.0, common, own) / weight[at].sum())
            yield Figure(f"variance, {named(iso)}", value, 1.0, error)
        else:
            yield Figure(f"noise [DN], {named(iso)}", float(np.sqrt((g.variance * g.full[:, None] ** 2)[at].mean())))


def _colour(g: Greys, white: Array) -> Iterator[Figure]:
    """White-balanced red and blue over green."""
    g, known = _bright(g)
    rgb, said = ((v if len(white) == 3 else BAYER.merge(v)).T for v in (g.mean / white, g.said / white))
    for name, colour in (("R/G", 0), ("B/G", 2)):
        value, error = _ratio(rgb[colour], rgb[1])
        expected, _ = _ratio(said[colour], said[1]) if known else (math.nan, 0.0)
        yield Figure(f"grey {name}", value, expected, error, COLOUR)


def _mtf(spread: Spread) -> Figure:
    """The MTF where it is farthest from what is said; in green at 1/4 where nothing is."""
    off = np.abs(spread.mtf - spread.said) / (SIGMAS * spread.error + MTF)
    quarter = int(np.argmin(np.abs(spread.frequency - 0.25)))
    c, f = np.unravel_index(int(np.nanargmax(off)), off.shape) if np.isfinite(off).any() else (1, quarter)
    name = f"MTF, {'RGB'[c]} at {spread.frequency[f]:.3g}"
    return Figure(name, float(spread.mtf[c, f]), float(spread.said[c, f]), float(spread.error[c, f]), MTF)


# -- photon transfer --------------------------------------------------------------------------------------------------


def _by_iso(g: Greys) -> Iterator[tuple[Places, Isos]]:
    """Rows of each ISO, or of neighbouring ones, with the lowest and the highest."""
    speeds = np.unique(g.iso)
    for some in np.array_split(speeds, min(GROUPS, len(speeds))):
        yield np.flatnonzero(np.isin(g.iso, some)), (float(some[0]), float(some[-1]))


def _speeds(g: Greys) -> Iterator[PhotonTransfer]:
    for at, iso in _by_iso(g):
        rows = _rows(g, at)
        # neighbours in ISO are brought to the middle of their group
        full, scale = rows.full[:, None], (math.sqrt(iso[0] * iso[1]) / rows.iso)[:, None]
        points: list[list[Array]] = []
        for number in range(len(LEVELS)):
            here = rows.level == number
            # where noise reaches a limit nothing is said, and nothing is shown
            keep = here[:, None] & (np.isfinite(rows.said_variance) | np.isnan(g.said_variance).all())
            weight = np.where(keep, rows.count - 1, 0.0)
            total = np.where(weight.sum(0) > 0, weight.sum(0), np.nan)
            mean, variance, said = (
                (np.where(keep, v, 0) * weight).sum(0) / total
                for v in (rows.mean * full, rows.variance * full**2 * scale, rows.said_variance * full**2 * scale)
            )
            points.append([mean, variance, variance * np.sqrt(2 / total), said])
        mean, variance, error, said = (np.stack(values) for values in zip(*points, strict=True))
        yield PhotonTransfer(iso, mean, variance, error, said)

"""Probes: synthetic photographs that are known exactly, rendered by a recipe and measured row by row.

An even grey is one number; an edge is a half plane, each pixel holding the area that it covers. Their white balance is
uneven, so that a mistake of colour shows. What a patch of grey should be, and how waves should come through, is told by
`degrade.check.predict`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from degrade.check.predict import Said
from degrade.check.rules import State
from degrade.core.frame import Frame, Sensor, Space
from degrade.core.group import Slots
from degrade.core.param import column
from degrade.maths.cfa import BAYER
from degrade.maths.slanted_edge import Edge, slanted_edge
from degrade.maths.types import Array
from degrade.operators.readout import BadPixels
from degrade.recipe.recipe import Recipe
from degrade.recipe.render import Rendering

LEVELS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)  #: of white, behind the exposure
BALANCE = (2.1, 1.0, 1.6)  #: white balance of the probes
EDGE = (0.1, 0.5)  #: the two sides of the edge [fraction of white]
ANGLE = 5.0  #: of the edge from the columns [degree]
PLACE = (0.3, 0.4)  #: of the edge in the field, (y, x) [half diagonals]
EDGE_SIDE = 96  #: least side of the patch that the edge lies in [pixels of the crop]
PHOTO_SIDE = 5000  #: about the side of a photo of greys [pixels]
QUIET = 1e-8  #: noise variance below which rows of the edge weigh alike [fraction of white, squared]
FAINT = 1e-6  #: their weight where nothing is said of them
STEP = 4  #: of the frequencies that the edge's MTF is told at, every fourth is taken


@dataclass(frozen=True)
class Greys:
    """Patches of even grey in one plane, n rows in all; signals are fractions of white."""

    level: Array  #: (n,) number of the grey
    iso: Array  #: (n,)
    full: Array  #: (n,) what signal 1 stands for [DN]
    count: Array  #: (n, c) pixels
    subject: Array  #: (n, c) signal of the photo
    mean: Array  #: (n, c)
    variance: Array  #: (n, c)
    said: Array  #: (n, c) mean that the recipe says
    said_variance: Array  #: (n, c)


@dataclass(frozen=True)
class Spread:
    """MTF across the edge by colour, over the mean of all rows, up to half a cycle a pixel of the crop."""

    frequency: Array  #: (f,) [cycles a pixel]
    mtf: Array  #: (3, f)
    error: Array  #: (3, f)
    said: Array  #: (3, f)


# -- even greys -------------------------------------------------------------------------------------------------------


def greys(recipe: Recipe, rows: int) -> tuple[dict[str, Greys], dict[str, Array]]:
    """Patches of all greys by plane, and the numbers that operators noted of them."""
    recipe = _resized(recipe, rows)
    parts: dict[str, list[Greys]] = {name: [] for name in recipe.stored}
    notes: dict[str, list[Array]] = {}
    # room for all patches side by side, so that fixed patterns differ, as far as memory allows
    across = min(math.isqrt(rows * len(LEVELS)), PHOTO_SIDE // recipe.crop.size)
    side = _side(recipe, max(across, math.isqrt(rows - 1) + 1))
    for number, level in enumerate(LEVELS):
        photo = f"grey {number}"
        data = _grey(level / _brighter(recipe, photo), recipe.source.space).expand(1, -1, side, side)
        rendering = Rendering(recipe, _photo(recipe, data), photo)
        said = Said(rendering, data[0, :, 0, 0].double().numpy())
        for slots in rendering.blocks():
            for name, frame in rendering.block(slots).items():
                parts[name].append(_measured(rendering, said, name, slots, frame, number))
        for note, values in rendering.notes.items():
            notes.setdefault(note, []).append(values[np.isfinite(values)])
    joined = {
        name: Greys(*(np.concatenate(fields) for fields in zip(*(g.__dict__.values() for g in some), strict=True)))
        for name, some in parts.items()
    }
    return joined, {note: np.concatenate(values) for note, values in notes.items()}


def _measured(rendering: Rendering, said: Said, name: str, slots: Slots, frame: Frame, level: int) -> Greys:
    """The rows of one block."""
    keep = sound(rendering, name, slots, frame)
    data, n = frame.data.double(), keep.sum((2, 3)).clamp(min=2)
    mean = (data * keep).sum((2, 3)) / n
    variance = (((data - mean[:, :, None, None]) * keep) ** 2).sum((2, 3)) / (n - 1)
    states = [said.plane(name, slot) for slot in slots.tolist()]
    own = np.array([s.iso for s in states])  # the row's camera has the ISO of whichever noise names it last
    full = torch.full_like(frame.sensor.range, 255) if frame.space is Space.DISPLAY else frame.sensor.range
    subject = said.subject
    if len(subject) != frame.space.channels:
        subject = BAYER.spread(subject) if frame.space is Space.MOSAIC else BAYER.merge(subject)
    return Greys(
        level=np.full(len(slots), float(level)),
        iso=np.where(np.isfinite(own), own, frame.sensor.iso.double().numpy()),
        full=full.double().numpy(),
        count=n.double().numpy(),
        subject=np.tile(subject, (len(slots), 1)),
        mean=mean.numpy(),
        variance=variance.numpy(),
        said=np.stack([s.mean for s in states]),
        said_variance=np.stack([s.variance for s in states]),
    )


def sound(rendering: Rendering, name: str, slots: Slots, frame: Frame) -> Tensor:
    """(b, c, h, w) whether a photosite of a plane works."""
    keep = torch.ones_like(frame.data, dtype=torch.bool)
    grey = frame.with_data(torch.full_like(frame.data, 0.25))
    for step in rendering.recipe.paths.planes[name]:
        if isinstance(rendering.recipe.operators[step], BadPixels):
            keep &= cast(BadPixels, rendering.ops[step]).take(slots).apply(grey).data == grey.data
    return keep


# -- the edge ---------------------------------------------------------------------------------------------------------


def edge_spreads(recipe: Recipe, rows: int) -> dict[str, Spread | str]:
    """MTF by plane, or why there is none."""
    recipe = _resized(recipe, rows, EDGE_SIDE)
    waves = np.arange(0, 129, STEP)[:, None] / 256 * _normal()
    sums = {name: _Sum() for name in recipe.stored}
    for rendering, known in _edge_photos(recipe, rows, waves):
        for slots in rendering.blocks():
            for name, frame in rendering.block(slots).items():
                states = [known.plane(name, slot) for slot in slots.tolist()]
                sums[name].add(frame, sound(rendering, name, slots, frame), states)
    return {name: one.spread() for name, one in sums.items()}


def _normal() -> Array:
    """(2,) across the edge (y, x)."""
    return np.array([-math.sin(math.radians(ANGLE)), math.cos(math.radians(ANGLE))])


def _edge_photos(recipe: Recipe, rows: int, waves: Array) -> Iterator[tuple[Rendering, Said]]:
    """Photos that have room for one place alone, until the rows are there."""
    side, found = _side(recipe, 1), 0
    before = recipe.paths.before(next(iter(recipe.planes)))
    pixel = recipe.paths.spec((*before, recipe.paths.crop_name)).grid.scale[0] / recipe.paths.spec(before).grid.scale[0]
    width = pixel / 2 if recipe.source.space is Space.MOSAIC else pixel
    aperture = np.sinc(width * waves).prod(1)
    while found < rows:
        photo = f"edge {found}"
        low, high = (_grey(level / _brighter(recipe, photo), recipe.source.space) for level in EDGE)
        covered = _half_plane(side, recipe.source.space)
        rendering = Rendering(recipe, _photo(recipe, low + (high - low) * covered, PLACE), photo)
        found += max(len(rendering.rows), 1)
        yield rendering, Said(rendering, high[0, :, 0, 0].double().numpy(), waves, aperture)


def _half_plane(side: int, space: Space) -> Tensor:
    """(1, 1 or 4, side, side) share of each pixel that lies beyond the edge through the middle of the picture.

    A pixel of sides a, b across the edge holds the twofold integral of the step, a sum of four squares.
    """
    normal = np.abs(_normal())
    signs = np.sign(_normal())
    width = 0.5 if space is Space.MOSAIC else 1.0
    shift = BAYER.offsets if space is Space.MOSAIC else [(0.0, 0.0)]
    at = np.arange(side) - (side - 1) / 2
    y, x = (np.stack([at + s[axis] for s in shift]) for axis in (0, 1))
    d = signs[0] * normal[0] * y[:, :, None] + signs[1] * normal[1] * x[:, None, :]
    a, b = width * normal
    square = [np.maximum(d + s * a / 2 + t * b / 2, 0) ** 2 / 2 for s, t in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    return torch.from_numpy((square[0] - square[1] - square[2] + square[3]) / (a * b)).float()[None]


class _Sum:
    """The mean of all rows of the edge in one plane, which has the mean of their transfers; noisy rows weigh less."""

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.data, self.keep = torch.zeros(()), torch.ones((), dtype=torch.bool)
        self.weights: list[float] = []
        self.states: list[State] = []

    def add(self, frame: Frame, keep: Tensor, states: Sequence[State]) -> None:
        self.frame = frame
        # rows of which nothing is said count only where nothing is said of any
        weights = [1 / max(float(np.nan_to_num(s.variance, nan=QUIET).mean()), QUIET) for s in states]
        weights = [w if np.isfinite(s.mean).all() else FAINT for w, s in zip(weights, states, strict=True)]
        self.data = self.data + (frame.data.double() * column(weights, frame.data.double())).sum(0)
        self.keep = self.keep & keep.all(0)
        self.weights += weights
        self.states += states

    def spread(self) -> Spread | str:
        if self.frame is None:
            return "no row of the edge is present"
        frame, data = self.frame, self.data / sum(self.weights)
        (sy, sx), (top, left) = frame.grid.scale, frame.grid.at(0)
        y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in frame.size), indexing="ij")
        mosaic = frame.space is Space.MOSAIC
        shift, colours = (BAYER.offsets, BAYER.colours) if mosaic else ([(0.0, 0.0)] * 3, range(3))
        found: list[Edge] = []
        for colour in range(3):
            picked = [
                torch.stack([u[self.keep[c]] for u in (top + sy * (y + dy), left + sx * (x + dx), data[c])])
                for c, (dy, dx) in enumerate(shift)
                if colours[c] == colour
            ]
            try:
                found.append(slanted_edge(*torch.cat(picked, 1)))
            except ValueError as wrong:
                return f"no MTF of {'RGB'[len(found)]}: {wrong}"
        gains = np.stack([w * np.nan_to_num(s.mean) for w, s in zip(self.weights, self.states, strict=True)])[..., None]
        with np.errstate(invalid="ignore"):
            every = np.nan_to_num(np.stack([s.transfer for s in self.states]))
            transfer = np.abs((gains * every).sum(0) / gains.sum(0))
        few = slice(0, 129, STEP)
        return Spread(
            found[0].frequency[few].numpy(),
            np.stack([e.mtf[few].numpy() for e in found]),
            np.stack([e.error[few].numpy() for e in found]),
            BAYER.merge(transfer, 0) if mosaic else transfer,
        )


# -- synthetic photographs --------------------------------------------------------------------------------------------


def neutral(space: Space) -> Array:
    """(c,) a grey of 1."""
    rgb = np.ones(3) if space is Space.DISPLAY else 1 / np.array(BALANCE)
    return BAYER.spread(rgb) if space is Space.MOSAIC else rgb


def _grey(level: float, space: Space) -> Tensor:
    return torch.from_numpy(level * neutral(space)).float().reshape(1, -1, 1, 1)


def _resized(recipe: Recipe, rows: int, least: int = 1) -> Recipe:
    """The recipe with other crops: so many rows, and patches of a whole multiple of their size."""
    crop = recipe.crop
    changed = crop.model_copy(update={"per_photo": rows, "size": crop.size * -(-least // crop.size)})
    return recipe.changed(operators={**recipe.operators, recipe.paths.crop_name: changed})


def _side(recipe: Recipe, patches: int) -> int:
    """Side of a photo that has room for so many patches beside each other [pixels]."""
    crop, paths = recipe.crop, recipe.paths
    before = paths.before(next(iter(recipe.planes)))
    spec = paths.spec((*before, paths.crop_name))
    fine = round(1 / spec.grid.scale[0])
    step = 2 * fine  # patches start on whole squares of the colour filters
    edge = -(-(crop.margin * fine + paths.border) // step) * step
    return math.ceil((crop.size * fine * patches + 2 * edge) * paths.spec(before).grid.scale[0])


def _brighter(recipe: Recipe, photo: str) -> float:
    """How much the operators before the crop brighten a photo of this name, where they brighten it."""
    blank = _photo(recipe, _grey(0, recipe.source.space).expand(1, -1, *(_side(recipe, 1),) * 2))
    said = Said(Rendering(recipe, blank, photo), neutral(recipe.source.space))
    gains = [float(said.entering(name).mean.max()) for name in recipe.stored]
    return max([1.0, *(g for g in gains if math.isfinite(g))])


def _photo(recipe: Recipe, data: Tensor, place: tuple[float, float] | None = None) -> Frame:
    """A photo by a camera of no special kind, whole or cut out around a place of the field."""
    h, w = data.shape[-2:]
    space, half = recipe.source.space, math.hypot(h, w) / 2
    y, x = place or (0.0, 0.0)
    display = space is Space.DISPLAY
    sensor = Sensor.make(
        black=0 if display else 512,
        white=255 if display else 16383,
        bits=8 if display else 14,
        iso=recipe.source.iso or 100,
        exposure=1 / 60,
        temperature=20,
        white_balance=(1, 1, 1) if display else BALANCE,
        centre=((h - 1) / 2 - y * half, (w - 1) / 2 - x * half),
        half_diagonal=half,
    )
    return Frame(data, space, sensor, noise=None if display else torch.zeros(1, 2, space.channels))

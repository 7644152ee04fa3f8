"""A lens's point spread functions from its own pictures: slanted edges, or a known target.

A RAW picture is measured at its true photosites, colour by colour (both greens together), so frequencies are in cycles
a raw pixel, kernels lie on the raw pixels, and the photosite's aperture is in them.  An ordinary picture is taken for
sRGB, as everywhere, and has all colours in every pixel.

Edges give the MTF across each; the kernel is the one with that MTF in every direction and phase zero, an assumption: it
knows no coma or astigmatism and no lateral colour.  A target gives the kernel itself; green's centroid is moved to the
middle, as distortion is none of its business, and red and blue keep their places relative to green.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from degrade.core.disk import StrPath
from degrade.core.errors import PhotoError
from degrade.gear.lens import CHANNELS, Lens
from degrade.maths import bayer
from degrade.maths.cfa import BAYER
from degrade.maths.psf import radial_kernel
from degrade.maths.slanted_edge import Edge, slanted_edge
from degrade.maths.target import Fit, centroid, misregistration, moved, psf_from_target
from degrade.photos.folder import RAW_EXTENSIONS
from degrade.photos.read import read_photo

Box = tuple[int, int, int, int]  # top, left, height, width [pixels]
Found = TypeVar("Found")

_CLIPPED = 0.01  # share of a tile that may be saturated
_LOST = 0.02  # energy beyond the radius that is worth a warning
_LIMIT = 8  # pixels that a target may be misregistered


@dataclass(frozen=True)
class Picture:
    """A picture on its own pixels: raw pixels of the visible area, or those of an ordinary picture."""

    path: str
    values: Tensor  #: (3, h, w), of RAW (1, h, w): the mosaic
    clipped: Tensor  #: (h, w) bool
    corner: tuple[int, int]  #: of the visible area, where ``values`` begins
    size: tuple[int, int]  #: of the visible area
    model: str

    @classmethod
    def read(cls, path: StrPath) -> Picture:
        """Read RAW as mosaic, anything else as linear.

        Raises:
            PhotoError: if it cannot be used.
        """
        raw = os.path.splitext(os.fspath(path))[1].lower() in RAW_EXTENSIONS
        frame = read_photo(path, space="mosaic" if raw else "linear")
        top, left = (round(v) for v in frame.grid.offset) if raw else (0, 0)
        values = bayer.unpack(frame.data[0])[None] if raw else frame.data[0]
        clipped = frame.aux["clipped"][0, 0] > 0
        if raw:
            clipped = clipped.repeat_interleave(2, 0).repeat_interleave(2, 1)
        h, w = values.shape[1:]
        centre = [float(v) for v in frame.sensor.centre.reshape(-1)] if raw else [math.nan]
        size = (round(2 * centre[0] + 1), round(2 * centre[1] + 1)) if math.isfinite(centre[0]) else (h, w)
        return cls(os.fspath(path), values, clipped, (top, left), size, frame.model)

    def mask(self, channel: int, height: int, width: int) -> Tensor:
        """(height, width) bool: where the mosaic, from an even place on, has this channel; True for a picture."""
        found = torch.full((height, width), len(self.values) == 3)
        for c, (i, j) in zip(BAYER.colours, BAYER.sites, strict=True):
            if c == channel:
                found[i::2, j::2] = True
        return found

    def value(self, channel: int) -> Tensor:
        """(h, w) of one channel; of RAW the whole mosaic."""
        return self.values[channel % len(self.values)]


@dataclass(frozen=True)
class TileOfEdges:
    """What was measured in one tile; ``edges`` or ``fits`` are those of R G B."""

    row: int
    column: int
    box: Box  #: top, left, height, width [pixels]
    kernel: Tensor  #: (3, k, k) float32
    edges: tuple[Edge, ...] = ()
    fits: tuple[Fit, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        top, left, height, width = self.box
        return f"tile {self.row},{self.column} (at {top},{left}, {height} x {width})"


@dataclass(frozen=True)
class LensCalibration:
    """A lens and how well it is known."""

    lens: Lens
    name: str
    method: str
    tiles: tuple[TileOfEdges, ...]
    warnings: tuple[str, ...] = ()

    def write(self, path: StrPath) -> Path:
        """Write the lens as .npz or .zarr, whole or not at all; a recipe then says ``{psf: lens, file: path}``."""
        return self.lens.write(os.fspath(path))


def from_edges(
    path: StrPath,
    *,
    pitch: float,
    grid: tuple[int, int] = (1, 1),
    roi: Box | None = None,
    radius: int = 15,
    name: str | None = None,
) -> LensCalibration:
    """Measure one slanted edge in each tile of a picture.

    Args:
        path: RAW, or a picture.
        pitch: distance of its pixels [um].
        grid: tiles down and across.
        roi: top, left, height, width of what is divided into tiles [pixels]; default all.
        radius: of the kernels [pixels].
        name: of the lens; default what the file says.

    Raises:
        PhotoError: if the picture cannot be used, a tile clips, or holds no single straight edge; the tile is named.
    """
    picture = Picture.read(path)
    warnings: list[str] = []

    def measured(box: Box, label: str) -> tuple[Tensor, tuple[Edge, ...], tuple[Fit, ...]]:
        edges = _each(picture, label, lambda c: slanted_edge(*_samples(picture, box, c)))
        kernels = [radial_kernel(e.frequency, e.mtf, radius) for e in edges]
        if max(lost for _, lost in kernels) > _LOST:
            warnings.append(f"{label}: {max(lost for _, lost in kernels):.1%} of the light lies beyond radius {radius}")
        return torch.stack([k for k, _ in kernels]), edges, ()

    return _calibrated(
        picture, grid, roi, pitch, name, "slanted edges, taken for circularly symmetric", measured, warnings
    )


def from_target(
    path: StrPath,
    target: StrPath,
    *,
    pitch: float,
    grid: tuple[int, int] = (1, 1),
    roi: Box | None = None,
    radius: int = 15,
    strength: float | None = None,
    name: str | None = None,
) -> LensCalibration:
    """Measure the kernel in each tile from a target that was photographed, and its picture laid onto the capture.

    Args:
        path: the capture, RAW or a picture.
        target: the target without any blur, registered to the capture to a few pixels, of the size of its visible area.
        strength: of the smoothing; None lets cross-validation choose it.
        pitch, grid, roi, radius, name: as in `from_edges`.

    Raises:
        PhotoError: if a file cannot be used, sizes differ, a tile clips, or the target does not explain it.
    """
    picture, known = Picture.read(path), Picture.read(target)
    if known.size != picture.size or len(known.values) != 3:
        raise PhotoError(
            f"the target {target} is {known.size[0]} x {known.size[1]} pixels, the capture {path} "
            f"{picture.size[0]} x {picture.size[1]}: lay a picture (PNG, TIFF) of the target onto the visible raw area"
        )
    (y0, x0), (h, w) = picture.corner, picture.values.shape[1:]
    scene = known.values[:, y0 : y0 + h, x0 : x0 + w]

    def measured(box: Box, label: str) -> tuple[Tensor, tuple[Edge, ...], tuple[Fit, ...]]:
        rows, columns = _slices(picture, box)
        # the tile with the target about it that its border sees
        top, left = (max(s.start - 2 * radius, 0) // 2 * 2 for s in (rows, columns))
        bottom, right = min(rows.stop + 2 * radius, h), min(columns.stop + 2 * radius, w)
        inner = torch.zeros(bottom - top, right - left, dtype=torch.bool)
        inner[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = True
        masks = [picture.mask(c, *inner.shape) & inner for c in range(3)]
        seen = [picture.value(c)[top:bottom, left:right] for c in range(3)]
        behind = scene[:, top:bottom, left:right]
        limit = min(_LIMIT, min(inner.shape) // 4)
        off = _told(picture, label, lambda: misregistration(behind[1], seen[1], masks[1], limit))
        laid = torch.roll(behind, off, (1, 2))
        edge = max(abs(v) for v in off)
        if edge:  # what wrapped round is not the target's
            far = torch.zeros_like(inner)
            far[radius + edge : -radius - edge, radius + edge : -radius - edge] = True
            masks = [m & far for m in masks]
        fits = _each(picture, label, lambda c: psf_from_target(laid[c], seen[c], masks[c], radius, strength))
        y, x = centroid(fits[1].kernel, fits[1].error)
        return moved(torch.stack([f.kernel for f in fits]), (-y, -x)).float(), (), fits

    method = f"{Path(target).name} by regularised least squares"
    return _calibrated(picture, grid, roi, pitch, name, method, measured, [])


def _calibrated(
    picture: Picture,
    grid: tuple[int, int],
    roi: Box | None,
    pitch: float,
    name: str | None,
    method: str,
    measured: Callable[[Box, str], tuple[Tensor, tuple[Edge, ...], tuple[Fit, ...]]],
    warnings: list[str],
) -> LensCalibration:
    m, n = grid
    h, w = picture.size
    top, left, height, width = (0, 0, h, w) if roi is None else roi
    if (
        m < 1
        or n < 1
        or top < 0
        or left < 0
        or min(height // m, width // n) < 16
        or top + height > h
        or left + width > w
    ):
        raise PhotoError(
            f"{picture.path}: {m} x {n} tiles of {height} x {width} pixels at {top},{left} do not fit its {h} x {w}, "
            "or are smaller than 16: give a region inside, and fewer tiles"
        )
    rows, columns = (
        [a + size * i // count for i in range(count + 1)] for a, size, count in ((top, height, m), (left, width, n))
    )
    tiles: list[TileOfEdges] = []
    for i in range(m):
        for j in range(n):
            box = rows[i], columns[j], rows[i + 1] - rows[i], columns[j + 1] - columns[j]
            tile = TileOfEdges(i, j, box, torch.zeros(0))
            share = float(picture.clipped[_slices(picture, box)].float().mean())
            if share > _CLIPPED:
                raise PhotoError(f"{picture.path}: {share:.0%} of {tile.name} is clipped: expose it shorter")
            kernel, edges, fits = measured(box, tile.name)
            tiles.append(TileOfEdges(i, j, box, kernel, edges, fits))
    half = math.hypot(h, w) / 2
    called = name or picture.model or "unnamed lens"
    fields = [
        np.array([((a + b - 1) / 2 - (size - 1) / 2) / half for a, b in pairwise(ends)])
        for ends, size in ((rows, h), (columns, w))
    ]
    psf = torch.stack([t.kernel for t in tiles]).unflatten(0, (m, n))[None].numpy()
    about = f"{called}: PSF from {method}, {m} x {n} tiles of {Path(picture.path).name}."
    lens = Lens(psf, fields[0], fields[1], pitch=pitch, includes_aperture=True, about=about)
    return LensCalibration(lens, called, method, tuple(tiles), tuple(warnings))


def _slices(picture: Picture, box: Box) -> tuple[slice, slice]:
    """A box of the visible area, as rows and columns of ``values``."""
    (y0, x0), (h, w) = picture.corner, picture.values.shape[1:]
    return (
        slice(max(box[0] - y0, 0), min(box[0] - y0 + box[2], h)),
        slice(max(box[1] - x0, 0), min(box[1] - x0 + box[3], w)),
    )


def _samples(picture: Picture, box: Box, channel: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns in the visible area, and values, of one channel in a box."""
    rows, columns = _slices(picture, box)
    top, left = rows.start // 2 * 2, columns.start // 2 * 2
    mask = picture.mask(channel, rows.stop - top, columns.stop - left)
    mask[: rows.start - top], mask[:, : columns.start - left] = False, False
    y, x = torch.nonzero(mask, as_tuple=True)
    return y + top + picture.corner[0], x + left + picture.corner[1], picture.value(channel)[y + top, x + left]


def _each(picture: Picture, label: str, measure: Callable[[int], Found]) -> tuple[Found, ...]:
    """The three channels' measures; what is wrong names the tile and the channel."""
    return tuple(_told(picture, f"{label}, {CHANNELS[c]}", lambda c=c: measure(c)) for c in range(3))


def _told(picture: Picture, label: str, measure: Callable[[], Found]) -> Found:
    try:
        return measure()
    except ValueError as wrong:
        raise PhotoError(f"{picture.path}, {label}: {wrong}") from wrong


def half_contrast(edge: Edge) -> tuple[float, float]:
    """MTF50: the frequency at which the MTF has come down to a half [cycles a pixel], and its standard error.

    Infinite where it never does.

    >>> y, x = torch.meshgrid(*[torch.arange(64.0)] * 2, indexing="ij")
    >>> edge = slanted_edge(y, x, torch.special.ndtr(x - 0.1 * y - 28))
    >>> round(half_contrast(edge)[0], 2)
    0.19
    """
    below = torch.nonzero(edge.mtf < 0.5)
    if not len(below):
        return math.inf, math.inf
    i = int(below[0])
    before, after = float(edge.mtf[i - 1]), float(edge.mtf[i])
    step = float(edge.frequency[1])
    return float(edge.frequency[i - 1]) + step * (before - 0.5) / (before - after), float(edge.error[i]) * step / (
        before - after
    )


def summary(tile: TileOfEdges) -> str:
    """What a tile tells, colour by colour, with 95% intervals."""
    if tile.edges:
        halves = [half_contrast(e) for e in tile.edges]
        parts = [f"{c} {f:.3f} +- {1.96 * e:.2g}" for c, (f, e) in zip(CHANNELS, halves, strict=True)]
        return f"MTF50 {', '.join(parts)} cycles a pixel, edge at {tile.edges[1].angle:.2f} degrees"
    parts = [
        f"{c} {float(f.kernel.max()):.3f} +- {1.96 * float(f.error[divmod(int(f.kernel.argmax()), len(f.kernel))]):.2g}"
        for c, f in zip(CHANNELS, tile.fits, strict=True)
    ]
    least = min(f.explained for f in tile.fits)
    return f"peak of the kernel {', '.join(parts)}; the target explains {least:.1%} or more"

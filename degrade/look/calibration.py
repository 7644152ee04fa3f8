"""The report of a calibration as one picture: for each ISO and plane the curve, the residuals and the intervals.

Axes are logarithmic; the points are groups of tiles, neighbours in brightness, with bars of 95%.  The solid
line is the ISO's own, the dashed one the common curve that the camera file holds.  Below are the residuals from the own
line, in percent of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from degrade.look.paper import INK, PAPER, RULE, SOFT, Colour, Text
from degrade.maths.transfer import Line
from degrade.photos.calibrate import Calibration, Speed
from degrade.photos.flats import PLANES

Array = NDArray[np.float64]

MARGIN, GAP, GUTTER = 24, 18, 46
CURVE, RESIDUAL, WIDTH = 200, 70, 260
_COLOURS: tuple[Colour, ...] = ((224, 108, 100), (120, 190, 120), (150, 205, 130), (110, 150, 230))
_GROUPS = 24  # points a curve


def report(calibration: Calibration, path: str | Path) -> Path:
    """Write the report as PNG.

    Raises:
        ValueError: if there are no measured points, as with a NoiseProfile.
    """
    out = Path(path)
    picture(calibration).save(out, "PNG")
    return out


def picture(calibration: Calibration) -> Image.Image:
    """The report: a row an ISO, a column a plane, and what is known of each.

    Raises:
        ValueError: if there are no measured points, as with a NoiseProfile.
    """
    if not calibration.speeds:
        raise ValueError(f"a calibration from {calibration.method} has no points to draw: leave the report out")
    inner = 4 * (GUTTER + WIDTH + GAP)
    head = [
        Text.set(calibration.name, inner, 20),
        Text.set(f"Noise from {calibration.method}: variance = (k1 S + k0) ISO / 100", inner),
        *(
            Text.set(f"{_said(name, line)} at ISO 100", inner, 13, INK)
            for name, line in zip(PLANES, calibration.lines, strict=True)
        ),
        *(Text.set(f"Note: {warning}", inner, 12, SOFT) for warning in calibration.warnings),
    ]
    rows = [_row(speed, calibration.lines, inner) for speed in calibration.speeds]
    note = Text.set(
        "Above: variance [DN^2] against signal above black [DN] at the ISO of the row, bars are 95% intervals; solid "
        "the line of this ISO, dashed the common curve; darks stand at the left edge. Below: residuals from the line. "
        "All +- hold 95%; k1 and k0 are for ISO 100.",
        inner,
        12,
        SOFT,
    )
    height = 2 * MARGIN + sum(t.height for t in head) + sum(r.height + GAP for r in rows) + note.height
    sheet = Image.new("RGB", (inner + 2 * MARGIN, height), PAPER)
    top = MARGIN
    for text in head:
        text.paint(sheet, MARGIN, top)
        top += text.height
    for row in rows:
        sheet.paste(row, (MARGIN, top + GAP))
        top += row.height + GAP
    note.paint(sheet, MARGIN, top + GAP // 2)
    return sheet


def _said(name: str, line: Line) -> str:
    """``G1: k1 0.1920 +- 0.0003 DN``, with half the width of the 95% interval."""
    return (
        f"{name}: k1 = {line.k1:.4g} +- {1.96 * line.k1_error:.2g} DN,  "
        f"k0 = {line.k0:.4g} +- {1.96 * line.k0_error:.2g} DN^2"
    )


def grouped(x: Array, y: Array, dof: Array, groups: int = _GROUPS) -> tuple[Array, Array, Array]:
    """Means of neighbours in x, the darks (below a thousandth of the largest x) as one, and their relative errors.

    >>> x, y, error = grouped(np.arange(1.0, 101), np.full(100, 5.0), np.full(100, 1000.0), groups=10)
    >>> len(x), y[0].item(), round(error[0].item(), 4)
    (10, 5.0, 0.0141)
    """
    order = np.argsort(x, kind="stable")
    dark = int((x < max(1e-3 * float(x.max()), 0.5)).sum())
    parts = [order[:dark]] * (dark > 0) + np.array_split(order[dark:], min(groups, len(x) - dark))
    return (
        np.array([x[p].mean() for p in parts]),
        np.array([np.average(y[p], weights=dof[p]) for p in parts]),
        np.array([math.sqrt(2 / dof[p].sum()) for p in parts]),
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten, and their 2 and 5 fold where there are few.

    >>> ticks(0.5, 2000), ticks(30, 220)
    ([1.0, 10.0, 100.0, 1000.0], [50.0, 100.0, 200.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 200 else (1,)
    return [v for e in powers for s in steps if low <= (v := s * 10.0**e) <= high]


def _row(speed: Speed, common: Sequence[Line], width: int) -> Image.Image:
    counted = (
        f"{speed.points.mean.shape[1]:,} tiles, {speed.levels} brightnesses"
        if speed.levels > 1
        else (f"{speed.points.mean.shape[1]:,} tiles")
    )
    head = Text.set(f"ISO {speed.iso:g}: {counted}", width, 15)
    texts = [Text.set(_said(n, line), WIDTH + GUTTER, 12, SOFT) for n, line in zip(PLANES, speed.lines, strict=True)]
    top = head.height + max(t.height for t in texts) + 8
    row = Image.new("RGB", (width, top + CURVE + RESIDUAL + GAP + 22), PAPER)
    head.paint(row, 0, 0)
    for c, text in enumerate(texts):
        left = c * (GUTTER + WIDTH + GAP)
        text.paint(row, left, head.height)
        _panel(row, left + GUTTER, top, speed, c, common[c])
    return row


def _panel(sheet: Image.Image, left: int, top: int, speed: Speed, c: int, common: Line) -> None:
    """Curve and residuals of one plane."""
    gain, line = speed.iso / 100, speed.lines[c]
    x, y, error = grouped(speed.points.mean[c], speed.points.variance[c], speed.points.dof[c])
    # darks have no place on a logarithmic axis: they stand at the left edge, where the curve has come down to k0
    knee = 0.1 * line.k0 / line.k1 if min(line.k0, line.k1) > 0 else 0.5
    shown = np.maximum(x, min(max(knee, 1e-5 * float(x.max())), max(1e-3 * float(x.max()), 0.5)))
    own = line.at(x) * gain
    total = y + speed.rounding
    lower, upper = y - 1.96 * error * total, y + 1.96 * error * total
    least, most = max(float(min(y.min(), own.min())), 1e-3), float(max(y.max(), own.max()))
    across = _scale(float(shown.min()), float(shown.max()), left, left + WIDTH)
    up = _scale(least / 1.3, most * 1.3, top + CURVE, top)
    draw = ImageDraw.Draw(sheet)
    _frame(draw, left, top, CURVE)
    for value in ticks(least / 1.3, most * 1.3):
        height = up(value)
        draw.line([(left, height), (left + WIDTH, height)], fill=RULE)
        _label(sheet, f"{value:g}", left - 6, height)
    for value in ticks(float(shown.min()), float(shown.max())):
        place = across(value)
        draw.line([(place, top), (place, top + CURVE)], fill=RULE)
        text = Text.set(f"{value:g}", WIDTH, 11, SOFT)
        text.paint(sheet, round(place - text.width / 2), top + CURVE + RESIDUAL + GAP + 2)
    smooth = np.geomspace(shown.min(), shown.max(), 60)
    for one, colour, dashed in ((common, SOFT, True), (line, _COLOURS[c], False)):
        values = np.maximum(one.at(smooth) * gain, least / 1.3)
        dots = [(across(u), up(v)) for u, v in zip(smooth, values, strict=True)]
        for i in range(0, len(dots) - 1, 2 if dashed else 1):
            draw.line([dots[i], dots[i + 1]], fill=colour)
    for u, v, low, high in zip(shown, y, lower, upper, strict=True):
        place = across(u)
        draw.line([(place, up(max(low, least / 1.3))), (place, up(max(high, least / 1.3)))], fill=INK)
        _dot(draw, place, up(max(v, least / 1.3)))
    _residuals(sheet, left, top + CURVE + GAP, [across(u) for u in shown], (y - own) / own, error * total / own)


def _residuals(sheet: Image.Image, left: int, top: int, places: Sequence[float], off: Array, error: Array) -> None:
    reach = max(0.02, float(np.quantile(np.abs(off) + 1.96 * error, 0.9)))
    middle = top + RESIDUAL / 2
    draw = ImageDraw.Draw(sheet)
    _frame(draw, left, top, RESIDUAL)
    draw.line([(left, middle), (left + WIDTH, middle)], fill=SOFT)
    _label(sheet, f"{reach:+.1%}", left - 6, top + 6)
    _label(sheet, f"{-reach:+.1%}", left - 6, top + RESIDUAL - 6)
    for place, value, bar in zip(places, off, error, strict=True):
        ends = [middle - RESIDUAL / 2 * max(-1.0, min(1.0, (value + s * 1.96 * bar) / reach)) for s in (1, -1)]
        draw.line([(place, ends[0]), (place, ends[1])], fill=INK)
        if abs(value) <= reach:
            _dot(draw, place, middle - RESIDUAL / 2 * value / reach)


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """Logarithmic axis: where a value lies between two places on the sheet."""
    span = max(math.log(high / low), 1e-9)
    return lambda value: first + (last - first) * math.log(value / low) / span


def _frame(draw: ImageDraw.ImageDraw, left: int, top: int, height: int) -> None:
    draw.rectangle([(left, top), (left + WIDTH, top + height)], outline=RULE)


def _label(sheet: Image.Image, text: str, right: int, middle: float) -> None:
    said = Text.set(text, WIDTH, 11, SOFT)
    said.paint(sheet, right - said.width, round(middle - said.leading / 2))


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    draw.ellipse([(x - 2, y - 2), (x + 2, y + 2)], fill=INK)

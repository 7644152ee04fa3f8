"""The report of a calibration as one picture: for each ISO and plane the curve, the residuals and the intervals.

Axes are logarithmic; the points are groups of tiles, neighbours in brightness, with bars of 95%.  The solid
line is the ISO's own, the dashed one the common curve that the camera file holds.  Below are the residuals from the own
line, in percent of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from degrade.calibrate.flats import PLANES
from degrade.calibrate.noise import Calibration, Speed
from degrade.core.errors import RecipeError
from degrade.look.plot import PLANE_COLOURS as COLOURS
from degrade.look.plot import Axis, Panel
from degrade.look.typeset import INK, PAPER, SOFT, Text, assembled
from degrade.maths.transfer import Line
from degrade.maths.types import Array

MARGIN, GAP, GUTTER = 24, 18, 46
CURVE, RESIDUAL, WIDTH = 200, 70, 260
_GROUPS = 24  # points a curve


def noise_sheet(calibration: Calibration) -> Image.Image:
    """The report: a row an ISO, a column a plane, and what is known of each.

    Raises:
        RecipeError: if there are no measured points, as with a NoiseProfile.
    """
    if not calibration.speeds:
        raise RecipeError(f"a calibration from {calibration.method} has no points to draw: leave the report out")
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
    return assembled(head, rows, note, inner, GAP, MARGIN)


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
    bar = 1.96 * error * (y + speed.rounding)
    least, most = max(float(min(y.min(), own.min())), 1e-3), float(max(y.max(), own.max()))
    across = Axis(float(shown.min()), float(shown.max()), log=True)
    curve = Panel(sheet, left, top, WIDTH, CURVE, across, Axis(least / 1.3, most * 1.3, log=True))
    curve.frame(below=False)
    smooth = np.geomspace(shown.min(), shown.max(), 60)
    curve.line(smooth, common.at(smooth) * gain, SOFT, dashed=True)
    curve.line(smooth, line.at(smooth) * gain, COLOURS[c])
    # a point below the axis stands at its end
    curve.points(shown, np.maximum(y, least / 1.3), y - bar, y + bar)
    off, bar = (y - own) / own, bar / own
    reach = max(0.02, float(np.quantile(np.abs(off) + bar, 0.9)))
    rest = Panel(sheet, left, top + CURVE + GAP, WIDTH, RESIDUAL, across, Axis(-reach, reach))
    rest.frame(beside=False)
    rest.line([across.low, across.high], [0, 0], SOFT)
    for value in (reach, -reach):
        rest.label(f"{value:+.1%}", value)
    rest.points(shown, off, off - bar, off + bar)

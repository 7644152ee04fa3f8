"""A check as one picture: a row a plane, with its figures, its photon transfer and its MTF.

Lines are what the recipe says, points what it does, bars are 95% intervals; below each lie the residuals.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from degrade.check.compare import NORMAL, Check, Figure, PlaneCheck, named
from degrade.check.measure import Spread
from degrade.look.plot import CHANNEL_COLOURS, GREEN, RED, Axis, Panel
from degrade.look.typeset import INK, PAPER, RULE, SOFT, Rgb, Text, assembled
from degrade.maths.types import Array

MARGIN, GAP, GUTTER, SIDE = 28, 34, 54, 100
TEXT, WIDTH, CURVE, RESIDUAL, BETWEEN, TICKS = 376, 390, 230, 84, 12, 20
COLUMNS = (16, 188, 318)  #: of the figures: name, does, says
INNER = TEXT + 2 * (GUTTER + WIDTH) + SIDE + 12
COOL, WARM = (96, 150, 236), (244, 176, 92)  #: of the lowest and the highest ISO


def check_sheet(checked: Check, title: str) -> Image.Image:
    """The sheet: a head, a row a plane, and how to read it."""
    head = [Text.set(title, INNER, 22), *_verdict(checked, INNER)]
    foot = Text.set(
        "Lines are what the recipe says, points what it does to synthetic photographs, bars 95% intervals; below are "
        "the residuals. Photon transfer: variance within a patch against its mean above black, all channels, darks at "
        "the left edge; residuals are the mean of the channels. MTF: across a slanted edge, in R, G and B, the mean of "
        "all rows, with the aperture of the pixels. A dot is green where the figure lies within 4 standard errors and "
        "its tolerance of what is said, red where not, grey where nothing can be said.",
        INNER,
        12,
        SOFT,
    )
    rows = [_row(plane) for plane in checked.planes]
    return assembled(head, rows, foot, INNER, GAP, MARGIN)


def _verdict(checked: Check, width: int) -> list[Text]:
    told = sum(f.ok is not None for p in checked.planes for f in p.figures)
    wrong = checked.wrong
    said = f"{len(wrong)} of {told} figures disagree with the recipe: {', '.join(wrong)}"
    lines = [
        Text.set(said, width, 14, RED)
        if wrong
        else Text.set(f"all {told} figures agree with the recipe", width, 14, GREEN),
        Text.set(f"Camera: {checked.camera}; {checked.rows} patches of each grey and of the edge", width, 13, SOFT),
    ]
    notes = [f"{name}: {mean:.3g} on average, {most:.3g} at most" for name, (mean, most) in checked.notes.items()]
    return [*lines, Text.items(notes, width, 13, SOFT)] if notes else lines


def _row(plane: PlaneCheck) -> Image.Image:
    """One plane."""
    remark = Text.set(plane.remark, TEXT, 12, SOFT)
    head, space = Text.set(plane.name, TEXT, 18), Text.set(plane.space.value.upper(), TEXT, 12, SOFT)
    lines = [_cells(f) for f in plane.figures]
    first = head.height + space.height + 10
    tall = first + sum(max(c.height for c in cells) + 2 for cells in lines) + remark.height
    row = Image.new("RGB", (INNER, max(tall, CURVE + BETWEEN + RESIDUAL + TICKS)), PAPER)
    head.paint(row, 0, 0)
    space.paint(row, 0, head.height)
    for left, name in zip(COLUMNS[1:], ("does", "says"), strict=True):
        Text.set(name, TEXT, 12, SOFT).paint(row, left, head.height)
    draw, top = ImageDraw.Draw(row), first
    for figure, cells in zip(plane.figures, lines, strict=True):
        draw.ellipse([(0, top + 4), (8, top + 12)], fill={True: GREEN, False: RED, None: SOFT}[figure.ok])
        for left, cell in zip(COLUMNS, cells, strict=True):
            cell.paint(row, left, top)
        top += max(c.height for c in cells) + 2
    remark.paint(row, 0, top)
    _transfer(row, TEXT + GUTTER, plane)
    _spread(row, TEXT + GUTTER + WIDTH + SIDE + GUTTER, plane.spread)
    return row


def _cells(figure: Figure) -> list[Text]:
    """Name, what it does, what is said."""
    colour, soft = (RED, RED) if figure.ok is False else (INK, SOFT)
    widths = [right - left - 8 for left, right in zip(COLUMNS, (*COLUMNS[1:], TEXT), strict=True)]
    entries = zip((figure.name, *figure.texts), widths, (colour, colour, soft), strict=True)
    return [Text.set(said, width, 12, shade) for said, width, shade in entries]


# -- photon transfer --------------------------------------------------------------------------------------------------


def _transfer(sheet: Image.Image, left: int, plane: PlaneCheck) -> None:
    """Variance against mean, a colour an ISO, and by how much it is off."""
    if not plane.speeds:
        _empty(sheet, left, "even greys stay even: no noise to measure")
        return
    mean, variance = (np.stack([getattr(s, n) for s in plane.speeds]) for n in ("mean", "variance"))
    bright, shown = mean[:, 1:][mean[:, 1:] > 0], variance[variance > 0]
    if not len(bright) or not len(shown):
        _empty(sheet, left, "no patch is left that noise does not clip")
        return
    x = Axis(float(bright.min()) / 2, float(bright.max()) * 1.15, log=True)
    y = Axis(float(shown.min()) / 1.6, float(shown.max()) * 2.5, log=True)
    panel = Panel(sheet, left, 0, WIDTH, CURVE, x, y)
    panel.frame(below=False, title="photon transfer: variance [DN^2] against signal [DN]")
    offs: list[tuple[Array, Array, Array, Rgb]] = []
    for i, speed in enumerate(plane.speeds):
        colour = _shade(i / max(len(plane.speeds) - 1, 1))
        for c in range(speed.mean.shape[1]):
            good = np.isfinite(speed.said[:, c]) & (speed.said[:, c] > 0)
            panel.line(speed.mean[good, c], speed.said[good, c], colour)
        good = np.isfinite(speed.variance) & (speed.variance > 0)
        v, bar = speed.variance[good], NORMAL * speed.error[good]
        panel.points(speed.mean[good], v, np.maximum(v - bar, y.low), v + bar, colour)
        off, error = _residual(speed.variance, speed.said, speed.error)
        offs.append((np.nanmax(np.where(np.isfinite(speed.mean), speed.mean, -np.inf), axis=1), off, error, colour))
    _names(sheet, panel, plane)
    found = np.concatenate([np.abs(off) + NORMAL * error for _, off, error, _ in offs])
    found = found[np.isfinite(found)]
    if not len(found):
        _empty(sheet, left, "the recipe does not say how much noise there is", CURVE + BETWEEN, RESIDUAL)
        return
    below = _below(sheet, left, x, max(0.01, float(np.quantile(found, 0.95))), True)
    for i, (across, off, error, colour) in enumerate(offs):
        good = np.isfinite(off)
        beside = across * 1.05 ** (i - len(offs) // 2)  # so that none hides another
        below.points(beside[good], off[good], (off - NORMAL * error)[good], (off + NORMAL * error)[good], colour)


def _residual(variance: Array, said: Array, error: Array) -> tuple[Array, Array]:
    """Mean over channels of variance / said - 1, and its standard error; NaN where nothing is said."""
    known = np.isfinite(said) & (said > 0)
    safe, count = np.where(known, said, 1.0), np.where(known.any(1), known.sum(1), np.nan)
    off = np.where(known, variance / safe - 1, 0.0).sum(1) / count
    return off, np.sqrt(np.where(known, (error / safe) ** 2, 0.0).sum(1)) / count


def _names(sheet: Image.Image, panel: Panel, plane: PlaneCheck) -> None:
    """ISO speeds beside the ends of their curves, moved apart where they would touch."""
    above = 0
    for i, speed in reversed(list(enumerate(plane.speeds))):
        last = speed.variance[np.isfinite(speed.variance)]
        if len(last):
            text = Text.set(named(speed.iso), SIDE, 11, _shade(i / max(len(plane.speeds) - 1, 1)))
            top = max(round(panel.at(panel.x.high, float(last.max()))[1]) - 8, above)
            text.paint(sheet, panel.left + panel.width + 6, top)
            above = top + text.height


def _shade(share: float) -> Rgb:
    r, g, b = (round(a + (z - a) * share) for a, z in zip(COOL, WARM, strict=True))
    return r, g, b


# -- MTF --------------------------------------------------------------------------------------------------------------


def _spread(sheet: Image.Image, left: int, spread: Spread | None) -> None:
    """MTF by colour, and by how much it is off."""
    if spread is None:
        _empty(sheet, left, "no MTF could be measured")
        return
    x = Axis(0, 0.5)
    panel = Panel(sheet, left, 0, WIDTH, CURVE, x, Axis(0, max(1.0, float(spread.mtf.max())) * 1.2))
    panel.frame(below=False, title="MTF against frequency [cycles a pixel]")
    off, bar = spread.mtf - spread.said, NORMAL * spread.error
    known = np.isfinite(off)
    reach = max(0.01, float(np.quantile((np.abs(off) + bar)[known], 0.98))) if known.any() else 0.0
    below = _below(sheet, left, x, reach, False) if reach else None
    if below is None:
        _empty(sheet, left, "the recipe does not say how sharp it is", CURVE + BETWEEN, RESIDUAL)
    for c, colour in enumerate(CHANNEL_COLOURS):
        good = np.isfinite(spread.said[c])
        panel.line(spread.frequency[good], spread.said[c, good], colour)
        # colours side by side, so that none hides another
        at = spread.frequency + (c - 1) * 0.003
        panel.points(at, spread.mtf[c], spread.mtf[c] - bar[c], spread.mtf[c] + bar[c], colour)
        if below is not None:
            below.points(at[good], off[c, good], (off - bar)[c, good], (off + bar)[c, good], colour)


# -- frames -----------------------------------------------------------------------------------------------------------


def _below(sheet: Image.Image, left: int, x: Axis, reach: float, percent: bool) -> Panel:
    """The frame of residuals, from ``-reach`` to ``reach``."""
    panel = Panel(sheet, left, CURVE + BETWEEN, WIDTH, RESIDUAL, x, Axis(-reach, reach))
    panel.frame(beside=False)
    panel.line([x.low, x.high], [0, 0], SOFT)
    digits = max(0, 1 - math.floor(math.log10(reach * (100 if percent else 1))))
    for value in (-reach, 0.0, reach):
        panel.label(f"{value:+.{digits}%}" if percent else f"{value:+.{digits}f}", value)
    return panel


def _empty(sheet: Image.Image, left: int, said: str, top: int = 0, height: int = CURVE + BETWEEN + RESIDUAL) -> None:
    """A frame with a sentence in the place of a plot."""
    ImageDraw.Draw(sheet).rectangle([(left, top), (left + WIDTH, top + height)], outline=RULE)
    text = Text.set(said, WIDTH - 2 * GAP, 12, SOFT)
    text.paint(sheet, left + (WIDTH - text.width) // 2, top + (height - text.height) // 2)

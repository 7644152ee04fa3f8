"""The report of a lens calibration as one picture: a row a tile, with curves, residuals, intervals and kernels.

Edges: ESF and the residuals of some samples, LSF, MTF with its 95% band.  Targets: cuts through the kernels with 95%
bars, and the residuals against the signal.  Kernels are shown as the lens file holds them, brightness by square root of
the value over the largest.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from degrade.calibrate.psf import LensCalibration, TileOfEdges, summary
from degrade.look.plot import CHANNEL_COLOURS as COLOURS
from degrade.look.plot import Axis, Panel
from degrade.look.typeset import INK, PAPER, SOFT, Text, assembled

MARGIN, GAP, GUTTER = 24, 18, 46
HEIGHT, REST, WIDTH, KERNEL = 170, 60, 240, 124
_BANDS = ((74, 48, 46), (48, 66, 48), (46, 56, 78))  # intervals, R G B
_NEAR = 8.0  # pixels about the edge that are drawn


def psf_sheet(calibration: LensCalibration) -> Image.Image:
    """The report: a row a tile."""
    inner = 3 * (GUTTER + WIDTH + GAP) + 3 * (KERNEL + GAP)
    lens = calibration.lens
    side = lens.psf.shape[-1]
    head = [
        Text.set(calibration.name, inner, 20),
        Text.set(f"PSF from {calibration.method}: {side} x {side} kernels, {lens.pitch:g} um a pixel", inner),
        *(Text.set(f"Note: {warning}", inner, 12, SOFT) for warning in calibration.warnings),
    ]
    rows = [_row(tile, inner) for tile in calibration.tiles]
    edges = bool(calibration.tiles[0].edges)
    note = Text.set(
        "ESF and LSF against the distance from the edge [pixels], below it the residuals of some samples [of the "
        "contrast]; MTF against cycles a pixel, bands hold 95%. A kernel is circularly symmetric by assumption."
        if edges
        else "Cuts through the kernels against pixels, across (left) and down (middle), bars hold 95%; residuals of "
        "some samples against the signal of the model [of white].",
        inner,
        12,
        SOFT,
    )
    return assembled(head, rows, note, inner, GAP, MARGIN)


def _row(tile: TileOfEdges, width: int) -> Image.Image:
    head, text = Text.set(tile.name, width, 15), Text.set(summary(tile), width, 12, SOFT)
    top = head.height + text.height + 8
    row = Image.new("RGB", (width, top + HEIGHT + REST + GAP + 22), PAPER)
    head.paint(row, 0, 0)
    text.paint(row, 0, head.height)
    (_edge if tile.edges else _target)(row, tile, top)
    left = 3 * (GUTTER + WIDTH + GAP)
    for c, name in enumerate("RGB"):
        kernel = tile.kernel[c].numpy()
        shown = np.sqrt(np.clip(kernel / kernel.max(), 0, 1))
        image = Image.fromarray(np.rint(255 * shown).astype(np.uint8)).resize(
            (KERNEL, KERNEL), Image.Resampling.NEAREST
        )
        row.paste(image.convert("RGB"), (left, top))
        lowest = f", lowest {kernel.min():.1g}" if kernel.min() < -1e-4 else ""
        Text.set(f"{name}: peak {kernel.max():.3f}{lowest}", KERNEL, 11, SOFT).paint(row, left, top + KERNEL + 4)
        left += KERNEL + GAP
    return row


def _panel(row: Image.Image, column: int, top: int, x: Axis, y: Axis, height: int = HEIGHT) -> Panel:
    return Panel(row, column * (GUTTER + WIDTH + GAP) + GUTTER, top, WIDTH, height, x, y)


def _edge(row: Image.Image, tile: TileOfEdges, top: int) -> None:
    """ESF over residuals, LSF, MTF."""
    across = Axis(-_NEAR, _NEAR)
    most = max(float(e.lsf.max()) for e in tile.edges)
    off = max(float(e.residual[e.place.abs() < _NEAR].abs().quantile(0.99)) for e in tile.edges)
    esf = _panel(row, 0, top, across, Axis(-0.1, 1.1))
    rest = _panel(row, 0, top + HEIGHT + GAP, across, Axis(-max(off, 0.005), max(off, 0.005)), REST)
    lsf = _panel(row, 1, top, across, Axis(-0.15 * most, 1.1 * most))
    mtf = _panel(row, 2, top, Axis(0, 1), Axis(0, 1.1))
    esf.frame(below=False, title="ESF")
    rest.frame(beside=False)
    rest.label(f"{rest.y.high:+.1%}", rest.y.high)
    rest.label(f"{rest.y.low:+.1%}", rest.y.low)
    lsf.frame(title="LSF")
    mtf.frame(title="MTF")
    for e, band in zip(tile.edges, _BANDS, strict=True):
        low, high = e.mtf - 1.96 * e.error, e.mtf + 1.96 * e.error
        mtf.band(e.frequency.tolist(), low.tolist(), high.tolist(), band)
    mtf.line([0.5, 0.5], [0, 1.1], SOFT, dashed=True)
    for e, colour in zip(tile.edges, COLOURS, strict=True):
        near = e.place.abs() < _NEAR
        value = e.residual[near][::4].tolist()
        rest.points(e.place[near][::4].tolist(), value, value, value, colour)
        part = e.distance.abs() < _NEAR
        d, base = e.distance[part].tolist(), float(e.esf[: len(e.esf) // 4].mean())
        esf.line(d, ((e.esf[part] - base) / e.contrast).tolist(), colour)
        lsf.line(d, e.lsf[part].tolist(), colour)
        mtf.line(e.frequency.tolist(), e.mtf.tolist(), colour)


def _target(row: Image.Image, tile: TileOfEdges, top: int) -> None:
    """Cuts across and down with bars, and the residuals against the signal."""
    radius = len(tile.fits[0].kernel) // 2
    places = list(range(-radius, radius + 1))
    most = max(float(f.kernel.max()) for f in tile.fits)
    axes = Axis(-radius - 0.5, radius + 0.5), Axis(-0.15 * most, 1.1 * most)
    for column, title in enumerate(("across", "down")):
        panel = _panel(row, column, top, *axes)
        panel.frame(title=f"kernel {title}")
        for f, colour in zip(tile.fits, COLOURS, strict=True):
            value, error = ((k if column == 0 else k.T)[radius] for k in (f.kernel, 1.96 * f.error))
            panel.line(places, value.tolist(), colour)
            panel.points(places, value.tolist(), (value - error).tolist(), (value + error).tolist(), colour)
    signal = [float(v) for f in tile.fits for v in (f.signal.min(), f.signal.max())]
    off = max(float(f.residual.abs().quantile(0.995)) for f in tile.fits)
    rest = _panel(row, 2, top, Axis(min(signal), max(signal)), Axis(-off, off))
    rest.frame(title="residuals")
    for f, colour in zip(tile.fits, COLOURS, strict=True):
        value = f.residual[::3].tolist()
        rest.points(f.signal[::3].tolist(), value, value, value, colour)
    rest.line([rest.x.low, rest.x.high], [0, 0], INK)
    Text.set(
        "; ".join(f"{c}: noise {f.noise:.2g}, gain {f.gain:.3g}" for c, f in zip("RGB", tile.fits, strict=True)),
        WIDTH + GUTTER,
        12,
        SOFT,
    ).paint(row, rest.left - GUTTER, top + HEIGHT + GAP + 8)

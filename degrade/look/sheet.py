"""Contact sheets: what a store holds, for the eye.

A row shows its planes side by side and, under each, what it differs by from the first plane, amplified about mid grey;
under the first plane stands the kernel, if there is one; below, every draw.  All planes of a row get one exposure and
all differences one gain, both stated, so that what looks different is different.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw

from degrade.core.errors import StoreError, find
from degrade.core.frame import Space
from degrade.look import develop as dev
from degrade.look.draws import DrawnColumns
from degrade.look.tiles import (
    AnyArray,
    Lighting,
    Tile,
    difference_tile,
    differences,
    kernel_tile,
    paint_tiles,
    plane_tile,
)
from degrade.look.typeset import INK, PAPER, RULE, SOFT, Text, save

MARGIN, GAP, GUTTER = 28, 14, 150  #: around the sheet, between tiles, width of the text at the left [pixels]
LEAST, MOST = 176, 384  #: side of a tile: small patches grow to the first, large ones shrink to the second
LEAST_TEXT = 360  #: width for the draws, however few the tiles [pixels]

Kernels = AnyArray | Callable[[Any], AnyArray | None] | None


class PlaneLike(Protocol):
    """What a sheet asks of a plane."""

    @property
    def space(self) -> Space | str: ...


class RowLike(Protocol):
    """What a sheet asks of a row; ``white_balance``, ``matrix`` and ``kernel()`` are used where a row has them."""

    @property
    def index(self) -> int: ...
    @property
    def photo(self) -> str: ...
    @property
    def planes(self) -> Mapping[str, AnyArray]: ...
    @property
    def draws(self) -> Mapping[str, Any]: ...


class StoreLike(Protocol):
    """What a sheet asks of a store; units of draws are taken from ``layout.columns`` where a store has them."""

    @property
    def rows(self) -> Any: ...  # numbers of the rows present
    @property
    def planes(self) -> Mapping[str, PlaneLike]: ...
    def row(self, index: int, /) -> RowLike: ...


def contact_sheet(
    store: StoreLike,
    path: str | Path,
    rows: Sequence[int] | None = None,
    count: int = 6,
    *,
    planes: Sequence[str] | None = None,
    scale: float | None = None,
    kernels: Kernels = None,
    title: str = "",
) -> Path:
    """Write rows of a store below one another as a picture; the suffix of ``path`` names its format.

    Args:
        rows: their numbers; without, ``count`` of those present, evenly spread.
        planes, scale, kernels: as in `row_sheet`.
        title: stands at the head.

    Raises:
        StoreError: if there is no row to show.
    """
    chosen = list(rows) if rows is not None else spread([int(i) for i in store.rows], count)
    if not chosen:
        raise StoreError("the store holds no row to show: build it first")
    sheets = [row_sheet(store, [i], planes=planes, scale=scale, kernels=kernels) for i in chosen]
    width = max(s.width for s in sheets)
    head = Text.set(title, width - 2 * MARGIN, 20) if title else None
    note = Text.set(
        "Developed for the eye with one exposure for all planes of a row. Differences: signal minus that of the first "
        "plane, white balanced, amplified about mid grey by one gain a row.",
        width - 2 * MARGIN,
        12,
        SOFT,
    )
    top = MARGIN + head.height if head else 0
    sheet = Image.new("RGB", (width, top + sum(s.height for s in sheets) + note.height + MARGIN), PAPER)
    if head:
        head.paint(sheet, MARGIN, MARGIN)
    draw = ImageDraw.Draw(sheet)
    for one in sheets:
        sheet.paste(one, (0, top))
        top += one.height
        draw.line([(MARGIN, top - 1), (width - MARGIN, top - 1)], fill=RULE)
    note.paint(sheet, MARGIN, top + MARGIN // 2)
    return save(sheet, path)


def row_sheet(
    store: StoreLike,
    rows: int | Sequence[int],
    *,
    planes: Sequence[str] | None = None,
    scale: float | None = None,
    kernels: Kernels = None,
) -> Image.Image:
    """Rows of a store as one picture.

    Args:
        rows: their numbers.
        planes: which, in this order; default all. The first is what the others are compared with.
        scale: screen pixels a pixel of the largest plane; default makes small patches legible.
        kernels: ``(k, n, n)`` with k of 1, 3 or 4, or a function of the row that gives that or None.

    Raises:
        RecipeError: for a plane that the store lacks; the nearest is named.
    """
    chosen = [rows] if isinstance(rows, int) else list(rows)
    names = list(store.planes) if planes is None else list(planes)
    for name in names:
        find(name, store.planes, "plane")
    panels = [_panel(store, store.row(i), names, scale, kernels) for i in chosen]
    sheet = Image.new("RGB", (max(p.width for p in panels), sum(p.height for p in panels)), PAPER)
    top = 0
    for panel in panels:
        sheet.paste(panel, (0, top))
        top += panel.height
    return sheet


def spread(rows: Sequence[int], count: int) -> list[int]:
    """``count`` of ``rows`` evenly spread, all of them if there are fewer.

    >>> spread(range(100), 4), spread([3, 5], 4)
    ([0, 33, 66, 99], [3, 5])
    """
    if count >= len(rows):
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / max(count - 1, 1))] for i in range(count)]


def cell_size(shapes: Sequence[tuple[int, ...]], scale: float | None = None) -> tuple[int, int]:
    """Width and height of a tile for planes ``(c, h, w)`` [pixels]: the largest, enlarged or reduced to be legible.

    >>> cell_size([(4, 64, 64), (4, 16, 16)]), cell_size([(3, 1024, 512)]), cell_size([(3, 100, 100)], scale=2)
    ((192, 192), (192, 384), (200, 200))
    """
    h, w = (max(s[axis] for s in shapes) for axis in (1, 2))
    if scale is None:
        longest = max(h, w)
        scale = math.ceil(LEAST / longest) if longest <= MOST else MOST / longest
    return max(round(w * scale), 1), max(round(h * scale), 1)


def _panel(store: StoreLike, row: RowLike, names: Sequence[str], scale: float | None, kernels: Kernels) -> Image.Image:
    """One row: text at the left, two lines of tiles, draws below."""
    data = {name: np.asarray(row.planes[name]) for name in names}
    spaces = {name: store.planes[name].space for name in names}
    light = Lighting.of(row)
    stops = dev.auto_exposure(data[names[0]], spaces[names[0]], light.white_balance)
    light = replace(light, exposure=stops)
    cell = cell_size([d.shape for d in data.values()], scale)

    upper = [plane_tile(name, data[name], spaces[name], light, cell) for name in names]
    lower: list[Tile | None] = [None] * len(names)
    found = differences(data, spaces, light)
    gain = dev.difference_gain(list(found.values()))
    for name, signal in found.items():
        lower[names.index(name)] = difference_tile(names[0], name, signal, gain, cell)
    own: Callable[[], AnyArray | None] | None = getattr(row, "kernel", None)
    kernel = kernels(row) if callable(kernels) else own() if kernels is None and own is not None else kernels
    if kernel is not None:
        lower[0] = kernel_tile(kernel, cell)
    lines = [paint_tiles(tiles, cell, GAP) for tiles in (upper, lower) if any(tiles)]

    text = [Text.set(f"Row {row.index}", GUTTER - GAP, 20, INK), Text.set(str(row.photo), GUTTER - GAP, 12, SOFT)]
    if stops:
        text.append(Text.set(f"shown {stops:+.1f} stops", GUTTER - GAP, 12, SOFT))
    inner = max(lines[0].width, LEAST_TEXT)
    columns = getattr(getattr(store, "layout", None), "columns", ())
    draws = DrawnColumns.set(row.draws, inner, {c.name: c.unit for c in columns})
    body = sum(line.height + GAP for line in lines) + (draws.height if draws.groups else -GAP)
    height = max(body, sum(t.height for t in text))
    panel = Image.new("RGB", (2 * MARGIN + GUTTER + inner, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for t in text:
        t.paint(panel, MARGIN, top)
        top += t.height
    top = MARGIN
    for line in lines:
        panel.paste(line, (MARGIN + GUTTER, top))
        top += line.height + GAP
    draws.paint(panel, MARGIN + GUTTER, top)
    return panel

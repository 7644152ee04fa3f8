"""A lens as one picture: the kernels of one state over the field, red, green and blue together, each up to its peak.

The brightness is the square root of the kernel, so that what spreads far is seen; values below 0 are black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from degrade.core.errors import RecipeError
from degrade.gear.lens import Lens
from degrade.look.typeset import INK, PAPER, RULE, SOFT, Text

MARGIN, GAP, GUTTER = 24, 6, 52
GRID_WIDTH = 1400  #: of the grid, about, where kernels are small enough to be enlarged [pixels]


def lens_sheet(lens: Lens, name: str = "lens", state: int = 0) -> Image.Image:
    """The kernels of one state on their grid, with places at its sides [half diagonals].

    Raises:
        RecipeError: if there is no such state.

    >>> lens_sheet(Lens(np.full((1, 1, 2, 3, 3, 3), 1 / 9), [0], [-0.5, 0.5])).size
    (520, 368)
    """
    if not 0 <= state < len(lens):
        raise RecipeError(f"the lens has states 0 to {len(lens) - 1}, got {state}")
    rows, columns, _, side, _ = lens.psf.shape[1:]
    cell = side * max(1, min(200 // side, (GRID_WIDTH // columns - GAP) // side))
    wide = max(columns * (cell + GAP) - GAP, 520 - 2 * MARGIN - GUTTER)
    table = ", ".join(f"{n} {v[state]:g}" for n, v in lens.states.items())
    samples = "pixels" if lens.pitch is None else f"samples of {lens.pitch:g} um"
    head = [
        Text.set(name, wide, 20),
        *([Text.set(lens.about, wide, 13, SOFT)] if lens.about else []),
        Text.set(f"State {state} of {len(lens)}{': ' if table else ''}{table}", wide, 13, INK),
        Text.set(
            f"{rows} x {columns} places [half diagonals], kernels of {side} x {side} {samples}, photosite's aperture "
            f"{'' if lens.includes_aperture else 'not '}included; square root, each channel to its own peak",
            wide,
            12,
            SOFT,
        ),
    ]
    top = MARGIN + sum(t.height for t in head) + 2 * GAP
    left = MARGIN + GUTTER
    sheet = Image.new("RGB", (left + wide + MARGIN, top + rows * (cell + GAP) + 24 + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    at = MARGIN
    for text in head:
        text.paint(sheet, MARGIN, at)
        at += text.height
    for i, y in enumerate(lens.field_y):
        down = top + i * (cell + GAP)
        Text.set(f"{y:.2f}", GUTTER, 12, SOFT).paint(sheet, MARGIN, down + cell // 2 - 8)
        for j in range(columns):
            across = left + j * (cell + GAP)
            sheet.paste(_cell(lens.psf[state, i, j], cell), (across, down))
            draw.rectangle((across - 1, down - 1, across + cell, down + cell), outline=RULE)
    for j, x in enumerate(lens.field_x):
        text = Text.set(f"{x:.2f}", cell + GAP, 12, SOFT)
        text.paint(sheet, left + j * (cell + GAP) + (cell - text.width) // 2, top + rows * (cell + GAP) + 2)
    return sheet


def _cell(kernel: NDArray[np.float32], cell: int) -> Image.Image:
    peak = kernel.max((1, 2), keepdims=True)
    light = np.sqrt(np.clip(kernel / peak, 0, 1))
    return Image.fromarray(np.rint(255 * np.moveaxis(light, 0, -1)).astype(np.uint8)).resize((cell, cell), 0)

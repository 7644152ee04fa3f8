"""Tiles of a sheet: a picture of a plane, of a difference or of a kernel, and what to write above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Space
from degrade.look import develop as dev
from degrade.look.typeset import INK, PAPER, SOFT, Text

AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Lighting:
    """What developing needs to know of a row."""

    white_balance: object = dev.NEUTRAL
    matrix: object = dev.IDENTITY
    exposure: float = 0.0  #: brightening [stops]

    @classmethod
    def of(cls, row: object) -> Lighting:
        """A row's ``white_balance`` and ``matrix``, or its draws ``wb_r`` and ``wb_b``, or neutral."""
        gains, matrix = getattr(row, "white_balance", None), getattr(row, "matrix", None)
        columns: Mapping[str, Any] = getattr(row, "draws", {})
        if gains is None and "wb_r" in columns and "wb_b" in columns:
            gains = (columns["wb_r"], 1.0, columns["wb_b"])
        return cls(dev.NEUTRAL if gains is None else gains, dev.IDENTITY if matrix is None else matrix)


@dataclass(frozen=True)
class Tile:
    """A picture with a title and an explanation."""

    picture: Image.Image
    title: str
    note: str = ""

    def caption(self, width: int) -> tuple[Text, Text]:
        """Title and explanation set to a width [pixels]."""
        return Text.set(self.title, width, 14, INK), Text.set(self.note, width, 12, SOFT)


def plane_tile(name: str, data: AnyArray, space: Space | str, light: Lighting, cell: tuple[int, int]) -> Tile:
    """A plane developed for the eye, or a map; ``cell`` is the width and height that it must fit [pixels]."""
    if space in [*Space]:
        rgb = dev.develop(data, space, light.white_balance, light.matrix, light.exposure)[0]
    else:
        rgb = dev.map_picture(data, space)
    return Tile(fitted(rgb, cell), name, f"{space}, {' x '.join(map(str, data.shape))}")


def differences(data: Mapping[str, AnyArray], spaces: Mapping[str, Space | str], light: Lighting) -> dict[str, Tensor]:
    """Each plane minus the first, balanced, ``(1, 3, h, w)``; only planes that can be compared.

    That is: of the same space and channels, and of the same size or one a whole number of times smaller, which is then
    enlarged by repeating its pixels.
    """
    first, *others = data
    found: dict[str, Tensor] = {}
    for name in others:
        a, b = data[first], data[name]
        if spaces[first] != spaces[name] or spaces[name] not in [*Space] or a.shape[0] != b.shape[0]:
            continue
        size = max(a.shape[1:], b.shape[1:])
        if any(s % n for one in (a, b) for s, n in zip(size, one.shape[1:], strict=True)):
            continue
        left, right = (_grown(dev.balanced(x, spaces[name], light.white_balance), size) for x in (a, b))
        found[name] = right - left
    return found


def difference_tile(first: str, name: str, signal: Tensor, gain: float, cell: tuple[int, int]) -> Tile:
    """A difference about mid grey."""
    return Tile(fitted(dev.difference(signal, gain)[0], cell), f"{name} - {first}", f"amplified {gain:g} x")


def kernel_tile(kernel: AnyArray, cell: tuple[int, int]) -> Tile:
    """A kernel ``(k, n, n)`` or ``(n, n)``, k of 1, 3 or 4, brightest white, square-root tones, upright.

    It is cut to the smallest square about its centre that holds 99.9% of it, and the note says so.

    Raises:
        RecipeError: for another number of channels, or a kernel of zeros.
    """
    k = torch.as_tensor(np.asarray(kernel), dtype=torch.float32)
    k = k[None] if k.ndim == 2 else k
    if k.ndim != 3 or k.shape[0] not in {1, 3, 4} or not bool((k != 0).any()):
        raise RecipeError(f"a kernel to show is (n, n) or (1, 3 or 4, n, n) and not all zero, got {tuple(k.shape)}")
    rgb = torch.stack([k[0], (k[1] + k[2]) / 2, k[3]]) if k.shape[0] == 4 else k.expand(3, -1, -1)
    n = rgb.shape[-1]
    cut = _tight(rgb)
    inner = rgb[:, cut : n - cut, cut : n - cut]
    tones = (inner / inner.max()).clamp(0, 1).sqrt()
    shown = (tones * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    size = f"{n} x {n}" if not cut else f"the inner {n - 2 * cut} of {n} x {n}"
    return Tile(fitted(shown, cell), "kernel", f"{size}, peak {float(rgb.max()):.3g}")


def fitted(rgb: AnyArray, cell: tuple[int, int]) -> Image.Image:
    """``(h, w, 3)`` uint8 brought to the size that just fits a cell: larger by repeating pixels, smaller by means.

    >>> fitted(np.zeros((2, 4, 3), np.uint8), (100, 100)).size
    (100, 50)
    """
    h, w = rgb.shape[:2]
    scale = min(cell[0] / w, cell[1] / h)
    size = max(round(w * scale), 1), max(round(h * scale), 1)
    return Image.fromarray(rgb).resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)


def paint_tiles(tiles: Sequence[Tile | None], cell: tuple[int, int], gap: int) -> Image.Image:
    """Tiles in one line, titles above; None leaves its column free."""
    captions = [t.caption(cell[0]) if t else None for t in tiles]
    head = max((a.height + b.height for a, b in filter(None, captions)), default=0) + 4
    line = Image.new("RGB", (len(tiles) * (cell[0] + gap) - gap, head + cell[1]), PAPER)
    for i, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        if not tile or not caption:
            continue
        left, (title, note) = i * (cell[0] + gap), caption
        note.paint(line, left, head - 4 - note.height)
        title.paint(line, left, head - 4 - note.height - title.height)
        line.paste(tile.picture, (left, head))
    return line


def _grown(x: Tensor, size: tuple[int, ...]) -> Tensor:
    for axis, length in zip((2, 3), size, strict=True):
        x = x.repeat_interleave(length // x.shape[axis], axis)
    return x


def _tight(rgb: Tensor) -> int:
    """How many outer rings hold, all together, under a thousandth of the kernel."""
    energy, n = float(rgb.abs().sum()), rgb.shape[-1]
    cut = 0
    while n - 2 * (cut + 1) >= 5 and float(rgb[:, cut + 1 : n - cut - 1, cut + 1 : n - cut - 1].abs().sum()) >= (
        0.999 * energy
    ):
        cut += 1
    return cut

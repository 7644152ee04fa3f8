"""A picture that shows itself: under a notebook's cell, and as one line in a terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from degrade.look.typeset import save


@dataclass(frozen=True, eq=False)
class Shown:
    """A sheet with a sentence that stands for it where pictures cannot be seen.

    >>> Shown(Image.new("RGB", (640, 480)), "rows 0 and 7 of pairs.zarr")
    rows 0 and 7 of pairs.zarr (picture, 640 x 480 pixels)
    """

    image: Image.Image
    words: str = "sheet"

    def __repr__(self) -> str:
        return f"{self.words} (picture, {self.image.width} x {self.image.height} pixels)"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "png")
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Writes it as `paper.save` does: whole or not at all, in the format of its name."""
        return save(self.image, path)

"""Type and paper for sheets: one font, three greys, text that wraps and is never cut.

The font is the scalable one inside Pillow, so that a sheet looks the same everywhere; it holds little beyond ASCII,
hence `printable`.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from degrade.core.disk import whole
from degrade.core.errors import RecipeError

PAPER = (27, 27, 29)  #: background; neutral, so that it does not tint what lies on it
RULE = (52, 52, 55)  #: lines between rows
INK = (226, 226, 226)  #: names
SOFT = (150, 150, 154)  #: explanations and draws

Rgb = tuple[int, int, int]


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font at a size [pixels].

    Raises:
        RecipeError: if Pillow was built without FreeType.
    """
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RecipeError("this Pillow has no FreeType, which the text of sheets needs: install its wheel")
    return found


def printable(text: str) -> str:
    """Text in the letters that the font has: accents dropped, anything else as its code, so that names stay distinct.

    >>> printable("été"), printable("東.CR2")
    ('ete', '\\\\u6771.CR2')
    """
    folded = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if c.isprintable() else " " for c in folded).encode("ascii", "backslashreplace").decode()


@dataclass(frozen=True)
class Text:
    """A paragraph set to a width: its lines are known before anything is painted."""

    lines: tuple[str, ...]
    size: int  #: of the font [pixels]
    colour: Rgb = INK

    @classmethod
    def set(cls, text: str, width: int, size: int = 13, colour: Rgb = INK) -> Text:
        """Wrap at spaces, a word wider than ``width`` [pixels] behind ``_ - . /`` or, without these, anywhere.

        >>> Text.set("a plane_with_a_long_name", 80).lines
        ('a', 'plane_with_', 'a_long_', 'name')
        """
        return cls(tuple(_wrap(printable(text).split(), width, size)), size, colour)

    @classmethod
    def items(cls, entries: Sequence[str], width: int, size: int = 13, colour: Rgb = INK) -> Text:
        """Set entries one after the other, three spaces apart, and break between them where possible.

        >>> Text.items(["sigma = 1.2 px", "f_number = 4"], 120).lines
        ('sigma = 1.2 px', 'f_number = 4')
        """
        lines: list[str] = []
        for entry in map(printable, entries):
            if lines and text_width(f"{lines[-1]}   {entry}", size) <= width:
                lines[-1] += f"   {entry}"
            else:
                lines.extend(_wrap(entry.split(), width, size))
        return cls(tuple(lines), size, colour)

    @property
    def leading(self) -> int:
        """Distance of two lines [pixels]."""
        return round(self.size * 1.4)

    @property
    def height(self) -> int:
        """Height of the paragraph [pixels]."""
        return len(self.lines) * self.leading

    @property
    def width(self) -> int:
        """Width of its longest line [pixels]."""
        return max((text_width(line, self.size) for line in self.lines), default=0)

    def paint(self, canvas: Image.Image, left: int, top: int) -> None:
        """Draw it with its upper left corner at a place."""
        draw = ImageDraw.Draw(canvas)
        for i, line in enumerate(self.lines):
            draw.text((left, top + i * self.leading), line, fill=self.colour, font=font(self.size))


def text_width(text: str, size: int) -> int:
    """Width of one line [pixels], rounded up."""
    return -int(-font(size).getlength(text) // 1)


def _wrap(words: list[str], width: int, size: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in words:
        joined = f"{line} {word}" if line else word
        if text_width(joined, size) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while text_width(word, size) > width and len(word) > 1:
            head = _head(word, width, size)
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [*lines, line] if line else lines


def _head(word: str, width: int, size: int) -> str:
    """The longest beginning of a word that fits, preferably up to a joint; at least one letter."""
    fits = max((n for n in range(1, len(word)) if text_width(word[:n], size) <= width), default=1)
    joints = [n for n in range(1, fits + 1) if word[n - 1] in "_-./"]
    return word[: joints[-1] if joints else fits]


def assembled(
    head: Sequence[Text], rows: Sequence[Image.Image], note: Text, width: int, gap: int = 18, margin: int = 24
) -> Image.Image:
    """A report: the head, rows with a rule above each, and how to read it.

    Args:
        head: paragraphs, first to last.
        rows: pictures no wider than ``width``.
        note: stands at the foot.
        width: of what stands between the margins [pixels].
        gap: between rows [pixels].
        margin: all round [pixels].
    """
    tall = sum(t.height for t in head) + sum(r.height + gap for r in rows) + gap + note.height
    sheet = Image.new("RGB", (width + 2 * margin, tall + 2 * margin), PAPER)
    draw, top = ImageDraw.Draw(sheet), margin
    for text in head:
        text.paint(sheet, margin, top)
        top += text.height
    for row in rows:
        draw.line([(margin, top + gap // 2), (margin + width, top + gap // 2)], fill=RULE)
        sheet.paste(row, (margin, top + gap))
        top += row.height + gap
    note.paint(sheet, margin, top + gap)
    return sheet


def save(sheet: Image.Image, path: str | Path) -> Path:
    """Writes a sheet, whole or not at all, in the format of its name; PNG where that says none."""
    out = Path(path)
    kind = Image.registered_extensions().get(out.suffix.lower())
    with whole(out) as temporary:
        sheet.save(temporary, kind if kind in Image.SAVE else "PNG", optimize=True)
    return out

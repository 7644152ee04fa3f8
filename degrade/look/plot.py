"""Panels: a frame with axes, and curves, points with bars and pictures in it, painted on a sheet.

An axis is linear or logarithmic and lies between two values; what falls outside is drawn at the border, so that nothing
leaves its frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from degrade.look.typeset import INK, RULE, SOFT, Rgb, Text

RED, GREEN, LIME, BLUE = (224, 108, 100), (120, 190, 120), (150, 205, 130), (110, 150, 230)
PLANE_COLOURS: tuple[Rgb, ...] = (RED, GREEN, LIME, BLUE)  #: R G1 G2 B
CHANNEL_COLOURS: tuple[Rgb, ...] = (RED, GREEN, BLUE)  #: R G B


@dataclass(frozen=True)
class Axis:
    """A scale from ``low`` to ``high``, both above 0 where it is logarithmic."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at ``low``, 1 at ``high``, never outside.

        >>> Axis(0, 4).place(1), Axis(1, 100, log=True).place(10), Axis(0, 4).place(9)
        (0.25, 0.5, 1.0)
        """
        if self.log:
            span = max(math.log(self.high / self.low), 1e-9)
            found = math.log(max(value, self.low) / self.low) / span
        else:
            found = (value - self.low) / max(self.high - self.low, 1e-30)
        return min(max(found, 0.0), 1.0)

    @property
    def ticks(self) -> list[float]:
        """Round numbers between the ends: on a logarithmic axis powers of ten, and their 2 and 5 fold where few.

        >>> Axis(0.5, 2000, log=True).ticks, Axis(30, 220, log=True).ticks, Axis(0, 0.5).ticks
        ([1.0, 10.0, 100.0, 1000.0], [50.0, 100.0, 200.0], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
        """
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if self.high / self.low < 200 else (1,)
            return [v for e in powers for s in steps if self.low <= (v := s * 10.0**e) <= self.high]
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / 5))
        step = next(s * power for s in (1, 2, 5, 10) if span / (s * power) <= 6)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


@dataclass(frozen=True)
class Panel:
    """A frame on a sheet, its upper left corner at a place [pixels], and the axes along it."""

    sheet: Image.Image
    left: int
    top: int
    width: int
    height: int
    x: Axis
    y: Axis

    def frame(self, below: bool = True, beside: bool = True, title: str = "") -> None:
        """The border, rules at the ticks, their numbers below and beside it, and a title inside.

        Without numbers beside it, it has no rules across either: a place for residuals.
        """
        draw = ImageDraw.Draw(self.sheet)
        draw.rectangle([(self.left, self.top), (self.left + self.width, self.top + self.height)], outline=RULE)
        for value in self.y.ticks if beside else ():
            draw.line([self.at(self.x.low, value), self.at(self.x.high, value)], fill=RULE)
            self.label(f"{value:g}", value)
        for value in self.x.ticks:
            draw.line([self.at(value, self.y.low), self.at(value, self.y.high)], fill=RULE)
            text = Text.set(f"{value:g}" if below else "", self.width, 11, SOFT)
            text.paint(self.sheet, round(self.at(value, 0)[0] - text.width / 2), self.top + self.height + 3)
        Text.set(title, self.width - 12, 12).paint(self.sheet, self.left + 6, self.top + 3)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point on the sheet [pixels]."""
        return self.left + self.width * self.x.place(x), self.top + self.height * (1 - self.y.place(y))

    def label(self, text: str, value: float) -> None:
        """A text left of the frame at the height of a value, kept within the frame's height."""
        said = Text.set(text, self.width, 11, SOFT)
        middle = min(max(self.at(self.x.low, value)[1], self.top + 6), self.top + self.height - 6)
        said.paint(self.sheet, self.left - 6 - said.width, round(middle - said.leading / 2))

    def line(self, x: Iterable[float], y: Iterable[float], colour: Rgb = INK, dashed: bool = False) -> None:
        """Straight pieces from point to point, every other one where ``dashed``."""
        draw = ImageDraw.Draw(self.sheet)
        dots = [self.at(u, v) for u, v in zip(x, y, strict=True)]
        for i in range(0, len(dots) - 1, 2 if dashed else 1):
            draw.line([dots[i], dots[i + 1]], fill=colour)

    def band(self, x: Iterable[float], low: Iterable[float], high: Iterable[float], colour: Rgb = RULE) -> None:
        """The area between two curves: an interval along a line; draw it before the line."""
        draw = ImageDraw.Draw(self.sheet)
        ends = [(self.at(u, v), self.at(u, w)) for u, v, w in zip(x, low, high, strict=True)]
        draw.polygon([v for v, _ in ends] + [w for _, w in reversed(ends)], fill=colour)

    def points(
        self,
        x: Iterable[float],
        y: Iterable[float],
        low: Iterable[float],
        high: Iterable[float],
        colour: Rgb = INK,
    ) -> None:
        """Dots, and bars from ``low`` to ``high``; a dot beyond the y axis is left out, its bar ends at the border."""
        draw = ImageDraw.Draw(self.sheet)
        for u, v, least, most in zip(x, y, low, high, strict=True):
            draw.line([self.at(u, least), self.at(u, most)], fill=colour)
            if self.y.low <= v <= self.y.high:
                across, down = self.at(u, v)
                draw.ellipse([(across - 2, down - 2), (across + 2, down + 2)], fill=colour)

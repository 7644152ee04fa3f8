"""Draws set in small type: one line of ``name = value`` an operator, aligned, wrapped, three significant digits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from PIL import Image

from degrade.look.typeset import INK, SOFT, Text, text_width

SIZE, SPACE = 12, 18  #: of the type, and between the names and the values [pixels]
ROW = "row"  #: the group of what belongs to no operator


@dataclass(frozen=True)
class DrawnColumns:
    """The draws of one row, set to a width."""

    groups: tuple[tuple[Text, Text], ...]  #: an operator's name and its values
    indent: int  #: where the values begin [pixels]

    @classmethod
    def set(cls, draws: Mapping[str, Any], width: int, units: Mapping[str, str] | None = None) -> DrawnColumns:
        """Group by operator, that is by what stands before the first point, and wrap to ``width`` [pixels].

        >>> drawn = {"noise": {"iso": 400}, "optics.sigma": 1.23456}
        >>> DrawnColumns.set(drawn, 300, {"optics.sigma": "px"}).groups[1][1].lines
        ('sigma = 1.23 px',)
        """
        grouped: dict[str, dict[str, str]] = {}
        for name, value in flat(draws):
            operator, _, field = name.partition(".") if "." in name else ("", "", name)
            unit = (units or {}).get(name, "")
            grouped.setdefault(operator or ROW, {})[field] = f"{value}{unit and ' ' + unit}"
        if ROW in grouped:
            grouped[ROW] = grouped.pop(ROW)  # last
        indent = min(max((text_width(name, SIZE) for name in grouped), default=0) + SPACE, width // 3)
        return cls(
            tuple(
                (
                    Text.set(name, indent - SPACE // 2, SIZE, INK),
                    Text.items([f"{n} = {v}" for n, v in short(values).items()], width - indent, SIZE, SOFT),
                )
                for name, values in grouped.items()
            ),
            indent,
        )

    @property
    def height(self) -> int:
        """Height of all groups [pixels]."""
        return sum(max(name.height, values.height) for name, values in self.groups)

    def paint(self, canvas: Image.Image, left: int, top: int) -> None:
        """Draw them with the upper left corner at a place."""
        for name, values in self.groups:
            name.paint(canvas, left, top)
            values.paint(canvas, left + self.indent, top)
            top += max(name.height, values.height)


def short(values: Mapping[str, str]) -> dict[str, str]:
    """Paths cut to their last name where that is a name and nobody else's.

    >>> short({"kernels.0.sigma": "1", "kernels.1.radius": "2", "ops.0.p": "3", "ops.1.p": "4", "gains.0": "5"})
    {'sigma': '1', 'radius': '2', 'ops.0.p': '3', 'ops.1.p': '4', 'gains.0': '5'}
    """
    last = {path: path.rpartition(".")[2] for path in values}
    often = Counter(last.values())
    return {(n if often[n] == 1 and not n.isdigit() else path): values[path] for path, n in last.items()}


def flat(draws: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested draws as ``("optics.kernels.0.sigma", "1.23")``; what was not chosen (NaN, None) is left out.

    >>> list(flat({"optics": {"kernels": [{"sigma": 0.5}], "unused": float("nan")}, "gains": (1.0, 2.0)}))
    [('optics.kernels.0.sigma', '0.5'), ('gains', '1, 2')]
    """
    for name, value in draws.items():
        path = f"{prefix}{name}"
        value = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
            yield from flat({str(i): v for i, v in enumerate(value)}, f"{path}.")
        elif (text := in_short(value)) is not None:
            yield path, text


def in_short(value: Any) -> str | None:
    """A value as people write it: three significant digits, whole numbers in full; None for what says nothing.

    >>> [in_short(v) for v in (1.23456e-5, 12345.6, 1.0, 2.0**52, True, "airy", (0.6, 0.54), float("nan"))]
    ['1.23e-5', '12346', '1', '4503599627370496', 'yes', 'airy', '0.6, 0.54', None]
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        parts = [text for v in value if (text := in_short(v)) is not None]
        return ", ".join(parts) if parts else None
    if isinstance(value, Integral) or not isinstance(value, Real):
        return str(value)
    number = float(value)
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    if 1000 <= abs(number) < 1e6:
        return f"{number:.0f}"
    mantissa, _, exponent = f"{number:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa

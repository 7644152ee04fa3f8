"""Lenses from elsewhere: a folder of PSF pictures, or kernels in a MATLAB file.

Pictures and kernels have no scale, so each is divided by its sum; sides are filled up with zeros to one odd square, the
middle sample (n // 2) staying the origin. The numbers are taken for light as they stand: subtract the background first.
Kernels stand upright, as convolution takes them: MATLAB's ``conv2`` does, ``imfilter`` by default turns them by 180
degrees.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import PhotoError, nearest
from degrade.gear.lens import CHANNELS, Lens, half_sides
from degrade.maths.types import Array
from degrade.photos.image import read_picture

TEMPLATE: Final = "psf_{state}_{y}_{x}.png"
VARIABLES: Final = ("psf", "psfs", "kernel", "kernels", "f", "h")  #: looked for first in a MATLAB file
_PLACES = ("y", "x", "row", "column", "channel")
_NUMBER, _LETTER = r"[-+]?\d+(?:\.\d+)?", "[RGBrgb]"
Name = frozenset[tuple[str, Any]]  # the numbers and the letter in a picture's name


@dataclass(frozen=True)
class Imported:
    """A lens, and what is odd about its source."""

    lens: Lens
    warnings: tuple[str, ...] = ()


# -- a folder of pictures ---------------------------------------------------------------------------------------------


def from_pictures(
    folder: str | Path,
    template: str = TEMPLATE,
    *,
    pitch: float | None = None,
    includes_aperture: bool = True,
    aspect: float = 1.5,
    about: str = "",
) -> Imported:
    """A lens from a folder of PSF pictures, whose names tell what they are.

    Args:
        folder: PNG, TIFF or JPEG of 8 or 16 bits, or ``.npy`` (h, w) or (h, w, 3); grey stands for all channels.
        template: a name with numbers in braces: ``{y}`` and ``{x}``, the place [half diagonals, down and right], or
            ``{row}`` and ``{column}``, counted over tiles that divide the picture evenly; ``{channel}``, R G or B; any
            other is a column of the states' table, such as ``{f_number}``.
        pitch: distance of the samples [um]; None where they are pixels of whatever sensor.
        includes_aperture: whether the photosite's aperture is in them, as in all that a camera took.
        aspect: width over height of the picture that the tiles divide.
        about: what it is and where it comes from.

    Raises:
        PhotoError: for names that do not fit, missing or doubled pictures, kernels that cannot be.
    """
    home, pattern = Path(folder), _pattern(template)
    if not home.is_dir():
        raise PhotoError(f"no such folder of PSF pictures: {home}")
    files = sorted(f for f in home.iterdir() if f.suffix.lower() == Path(template).suffix.lower())
    if not files:
        raise PhotoError(f"{home} has no files such as {template}")
    named: dict[Name, Path] = {}
    for file in files:
        found = pattern.fullmatch(file.name)
        if found is None:
            raise PhotoError(f"{file} does not match the template {template}: name it so, or move it away")
        name = {n: v.upper() if n == "channel" else float(v) for n, v in found.groupdict().items()}
        if (twin := named.setdefault(frozenset(name.items()), file)) is not file:
            raise PhotoError(f"{file} and {twin.name} are the same place of the same state: keep one")
    kernels, labels, table, places = _grid(named, list(pattern.groupindex), aspect)
    return _imported(kernels, labels, table, places, pitch, includes_aperture, about or f"pictures {template}")


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    names = parts[1::2]
    if len(set(names)) != len(names) or any(not n.isidentifier() for n in names):
        raise PhotoError(f"a template names each number once, got {template!r}")
    for a, b in (("y", "row"), ("x", "column")):
        if a in names and b in names:
            raise PhotoError(f"a template has {{{a}}} (half diagonals) or {{{b}}} (counted), got both in {template!r}")
    kinds = [_LETTER if n == "channel" else _NUMBER for n in parts]
    return re.compile("".join(f"(?P<{n}>{kinds[i]})" if i % 2 else re.escape(n) for i, n in enumerate(parts)))


def _grid(
    named: Mapping[Name, Path], names: list[str], aspect: float
) -> tuple[list[Array], list[str], dict[str, tuple[float, ...]], tuple[Array, Array]]:
    """Kernels and their labels in the order state, y, x, channel; the states' table; the places of rows and columns."""
    columns = [n for n in names if n not in _PLACES]
    values = {n: sorted({dict(name)[n] for name in named}) for n in names}
    states = sorted({tuple(dict(name)[n] for n in columns) for name in named})
    if "channel" in names and set(values["channel"]) != set(CHANNELS):
        raise PhotoError(f"needs pictures of the channels R, G and B, got {', '.join(map(str, values['channel']))}")
    axes = [[n for n in pair if n in names] for pair in (("y", "row"), ("x", "column"))]
    (ys, xs) = (values[n[0]] if n else [0.0] for n in axes)
    kernels: list[Array] = []
    labels: list[str] = []
    for state, y, x, channel in itertools.product(states, ys, xs, CHANNELS):
        every = dict(zip(columns, state, strict=True)) | {"y": y, "row": y, "x": x, "column": x, "channel": channel}
        wanted = {n: every[n] for n in names}
        file = named.get(frozenset(wanted.items()))
        if file is None:
            said = ", ".join(f"{n} {v if isinstance(v, str) else f'{v:g}'}" for n, v in wanted.items())
            raise PhotoError(f"there is no picture of {said}: the grid must be full in every state")
        pixels = _picture(file)
        if "channel" in names and not (pixels == pixels[:1]).all():
            raise PhotoError(f"{file} is one channel by its name, but its channels differ: save it as grey")
        kernels.append(pixels[CHANNELS.index(channel)])
        labels.append(f"{file} ({channel})")
    places = [
        np.array(v, np.float64) if not n or n[0] in "yx" else _tiles(v, n[0], half)
        for n, v, half in zip(axes, (ys, xs), half_sides(aspect), strict=True)
    ]
    return kernels, labels, {n: tuple(s[i] for s in states) for i, n in enumerate(columns)}, (places[0], places[1])


def _tiles(values: Sequence[Any], name: str, half: float) -> Array:
    """Centres of tiles that divide a side evenly [half diagonals]."""
    first, n = values[0], len(values)
    if [v - first for v in values] != list(range(n)) or first not in (0, 1):
        raise PhotoError(
            f"{name}s must be counted from 0 or 1 without a gap, got {', '.join(f'{v:g}' for v in values)}"
        )
    return half * ((2 * np.arange(n) + 1) / n - 1)


def _picture(file: Path) -> Array:
    """(3, h, w) numbers as they are stored."""
    if file.suffix.lower() != ".npy":
        return read_picture(file, space="display").data[0].double().numpy()
    try:
        pixels = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as wrong:
        raise PhotoError(f"{file} cannot be read ({wrong}): save it anew") from wrong
    if pixels.dtype.kind not in "fiu" or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise PhotoError(f"{file} must be real numbers (h, w) or (h, w, 3), got {pixels.shape} of {pixels.dtype}")
    return np.broadcast_to(pixels if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0), (3, *pixels.shape[:2])) * 1.0


def _imported(
    kernels: list[Array],
    labels: list[str],
    table: Mapping[str, tuple[float, ...]],
    places: tuple[Array, Array],
    pitch: float | None,
    includes_aperture: bool,
    about: str,
) -> Imported:
    """Kernels in the order state, y, x, channel, filled up to one odd square and normalised, as a lens."""
    side = max(n for k in kernels for n in k.shape) // 2 * 2 + 1
    psf = np.zeros((len(kernels), side, side))
    warnings = [f"sides were filled up with zeros to {side} samples"] * any(k.shape != (side, side) for k in kernels)
    for kernel, label, to in zip(kernels, labels, psf, strict=True):
        total = float(kernel.sum())
        if not math.isfinite(total):
            raise PhotoError(f"{label} holds values that are not finite")
        if not total > 0:
            raise PhotoError(f"{label} sums to {total:g}: a spread of light sums to more than 0")
        # the origin of a side n is n // 2, and stays where it is
        top, left = (side // 2 - n // 2 for n in kernel.shape)
        to[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel / total
    at = np.arange(side) - side // 2
    off = np.stack((psf.sum(2) @ at, psf.sum(1) @ at), axis=1)
    if len(far := np.flatnonzero(np.abs(off).max(1) > 0.5)):
        y, x = off[far[0]]
        warnings.append(
            f"{len(far)} of {len(psf)} kernels shift the picture by over half a sample, such as {labels[far[0]]} by "
            f"({y:.2g}, {x:.2g}): kept as they are"
        )
    shape = (-1, *map(len, places), len(CHANNELS), side, side)
    lens = Lens(psf.reshape(shape).astype(np.float32), *places, pitch, includes_aperture, table, about)
    return Imported(lens, tuple(warnings))


# -- MATLAB -----------------------------------------------------------------------------------------------------------


def from_matlab(
    path: str | Path,
    variable: str | None = None,
    *,
    pitch: float | None = None,
    includes_aperture: bool = True,
    aspect: float = 1.5,
    about: str = "",
) -> Imported:
    """A lens from the kernels in a MATLAB file (to version 7): grey, the same in all channels.

    One kernel (h, w), a cell array of kernels or a stack (h, w, n) become states, numbered in the column ``index``; a
    grid (h, w, rows, columns) is one state over tiles that divide the picture evenly.

    Args:
        variable: its name; found where there is one that can be meant.
        pitch, includes_aperture, aspect, about: as in `from_pictures`.

    Raises:
        PhotoError: if the file or variable is not of that kind.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    file = Path(path)
    try:
        content = {n: v for n, v in loadmat(file).items() if not n.startswith("__")}
    except NotImplementedError as wrong:
        raise PhotoError(f"{file} is a MATLAB 7.3 file (HDF5): save it with `save -v7`") from wrong
    except (OSError, ValueError, TypeError, EOFError, MatReadError) as wrong:
        raise PhotoError(f"{file} cannot be read as a MATLAB file ({wrong}): save it anew with `save -v7`") from wrong
    name = variable or _likely(file, content)
    if name not in content:
        raise PhotoError(f"{file} has no variable {name!r}: {nearest(name, content)}")
    grids = _kernels(file, name, content[name])
    rows, columns = grids[0].shape[2:]
    at = list(itertools.product(range(len(grids)), range(rows), range(columns), CHANNELS))
    flat = [grids[i][:, :, y, x].astype(np.float64) for i, y, x, _ in at]
    labels = [f"{file}: {name}, kernel {(i * rows + y) * columns + x + 1}" for i, y, x, _ in at]
    places = [_tiles(range(n), "", half) for n, half in zip((rows, columns), half_sides(aspect), strict=True)]
    table = {"index": tuple(map(float, range(len(grids))))}
    about = about or f"{file.name}, variable {name}"
    return _imported(flat, labels, table, (places[0], places[1]), pitch, includes_aperture, about)


def _likely(file: Path, content: Mapping[str, Any]) -> str:
    able = [n for n, v in content.items() if v.dtype == object or (v.dtype.kind in "fiu" and v.size > 1)]
    chosen = [n for n in VARIABLES if n in able] or able
    if len(chosen) == 1:
        return chosen[0]
    raise PhotoError(
        f"{file} has {len(chosen)} variables that may be kernels ({', '.join(chosen) or 'none'}): name one"
    )


def _kernels(file: Path, name: str, value: NDArray[Any]) -> list[NDArray[Any]]:
    """Each state's kernels as (h, w, rows, columns)."""
    each = list(value.ravel(order="F")) if value.dtype == object else [value]
    if len(each) == 1 and each[0].ndim == 3:
        each = list(np.moveaxis(each[0], 2, 0))
    found = [v[:, :, None, None] if getattr(v, "ndim", 0) == 2 else v for v in each]
    for v, given in zip(found, each, strict=True):
        kind = v.dtype.kind if isinstance(v, np.ndarray) else "?"
        if kind not in "fiub" or v.ndim != 4 or 0 in v.shape or v.shape[2:] != found[0].shape[2:]:
            shape = getattr(given, "shape", type(given).__name__)
            raise PhotoError(
                f"{file}: {name} must be a kernel (h, w), cells of kernels, a stack (h, w, n) or a grid "
                f"(h, w, rows, columns) of real numbers, got {shape} of {getattr(given, 'dtype', '?')}"
            )
    if not found:
        raise PhotoError(f"{file}: {name} is empty")
    return found

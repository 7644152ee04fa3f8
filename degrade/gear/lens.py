"""Lens: point spread functions over states, field and channel, measured or computed, in one documented file.

``psf`` holds (state, field_y, field_x, channel, y, x): for each state of the lens and each node of a grid over the
field the kernels of R, G and B, upright, of odd side, their origin in the middle sample, their sum 1. Between nodes
kernels are interpolated bilinearly; at most half a cell beyond the rim (where grids of tiles have their outermost
centres) the rim's are held. The states' table has a column a number: ``focal_length`` [mm], ``f_number``,
``focus_distance`` [m], others. A file is a ``.npz`` or, the same names as arrays and attributes, a Zarr v3 ``.zarr``.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError, UnknownName, find, nearest
from degrade.gear import arrays, folders

LENS_FORMAT: Final = 1  #: of the file
DIMENSIONS: Final = ("state", "field_y", "field_x", "channel", "y", "x")
CHANNELS: Final = "RGB"
_FACTS = ("pitch", "includes_aperture", "about")
_BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError),
    *(TokenError, zipfile.BadZipFile, zlib.error),
)
_ARRAYS = ("psf", "field_y", "field_x")
_APART = 1e-3  # how far from 1 a sum may be


@dataclass(frozen=True, eq=False)
class Lens:
    """One lens; checked, and its kernels normalised, when it is made.

    Raises:
        RecipeError: naming the array and the place of what cannot be.

    >>> lens = Lens(np.full((1, 1, 1, 3, 5, 5), 1 / 25), [0], [0])
    >>> lens.psf.dtype, lens.radius(), Lens(lens.psf, [0], [0], pitch=1.0).radius(pitch=4.0)
    (dtype('float32'), 2, 1)
    """

    psf: NDArray[np.float32]  #: (s, m, n, 3, k, k) kernels
    field_y: NDArray[np.float64]  #: (m,) rising; one alone stands for all places [half diagonals, down]
    field_x: NDArray[np.float64]  #: (n,) rising; one alone stands for all places [half diagonals, right]
    pitch: float | None = None  #: distance of the samples [um]; None where they are pixels of whatever sensor
    includes_aperture: bool = False  #: whether the photosite's aperture is in the kernels already
    states: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    #: columns of s numbers each; may be left out of a lens of one state
    about: str = ""  #: what it is and where it comes from

    def __post_init__(self) -> None:
        psf = np.asarray(self.psf, np.float64)
        _check_shape(psf)
        total = _sums(psf)
        for name, count in (("field_y", psf.shape[1]), ("field_x", psf.shape[2])):
            object.__setattr__(self, name, _axis(name, getattr(self, name), count))
        columns = {str(n): tuple(map(float, np.ravel(v))) for n, v in self.states.items()}
        _check_states(columns, len(psf))
        if self.pitch is not None and not 0 < self.pitch < math.inf:
            raise RecipeError(f"pitch: must be above 0 um and finite, or left out for pixels, got {self.pitch:g}")
        object.__setattr__(self, "psf", np.ascontiguousarray(psf / total[..., None, None], np.float32))
        object.__setattr__(self, "states", columns)

    def __len__(self) -> int:
        return len(self.psf)

    @cached_property
    def digest(self) -> str:
        """BLAKE2b of all that decides pixels, the same for either kind of file."""
        facts = (self.psf.shape, self.pitch, self.includes_aperture)
        parts = (repr(facts).encode(), *(np.ascontiguousarray(getattr(self, n)).data for n in _ARRAYS))
        total = hashlib.blake2b(digest_size=16)
        for part in parts:
            total.update(part)
        return total.hexdigest()

    def radius(self, pitch: float | None = None) -> int:
        """Whole pixels that it reaches each way on a sensor of this ``pitch`` [um]; by default its own samples."""
        reach = self.psf.shape[-1] // 2
        return reach if self.pitch is None or pitch is None else math.ceil(reach * self.pitch / pitch - 1e-6)

    def check(self, name: str, radius: int, pitch: float | None = None) -> None:
        """Whether a blur of this radius on a sensor of this pitch [um] holds it; without one, where that can be told.

        Raises:
            RecipeError: naming the radius that it needs.
        """
        if (self.pitch is None or pitch is not None) and self.radius(pitch) > radius:
            side = f"{self.psf.shape[-1]} x {self.psf.shape[-1]}"
            of = (
                "pixels" if self.pitch is None else f"samples of {self.pitch:g} um, the sensor's pixels of {pitch:g} um"
            )
            raise RecipeError(
                f"psf_blur: the kernels of lens {name!r} are {side} {of}: they need radius: {self.radius(pitch)}, "
                f"got {radius}"
            )

    def place(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Where places lie on the grid: (b,) row and (b,) column, counted from 0 with fractions, float64.

        Args:
            at: (b, 2) places (y, x) [half diagonals]; NaN where unknown.

        Raises:
            PhotoError: if a place is unknown, or further than half a cell beyond the grid's rim.
        """
        y, x = at.double().cpu().T
        return _index("y", y, self.field_y), _index("x", x, self.field_x)

    def where(self, wanted: Mapping[str, Any]) -> list[int]:
        """The states whose columns have these values, or lie within these bounds ``[low, high]``.

        Raises:
            UnknownName: if there is no such column.
            RecipeError: if there is no such state.

        >>> lens = Lens(np.full((3, 1, 1, 3, 1, 1), 1.0), [0], [0], states={"f_number": (2.8, 4, 8)})
        >>> lens.where({"f_number": [2.8, 5.6]}), lens.where({"f_number": 8})
        ([0, 1], [2])
        """
        fits = np.ones(len(self), bool)
        for name, bounds in wanted.items():
            column = np.array(find(name, self.states, "column of the lens' states"))
            pair = bounds if isinstance(bounds, list | tuple) else (bounds, bounds)
            if len(pair) != 2 or not all(isinstance(v, int | float) for v in pair):
                raise RecipeError(f"{name}: must be a number or [low, high], got {bounds!r}")
            low, high = pair
            fits &= (column >= low - 1e-6 * abs(low)) & (column <= high + 1e-6 * abs(high))
        if not fits.any():
            have = "; ".join(f"{n} {', '.join(f'{v:g}' for v in sorted(set(self.states[n])))}" for n in wanted)
            raise RecipeError(f"no state of the lens has {dict(wanted)}; there are {have}")
        return np.flatnonzero(fits).tolist()

    # -- files --------------------------------------------------------------------------------------------------------

    @classmethod
    def named(cls, name: str) -> Lens:
        """The lens of that name in one's own folder, or in that file; a file is read once until it changes.

        Raises:
            UnknownName: if there is neither.
            RecipeError: if the file is not a lens.
        """
        own = {f.stem: f for f in sorted(folders.own("lenses").glob("*")) if f.suffix in arrays.ARRAY_SUFFIXES}
        path = own.get(name, Path(name))
        if not path.exists():
            raise UnknownName(f"unknown lens {name!r}: {nearest(name, own)} (or a .npz file or .zarr folder)")
        return _cached(path, _stamp(path))

    @classmethod
    def read(cls, path: str | Path) -> Lens:
        """The lens in a file.

        Raises:
            RecipeError: if it is not one; the file is named, and what is wrong where.
        """
        file = Path(path)
        try:
            found = arrays.read_arrays(file)
            if missing := [n for n in (*_ARRAYS, "lens_format") if n not in found]:
                raise RecipeError(f"{missing[0]} is missing; it has {', '.join(sorted(found)) or 'nothing'}")
            if (version := found.pop("lens_format")) != LENS_FORMAT:
                raise RecipeError(f"is of lens_format {version}, this version reads {LENS_FORMAT}")
            known = {n: found.pop(n) for n in (*_ARRAYS, *_FACTS) if n in found}
            return cls(**known, states=found)
        except RecipeError as wrong:
            raise RecipeError(f"lens file {file}: {wrong}") from wrong
        except _BROKEN as wrong:
            raise RecipeError(f"lens file {file} cannot be read ({wrong}): it must be a lens, .npz or .zarr") from wrong

    def write(self, path: str | Path) -> Path:
        """Writes it whole or not at all, and returns the path; another lens there is replaced.

        Raises:
            RecipeError: if the name ends otherwise than .npz or .zarr, or something else stands there.
        """
        target = Path(path)
        if target.is_dir():
            Lens.read(target)  # a folder that holds anything but a lens is not replaced
        facts: dict[str, Any] = {n: getattr(self, n) for n in _FACTS if getattr(self, n) is not None}
        columns = {n: np.array(v) for n, v in self.states.items()}
        named = {"psf": DIMENSIONS, "field_y": ("field_y",), "field_x": ("field_x",)}
        arrays.write_arrays(
            target,
            {n: getattr(self, n) for n in named} | columns,
            facts | {"lens_format": LENS_FORMAT},
            named | dict.fromkeys(columns, ("state",)),
        )
        return target


def half_sides(aspect: float = 1.5) -> tuple[float, float]:
    """Half height and half width of a picture of this width over height [half diagonals].

    >>> half_sides(4 / 3)
    (0.6, 0.8)
    """
    if not 0 < aspect < math.inf:
        raise RecipeError(f"aspect is width over height, above 0, got {aspect:g}")
    return round(1 / math.hypot(1, aspect), 12), round(aspect / math.hypot(1, aspect), 12)


# -- in a recipe ------------------------------------------------------------------------------------------------------


def _named(content: Any) -> Iterator[str]:
    """Each lens that a recipe (plain data) names."""
    if isinstance(content, dict):
        given = cast("dict[str, Any]", content)
        if given.get("psf") == "lens":
            yield given["file"]
        content = list(given.values())
    for item in content if isinstance(content, list) else ():
        yield from _named(item)


def identities(content: Any) -> dict[str, str]:
    """What a recipe's identity holds of its lenses: their digests by name; the recipe as plain data."""
    return {name: Lens.named(name).digest for name in sorted(set(_named(content)))}


# -- checking ---------------------------------------------------------------------------------------------------------


def _check_shape(psf: NDArray[Any]) -> None:
    if psf.ndim != 6 or psf.shape[3] != 3 or psf.shape[4] != psf.shape[5] or psf.shape[4] % 2 == 0 or 0 in psf.shape:
        raise RecipeError(f"psf: must be ({', '.join(DIMENSIONS)}), 3 channels, y = x odd, got shape {psf.shape}")


def _sums(psf: NDArray[np.float64]) -> NDArray[np.float64]:
    """(s, m, n, 3) what the kernels are divided by: their sums."""
    total = psf.sum((-2, -1))
    for wrong, what in (
        (~np.isfinite(total), "holds values that are not finite"),
        (~(np.abs(total - 1) <= _APART), f"sums to {{:.6g}}, must be 1 within {_APART:g}"),
    ):
        if wrong.any():
            s, y, x, c = map(int, np.argwhere(wrong)[0])
            raise RecipeError(
                f"psf: the kernel of state {s}, field_y {y}, field_x {x}, channel {CHANNELS[c]} "
                f"{what.format(total[s, y, x, c])} ({int(wrong.sum())} of {wrong.size} kernels)"
            )
    # what a rounding to float32 leaves is left, so that a lens stays the same however often it is written and read
    return np.where(np.abs(total - 1) <= 1e-6, 1.0, total)


def _axis(name: str, values: Any, count: int) -> NDArray[np.float64]:
    axis = np.asarray(values, np.float64)
    if axis.shape != (count,):
        raise RecipeError(f"{name}: must have {count} places as psf has, got shape {axis.shape}")
    if not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
        raise RecipeError(f"{name}: places must be finite and rise, got {', '.join(f'{v:g}' for v in axis)}")
    return axis


def _check_states(columns: Mapping[str, tuple[float, ...]], count: int) -> None:
    if not columns and count > 1:
        raise RecipeError(f"states: {count} states need a column that tells them apart, such as f_number, got none")
    for name, values in columns.items():
        if not name.isidentifier() or name in (*_ARRAYS, *_FACTS, "lens_format"):
            raise RecipeError(
                f"states: a column is letters, digits and underscores, not a name of its own, got {name!r}"
            )
        if len(values) != count:
            raise RecipeError(f"states: column {name} must have {count} numbers, one a state, got {len(values)}")
        if not all(map(math.isfinite, values)):
            raise RecipeError(f"states: column {name} holds a value that is not finite at state {_first(values)}")


def _first(values: tuple[float, ...]) -> int:
    return next(i for i, v in enumerate(values) if not math.isfinite(v))


def _index(name: str, at: Tensor, axis: NDArray[np.float64]) -> Tensor:
    """Fractional index of places on one axis."""
    if len(axis) == 1:
        return torch.zeros(1, dtype=torch.float64)
    nodes = torch.from_numpy(axis)
    if not bool(torch.isfinite(at).all()):
        raise PhotoError(
            "psf_blur: a lens whose kernels follow the field needs the place in it, which this photo does not tell: "
            "say `field: unknown` in the recipe's source to draw one"
        )
    low, high = 1.5 * nodes[0] - 0.5 * nodes[1], 1.5 * nodes[-1] - 0.5 * nodes[-2]
    beyond = (at < low - 1e-6) | (at > high + 1e-6)  # a place is float32
    if bool(beyond.any()):
        raise PhotoError(
            f"psf_blur: a patch lies at {name} = {at[beyond][0]:.3g} half diagonals; the lens is known from "
            f"{nodes[0]:.3g} to {nodes[-1]:.3g}, and held for half a cell beyond: measure it further out"
        )
    at = at.clamp(nodes[0], nodes[-1])
    left = (torch.searchsorted(nodes, at, right=True) - 1).clamp(0, len(nodes) - 2)
    return left + (at - nodes[left]) / (nodes[left + 1] - nodes[left])


# -- reading -----------------------------------------------------------------------------------------------------------


def _stamp(path: Path) -> tuple[tuple[int, int], ...]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return tuple((s.st_mtime_ns, s.st_size) for s in (f.stat() for f in files))


@lru_cache(maxsize=8)
def _cached(path: Path, stamp: tuple[tuple[int, int], ...]) -> Lens:
    """The file as it was at these times and sizes."""
    return Lens.read(path)

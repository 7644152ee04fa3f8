"""Frame: a batch of pictures that knows where it lies, what camera sees it and how noisy it already is.

Data is normalised signal, ``0`` at black and ``1`` at white; nothing is clipped until an operator whose name says so.
MOSAIC is packed ``R G1 G2 B`` and always has RGGB geometry (G1 shares red's row); LINEAR is unbalanced camera RGB;
DISPLAY is sRGB.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.errors import find


class Space(StrEnum):
    """What the numbers of a plane mean."""

    MOSAIC = "mosaic"  #: packed ``R G1 G2 B``, RGGB geometry, one pixel per 2 x 2 photosites
    LINEAR = "linear"  #: camera RGB, not white balanced
    DISPLAY = "display"  #: sRGB with its transfer curve, 0 to 1

    @classmethod
    def _missing_(cls, value: object) -> Space:
        return find(str(value), {space.value: space for space in cls}, "space")

    @property
    def channels(self) -> int:
        """Number of channels: 4 for MOSAIC, 3 for the others."""
        return 4 if self is Space.MOSAIC else 3


@dataclass(frozen=True)
class Grid:
    """Where pixel centres lie: pixel ``p`` sits at ``scale * (p + 1/2) - 1/2 + offset`` (y and x).

    Of a photo the target is the visible raw area, of a patch the crop's own pixels (0 is its first, margins are
    negative).

    >>> Grid().at(3)
    (3.0, 3.0)
    >>> Grid(scale=(2.0, 2.0)).at(0)        # a packed pixel sits between its two rows of photosites
    (0.5, 0.5)
    """

    scale: tuple[float, float] = (1.0, 1.0)  #: target pixels a pixel, (y, x)
    offset: tuple[float, float] = (0.0, 0.0)  #: target pixels, (y, x)

    def at(self, p: float) -> tuple[float, float]:
        """Target position of pixel centre ``(p, p)``."""
        y, x = (s * (p + 0.5) - 0.5 + o for s, o in zip(self.scale, self.offset, strict=True))
        return y, x

    def moved(self, top: float, left: float) -> Grid:
        """The grid whose pixel 0 is this one's pixel ``(top, left)``."""
        (sy, sx), (oy, ox) = self.scale, self.offset
        return Grid(self.scale, (oy + sy * top, ox + sx * left))

    def scaled(self, y: float, x: float | None = None) -> Grid:
        """The grid after pixels grew ``y`` (and ``x``) times, the first pixel's outer corner kept in place."""
        sy, sx = self.scale
        return Grid((sy * y, sx * (y if x is None else x)), self.offset)

    @property
    def start(self) -> tuple[int, int]:
        """Index of this grid's first pixel counted from the target's corner, in own pixels: minus the margin.

        Raises:
            ValueError: if the corner does not fall between pixels, so that there is no such index.
        """
        steps = [o / s for o, s in zip(self.offset, self.scale, strict=True)]
        if any(abs(v - round(v)) > 1e-6 for v in steps):
            raise ValueError(f"the grid is off by a fraction of a pixel: starts at {steps} pixels, must be whole")
        return round(steps[0]), round(steps[1])


@dataclass(frozen=True)
class Sensor:
    """The camera of each row. Fields are ``(b,)`` or ``(b, c)``, because batches mix photos; unknown is NaN."""

    black: Tensor  #: (b,) black level (optical black) [DN]
    white: Tensor  #: (b,) saturation level [DN]
    bits: Tensor  #: (b,) depth of the ADC [bit]
    pitch: Tensor  #: (b,) photosite pitch of the simulated camera [um]
    iso: Tensor  #: (b,) ISO speed
    exposure: Tensor  #: (b,) exposure time [s]
    temperature: Tensor  #: (b,) sensor temperature [degree Celsius]
    k1: Tensor  #: (b, 4) shot-noise slope for R G1 G2 B [DN at ISO 100]
    k0: Tensor  #: (b, 4) dark variance for R G1 G2 B [DN^2 at ISO 100]
    white_balance: Tensor  #: (b, 3) gains that make grey equal, green 1
    matrix: Tensor  #: (b, 3, 3) white-balanced camera RGB to linear sRGB, rows sum to 1
    centre: Tensor  #: (b, 2) optical centre (y, x) in the visible area [raw pixels]
    half_diagonal: Tensor  #: (b,) centre to corner [raw pixels]
    read_exponent: Tensor  #: (b,) power of ISO / 100 that the dark variance follows, 1 by the formula
    full_well: Tensor  #: (b,) charge that a photosite holds [e-]
    ladder: Tensor  #: (b, n, 9) measured curve: ISO, then k1 and k0 of R G1 G2 B there; n = 0 where there is none

    @classmethod
    def make(
        cls,
        b: int = 1,
        *,
        black: float = 0.0,
        white: float = 1.0,
        bits: int = 16,
        pitch: float = float("nan"),
        iso: float = float("nan"),
        exposure: float = float("nan"),
        temperature: float = float("nan"),
        k1: float | Sequence[float] = float("nan"),
        k0: float | Sequence[float] = float("nan"),
        white_balance: Sequence[float] = (1.0, 1.0, 1.0),
        matrix: Sequence[Sequence[float]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        centre: Sequence[float] = (float("nan"), float("nan")),
        half_diagonal: float = float("nan"),
        read_exponent: float = 1.0,
        full_well: float = float("nan"),
    ) -> Sensor:
        """A sensor from plain numbers, the same for ``b`` rows.

        >>> Sensor.make(black=512, white=16383, bits=14).black
        tensor([512.])
        """

        def row(value: object) -> Tensor:
            one = torch.as_tensor(value, dtype=torch.float32)
            return one.expand(b, *one.shape).contiguous()

        def four(value: float | Sequence[float]) -> Tensor:
            return row([value] * 4 if isinstance(value, (int, float)) else list(value))

        return cls(
            black=row(black),
            white=row(white),
            bits=row(bits),
            pitch=row(pitch),
            iso=row(iso),
            exposure=row(exposure),
            temperature=row(temperature),
            k1=four(k1),
            k0=four(k0),
            white_balance=row(list(white_balance)),
            matrix=row([list(r) for r in matrix]),
            centre=row(list(centre)),
            half_diagonal=row(half_diagonal),
            read_exponent=row(read_exponent),
            full_well=row(full_well),
            ladder=torch.zeros(b, 0, 9),
        )

    def __len__(self) -> int:
        return len(self.black)

    @property
    def range(self) -> Tensor:
        """(b,) white minus black, the DN that signal 1 stands for."""
        return self.white - self.black

    def map(self, f: Callable[[Tensor], Tensor]) -> Sensor:
        """The sensor with ``f`` applied to each field."""
        return Sensor(**{x.name: f(getattr(self, x.name)) for x in dataclasses.fields(self)})

    def rows(self, at: Tensor) -> Sensor:
        """The cameras of some rows, by place.

        >>> Sensor.make(3, iso=200.0).rows(torch.tensor([2, 0])).iso
        tensor([200., 200.])
        """
        some = object.__new__(_Rows)
        taken = self.taken if isinstance(self, _Rows) else None
        some.__dict__["taken"] = (self, at) if taken is None else (taken[0], taken[1][at])
        return some

    @staticmethod
    def joined(parts: Sequence[Sensor]) -> Sensor:
        """The cameras of several sensors, one after the other."""
        taken = [p.taken for p in parts if isinstance(p, _Rows) and p.taken is not None]
        if len(taken) == len(parts) and all(whole is taken[0][0] for whole, _ in taken):
            return taken[0][0].rows(torch.cat([at for _, at in taken]))
        return Sensor(**{x.name: torch.cat([getattr(p, x.name) for p in parts]) for x in dataclasses.fields(Sensor)})


class _Rows(Sensor):
    """Some rows of a sensor, whose fields are taken when they are first read: most of them never are."""

    taken: ClassVar[tuple[Sensor, Tensor] | None] = None  #: from which, and which; none once `replace` made it whole

    def __getattr__(self, name: str) -> Tensor:
        if self.taken is None or name not in Sensor.__dataclass_fields__:
            raise AttributeError(name)
        whole, at = self.taken
        field = getattr(whole, name)
        return self.__dict__.setdefault(name, field[at.to(field.device)])


@dataclass(frozen=True)
class Frame:
    """A batch of ``b`` pictures in one space, on one grid."""

    data: Tensor  #: (b, c, h, w) float32, 0 black and 1 white
    space: Space
    sensor: Sensor
    grid: Grid = Grid()
    origin: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(1, 2, dtype=torch.int64))
    #: (b, 2) integer (y, x) of the patch on the simulated sensor's grid: the address of PRNU, hot pixels, rows
    field: Tensor = dataclasses.field(default_factory=lambda: torch.full((1, 2), float("nan")))
    #: (b, 2) patch centre (y, x) relative to ``sensor.centre`` [half diagonals]
    noise: Tensor | None = None
    #: (b, 2, c) shot and read line of the variance of all noise in the data, normalised; None where it is unknown
    correlated: bool = False  #: whether that noise is correlated between pixels; no line tells what filters leave of it
    aux: Mapping[str, Tensor] = dataclasses.field(default_factory=dict[str, Tensor])
    #: maps of the same place, (b, k, h, w): ``clipped``, ``depth``, ``normal``
    reference: Frame | None = None  #: the plane whose signal sets the noise, where an operator asks for one
    notes: Mapping[str, Tensor] = dataclasses.field(default_factory=dict[str, Tensor])
    #: (b,) numbers that the last operator wants recorded, such as the energy a kernel lost
    oversample: int = 1  #: pixels, each way, that make one of the simulated sensor's
    model: str = ""  #: maker and model of the camera that took a photo, as its file says; empty where it does not

    def __len__(self) -> int:
        return self.data.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [pixels]."""
        return self.data.shape[2], self.data.shape[3]

    @property
    def neutral(self) -> Tensor:
        """(b, 3, 1, 1) what a grey of luminance 1 looks like in this camera's RGB: 1 / white balance, green 1."""
        return (1.0 / self.sensor.white_balance)[:, :, None, None]

    def with_data(self, data: Tensor, *, noise: Tensor | None = None, **changes: Any) -> Frame:
        """The same place and camera, other pixels, and other fields by name.

        Nothing is known of the noise in these pixels unless the caller states it.

        Args:
            data: (b, c, h, w) float32.
            noise: (b, 2, c) shot and read line of the noise in ``data``: its variance at a pixel of signal y is
                ``shot y + read``. A gain g makes (g shot, g^2 read) of what there was, a linear filter whose weights
                have the sum 1 multiplies both by the sum of their squares (`filtered`) and leaves it correlated.
            changes: other fields of the frame.

        Raises:
            TypeError: if a frame has no such field.

        >>> grey = Frame(torch.full((1, 3, 2, 2), 0.5), Space.LINEAR, Sensor.make(), noise=torch.full((1, 2, 3), 1e-4))
        >>> grey.with_data(grey.data.flip(-1)).noise is None
        True
        >>> grey.with_data(grey.data + 0.0, noise=grey.noise).noise.shape
        torch.Size([1, 2, 3])
        """
        return self.changed(data=data, noise=noise, **changes)

    def filtered(self, squares: Tensor | float) -> Tensor | None:
        """The line of the noise that a linear filter leaves, (b, 2, c); unknown where it was correlated before.

        Args:
            squares: sum of the filter's squared weights, a number or whatever broadcasts to (b, 2, c); of weights that
                have another sum than 1, that of the shot line is divided by it.

        >>> grey = Frame(torch.zeros(1, 3, 2, 2), Space.LINEAR, Sensor.make(), noise=torch.full((1, 2, 3), 1e-4))
        >>> round(grey.filtered(0.25)[0, 0, 0].item(), 9)
        2.5e-05
        """
        return None if self.noise is None or self.correlated else self.noise * squares

    def changed(self, **changes: Any) -> Frame:
        """The frame with other fields by name."""
        new = object.__new__(Frame)  # `dataclasses.replace` takes ten times as long
        new.__dict__.update(self.__dict__, **changes)
        if len(new.__dict__) != len(self.__dict__):
            raise TypeError(f"a frame has no {', '.join(sorted(new.__dict__.keys() - self.__dict__.keys()))}")
        return new

    def trim(self, pixels: int) -> Frame:
        """The frame less ``pixels`` on each side; aux is trimmed along.

        Raises:
            ValueError: if nothing would be left.
        """
        if pixels == 0:
            return self
        if pixels < 0 or 2 * pixels >= min(self.size):
            raise ValueError(f"cannot trim {pixels} pixels from each side of {self.size[0]} x {self.size[1]}")

        def cut(t: Tensor) -> Tensor:
            return t[..., pixels:-pixels, pixels:-pixels]

        return self.changed(
            data=cut(self.data),
            grid=self.grid.moved(pixels, pixels),
            aux={k: cut(v) for k, v in self.aux.items()},
            reference=self.reference and self.reference.trim(pixels),
        )

    def map(self, f: Callable[[Tensor], Tensor]) -> Frame:
        """The frame with ``f`` applied to each tensor (a move to a device)."""
        return self._mapped(f, lambda sensor: sensor.map(f))

    def rows(self, at: NDArray[np.int64]) -> Frame:
        """Some rows, by place; those that follow one another share memory with the frame."""
        index = torch.from_numpy(at)
        here = slice(int(at[0]), int(at[-1]) + 1) if (at[1:] - at[:-1] == 1).all() else index.to(self.data.device)
        return self._mapped(lambda t: t[here], lambda sensor: sensor.rows(index))

    def _mapped(self, f: Callable[[Tensor], Tensor], camera: Callable[[Sensor], Sensor]) -> Frame:
        return self.changed(
            data=f(self.data),
            sensor=camera(self.sensor),
            origin=f(self.origin),
            field=f(self.field),
            noise=None if self.noise is None else f(self.noise),
            aux={k: f(v) for k, v in self.aux.items()},
            reference=self.reference and self.reference._mapped(f, camera),
            notes={k: f(v) for k, v in self.notes.items()},
        )

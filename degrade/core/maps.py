"""Maps that a recipe reads beside a photo (``source.aux``), and how operators use them.

The first word of a map's name says its kind (``mask``, ``mask_sky``), and the kind says how it is resampled. Normals
are x right, y down, z towards the camera; depth is in metres.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError, UnknownName, nearest, speaking
from degrade.core.frame import Frame
from degrade.core.operator import Operator
from degrade.core.param import Model
from degrade.maths.maps import How

KINDS: Final[dict[str, How]] = {
    "depth": "nearest",
    "normal": "unit",
    "albedo": "mean",
    "height": "mean",
    "mask": "mean",
    "label": "nearest",
}
KEYS: Final = ("stem", "name", "folder")


def channels(name: str) -> int:
    """Channels of a map of that name: 3 of normals and albedo, else 1."""
    return 3 if kind(name) in ("normal", "albedo") else 1


def kind(name: str) -> str:
    """The kind of a map: the first word of its name.

    >>> kind("mask_sky")
    'mask'
    """
    return name.split("_", maxsplit=1)[0]


def how(name: str) -> How:
    """How a map of that name is resampled; what is no kind (``clipped``) is averaged."""
    return KINDS.get(kind(name), "mean")


class Aux(Model):
    """A map that lies beside each photo, on its visible raw area and not turned."""

    file: str = Field(
        description="where it lies, relative to the photo's folder; {stem} and {name} are the photo's file name "
        "without and with its extension, {folder} the name of its folder",
        min_length=1,
    )
    scale: float = Field(default=1.0, description="what one of the file's numbers stands for: metres, for depth", gt=0)
    green: Literal["up", "down"] = Field(
        default="up", description="where the second component of normals points in the file"
    )

    def beside(self, photo: Path) -> Path:
        """Where the map of a photo lies."""
        folder = photo.parent
        return folder / self.file.format(stem=photo.stem, name=photo.name, folder=folder.name)

    @field_validator("file")
    @classmethod
    def _known(cls, file: str) -> str:
        try:
            keys = [key for _, key, _, _ in string.Formatter().parse(file) if key is not None]
        except ValueError as wrong:
            raise RecipeError(f"{file!r} is no template: {wrong}") from wrong
        for key in keys:
            if key not in KEYS:
                raise UnknownName(f"unknown {{{key}}} in {file!r}: {nearest(key, KEYS)}")
        with speaking(RecipeError, f"{file!r} is no template: "):
            file.format(**dict.fromkeys(KEYS, ""))
        return file


def wanted(op: Operator) -> tuple[str, ...]:
    """Names of the maps that an operator, or any inside it, reads."""
    inside = getattr(op, "members", tuple[Operator, ...])()
    return tuple(dict.fromkeys((*getattr(op, "maps", ()), *(n for member in inside for n in wanted(member)))))


def need(frame: Frame, name: str, op: str) -> Tensor:
    """The frame's map of that name, (b, k, h, w).

    Raises:
        PhotoError: if it has none.
    """
    if name in frame.aux:
        return frame.aux[name]
    has = ", ".join(sorted(frame.aux)) or "none"
    raise PhotoError(
        f"{op} reads the map {name!r}, the picture has {has}: name its files in the recipe, "
        f'`source: {{aux: {{{name}: {{file: "../{name}/{{stem}}.png"}}}}}}`'
    )


def patch_mean(frame: Frame, x: Tensor) -> Tensor:
    """(b, c) mean of (b, c, h, w) over the patch itself: its margin, which differs with what a recipe needs, left out.

    >>> import torch
    >>> from degrade import Frame, Grid, Sensor, Space
    >>> frame = Frame(torch.zeros(1, 3, 4, 4), Space.LINEAR, Sensor.make(), grid=Grid(offset=(-1.0, -1.0)))
    >>> patch_mean(frame, torch.arange(16.0).reshape(1, 1, 4, 4)).item()
    7.5
    """
    top, left = (max(0, round(-o / s)) for s, o in zip(frame.grid.scale, frame.grid.offset, strict=True))
    h, w = x.shape[-2:]
    return x[..., top : h - top, left : w - left].double().mean((-2, -1)).to(x.dtype)

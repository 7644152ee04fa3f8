"""Cameras that a recipe names: black, white, bits, pitch and noise curve, replaced together.

A name is looked up in the table that ships, then in one's own folder (``$DEGRADE_CAMERAS``, else ``degrade/cameras``
where the system keeps settings), then as a JSON file of one camera; ``auto`` takes the camera that bears the photo's
model. The photo keeps its signal (its own 0 .. 1), its neutral and its colour matrix; noise and ADC are the camera's.

The curve is ``variance = [k1 (S - OB) + k0] ISO / 100``; two refinements are allowed, one at a time: the dark part
follows another power of ISO (``read_iso_exponent``), or k1 and k0 come from a ``table`` over ISO.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from degrade.core.errors import PhotoError, RecipeError, UnknownName, find, nearest
from degrade.core.explain import FieldPlace, in_one_sentence
from degrade.core.frame import Sensor
from degrade.core.param import Model, Positive
from degrade.gear import folders
from degrade.maths import noise

AUTO: Final = "auto"  #: the name that stands for the camera of the photo's own model
Variance = Annotated[float, Field(ge=0)]
Four = tuple[Variance, Variance, Variance, Variance]


class Ladder(Model):
    """A curve measured at several ISOs: k1 and k0 of each, in the formula's own units (divided by ISO / 100)."""

    iso: tuple[Positive, ...] = Field(description="ISO speeds, rising", min_length=2)
    k1: tuple[Four, ...] = Field(description="shot-noise slope of R G1 G2 B, one row an ISO [DN at ISO 100]")
    k0: tuple[Four, ...] = Field(description="dark variance of R G1 G2 B, one row an ISO [DN^2 at ISO 100]")

    @model_validator(mode="after")
    def _rows(self) -> Ladder:
        if not len(self.iso) == len(self.k1) == len(self.k0):
            raise RecipeError(
                f"needs a row of k1 and of k0 for each ISO, got {len(self.iso)} ISOs, {len(self.k1)} and {len(self.k0)}"
            )
        if any(b <= a for a, b in zip(self.iso, self.iso[1:], strict=False)):
            raise RecipeError(f"ISOs must rise, got {', '.join(f'{i:g}' for i in self.iso)}")
        return self


class Camera(Model):
    """One camera; ``k1`` and ``k0`` are for R G1 G2 B.

    >>> Camera.named("demo-a").white
    4095.0
    """

    about: str = Field(default="", description="what it is and where the numbers come from")
    models: tuple[str, ...] = Field(default=(), description="maker and model as photos of it say, for `camera: auto`")
    black: float = Field(description="black level [DN]", ge=0)
    white: float = Field(description="saturation level [DN]", gt=0, le=65535)
    bits: int = Field(description="depth of the ADC [bit]", ge=1, le=16)
    pitch: Positive = Field(description="photosite pitch [um]")
    k1: Four = Field(description="shot-noise slope [DN at ISO 100]; the table's first by default")
    k0: Four = Field(description="dark variance [DN^2 at ISO 100]; the table's first by default")
    read_iso_exponent: float = Field(
        default=1.0, description="the dark variance is k0 (ISO / 100)^exponent", ge=0, le=4
    )
    full_well: Positive | None = Field(default=None, description="charge that a photosite holds [e-]")
    table: Ladder | None = Field(default=None, description="k1 and k0 at several ISOs, interpolated over log ISO")

    @model_validator(mode="before")
    @classmethod
    def _from_table(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("table"), dict):
            return given
        table = given["table"]
        first = {n: table[n][0] for n in ("k1", "k0") if n not in given and table.get(n)}
        return {**given, **first}

    @model_validator(mode="after")
    def _levels(self) -> Camera:
        if not self.black < self.white <= 2**self.bits - 1:
            raise RecipeError(
                f"needs black < white <= {2**self.bits - 1} at {self.bits} bits, got {self.black} and {self.white}"
            )
        if self.table is not None and self.read_iso_exponent != 1:
            raise RecipeError("has both table and read_iso_exponent: a table already says how k0 follows ISO")
        return self

    @classmethod
    def named(cls, name: str) -> Camera:
        """The camera of that name, or in that JSON file.

        Raises:
            UnknownName: if there is neither.
            RecipeError: if the file is not a camera.
        """
        table, own = _shipped(), _own()
        if name in table:
            return table[name]
        if name not in own and not Path(name).is_file():
            raise UnknownName(
                f"unknown camera {name!r}: {nearest(name, [*table, *own])} "
                "(or a JSON file with black, white, bits, pitch, k1, k0)"
            )
        return _read(own.get(name, Path(name)))

    @classmethod
    def from_eld(cls, line: str, gain: float, *, black: float, white: float, pitch: float) -> Camera:
        """A 14-bit camera on one of ELD's published lines, given what they do not state.

        Args:
            line: name of the line, a key of `degrade.maths.noise.ELD`.
            gain: K at ISO 100 [DN / e-]; K rises in proportion to ISO.
            black: black level [DN].
            white: saturation level [DN].
            pitch: photosite pitch [um].

        Raises:
            UnknownName: if there is no such line.

        >>> Camera.from_eld("nikon-d850", 0.15, black=400, white=15520, pitch=4.35).read_iso_exponent
        1.126
        """
        k1, k0, exponent = noise.from_eld(gain, *find(line, noise.ELD, "line of ELD"))
        return cls(
            about=f"ELD's line for {line} (Wei et al. 2020, MIT licence), K = {gain:g} DN / e- at ISO 100 as given.",
            black=black,
            white=white,
            bits=14,
            pitch=pitch,
            k1=(k1, k1, k1, k1),
            k0=(k0, k0, k0, k0),
            read_iso_exponent=exponent,
        )

    def replaces(self, sensor: Sensor) -> Sensor:
        """``sensor`` with this camera's levels, pitch and curve in every row."""
        like = sensor.black
        numbers = {n: float(getattr(self, n)) for n in ("black", "white", "bits", "pitch")}
        numbers |= {"read_exponent": self.read_iso_exponent, "full_well": self.full_well or float("nan")}
        fill = {n: torch.full_like(like, v) for n, v in numbers.items()}
        curve = {n: like.new_tensor(getattr(self, n)).repeat(len(like), 1) for n in ("k1", "k0")}
        steps = self.table and [
            [i, *a, *b] for i, a, b in zip(self.table.iso, self.table.k1, self.table.k0, strict=True)
        ]
        ladder = like.new_tensor(steps or []).reshape(1, -1, 9).repeat(len(like), 1, 1)
        return replace(sensor, **fill, **curve, ladder=ladder)


def curve(sensor: Sensor, iso: Tensor) -> tuple[Tensor, Tensor]:
    """(b, 4) k1 and k0 that the formula takes at these ISO speeds, (b,); NaN where the camera has no curve.

    Raises:
        PhotoError: if an ISO lies outside the camera's table.

    >>> sensor = Camera.named("demo-a").replaces(Sensor.make())
    >>> [round(k[0, 0].item(), 4) for k in curve(sensor, torch.tensor([800.0]))]
    [0.1919, 0.3316]
    """
    if sensor.ladder.shape[1] == 0:
        # the formula multiplies by ISO / 100 itself; a power of 0 is exactly 1
        return sensor.k1, sensor.k0 * torch.pow(iso / 100, sensor.read_exponent - 1)[:, None]
    steps = sensor.ladder[..., 0].contiguous()
    outside = (iso < steps[:, 0]) | (iso > steps[:, -1])
    if bool(outside.any()):
        at = int(outside.nonzero()[0])
        raise PhotoError(
            f"ISO {iso[at].item():g} lies outside the camera's table, which goes from {steps[at, 0].item():g} to "
            f"{steps[at, -1].item():g}: draw ISO within it, or measure more"
        )
    above = torch.searchsorted(steps, iso[:, None].contiguous()).clamp(1, steps.shape[1] - 1)
    low, high = (torch.take_along_dim(sensor.ladder, at[..., None], 1)[:, 0] for at in (above - 1, above))
    share = torch.log(iso / low[:, 0]) / torch.log(high[:, 0] / low[:, 0])
    found = torch.lerp(low[:, 1:], high[:, 1:], share[:, None])
    return found[:, :4].contiguous(), found[:, 4:].contiguous()


# -- finding ----------------------------------------------------------------------------------------------------------


def of_model(model: str) -> Camera:
    """The camera whose photos call themselves ``model``: by its ``models``, or by its name.

    Raises:
        PhotoError: if there is none, or the photo does not say.
    """
    if not model:
        raise PhotoError("the photo does not tell its camera, so `camera: auto` finds none: name one in source:")
    known = every()
    asked = _slug(model)
    found = next((c for n, c in known.items() if asked in {_slug(n), *map(_slug, c.models)}), None)
    if found is None:
        raise PhotoError(
            f"no noise curve is known for {model}: measure it with `degrade calibrate noise` and save it as "
            f"{asked}.json in the folder of your cameras ($DEGRADE_CAMERAS), or name another camera in source:"
        )
    return found


def every() -> dict[str, Camera]:
    """All cameras by name: those that ship, and one's own.

    Raises:
        RecipeError: if one of one's own files is not a camera.
    """
    return {**{n: _read(f) for n, f in _own().items()}, **_shipped()}


def identity(name: str) -> dict[str, Any]:
    """What a recipe's identity holds of a camera: its numbers; for ``auto`` those of all cameras, and their models.

    Raises:
        UnknownName: if there is no such camera.
        RecipeError: if its file is wrong.
    """
    if name == AUTO:
        return {n: {**_numbers(c), "models": list(c.models)} for n, c in sorted(every().items())}
    return _numbers(Camera.named(name))


def _numbers(camera: Camera) -> dict[str, Any]:
    # refinements that a camera does not use stay out, so that those to come leave the identity of old recipes alone
    return {"about": camera.about, **camera.model_dump(mode="json", exclude_defaults=True, exclude={"models"})}


def _own() -> dict[str, Path]:
    return {f.stem: f for f in sorted(folders.own("cameras").glob("*.json"))}


def _read(file: Path) -> Camera:
    try:
        with in_one_sentence(_fields, f"camera file {file}: "):
            return Camera.model_validate_json(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as wrong:
        raise RecipeError(f"camera file {file} cannot be read ({wrong}): it must be JSON in UTF-8") from wrong


def _fields(place: FieldPlace) -> Iterable[str]:
    """Names of the fields that may stand at a place in a camera file."""
    return (Ladder if place[0] == "table" and len(place) > 1 else Camera).model_fields


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


@lru_cache
def _shipped() -> Mapping[str, Camera]:
    table = json.loads(Path(__file__).with_name("cameras.json").read_text("utf-8"))
    return {n: Camera.model_validate(c) for n, c in cast("dict[str, Any]", table).items()}

"""Cameras that a recipe names: black, white, bits, pitch and noise curve, replaced together.

A name is looked up in the table that ships, then as a JSON file of one camera. The photo keeps its signal (its own
0 .. 1), its neutral and its colour matrix; noise and ADC are the named camera's.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from pydantic import Field, ValidationError, model_validator

from degrade.recipe.errors import RecipeError, nearest
from degrade.recipe.frame import Sensor
from degrade.recipe.operator import Model

Positive = Annotated[float, Field(gt=0)]
Variance = Annotated[float, Field(ge=0)]


class Camera(Model):
    """One camera; ``k1`` and ``k0`` are for R G1 G2 B.

    >>> Camera.named("demo-a").white
    4095.0
    """

    about: str = Field(default="", description="what it is and where the numbers come from")
    black: float = Field(description="black level [DN]", ge=0)
    white: float = Field(description="saturation level [DN]", gt=0, le=65535)
    bits: int = Field(description="depth of the ADC [bit]", ge=1, le=16)
    pitch: Positive = Field(description="photosite pitch [um]")
    k1: tuple[Variance, Variance, Variance, Variance] = Field(description="shot-noise slope [DN at ISO 100]")
    k0: tuple[Variance, Variance, Variance, Variance] = Field(description="dark variance [DN^2 at ISO 100]")

    @model_validator(mode="after")
    def _levels(self) -> Camera:
        if not self.black < self.white <= 2**self.bits - 1:
            raise ValueError(
                f"needs black < white <= {2**self.bits - 1} at {self.bits} bits, got {self.black} and {self.white}"
            )
        return self

    @classmethod
    def named(cls, name: str) -> Camera:
        """The camera of that name, or in that JSON file.

        Raises:
            RecipeError: if there is neither, or the file is not a camera.
        """
        table = _shipped()
        if name in table:
            return cls.model_validate(table[name])
        if not Path(name).is_file():
            raise RecipeError(
                f"unknown camera {name!r}: {nearest(name, table)} "
                "(or a JSON file with black, white, bits, pitch, k1, k0)"
            )
        try:
            return cls.model_validate_json(Path(name).read_text("utf-8"))
        except ValidationError as wrong:
            first = wrong.errors()[0]
            raise RecipeError(f"camera file {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from wrong

    def replaces(self, sensor: Sensor) -> Sensor:
        """``sensor`` with this camera's levels, pitch and curve in every row."""
        like = sensor.black
        fill = {n: torch.full_like(like, float(getattr(self, n))) for n in ("black", "white", "bits", "pitch")}
        curve = {
            n: torch.tensor(getattr(self, n), dtype=like.dtype, device=like.device).repeat(len(like), 1)
            for n in ("k1", "k0")
        }
        return replace(sensor, **fill, **curve)


@lru_cache
def _shipped() -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", json.loads(Path(__file__).with_name("cameras.json").read_text("utf-8")))

"""Recipe: named operators, named planes. Sharing is naming: planes that pass through one name share its draws.

A recipe is checked as a whole when it is made: spaces, sizes, margins, references. What stands before the crop runs
once a photo, what stands behind it on blocks of rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from degrade.recipe.cameras import Camera
from degrade.recipe.columns import Columns
from degrade.recipe.errors import RecipeError, find, nearest
from degrade.recipe.frame import Frame, Sensor, Space
from degrade.recipe.key import Key
from degrade.recipe.operator import Model, Operator, Spec
from degrade.recipe.patches import Patches

Path = tuple[str, ...]


class Source(Model):
    """What is read of each photo."""

    space: Space = Field(Space.LINEAR, description="linear, mosaic or display")
    shrink: int | None = Field(None, description="raw pixels a pixel, even (pictures: any); 2 for RAW as linear, else 1", ge=1)
    camera: str | None = Field(None, description="camera that is simulated: a name, or a JSON file")
    iso: float | None = Field(None, description="ISO of the photos, where they do not tell it", gt=0)
    field: Literal["photo", "unknown"] = Field("photo", description="place in the image field: as in the photo, or drawn")


class Plane(Model):
    """A path through named operators, and how it is stored."""

    path: Path = Field(description="names of operators, first to last", min_length=1)
    dtype: Literal["float32", "uint16", "uint8"] | None = Field(None, description="number type in the store; by default what the path ends in")
    margin: Literal["keep"] | None = Field(None, description="`keep` stores the crop's whole margin")


def _plane(value: Any) -> Any:
    return {"path": value} if isinstance(value, list | tuple) else value


class Recipe(Model):
    """What happens to a photograph.

    Raises:
        pydantic.ValidationError: if it does not fit together; `Recipe.load` and `Recipe.parse` say it in one sentence.

    >>> recipe = Recipe.load("residual-maps")
    >>> list(recipe.planes)
    ['clean', 'blur', 'noise', 'noise_blur']
    >>> recipe.specs["noise_blur"].size
    (64, 64)
    """

    seed: int = Field(0, description="seed of all draws")
    source: Source = Field(default_factory=Source, description="what is read of each photo")
    operators: Mapping[str, Operator] = Field(description="operators by name")
    planes: Mapping[str, Annotated[Plane, BeforeValidator(_plane)]] = Field(description="planes by name: a list of operators, or path, dtype, margin")
    store: tuple[str, ...] = Field((), description="planes that are stored; all by default")
    block: int = Field(16, description="rows rendered at once", ge=1, le=1024)
    train: Mapping[str, Any] = Field(default_factory=dict[str, Any], description="settings of `degrade train`; not part of the hash")

    # -- reading ------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, name: str) -> Recipe:
        """The recipe of a file (.yaml, .yml, .json), or the shipped pipeline of that name.

        Raises:
            RecipeError: saying in one sentence what is wrong and where.
        """
        from degrade.recipe import files

        return files.load(name)

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The recipe written in YAML 1.2 or JSON.

        Raises:
            RecipeError: saying in one sentence what is wrong and where.
        """
        from degrade.recipe import files

        return files.parse(text)

    # -- checking -----------------------------------------------------------------------------------------------------

    @field_validator("operators", "planes")
    @classmethod
    def _names(cls, named: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in named:
            if not name.isidentifier():
                raise ValueError(f"names are letters, digits and underscores, got {name!r}")
        if not named:
            raise ValueError("needs at least one entry")
        return named

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for plane in self.planes:
            self._check_path(plane)
        for name in self.store:
            find(name, self.planes, "plane in store:")
        if len(set(self.store)) != len(self.store):
            raise RecipeError(f"store: names a plane twice: {', '.join(self.store)}")
        if self.crop.on is not None:
            find(self.crop.on, self.planes, f"plane in {self.crop_name}.on:")
        if self.source.camera is not None:
            Camera.named(self.source.camera)
        grids = {self._at(p, self.paths[p].index(self.crop_name)).grid for p in self.planes}
        if len(grids) > 1:
            raise RecipeError(f"all planes must reach {self.crop_name} on one pixel grid; move the resampling behind it, or before it in every plane")
        for plane in self.planes:
            self._check_references(plane)
        need = max(n for path, n in self.margins.items() if path[-1] == self.crop_name)
        if need > self.crop.margin:
            raise RecipeError(f"{self.crop_name}: the planes look {need} pixels beyond a patch, margin is {self.crop.margin}: set margin: {need} or more")
        return self

    def _check_path(self, plane: str) -> None:
        path = self.paths[plane]
        for name in path:
            find(name, self.operators, f"operator in plane {plane!r}:")
        if len(set(path)) != len(path):
            twice = next(n for n in path if path.count(n) > 1)
            raise RecipeError(f"plane {plane!r} passes {twice!r} twice; give the second its own name to draw anew")
        crops = [n for n in path if isinstance(self.operators[n], Patches)]
        if len(crops) != 1 or crops[0] != self.crop_name:
            known = ", ".join(n for n, op in self.operators.items() if isinstance(op, Patches)) or "none"
            raise RecipeError(f"plane {plane!r} must pass exactly one crop, the same in all planes; it passes {crops or 'none'}, defined: {known}")
        at = path.index(self.crop_name)
        for other, names in self.paths.items():
            for name in set(path[:at]) & set(names[names.index(self.crop_name) + 1 :] if self.crop_name in names else ()):
                raise RecipeError(f"{name!r} stands before {self.crop_name} in plane {plane!r} and behind it in {other!r}; it needs two names")
        for i, name in enumerate(path):
            try:
                self._at(plane, i + 1)
            except RecipeError as wrong:
                raise RecipeError(f"plane {plane!r}, operator {name!r}: {wrong}") from wrong

    def _check_references(self, plane: str) -> None:
        path = self.paths[plane]
        for i, name in enumerate(path):
            asked = getattr(self.operators[name], "reference", None)
            if asked is None:
                continue
            other = self.paths[asked] if asked in self.paths else find(asked, self.paths, f"plane in {name}.reference:")
            if name not in other:
                raise RecipeError(f"{name}.reference: plane {asked!r} does not pass {name!r}")
            mine, theirs = self._at(plane, i), self._at(asked, other.index(name))
            if mine != theirs:
                raise RecipeError(f"{name}.reference: planes {plane!r} and {asked!r} differ there in space, size or grid")

    # -- what follows from it -----------------------------------------------------------------------------------------

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Path of each plane."""
        return {name: plane.path for name, plane in self.planes.items()}

    @cached_property
    def crop_name(self) -> str:
        """Name of the crop that all planes share."""
        names = (n for path in self.paths.values() for n in path if isinstance(self.operators.get(n), Patches))
        found = next(names, None)
        if found is None:
            raise RecipeError("no plane passes a crop; add one, such as `patches: {op: crop, size: 128}`, to every plane")
        return found

    @property
    def crop(self) -> Patches:
        """The crop that all planes share."""
        return cast(Patches, self.operators[self.crop_name])

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the planes that are stored."""
        return self.store or tuple(self.planes)

    @cached_property
    def specs(self) -> dict[str, Spec]:
        """Space, channels, size and grid of each plane's result, margin not counted."""
        return {name: self._at(name, len(path)) for name, path in self.paths.items()}

    def _at(self, plane: str, steps: int) -> Spec:
        spec = Spec(self.source.space, self.source.space.channels)
        for name in self.paths[plane][:steps]:
            spec = self.operators[name].plan(spec)
        return spec

    @cached_property
    def margins(self) -> dict[Path, int]:
        """Valid margin [pixels] needed after each beginning of a path, from the crop on."""
        need: dict[Path, int] = {}
        kept = {name: self.crop.margin if plane.margin == "keep" else 0 for name, plane in self.planes.items()}
        before: dict[Path, int] | None = None
        while need != before:  # references make a plane need what another one looks at: a few rounds settle it
            before = dict(need)
            for plane, path in self.paths.items():
                crop = path.index(self.crop_name)
                scale = self.specs[plane].grid.scale[0]
                after = max(need.get(path, 0), round(kept[plane] / scale))
                need[path] = after
                for i in range(len(path) - 1, crop, -1):
                    op = self.operators[path[i]]
                    after = max(need.get(path[:i], 0), op.needs(self._at(plane, i), after))
                    need[path[:i]] = after
                    asked = getattr(op, "reference", None)
                    if asked is not None:
                        other = self.paths[asked]
                        stem = other[: other.index(path[i])]
                        need[stem] = max(need.get(stem, 0), op.needs(self._at(plane, i), need[path[: i + 1]]))
        return need

    @cached_property
    def border(self) -> int:
        """Pixels at the photo's edge that operators before the crop leave invalid."""
        worst = 0
        for plane, path in self.paths.items():
            lost = 0
            for i, name in enumerate(path[: path.index(self.crop_name)]):
                ratio = self._at(plane, i + 1).grid.scale[0] / self._at(plane, i).grid.scale[0]
                lost = int(np.ceil((lost + self.operators[name].reach[0]) / ratio))
            worst = max(worst, lost)
        return worst

    def columns(self, patches: Key | None = None, photo: Key | None = None) -> Columns:
        """The draws of some rows as columns; of none by default, which tells their names and labels.

        Args:
            patches: n addresses, one a patch.
            photo: the address of their photo.
        """
        patches = Key(np.zeros(0, np.uint64)) if patches is None else patches
        columns = Columns()
        for name, op in self.operators.items():
            if any(name in path for path in self.paths.values()):
                columns.collect(name, op, patches, Key(0) if photo is None else photo)
        return columns

    def notes(self) -> tuple[str, ...]:
        """Names of the numbers a row that operators record while they are applied."""
        behind = dict.fromkeys(n for p in self.paths.values() for n in p[p.index(self.crop_name) + 1 :])
        return tuple(f"{name}.{note}" for name in behind for note in self.operators[name].noted())

    def references(self) -> Iterator[tuple[str, str]]:
        """Operators that ask for another plane's signal, and that plane."""
        for name, op in self.operators.items():
            asked = getattr(op, "reference", None)
            if asked is not None:
                yield name, asked

    # -- identity -----------------------------------------------------------------------------------------------------

    @field_serializer("operators", "planes", "train")
    def _plain(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v.model_dump(mode="json") if isinstance(v, Model) else v for k, v in named.items()}

    def text(self) -> str:
        """The recipe as canonical JSON, every default written; `Recipe.parse` reads it back."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)

    @cached_property
    def hash(self) -> str:
        """BLAKE2b of all that decides the pixels: the recipe less ``train``, operator versions, the camera's numbers."""
        names = {n for path in self.paths.values() for n in path}
        content = {
            **self.model_dump(mode="json", exclude={"train"}),
            "store": list(self.stored),
            "versions": {n: self.operators[n].version for n in sorted(names)},
            "camera": Camera.named(self.source.camera).model_dump(mode="json") if self.source.camera else None,
        }
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()

    def __hash__(self) -> int:
        return hash(self.hash)

    def changed(self, **fields: Any) -> Recipe:
        """The recipe with some fields replaced (``seed=3``, ``source={...}``), checked again.

        >>> Recipe.load("residual-maps").changed(seed=3).seed
        3
        """
        for name in fields:
            if name not in type(self).model_fields:
                raise RecipeError(f"unknown field {name!r}: {nearest(name, type(self).model_fields)}")
        return type(self).model_validate({**{n: getattr(self, n) for n in type(self).model_fields}, **fields})

    # -- rendering ----------------------------------------------------------------------------------------------------

    def sensor(self, sensor: Sensor) -> Sensor:
        """The photo's camera, or the one that the recipe names in its place."""
        return Camera.named(self.source.camera).replaces(sensor) if self.source.camera else sensor

    def render(self, photo: Frame, name: str, rows: Sequence[int] | None = None, planes: Sequence[str] | None = None) -> dict[str, Frame]:
        """Renders rows of one photo; the same rows come out whatever else is asked for.

        Args:
            photo: (1, c, h, w) as `degrade.photos.read_photo` gives it.
            name: the photo's key, part of every address.
            rows: which of its rows; all that are present by default.
            planes: which planes; the stored ones by default.

        Returns:
            Frames by plane, their rows in the order asked for.
        """
        from degrade.recipe.render import Rendering

        return Rendering(self, photo, name).frames(rows, planes)

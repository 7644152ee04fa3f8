"""Recipe: named operators, named planes. Sharing is naming: planes that pass through one name share its draws.

A recipe is checked as a whole when it is made: spaces, sizes, margins, references. What stands before the crop runs
once a photo, what stands behind it on blocks of rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from degrade.core import maps
from degrade.core.disk import StrPath
from degrade.core.errors import RecipeError, find, noting
from degrade.core.explain import in_one_sentence
from degrade.core.frame import Sensor, Space
from degrade.core.key import Key, Keys
from degrade.core.maps import Aux
from degrade.core.operator import Operator
from degrade.core.param import Model
from degrade.core.patches import Patches
from degrade.core.spec import Spec
from degrade.gear import cameras, lens
from degrade.recipe import derive, files
from degrade.recipe.columns import Columns
from degrade.recipe.paths import Path, Paths


class Source(Model):
    """What is read of each photo."""

    space: Space = Field(default=Space.LINEAR, description="linear, mosaic or display")
    shrink: int | None = Field(
        default=None, description="raw pixels a pixel, even (pictures: any); 2 for RAW as linear, else 1", ge=1
    )
    camera: str | None = Field(
        default=None, description="camera that is simulated: a name, a JSON file, or `auto` for the photo's own model"
    )
    iso: float | None = Field(default=None, description="ISO of the photos, where they do not tell it", gt=0)
    field: Literal["photo", "unknown"] = Field(
        default="photo", description="place in the image field: as in the photo, or drawn"
    )
    aux: Mapping[str, Aux] = Field(
        default_factory=dict[str, Aux],
        description="maps read beside each photo: depth, normal, albedo, height, mask, label",
    )

    @field_validator("aux")
    @classmethod
    def _kinds(cls, aux: Mapping[str, Aux]) -> Mapping[str, Aux]:
        for name in aux:
            find(maps.kind(name), maps.KINDS, "kind of map")
        return aux

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain = written(self)
        return plain if self.aux else {n: v for n, v in plain.items() if n != "aux"}


class Plane(Model):
    """A path through named operators, and how it is stored."""

    path: Path = Field(description="names of operators, first to last", min_length=1)
    dtype: Literal["float32", "uint16", "uint8"] | None = Field(
        default=None, description="number type in the store; by default what the path ends in"
    )
    margin: Literal["keep"] | None = Field(default=None, description="`keep` stores the crop's whole margin")


def _plane(value: Any) -> Any:
    if not isinstance(value, list | tuple | dict | Plane):
        raise RecipeError(f"a plane is a list of operators, or a mapping with `path:`, got {value!r}")
    return {"path": value} if isinstance(value, list | tuple) else cast(Any, value)


class Recipe(Model):
    """What happens to a photograph.

    Raises:
        pydantic.ValidationError: if it does not fit together; `load`, `parse` and `changed` say it in one sentence.

    >>> recipe = Recipe.load("residual-maps")
    >>> list(recipe.planes)
    ['clean', 'blur', 'noise', 'noise_blur']
    >>> recipe.specs["noise_blur"].size
    (64, 64)
    """

    seed: int = Field(default=0, description="seed of all draws")
    source: Source = Field(default=Source(), description="what is read of each photo")
    operators: Mapping[str, Operator] = Field(description="operators by name")
    planes: Mapping[str, Annotated[Plane, BeforeValidator(_plane)]] = Field(
        description="planes by name: a list of operators, or path, dtype, margin"
    )
    store: tuple[str, ...] = Field(default=(), description="planes that are stored; all by default")
    block: int = Field(default=32, description="rows rendered at once", ge=1, le=1024)
    train: Mapping[str, Any] = Field(
        default_factory=dict[str, Any], description="settings of a training; not part of the hash"
    )

    # -- reading ------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, name: StrPath) -> Recipe:
        """The recipe of a file (.yaml, .yml, .json), or the shipped pipeline of that name.

        Raises:
            UnknownName: if there is none.
            RecipeError: saying in one sentence what is wrong and where.
        """
        path, text = files.read(name)
        try:
            return cls.parse(text)
        except RecipeError as wrong:
            raise RecipeError(f"{path}: {wrong}") from wrong

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The recipe written in YAML 1.2 or JSON.

        Raises:
            RecipeError: saying in one sentence what is wrong and where.

        >>> Recipe.parse("seed: 1")
        Traceback (most recent call last):
        degrade.core.errors.RecipeError: operators: field required
        """
        return cls._of(files.data_of(text))

    @classmethod
    def _of(cls, data: Any) -> Recipe:
        """The recipe of plain data."""
        if not isinstance(data, dict):
            raise RecipeError(f"a recipe is a mapping with operators: and planes:, got {type(data).__name__}")
        named = {"": cls, "source": Source, "aux": Aux, "planes": Plane}
        with in_one_sentence(partial(files.siblings, data=data, named=named)):
            return cls.model_validate(data)

    # -- checking -----------------------------------------------------------------------------------------------------

    @field_validator("operators", "planes")
    @classmethod
    def _names(cls, named: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in named:
            if not name.isidentifier():
                raise RecipeError(f"names are letters, digits and underscores, got {name!r}")
        if not named:
            raise RecipeError("needs at least one entry")
        return named

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self.paths.check()
        for name in self.store:
            find(name, self.planes, "plane in store:")
        if len(set(self.store)) != len(self.store):
            raise RecipeError(f"store: names a plane twice: {', '.join(self.store)}")
        if self.crop.on is not None:
            find(self.crop.on, self.planes, f"plane in {self.paths.crop_name}.on:")
        if self.source.camera is not None:
            cameras.identity(self.source.camera)
        if self.source.camera != cameras.AUTO:
            sensor = self.sensor(Sensor.make())
            for name in self.paths.behind:
                with noting(partial(self.paths.whose, name)):
                    self.operators[name].suits(sensor)
        for name in dict.fromkeys(n for path in self.paths.planes.values() for n in path):
            for read in maps.wanted(self.operators[name]):
                find(read, self.source.aux, f"map (`source: {{aux: ...}}`) that {name} reads:")
        for name in self.stored:
            self._check_dtype(name)
        return self

    def _check_dtype(self, name: str) -> None:
        spec, dtype = self.specs[name], self.planes[name].dtype
        levels = "uint8" if spec.space is Space.DISPLAY else "uint16"
        if dtype not in (None, "float32") and not (spec.digital and dtype == levels):
            what = f"{spec.space.value.upper()}{' on the levels of an ADC' if spec.digital else ', not quantised'}"
            allowed = f"float32 or {levels}" if spec.digital else "float32, or quantise at the end of its path"
            raise RecipeError(f"plane {name!r} ends in {what}: it cannot be stored as {dtype}; allowed: {allowed}")

    # -- what follows from it -----------------------------------------------------------------------------------------

    @cached_property
    def paths(self) -> Paths:
        """The planes as sequences of names, with their spaces, sizes and margins."""
        entry = Spec(self.source.space, self.source.space.channels)
        paths = {name: plane.path for name, plane in self.planes.items()}
        return Paths(entry, self.operators, paths, {n for n, p in self.planes.items() if p.margin == "keep"})

    @property
    def crop(self) -> Patches:
        """The crop that all planes share."""
        return self.paths.crop

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the planes that are stored."""
        return self.store or tuple(self.planes)

    @cached_property
    def roots(self) -> Mapping[str, tuple[str, ...]]:
        """Stored planes from which planes that are not stored can be rendered, with the maps that each keeps."""
        return derive.roots(self.paths, self.stored)

    @cached_property
    def specs(self) -> dict[str, Spec]:
        """Space, channels, size and grid of each plane's result, margin not counted."""
        return {name: self.paths.spec(path) for name, path in self.paths.planes.items()}

    def columns(self, patches: Key | None = None, photo: Key | None = None) -> Columns:
        """The draws of some rows as columns; of none by default, which tells their names and labels.

        Args:
            patches: n addresses, one a patch.
            photo: the address of their photo.
        """
        patches = Key(np.zeros(0, np.uint64)) if patches is None else patches
        once = Key(np.broadcast_to(Key(0).word if photo is None else photo.word, len(patches)))
        columns = Columns()
        for name in dict.fromkeys(n for path in self.paths.planes.values() for n in path):
            op, behind = self.operators[name], name in self.paths.behind
            own = patches if behind else once
            columns.collect(name, op, Keys(once if op.per == "photo" else own, own))
        return columns

    def notes(self) -> tuple[str, ...]:
        """Names of the numbers a row that are known once it is rendered: of operators, and of `roots`."""
        own: list[str] = []
        for name in self.paths.behind:
            with noting(partial(self.paths.whose, name)):
                own += [f"{name}.{note}" for note in self.operators[name].noted()]
        return (*own, *(n for root in self.roots for n in derive.notes(root, self.specs[root].channels)))

    # -- identity -----------------------------------------------------------------------------------------------------

    @field_serializer("operators", "planes", "train")
    def _plain(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v.model_dump(mode="json") if isinstance(v, Model) else v for k, v in named.items()}

    def text(self) -> str:
        """The recipe as JSON, every default written, planes in their order; `Recipe.parse` reads it back."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @cached_property
    def hash(self) -> str:
        """BLAKE2b of all that decides the pixels: the recipe less ``train``, versions of operators, camera, lenses."""
        return self.hash_of(self.model_dump(mode="json"))

    def hash_of(self, written: Mapping[str, Any]) -> str:
        """`hash` of this recipe as it was written down, maybe before its operators had all the fields of today."""
        names = {n for path in self.paths.planes.values() for n in path}
        content = {
            **{name: value for name, value in written.items() if name != "train"},
            "store": list(self.stored),
            "order": list(self.planes),  # a crop looks at the first plane
            "versions": {n: self.operators[n].version for n in sorted(names)},
            "camera": cameras.identity(self.source.camera) if self.source.camera else None,
        }
        if lenses := lens.identities(content["operators"]):
            content["lenses"] = lenses
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()

    def __hash__(self) -> int:
        return hash(self.hash)

    def changed(self, **fields: Any) -> Recipe:
        """The recipe with some fields replaced (``seed=3``, ``source={...}``), checked again.

        Raises:
            UnknownName: if there is no such field.
            RecipeError: saying in one sentence what is wrong and where.

        >>> Recipe.load("residual-maps").changed(seed=3).seed
        3
        """
        for name in fields:
            find(name, type(self).model_fields, "field")
        return self._of({**{n: getattr(self, n) for n in type(self).model_fields}, **fields})

    def kernel(self, name: str, patch: int, field: tuple[float, float] | None = None) -> NDArray[np.float32] | None:
        """The point spread function of one patch, for looking at: (3, k, k); None where nothing has one.

        Args:
            name: the photo's key.
            patch: its number within the photo.
            field: its place (y, x) [half diagonals], which kernels that follow the field need.
        """
        photo = Key(self.seed).at(name)
        sensor = self.sensor(Sensor.make())
        place = None if field is None else torch.tensor([field])
        for step in self.paths.behind:
            op = self.operators[step]
            keys = Keys(photo, photo.at(patch)).at(step)
            with noting(f"photo {name!r}, patch {patch}"), noting(partial(self.paths.whose, step)):
                drawn = op.draw(keys if op.per == "photo" else keys.own)
                found = drawn.kernel(sensor, place) if isinstance(drawn, Operator) else None
            if found is not None:
                return found[0].numpy()
        return None

    # -- rendering ----------------------------------------------------------------------------------------------------

    def sensor(self, sensor: Sensor, model: str | None = None) -> Sensor:
        """The photo's camera, or the one that the recipe names in its place.

        Args:
            sensor: as the photo's file says.
            model: maker and model of the photo's camera, by which `auto` chooses; None leaves `auto` undecided.

        Raises:
            PhotoError: if the camera is to be found by a model that nobody knows.
        """
        name = self.source.camera
        if name is None or (name == cameras.AUTO and model is None):
            return sensor
        return (cameras.of_model(model or "") if name == cameras.AUTO else cameras.Camera.named(name)).replaces(sensor)

"""Layout: what a store holds, as pure values, known before the first photograph is opened.

Row ``i * per_photo + j`` is patch j of photo i, always. A shard holds the rows of ``photos_per_shard`` whole photos; a
plane is one array ``(row, c, y, x)`` with one row an inner chunk; a column is one number a row. The layout's JSON is
kept in the store and its digest, `Layout.identity`, is what every finished shard is marked with: another recipe,
seed, set of photos or version is another identity.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from degrade.core.errors import RecipeError, StoreError, UnknownName, find

PLANE_DTYPES = ("uint16", "uint8", "float32")
COLUMN_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float32", "float64")
OWN = "degrade_store"  #: the root attribute that holds the layout
FORMAT = 1  #: version of what is written on disk
_NAME = re.compile(r"[A-Za-z][\w.\-\[\]]*")
_PHOTO_TABLE = tuple(
    f"photo_{n}" for n in ("key", "digest", "reason", "model", "rows", "white_balance", "matrix", "camera")
)


@dataclass(frozen=True)
class PlaneLayout:
    """One plane: ``channels x height x width`` of ``dtype`` a row.

    >>> PlaneLayout("clean", 4, 64, 64, "uint16", "mosaic").row_bytes
    32768
    """

    name: str
    channels: int
    height: int  #: pixels
    width: int  #: pixels
    dtype: str  #: uint16 (DN with the black level kept), uint8 (1 is 255) or float32 (0 black, 1 white)
    space: str  #: mosaic, linear or display; of a map its name, such as depth

    def __post_init__(self) -> None:
        if self.dtype not in PLANE_DTYPES:
            raise RecipeError(f"plane {self.name!r} is kept as one of {', '.join(PLANE_DTYPES)}, got {self.dtype!r}")
        if min(self.shape) < 1:
            raise RecipeError(f"plane {self.name!r} needs at least one channel and pixel, got {self.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def dims(self) -> tuple[str, str, str, str]:
        """Names of the array's dimensions."""
        return "row", f"{self.name}_c", f"{self.name}_y", f"{self.name}_x"


@dataclass(frozen=True)
class Column:
    """One number a row: a draw, or a fact. Absent is NaN in float columns and -1 in columns of codes.

    >>> Column("psf", "int8", labels=("airy", "disc")).missing
    -1
    """

    name: str
    dtype: str
    labels: tuple[str, ...] | None = None  #: what the codes 0, 1, ... of a categorical column stand for
    unit: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in COLUMN_DTYPES:
            raise RecipeError(f"column {self.name!r} is one of {', '.join(COLUMN_DTYPES)}, got {self.dtype!r}")
        if self.labels is not None and np.dtype(self.dtype).kind != "i":
            raise RecipeError(
                f"column {self.name!r} has labels, so it holds signed codes (-1 not chosen), not {self.dtype}"
            )

    @property
    def missing(self) -> float | int | bool:
        """What stands where nothing was drawn: NaN, -1 of codes, else 0 or False."""
        kind = np.dtype(self.dtype).kind
        if kind == "b":
            return False
        return float("nan") if kind == "f" else -1 if self.labels is not None else 0


@dataclass(frozen=True)
class Layout:
    """Everything about a store that is fixed at its start.

    ``columns`` are the writer's: draws, ``crop_top``, ``black``, ``white``, ``iso``, ... The store adds ``photo``,
    ``present`` and ``crc32c_<plane>`` itself. Planes of uint16 outside DISPLAY need columns ``black`` and ``white``
    [DN] (or their own, ``black_<plane>`` and ``white_<plane>``), with which they are normalised when read.

    >>> plane = PlaneLayout("clean", 4, 64, 64, "uint8", "display")
    >>> layout = Layout((plane,), (), photos=5, per_photo=100, photos_per_shard=2)
    >>> layout.rows, layout.shards, layout.shard_rows(2)
    (500, 3, range(400, 500))
    """

    planes: tuple[PlaneLayout, ...]
    columns: tuple[Column, ...]
    photos: int
    per_photo: int
    photos_per_shard: int
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: JSON values kept as the root's attributes: ``recipe`` (text), ``recipe_hash``, ``seed``, versions, ...

    def __post_init__(self) -> None:
        for name in ("photos", "per_photo", "photos_per_shard"):
            if getattr(self, name) < 1:
                raise RecipeError(f"a store needs {name} of at least 1, got {getattr(self, name)}")
        if not self.planes:
            raise RecipeError("a store needs at least one plane")
        names = [p.name for p in self.planes] + [c.name for c in self.stored_columns] + list(_PHOTO_TABLE) + ["row"]
        for name in names:
            if not _NAME.fullmatch(name):
                raise RecipeError(f"{name!r} cannot name an array: letters, digits and _ . - [ ], a letter first")
        folded = [n.casefold() for n in names]
        if twice := sorted({n for n in names if folded.count(n.casefold()) > 1}):
            raise RecipeError(f"arrays of a store need names of their own, got more than one of: {', '.join(twice)}")
        if OWN in self.attributes:
            raise RecipeError(f"the attribute {OWN!r} belongs to the store itself: choose another name")
        for plane in self.planes:
            if plane.dtype == "uint16" and plane.space != "display":
                self.levels(plane.name)

    @property
    def rows(self) -> int:
        """Rows, absent ones included."""
        return self.photos * self.per_photo

    @property
    def rows_per_shard(self) -> int:
        """Rows of a full shard."""
        return self.photos_per_shard * self.per_photo

    @property
    def shards(self) -> int:
        """Number of shards, the last perhaps not full."""
        return -(-self.photos // self.photos_per_shard)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all planes."""
        return sum(p.row_bytes for p in self.planes)

    def shard_photos(self, k: int) -> range:
        """Photos of shard k."""
        if not 0 <= k < self.shards:
            raise IndexError(f"there is no shard {k}: the store has 0 to {self.shards - 1}")
        return range(k * self.photos_per_shard, min((k + 1) * self.photos_per_shard, self.photos))

    def shard_rows(self, k: int) -> range:
        """Rows of shard k."""
        photos = self.shard_photos(k)
        return range(photos.start * self.per_photo, photos.stop * self.per_photo)

    def plane(self, name: str) -> PlaneLayout:
        """The plane of this name.

        Raises:
            UnknownName: if there is none; names the nearest.
        """
        known = {p.name: p for p in self.planes}
        if name not in known and name in self.named:
            raise UnknownName(
                f"plane {name!r} is not stored, which are {', '.join(known)}: `store.loader` and `store.rendered` "
                "render those that `store.renders` names"
            )
        return find(name, known, "plane")

    @property
    def named(self) -> tuple[str, ...]:
        """Names of the recipe's planes, stored or not."""
        return tuple(self.written.get("planes", ()))

    @property
    def written(self) -> Mapping[str, Any]:
        """The recipe as its builder noted it, plain data; nothing where none is noted.

        Raises:
            StoreError: if it is no recipe.
        """
        text = self.attributes.get("recipe", "{}")
        try:
            found = json.loads(text)
        except (TypeError, ValueError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("planes", {}), dict):
            raise StoreError(
                f"the recipe noted in this store is damaged ({str(text)[:40]!r}): `degrade verify` finds all that is"
            )
        return cast("dict[str, Any]", found)

    def levels(self, plane: str) -> tuple[str, str]:
        """Names of the columns that hold a plane's black and white [DN].

        Raises:
            RecipeError: if the layout has no such columns.
        """
        names = {c.name for c in self.columns}
        for found in ((f"black_{plane}", f"white_{plane}"), ("black", "white")):
            if names.issuperset(found):
                return found
        raise RecipeError(f"plane {plane!r} holds DN, so the store needs columns 'black' and 'white' [DN]")

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """All columns on disk: the store's own, then the writer's."""
        crc = tuple(Column(f"crc32c_{p.name}", "uint32") for p in self.planes)
        return (Column("photo", "int32"), Column("present", "bool"), *crc, *self.columns)

    def to_json(self) -> dict[str, Any]:
        """The layout less its attributes, as JSON values."""
        return {
            "format": FORMAT,
            "photos": self.photos,
            "per_photo": self.per_photo,
            "photos_per_shard": self.photos_per_shard,
            "planes": [
                {"name": p.name, "shape": list(p.shape), "dtype": p.dtype, "space": p.space} for p in self.planes
            ],
            "columns": [
                {"name": c.name, "dtype": c.dtype, "unit": c.unit, "labels": None if c.labels is None else [*c.labels]}
                for c in self.columns
            ],
        }

    @classmethod
    def from_json(cls, own: Mapping[str, Any], attributes: Mapping[str, Any]) -> Layout:
        """The layout that `to_json` wrote."""
        return cls(
            planes=tuple(
                PlaneLayout(p["name"], p["shape"][0], p["shape"][1], p["shape"][2], p["dtype"], p["space"])
                for p in own["planes"]
            ),
            columns=tuple(
                Column(c["name"], c["dtype"], None if c["labels"] is None else tuple(c["labels"]), c["unit"])
                for c in own["columns"]
            ),
            photos=own["photos"],
            per_photo=own["per_photo"],
            photos_per_shard=own["photos_per_shard"],
            attributes=dict(attributes),
        )

    @classmethod
    def of_root(cls, root: bytes, where: object) -> Layout:
        """The layout that the root's zarr.json of a store ``where`` holds.

        Raises:
            StoreError: if it is damaged, no store's, or of another format.
        """
        try:
            attributes = dict(json.loads(root)["attributes"])
            if OWN not in attributes:
                raise StoreError(f"{where} is Zarr, but not a store of ours: name another")
            own = attributes.pop(OWN)
            if own["format"] != FORMAT:
                raise StoreError(
                    f"{where} is a store of format {own['format']}, and this version of degrade reads format {FORMAT}: "
                    "use the one that wrote it, or build the store anew"
                )
            return cls.from_json(own, attributes)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise StoreError(
                f"{where}/zarr.json is damaged, or no metadata: fetch the store again, or delete it and build anew"
            ) from None

    @property
    def identity(self) -> str:
        """Digest of the layout with its attributes, 64 hexadecimal digits."""
        text = json.dumps([self.to_json(), dict(self.attributes)], sort_keys=True, allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()

    def difference(self, other: Layout) -> list[str]:
        """Names of what differs, of attributes first (``recipe_hash``, ``seed``, ...)."""
        pairs = ((self.attributes, other.attributes), (self.to_json(), other.to_json()))
        return [k for a, b in pairs for k in sorted({*a, *b}) if a.get(k) != b.get(k)]

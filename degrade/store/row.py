"""What a store hands out: its photo table, and single rows whose planes are read when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from degrade.recipe.errors import PhotoError, RecipeError
from degrade.store.layout import unknown

if TYPE_CHECKING:
    from PIL.Image import Image

    from degrade.store.read import PatchStore


@dataclass(frozen=True)
class Photos:
    """The photo table; entry i is photo i."""

    keys: tuple[str, ...]
    digests: tuple[str, ...]
    reasons: tuple[str, ...]  #: why a photo is quarantined; empty when it is not
    rows: NDArray[np.int32]  #: rows present
    white_balance: NDArray[np.float32]  #: (photos, 3) gains for R G B that make grey equal
    matrix: NDArray[np.float32]  #: (photos, 3, 3) white-balanced camera RGB to linear sRGB
    models: tuple[str, ...]  #: maker and model of the camera that took it, as the file says
    camera: NDArray[np.float32]  #: (photos, n) the sensor that patches were cut with, see `degrade.store.camera`

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def quarantined(self) -> dict[str, str]:
        """Key and reason of the photos that are."""
        return {k: r for k, r in zip(self.keys, self.reasons, strict=True) if r}


class Lazy(Mapping[str, NDArray[Any]]):
    """Arrays by name, read when first asked for."""

    def __init__(self, kind: str, names: Iterable[str], load: Callable[[str], NDArray[Any]]) -> None:
        self._kind, self._names, self._load = kind, tuple(names), load
        self._have: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._have:
            if name not in self._names:
                raise unknown(self._kind, name, self._names)
            self._have[name] = self._load(name)
        return self._have[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, eq=False)
class Row:
    """One row: patch ``patch`` of photo ``photo``."""

    index: int
    photo: str  #: key
    patch: int
    planes: Mapping[str, NDArray[Any]] = field(repr=False)  #: (c, h, w) normalised float32, read when asked for
    draws: dict[str, float | int | bool | str | None]  #: None where nothing was drawn
    store: PatchStore = field(repr=False)

    @property
    def white_balance(self) -> NDArray[np.float32]:
        """(3,) the photo's gains for R G B that make grey equal."""
        return self.store.photos.white_balance[self.index // self.store.layout.per_photo]

    @property
    def matrix(self) -> NDArray[np.float32]:
        """(3, 3) the photo's matrix from white-balanced camera RGB to linear sRGB."""
        return self.store.photos.matrix[self.index // self.store.layout.per_photo]

    def kernel(self) -> NDArray[np.float32] | None:
        """(3, k, k) the point spread function of R, G and B that this row was blurred with.

        None where it was not blurred, or by an operator that is not installed here.
        """
        columns = self.store.columns
        y, x = (float(columns[n][self.index]) if n in columns else float("nan") for n in ("field_y", "field_x"))
        try:
            return self.store.recipe.kernel(self.photo, self.patch, (y, x))
        except (PhotoError, RecipeError):
            return None

    def show(self) -> Image:
        """The planes side by side, their differences, the draws, as a picture."""
        from degrade.look import sheet

        return sheet.row_sheet(self.store, [self.index])

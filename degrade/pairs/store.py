"""PatchStore: a finished store with the recipe that it was built from: loader, rendering, replay and tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import DegradeError, RecipeError, StoreError, find
from degrade.core.progress import Progress, quiet
from degrade.pairs.recorded import recipe_of, unchanged
from degrade.pairs.rendered import Draws, Rendered, Renderings
from degrade.pairs.replay import Replay, replay
from degrade.pairs.source import Pairs
from degrade.recipe import derive
from degrade.recipe.recipe import Recipe
from degrade.store.concat import Concatenated, described
from degrade.store.read import Store
from degrade.store.table import Lazy
from degrade.store.verify import verify

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image


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
        except DegradeError:
            return None

    def show(self) -> Image:
        """The planes side by side, their differences, the draws, as a picture."""
        from degrade.look import sheet

        return sheet.row_sheet(self.store, [self.index])


class PatchStore(Store, Pairs):
    """A finished store and its recipe.

    Args:
        path: its folder, or its address: ``https://...``, ``s3://bucket/...``, ``gs://bucket/...``.
        maps: most shards, of all planes, that may be mapped; a store of more is read by position.
        timeout: longest wait for an answer from an address [s].

    Raises:
        StoreError: if it is missing, not ours, or not finished.
    """

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the store was built from.

        Raises:
            RecipeError: if an operator of its is not installed.
        """
        return recipe_of(self)

    @staticmethod
    def concat(stores: Sequence[PatchStore | Joined]) -> Joined:
        """Stores of equal planes read as one, rows one after the other.

        Raises:
            StoreError: if their planes differ.
        """
        return Joined(stores)

    def row(self, index: int) -> Row:
        """One row with its draws.

        Raises:
            IndexError: if it is outside the store, or absent.
        """
        self.checked(np.array([index]))
        photo, patch = divmod(index, self.layout.per_photo)
        draws: dict[str, float | int | bool | str | None] = {}
        for column in self.layout.columns:
            value = self.columns[column.name][index].item()
            if column.labels is not None:
                value = None if value < 0 else column.labels[value]
            draws[column.name] = None if value != value else value
        planes = Lazy("plane", self.planes, lambda name: self.read(name, index))
        return Row(index, self.photos.keys[photo], patch, planes, draws, self)

    def replay(self, row: int, photos: str | os.PathLike[str]) -> Replay:
        """Renders a row again from recipe and address and compares it with what is stored, see `Replay`.

        Args:
            row: its number.
            photos: the folder that the store was built from.
        """
        return replay(self, self.recipe, row, photos)

    def rendered(self, planes: Sequence[str], draws: Draws = "recorded", seed: int = 0) -> Rendered:
        """Planes of the recipe that are not stored, as renderings of those that are, see `Rendered`.

        Args:
            planes: their names.
            draws: `recorded` gives what a build would have stored; `fresh` draws anew each epoch.
            seed: of fresh draws.

        Raises:
            UnknownName: if the recipe has no such plane.
            RecipeError: if one of them is stored, or cannot be rendered from what is; says why.
            StoreError: if operators or camera give other pixels today than when the store was built.
        """
        named = self.layout.named
        for name in planes:
            if name in self.planes:
                raise RecipeError(f"plane {name!r} is stored: `read` gives it, and a loader beside those it renders")
            if name not in named:
                find(name, dict.fromkeys((*self.planes, *named)), "plane")
        return Rendered(self, self.recipe, planes, draws, seed)

    @property
    def renders(self) -> tuple[str, ...]:
        """Names of the planes that are not stored, but can be rendered.

        None if operators are not installed, or they or the camera give other pixels than when the store was built.
        """
        missing = [name for name in self.layout.named if name not in self.planes]
        try:
            if not missing or not unchanged(self, self.recipe):
                return ()
            return derive.renderable(self.recipe.paths, self.recipe.stored, missing)
        except DegradeError:
            return ()

    def to_pandas(self) -> pd.DataFrame:
        """A table of the rows present: draws and facts, categorical draws by label, the photo's key."""
        import pandas as pd

        rows = self.rows
        keys = pd.Categorical.from_codes(self.columns["photo"][rows], list(self.photos.keys))
        table: dict[str, Any] = {"photo_key": keys, "patch": rows % self.layout.per_photo}
        labels = {c.name: c.labels for c in self.layout.columns}
        for name in self.columns:
            values, kinds = self.columns[name][rows], labels.get(name)
            table[name] = values if kinds is None else pd.Categorical.from_codes(values, list(kinds))
        return pd.DataFrame(table, index=pd.Index(rows, name="row"))

    def info(self) -> dict[str, Any]:
        """What the store is, as plain values."""
        return {**super().info(), "renders": list(self.renders)}

    def verify(self, progress: Progress = quiet) -> list[str]:
        """What is wrong with the files, one sentence each; an empty list when every bit is as it was written.

        Args:
            progress: hears of the bytes that are checked.
        """
        return verify(self.path, progress, self.place.timeout)


class Joined(Concatenated[PatchStore], Pairs):
    """Stores of pairs read as one; made by `PatchStore.concat`."""

    def row(self, index: int) -> Row:
        """One row with its draws; it bears its number in its own store.

        Raises:
            IndexError: if it is outside the stores, or absent.
        """
        (store, rows, _), *_ = self.parts(self._inside(np.array([index])))
        return store.row(int(rows[0]))

    def rendered(self, planes: Sequence[str], draws: Draws = "recorded", seed: int = 0) -> Renderings:
        """Planes that are not stored, each row's from its own store, see `PatchStore.rendered`.

        Raises:
            RecipeError: if one of the stores cannot render one of them; says why.
            StoreError: if they come out in different shapes.
        """
        own = {s: s.rendered(planes, draws, seed) for s in self.stores}
        first = own[self.stores[0]].layouts
        for store, one in own.items():
            if one.layouts != first:
                raise StoreError(
                    f"only equal planes are joined: rendered from {self.stores[0].path} they are {described(first)}; "
                    f"from {store.path} {described(one.layouts)}"
                )
        return Renderings(self, own)

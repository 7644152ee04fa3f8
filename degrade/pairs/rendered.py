"""Rendered: planes that a store does not hold, made batch by batch from those that it does.

The heavy part of a recipe is stored once, such as the subject in float32 with its margin; the light part is rendered
where the training step is. Draws are those of the record, so that the same planes come out that a build would have
stored, or fresh ones: row r of epoch e then has the address ``Key(seed).at("fresh", e, photo, patch)``, whatever the
batches are. Roundings of float32 transforms depend on what else is in a batch: after an ADC that is 1 DN in a rare
sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.errors import RecipeError, noting
from degrade.core.frame import Frame, Sensor
from degrade.core.group import Rows, Slots
from degrade.core.key import Key, Keys
from degrade.pairs.camera import sensors
from degrade.pairs.encode import layouts, words
from degrade.pairs.recorded import refuse_changed
from degrade.recipe import derive
from degrade.recipe.block import Block, concatenated, drawn_behind, one_thread
from degrade.recipe.derive import Derivation, quoted
from degrade.recipe.paths import Path, Paths
from degrade.recipe.recipe import Recipe
from degrade.store.batch import Batch, Finish, sent
from degrade.store.concat import Concatenated
from degrade.store.order import row_numbers
from degrade.store.read import Store

Draws = Literal["recorded", "fresh"]


class Rendered:
    """Planes of a store that are rendered; made by `PatchStore.rendered`.

    Attributes:
        planes: their names.
        reads: the stored planes that they need.
        layouts: how a build would have stored them.
    """

    def __init__(
        self, store: Store, recipe: Recipe, planes: Sequence[str], draws: Draws = "recorded", seed: int = 0
    ) -> None:
        if draws not in ("recorded", "fresh"):
            raise RecipeError(f"draws are `recorded` or `fresh`, got {draws!r}")
        if not planes:
            raise RecipeError("name at least one plane to render")
        refuse_changed(store, recipe)
        self.store, self.recipe, self.planes, self.draws, self.seed = store, recipe, tuple(planes), draws, seed
        self.derived = Derivation.of(self.recipe.paths, self.recipe.stored, self.planes)
        self.fresh = self.derived.drawn(self.recipe.columns().values) if draws == "fresh" else frozenset[str]()
        if draws == "fresh" and not self.fresh:
            raise RecipeError(
                f"nothing is drawn between {quoted(self.derived.roots)} and {quoted(self.planes)}, so all epochs would "
                "be alike: take recorded draws, or store an earlier plane and build again"
            )
        self.refuse(tuple(self.derived.roots))
        self.layouts = {n: next(layouts(self.recipe, n)) for n in self.planes}
        self.reads = tuple(
            p for root, names in self.derived.maps.items() for p in (root, *(f"{root}_{n}" for n in names))
        )
        self._models, self._model = np.unique(np.array(store.photos.models), return_inverse=True)
        self._word = lru_cache(None)(lambda photo: Key(self.recipe.seed).at(store.photos.keys[photo]).word)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store, self.recipe, self.planes, self.draws, self.seed)

    def finish(self, asked: Sequence[str], dn: bool = False) -> Finish:
        """What makes of ``reads`` and other stored planes, as a loader has them on its device, a batch of ``asked``."""
        return partial(self._finished, tuple(asked), dn)

    def _finished(self, asked: tuple[str, ...], dn: bool, rows: Rows, batch: Batch, epoch: int, seed: int) -> Batch:
        if len(rows):
            found = {n: self._light(n, rows, batch[n]) if dn else batch[n] for n in self.reads}
            frames = self(rows, found, epoch, seed)
            made = {n: words(f, self.layouts[n]) if dn else f.data for n, f in frames.items()}
        else:  # a rank's share of a short last step
            none = batch[self.reads[0]]
            kinds = {n: getattr(torch, p.dtype) if dn else torch.float32 for n, p in self.layouts.items()}
            made = {n: none.new_empty(0, *p.shape, dtype=kinds[n]) for n, p in self.layouts.items()}
        return {n: made[n] if n in made else batch[n] for n in asked}

    def _light(self, plane: str, rows: Rows, dn: Tensor) -> Tensor:
        """Rows as stored as float32, 0 black and 1 white, on their device."""
        levels = self.store.levels(plane, rows)
        return dn if levels is None else sent(dn, levels, dn.device)

    def refuse(self, stored: Sequence[str]) -> None:
        """Raises RecipeError where a stored plane, delivered beside these, was drawn otherwise."""
        for plane in stored:
            path = self.recipe.planes[plane].path if plane in self.recipe.planes else ()
            name = next((n for n in path if n in self.fresh), None)
            if name is not None:
                paths = {n: self.recipe.planes[n].path for n in self.planes}
                anew = [n for n, p in paths.items() if name in p and p[: len(path)] != path]
                raise RecipeError(
                    f"operator {name!r} is drawn anew for {quoted(anew or paths)}, and as recorded in the stored plane "
                    f"{plane!r}: ask for what belongs to one of the two, or for recorded draws"
                )

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]], epoch: int = 0) -> dict[str, Frame]:
        """The planes of some rows in any order, read from the store and rendered.

        Raises:
            IndexError: if a row is outside the store, or absent; or there is none.
        """
        index = self.store.checked(row_numbers(rows))
        if not len(index):
            raise IndexError(f"no row to render; {self.store.path} has {len(self.store)}")
        order = np.argsort(index, kind="stable")
        frames = self(index[order], {n: torch.from_numpy(self.store.read(n, index[order])) for n in self.reads}, epoch)
        back = np.argsort(order)
        return {n: f.rows(back) for n, f in frames.items()}

    def __call__(
        self, rows: NDArray[np.int64], found: Mapping[str, Tensor], epoch: int = 0, seed: int | None = None
    ) -> dict[str, Frame]:
        """The planes of some rows; the noise in them is told where it is known of all.

        Args:
            rows: (b,) their numbers, ascending; at least one.
            found: (b, c, h, w) float32 of each of ``reads``, 0 black and 1 white, on the device that renders.
            epoch: address of fresh draws.
            seed: of fresh draws, in place of its own.
        """
        address = Key(self.seed if seed is None else seed).at("fresh", epoch)
        done: dict[str, list[Frame]] = {}
        blocks = list(self._blocks(rows, next(iter(found.values())).device.type))
        with one_thread():
            for model, slots in blocks:
                part = {n: t[torch.from_numpy(slots).to(t.device)] for n, t in found.items()}
                with noting(partial(self._whose, rows[slots])):
                    block = Block(_Stored(self, rows[slots], part, address, model), np.arange(len(slots)))
                    rendered = {name: block.plane(name) for name in self.planes}
                for name, frame in rendered.items():
                    camera = replace(frame.sensor, ladder=frame.sensor.ladder[:, :0])  # which differ in length
                    done.setdefault(name, []).append(replace(frame, sensor=camera))
        back = torch.from_numpy(np.argsort(np.concatenate([slots for _, slots in blocks])))
        return {n: concatenated(frames, back.to(frames[0].data.device)) for n, frames in done.items()}

    def _whose(self, rows: Rows) -> str:
        """What a bug is noted with: the photos whose rows are rendered."""
        photos = np.unique(rows // self.store.layout.per_photo).tolist()
        return f"photo {', '.join(repr(self.store.photos.keys[p]) for p in photos[:3])}{' ...' * (len(photos) > 3)}"

    def _blocks(self, rows: Rows, device: str) -> Iterator[tuple[str, Slots]]:
        """Model of camera, and slots of rows among ``rows``: of one model, whose noise is known of all or of none.

        On a CPU as many at a time as stay in its cache.
        """
        model = self._model[rows // self.store.layout.per_photo]
        shot = [self.store.columns[f"{root}.shot[0]"][rows] for root in self.derived.roots]
        kinds, which = np.unique(np.stack([model, *map(np.isnan, shot)]), axis=1, return_inverse=True)
        size = self.recipe.block if device == "cpu" else len(rows)
        for k, kind in enumerate(kinds[0].tolist()):
            slots = np.flatnonzero(which == k)
            for start in range(0, len(slots), size):
                yield str(self._models[kind]), slots[start : start + size]

    def keys(self, rows: Rows, fresh: Key | None = None) -> Keys:
        """Addresses of some rows and of their photos: recorded, or below that of an epoch."""
        photo, patch = np.divmod(rows, self.store.layout.per_photo)
        if fresh is None:
            photos = Key(np.array([self._word(p) for p in photo.tolist()], np.uint64))
        else:
            photos = Key(np.array([fresh.at(self.store.photos.keys[p]).word for p in photo.tolist()], np.uint64))
        return Keys(photos, photos.at(patch))


class Renderings:
    """What `Rendered` is to one store, to several."""

    def __init__(self, stores: Concatenated[Any], own: Mapping[Any, Rendered]) -> None:
        self.stores, self.own = stores, own
        self.reads = tuple(dict.fromkeys(n for one in own.values() for n in one.reads))

    def refuse(self, stored: Sequence[str]) -> None:
        """Raises RecipeError where a stored plane, delivered beside these, was drawn otherwise."""
        for one in self.own.values():
            one.refuse(stored)

    def finish(self, asked: Sequence[str], dn: bool = False) -> Finish:
        """As `Rendered.finish`."""
        return partial(self._finished, tuple(asked), {store: one.finish(asked, dn) for store, one in self.own.items()})

    def _finished(
        self,
        asked: tuple[str, ...],
        each: Mapping[Any, Finish],
        rows: NDArray[np.int64],
        batch: Batch,
        epoch: int,
        seed: int,
    ) -> Batch:
        parts = [
            each[store](own, {n: t[at] for n, t in batch.items()}, epoch, seed)
            for store, own, at in self.stores.parts(rows)
        ]
        return {n: torch.cat([part[n] for part in parts]) for n in asked}


class _Stored:
    """Rows of stored planes with the operators drawn for them: where a block begins."""

    def __init__(self, rendered: Rendered, rows: Rows, found: Mapping[str, Tensor], fresh: Key, model: str) -> None:
        self.of, self.rows, self.found = rendered, rows, found
        recipe, store = rendered.recipe, rendered.store
        self.paths: Paths = rendered.derived.paths
        ladder = recipe.sensor(Sensor.make(), model).ladder
        entered = sensors(store.photos.camera[rows // store.layout.per_photo], ladder)
        recorded, anew = rendered.keys(rows), rendered.keys(rows, fresh) if rendered.fresh else None
        # what operators see of the picture when they are drawn is its camera
        seen = Frame(torch.empty(len(rows), 1, 0, 0), recipe.source.space, entered)
        self.ops, camera = drawn_behind(
            recipe, lambda name: anew if anew and name in rendered.fresh else recorded, entered, seen
        )
        device = next(iter(found.values())).device
        self.sensor = camera.map(lambda t: t.to(device))
        self.field = torch.from_numpy(np.stack([store.columns[n][rows] for n in ("field_y", "field_x")], 1)).to(device)

    def at_hand(self, path: Path, slots: Slots, margin: int) -> Frame | None:
        """The rows as they are stored, if this beginning of a path is."""
        root = next((r for r, p in self.of.derived.roots.items() if p == path), None)
        if root is None:
            return None
        recipe, columns = self.of.recipe, self.of.store.columns
        spec, kept = recipe.specs[root], recipe.paths.kept(root)
        names = derive.notes(root, spec.channels)
        origin, noise = derive.known(torch.from_numpy(np.stack([columns[n][self.rows] for n in names], axis=1)))
        device = self.found[root].device
        frame = Frame(
            data=self.found[root],
            space=spec.space,
            sensor=self.sensor,
            grid=spec.grid.moved(-kept, -kept),
            origin=origin.to(device),
            field=self.field,
            noise=None if noise is None else noise.to(device),
            correlated=recipe.paths.filters(path),
            aux={name: self.found[f"{root}_{name}"] for name in self.of.derived.maps[root]},
            oversample=spec.oversample,
        )
        return frame.trim(kept - margin)

    def note(self, name: str, slots: Slots, values: Tensor) -> None:
        """Nothing is kept: what operators record was recorded when the store was built."""

"""What a build will do, as pure values: which photos, which shards, and what differs from a store that is there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from degrade.core.errors import StoreError
from degrade.pairs.encode import columns_of, planes_of
from degrade.pairs.store import PatchStore
from degrade.photos import Photo, find_photos
from degrade.recipe.recipe import Recipe
from degrade.store.layout import Layout
from degrade.store.record import read_record
from degrade.store.write import begun, done_shards, read_layout

SHARD = 64 * 2**20  #: bytes of a plane's shard, about
SPREAD = 8  #: a small build is still cut into this many shards, so that several workers share it


@dataclass(frozen=True)
class Plan:
    """A build before it starts."""

    recipe: Recipe
    folder: Path  #: absolute
    photos: tuple[Photo, ...]
    layout: Layout

    def shard(self, k: int) -> tuple[Photo, ...]:
        """The photos of shard k."""
        photos = self.layout.shard_photos(k)
        return self.photos[photos.start : photos.stop]


def plan(recipe: Recipe, folder: str | os.PathLike[str]) -> Plan:
    """The plan of a build.

    Raises:
        FileNotFoundError, NotADirectoryError, PhotoError: if the folder is missing or holds no photo.
    """
    photos = find_photos(folder, list(recipe.source.aux.values()))
    return Plan(recipe, Path(folder).resolve(), photos, layout(recipe, photos))


def layout(recipe: Recipe, photos: Sequence[Photo]) -> Layout:
    """The store's layout: whole photos a shard, about 64 MiB of the largest plane, fixed by recipe and photos alone."""
    planes = planes_of(recipe)
    per_photo = recipe.crop.per_photo
    largest = max(p.row_bytes for p in planes) * per_photo
    together = max(1, min(SHARD // largest, -(-len(photos) // SPREAD)))
    # what decides no pixel must not make another store: settings of a training, the order in which operators are named
    canonical = recipe.changed(train={}, operators=dict(sorted(recipe.operators.items())))
    attributes = {
        "recipe": canonical.text(),
        "recipe_hash": recipe.hash,
        "seed": recipe.seed,
        "photos_digest": photos_digest([(p.key, p.fingerprint) for p in photos]),
    }
    return Layout(planes, columns_of(recipe), len(photos), per_photo, together, attributes)


def photos_digest(photos: Sequence[tuple[str, str]]) -> str:
    """BLAKE2b over keys and fingerprints."""
    return hashlib.blake2b(json.dumps(list(photos)).encode(), digest_size=16).hexdigest()


def changes(new: Plan, old: Layout, old_photos: Mapping[str, str]) -> list[str]:
    """What a plan changes about the store that is there, in words.

    Args:
        new: the plan.
        old: the store's layout.
        old_photos: fingerprint by key of the store's photos, as far as they are known.
    """
    said: list[str] = []
    before, after = (x.written for x in (old, new.layout))
    paths = _changed(before, after)
    if paths:
        said.append(f"the recipe ({', '.join(paths[:4])}{', ...' if len(paths) > 4 else ''})")
    elif old.attributes.get("recipe_hash") != new.recipe.hash:
        said.append("the camera's numbers or an operator's version")
    if old.attributes.get("photos_digest") != new.layout.attributes["photos_digest"]:
        now = {p.key: p.fingerprint for p in new.photos}
        said.append(f"the photos ({_photos(old_photos, now, old.photos)})")
    return said or old.difference(new.layout)


def refuse_other(new: Plan, target: Path) -> None:
    """Nothing, if the plan may begin or continue the store that is there.

    Raises:
        StoreError: if it is one of another recipe, seed or set of photos, saying what differs, or no store of ours.
    """
    old = read_layout(target)
    if old is None or old == new.layout or not begun(target, old):
        return
    what = " and ".join(changes(new, old, _photos_of(target, old)))
    raise StoreError(f"{target} was built otherwise; what differs: {what}. Choose another --out, or delete it")


def _photos_of(target: Path, layout: Layout) -> dict[str, str]:
    """Fingerprints by key of a store's photos; of an unfinished one those of its finished shards."""
    try:
        table = PatchStore(target).photos
        return dict(zip(table.keys, table.digests, strict=True))
    except StoreError:
        known: dict[str, str] = {}
        for k in done_shards(target, layout):
            with suppress(StoreError):
                known |= {photo.key: photo.digest for photo, _ in read_record(target, layout, k).photos}
        return known


def _changed(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        x, y = cast("dict[str, Any]", a), cast("dict[str, Any]", b)
        return [p for k in sorted({*x, *y}) for p in _changed(x.get(k), y.get(k), f"{path}.{k}" if path else k)]
    return [] if a == b else [path]


def _photos(old: Mapping[str, str], new: Mapping[str, str], count: int) -> str:
    """What changed from ``count`` old photos, all of them known or some, to the new ones."""
    kinds = {
        "added": sorted(new.keys() - old.keys()) if len(old) == count else [],
        "missing": sorted(old.keys() - new.keys()),
        "changed": sorted(k for k in new.keys() & old.keys() if new[k] != old[k]),
    }
    said = [f"{len(v)} {k}: {', '.join(v[:3])}{', ...' if len(v) > 3 else ''}" for k, v in kinds.items() if v]
    if not said:
        said = [f"{len(new)} instead of {count}" if len(new) != count else "some have another name or content"]
    return "; ".join(said)

"""A small store of every kind of plane, its rows a function of their number; run as a script it builds one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

from degrade.store.disk import locked
from degrade.store.finalise import finalise
from degrade.store.layout import Column, Layout, PlaneLayout
from degrade.store.write import PhotoFact, ShardWriter, create, done_shards

LAYOUT = Layout(
    planes=(
        PlaneLayout("blur", 4, 6, 5, "uint16", "mosaic"),
        PlaneLayout("clean", 3, 4, 4, "float32", "linear"),
        PlaneLayout("shown", 3, 4, 3, "uint8", "display"),
    ),
    columns=(
        Column("black", "float32", unit="DN"),
        Column("white", "float32", unit="DN"),
        Column("iso", "float32"),
        Column("crop_top", "int32", unit="px"),
        Column("optics.psf", "int8", labels=("airy", "disc", "gaussian")),
        Column("optics.sigma", "float32", unit="px"),
    ),
    photos=7,
    per_photo=5,
    photos_per_shard=2,
    attributes={"recipe": "{}", "recipe_hash": "abc", "seed": 7},
)
SMALL = dataclasses.replace(LAYOUT, planes=LAYOUT.planes[2:], columns=(), photos=4)
BAD = 3  #: the photo that is quarantined
SHORT = 5  #: the photo whose crop fills three rows only


def pixels(plane: PlaneLayout, row: int) -> np.ndarray:
    """What stands in a row: all of the plane's range."""
    rng = np.random.default_rng([row, len(plane.name)])
    if plane.dtype == "float32":
        return rng.normal(size=plane.shape).astype(np.float32)
    return rng.integers(0, np.iinfo(plane.dtype).max, plane.shape, plane.dtype, endpoint=True)


def present(row: int) -> bool:
    """Whether a row is there."""
    photo, patch = divmod(row, LAYOUT.per_photo)
    return photo != BAD and not (photo == SHORT and patch >= 3)


def columns(rows: range) -> dict[str, np.ndarray]:
    """The writer's columns over some rows."""
    i = np.array(rows)
    psf = i % 4 - 1
    return {
        "black": 500.0 + i,
        "white": 16383.0 - i,
        "iso": np.where(i % 2, 100.0, 1600.0),
        "crop_top": i * 3,
        "optics.psf": psf,
        "optics.sigma": np.where(psf == 2, 0.5 + i, np.nan),
    }


def write_shard(store: Path, shard: int, layout: Layout = LAYOUT) -> None:
    """One task: a bad photo is noticed half way, blocks have two rows."""
    facts = []
    with ShardWriter(store, layout, shard) as out:
        for photo in layout.shard_photos(shard):
            mark = out.mark()
            rows = range(photo * layout.per_photo, (photo + 1) * layout.per_photo)
            kept = [r for r in rows if present(r)] if photo != BAD else list(rows[:3])
            for at in range(0, len(kept), 2):
                for plane in layout.planes:
                    out.put(plane.name, np.stack([pixels(plane, r) for r in kept[at : at + 2]]))
            if photo == BAD:
                out.back(mark)
                kept = []
            out.skip(layout.per_photo - len(kept))
            facts.append(PhotoFact(f"folder/IMG_{photo}é.dng", f"{photo:032x}", "truncated" if photo == BAD else ""))
        table = columns(layout.shard_rows(shard))
        out.finish({c.name: table[c.name] for c in layout.columns}, facts)


def build(store: Path, layout: Layout = LAYOUT, backwards: bool = False) -> Path:
    """A finished store; goes on where a killed build stopped."""
    with locked(store):
        create(store, layout)
        todo = sorted(set(range(layout.shards)).difference(done_shards(store, layout)), reverse=backwards)
        for shard in todo:
            write_shard(store, shard, layout)
        finalise(store, layout)
    return store


def files(store: Path) -> dict[str, bytes]:
    """Every file of a folder, and every folder."""
    return {p.relative_to(store).as_posix(): p.read_bytes() if p.is_file() else b"" for p in store.rglob("*")}


if __name__ == "__main__":
    build(Path(sys.argv[1]))

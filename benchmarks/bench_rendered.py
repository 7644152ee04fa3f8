"""Four planes of residual-maps read from the store, against the same planes rendered from the stored subject.

    python benchmarks/bench_rendered.py [--rows 512] [--rounds 5] [--threads 0] [--device cpu] [--out FILE]

Both stores come from one made-up photo. The loaders take turns in each round over all rows, warm; the median counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from degrade import PatchStore, Recipe, build
from degrade.demo import make_photo
from degrade.pairs.rendered import Draws
from degrade.store.loader import Loader

PLANES = ("clean", "blur", "noise", "noise_blur")
DRAWS: dict[str, Draws] = {"stored": "recorded", "rendered": "fresh"}


def seconds(loader: Loader) -> float:
    """One epoch."""
    start = time.perf_counter()
    for _ in loader:
        pass
    if torch.device(loader.how.device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def stores(folder: Path, rows: int, planes: tuple[str, ...]) -> dict[str, PatchStore]:
    """Planes of residual-maps stored, and the subject that they can be rendered from, of one made-up photo."""
    (folder / "photos").mkdir()
    make_photo("rocket", folder / "photos" / "rocket.dng")
    shipped = Recipe.load("residual-maps")
    subject = {"path": ["expose", "patches"], "dtype": "float32", "margin": "keep"}
    recipe = shipped.changed(
        operators={**shipped.operators, "patches": shipped.crop.model_copy(update={"per_photo": rows})},
        planes={"subject": subject, **shipped.planes},
    )
    for name, kept in (("stored", planes), ("rendered", ("subject",))):
        build(recipe.changed(store=kept), folder / "photos", folder / name, workers=1)
    return {name: PatchStore(folder / name) for name in ("stored", "rendered")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        loaders: dict[str, Loader] = {}
        for name, store in stores(folder, args.rows, PLANES).items():
            size = sum(p.row_bytes for p in store.planes.values()) / 1024
            print(f"{name}: {len(store)} rows of {size:.0f} KiB")
            loaders[name] = store.loader(64, PLANES, device=args.device, threads=args.threads, draws=DRAWS[name])
        times: dict[str, list[float]] = {name: [] for name in loaders}
        for k in range(args.rounds + 1):
            for name, loader in loaders.items():
                taken = seconds(loader)
                if k:  # the first round compiles and warms
                    times[name].append(taken)
    rates = {name: args.rows / statistics.median(t) for name, t in times.items()}
    rates["ratio"] = rates["rendered"] / rates["stored"]
    print("  ".join(f"{name} {value:,.3g}" for name, value in rates.items()), " [rows/s]")
    if args.out:
        args.out.write_text(json.dumps(rates))


if __name__ == "__main__":
    main()

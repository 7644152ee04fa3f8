"""Unit normals: addressed fields, each of seeds of its own, against ``torch.randn`` in the same run, one thread.

python benchmarks/bench_noise.py
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch

from degrade.maths.philox import normal_field

SHAPES = ((16, 4, 64, 64), (16, 3, 158, 158), (256, 4, 64, 64), (1, 4, 2000, 3000))


def seconds(f: Callable[[], object], rounds: int = 15) -> float:
    """Median time of a call."""
    f()
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    print(f"{'field':>20} {'ours':>8} {'randn':>8} [ns a number]  ratio")
    for b, c, h, w in SHAPES:
        n, seeds = b * c * h * w, (torch.arange(b) + i * b for i in itertools.count())
        ours = seconds(lambda c=c, h=h, w=w, seeds=seeds: normal_field(next(seeds), c, (0, 0), (h, w))) / n * 1e9
        peer = seconds(lambda b=b, c=c, h=h, w=w: torch.randn(b, c, h, w)) / n * 1e9
        name = f"{b} x {c} x {h} x {w}"
        found[name] = ours / peer
        print(f"{name:>20} {ours:8.2f} {peer:8.2f} {'':14} {ours / peer:6.2f}")
    print(json.dumps({"ours_of_randn": found}))


if __name__ == "__main__":
    main()

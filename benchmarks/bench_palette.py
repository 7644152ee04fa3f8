"""k-means of a 24-megapixel picture to 64 colours, each pixel in its nearest one, on one thread.

    pip install -r benchmarks/requirements.txt        # the peer
    python benchmarks/bench_palette.py [--pixels 24] [--rounds 3] [--out FILE]

Ours is `k_means` and `nearest` of `degrade.maths.palette`; the peer is scikit-learn's `KMeans` (k-means++, one start,
30 iterations at most), run once in full on the same pixels. The errors are compared as mean squared distances to the
nearest colour; seconds are of the processor, so that others on the machine count less. The picture is scikit-image's
coffee, enlarged, with grain of 1% added so that no two areas are equal.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from skimage import data
from torch import Tensor

from degrade.maths.palette import draws, k_means, nearest_colours, paint
from degrade.maths.philox import normal_field

COLOURS = 64


def picture(megapixels: float) -> Tensor:
    """(3, h, w) sRGB."""
    height = round((megapixels * 1e6 * 2 / 3) ** 0.5)
    small = torch.from_numpy(np.ascontiguousarray(data.coffee().transpose(2, 0, 1))).float()[None] / 255
    large = functional.interpolate(small, size=(height, height * 3 // 2), mode="bicubic")
    grain = normal_field(torch.zeros(1, dtype=torch.int64), 3, (0, 0), (height, height * 3 // 2))
    return (large + 0.01 * grain).clamp(0, 1)[0]


def ours(x: Tensor) -> tuple[float, Tensor, Tensor]:
    """Seconds, palette and labels."""
    unit = np.random.default_rng(0).random(draws(COLOURS))
    start = time.process_time()
    palette = k_means(x, COLOURS, unit)
    labels = nearest_colours(x[None], palette)
    return time.process_time() - start, palette, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=float, default=24, help="megapixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = picture(arguments.pixels)
    ours(x[:, :32, :32])  # compiled before the clock starts
    runs = [ours(x) for _ in range(arguments.rounds)]
    _, palette, labels = runs[0]
    result = {
        "pixels": x[0].numel(),
        "seconds": statistics.median(s for s, _, _ in runs),
        "error": (paint(labels, palette)[0] - x).square().sum(0).mean().item(),
    }
    print(f"{'degrade':14}{result['seconds']:9.2f} s   error {result['error']:.6f}")
    try:
        limits = importlib.import_module("threadpoolctl").threadpool_limits
        KMeans = importlib.import_module("sklearn.cluster").KMeans
    except ImportError as wrong:
        print(f"scikit-learn left out: {wrong}")
    else:
        pixels = np.ascontiguousarray(x.reshape(3, -1).T.numpy())
        with limits(1):
            start = time.process_time()
            fitted = KMeans(COLOURS, max_iter=30, n_init=1, random_state=0).fit(pixels)
            result["peer_seconds"] = time.process_time() - start
        peer = torch.from_numpy(fitted.cluster_centers_.astype(np.float32))
        found = paint(torch.from_numpy(fitted.labels_).reshape(1, *x.shape[1:]), peer)
        result["peer_error"] = (found[0] - x).square().sum(0).mean().item()
        result["ahead"] = result["peer_seconds"] / result["seconds"]
        print(f"{'scikit-learn':14}{result['peer_seconds']:9.2f} s   error {result['peer_error']:.6f}")
        print(f"{result['ahead']:.0f} times faster, error {result['error'] / result['peer_error'] - 1:+.1%}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

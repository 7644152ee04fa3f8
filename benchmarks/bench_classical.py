"""Real-ESRGAN's chain, 256 px patches to 64 px, on one thread: `real_esrgan` against BasicSR's own functions.

    pip install --no-deps basicsr==1.4.2 opencv-python-headless        # the peer; without it only ours is timed
    python benchmarks/bench_classical.py [--rounds 5] [--patches 64] [--out FILE]

The peers are BasicSR's own functions in Real-ESRGAN's order and with its options, one patch at a time: as its training
step does (``torch``: `filter2D`, ``interpolate``, noise on tensors, `DiffJPEG`), and as its data sets do (``cv2``:
OpenCV's filter, resize and JPEG, noise on arrays). The quicker one counts. All start from a picture that is
sharpened already; ours also cuts its patches, draws and records. They take turns in each round, the median of the
processor's time counts; the peers' own generators are seeded, so that they have the same work in each round.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import random
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from skimage import data
from torch import Tensor

from degrade import Frame, Recipe, Sensor, Space
from degrade.maths.display import luma
from degrade.recipe.render import Rendering

cv2: Any = importlib.import_module("cv2") if importlib.util.find_spec("cv2") else None


def modules() -> list[Any]:
    """BasicSR's degradations, filter and JPEG, taken from their files: its package as a whole needs much more."""
    package = importlib.util.find_spec("basicsr")
    if package is None or not package.submodule_search_locations:
        print("BasicSR left out: it is not installed")
        return []
    if importlib.util.find_spec("torchvision") is None:  # of which one formula is used
        stub: Any = types.ModuleType("torchvision.transforms.functional_tensor")
        stub.rgb_to_grayscale = lambda x, num_output_channels=1: luma(x)
        sys.modules[stub.__name__] = stub
    root, loaded = Path(package.submodule_search_locations[0]), list[Any]()
    for place in ("data/degradations.py", "utils/img_process_util.py", "utils/diffjpeg.py"):
        spec = importlib.util.spec_from_file_location("peer_" + Path(place).stem, root / place)
        assert spec is not None
        assert spec.loader is not None
        loaded.append(importlib.util.module_from_spec(spec))
        spec.loader.exec_module(loaded[-1])
    return loaded


def unit() -> float:
    """A number from the peers' own generator."""
    return np.random.uniform()  # noqa: NPY002  (theirs it is)


class Torch:
    """Steps as BasicSR's training takes them."""

    def __init__(self, kinds: Any, images: Any, jpegs: Any) -> None:
        self.kinds, self.images, self.jpeg = kinds, images, jpegs.DiffJPEG(differentiable=False)

    def start(self, patch: Tensor) -> Any:
        return patch

    def blur(self, x: Any, kernel: Any) -> Any:
        return self.images.filter2D(x, torch.from_numpy(kernel).float()[None])

    def resize(self, x: Any, side: int, mode: int) -> Any:
        return functional.interpolate(x, size=(side, side), mode=("area", "bilinear", "bicubic")[mode])

    def gaussian(self, x: Any, sigma: float) -> Any:
        return self.kinds.random_add_gaussian_noise_pt(
            x, sigma_range=[1, sigma], clip=True, rounds=False, gray_prob=0.4
        )

    def poisson(self, x: Any, scale: float) -> Any:
        return self.kinds.random_add_poisson_noise_pt(
            x, scale_range=[0.05, scale], gray_prob=0.4, clip=True, rounds=False
        )

    def code(self, x: Any, quality: float) -> Any:
        return self.jpeg(x.clamp(0, 1), quality=x.new_full((1,), quality))


class OpenCV(Torch):
    """Steps as BasicSR's data sets take them."""

    def start(self, patch: Tensor) -> Any:
        return np.ascontiguousarray(patch[0].permute(1, 2, 0).numpy())

    def blur(self, x: Any, kernel: Any) -> Any:
        return cv2.filter2D(x, -1, kernel)

    def resize(self, x: Any, side: int, mode: int) -> Any:
        how = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[mode]
        return cv2.resize(x, (side, side), interpolation=how)

    def gaussian(self, x: Any, sigma: float) -> Any:
        return self.kinds.random_add_gaussian_noise(x, [1, sigma], gray_prob=0.4, clip=True)

    def poisson(self, x: Any, scale: float) -> Any:
        return self.kinds.random_add_poisson_noise(x, [0.05, scale], gray_prob=0.4, clip=True)

    def code(self, x: Any, quality: float) -> Any:
        return self.kinds.add_jpg_compression(x.astype(np.float32), int(quality))


def chain(steps: Torch, patch: Tensor) -> None:
    """One patch through both rounds."""
    shapes = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
    chances = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]

    def kernel(sigma: float, last: bool = False) -> Any:
        side, turn, width = random.choice(range(7, 22, 2)), [-math.pi, math.pi], [0.2, sigma]
        if last or unit() < 0.1:
            low = math.pi / 3 if last or side < 13 else math.pi / 5
            return steps.kinds.circular_lowpass_kernel(low + (math.pi - low) * unit(), side, pad_to=21)
        made = steps.kinds.random_mixed_kernels(
            shapes, chances, side, width, width, turn, [0.5, 4], [1, 2], noise_range=None
        )
        return np.pad(made, (21 - side) // 2)

    def resized(x: Any, chances: list[float], low: float, high: float, side: int) -> Any:
        way = random.choices((0, 1, 2), chances)[0]
        scale = (1 + (high - 1) * unit(), low + (1 - low) * unit(), 1)[way]
        return steps.resize(x, int(side * scale), random.choice((0, 1, 2)))

    def noisy(x: Any, sigma: float, scale: float) -> Any:
        return steps.gaussian(x, sigma) if unit() < 0.5 else steps.poisson(x, scale)

    def coded(x: Any) -> Any:
        return steps.code(x, 30 + 65 * unit())

    def end(x: Any) -> Any:
        x = steps.resize(x, 64, random.choice((0, 1, 2)))
        return steps.blur(x, kernel(0, last=True)) if unit() < 0.8 else x

    x = steps.blur(steps.start(patch), kernel(3))
    x = coded(noisy(resized(x, [0.2, 0.7, 0.1], 0.15, 1.5, 256), 30, 3))
    x = steps.blur(x, kernel(1.5)) if unit() < 0.8 else x
    x = noisy(resized(x, [0.3, 0.4, 0.3], 0.3, 1.2, 64), 25, 2.5)
    x = coded(end(x)) if unit() < 0.5 else end(coded(x))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float().contiguous() / 255
    recipe = Recipe.load("real_esrgan")
    crop = recipe.crop.model_copy(update={"per_photo": args.patches})
    sharpen, *path = recipe.planes["lr"].path
    photo = recipe.operators[sharpen].apply(Frame(picture, Space.DISPLAY, Sensor.make()))
    operators = {name: crop if name == recipe.paths.crop_name else recipe.operators[name] for name in path}
    recipe = recipe.changed(operators=operators, planes={"lr": path})
    found = modules()
    peers = {"torch": Torch(*found)} if found else {}
    if found and cv2 is not None:
        cv2.setNumThreads(1)
        peers["cv2"] = OpenCV(*found)
    times: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    for k in range(args.rounds + 1):
        start = time.process_time()
        rendering = Rendering(recipe, photo, "photo")
        rendering.frames()
        rendering.columns()
        taken = {"ours": time.process_time() - start}
        patches = rendering.crop.cut(photo, 0).data
        for name, steps in peers.items():
            random.seed(7)
            np.random.seed(7)  # noqa: NPY002  (the peers' own generator)
            torch.manual_seed(7)
            start = time.process_time()
            for i in range(len(patches)):
                chain(steps, patches[i : i + 1])
            taken[name] = time.process_time() - start
        for name in times if k else ():  # the first round compiles and warms
            times[name].append(taken[name])
    rates = {name: args.patches / statistics.median(t) for name, t in times.items()}
    if peers:
        rates["ratio"] = rates["ours"] / max(rates[name] for name in peers)
    print("  ".join(f"{name} {value:.2f}" for name, value in rates.items()), " [patches/s]")
    if args.out:
        args.out.write_text(json.dumps(rates))


if __name__ == "__main__":
    main()

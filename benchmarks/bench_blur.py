"""Blur of 256 patches x 3 channels x 160 x 160, each patch and channel its own 31 x 31 kernel, on one thread.

    pip install -r benchmarks/requirements.txt        # the peers; those that are missing are left out by name
    python benchmarks/bench_blur.py [--rounds 5] [--out FILE]

Ours is `degrade.maths.fourier.convolve`, in the blocks that recipes are rendered in, and at once; the peers are plain
torch (FFT of the whole batch, grouped convolution), kornia's `filter2d` and deepinv's `conv2d_fft`. All take turns in
each round, the median of the rounds counts; every result is compared with ours inside the margin first. The last lines
set the same blur with one kernel for all patches beside it, and `psf_blur` with a lens of 9 x 13 places, each patch
elsewhere in the field, beside the same with a lens that is the same all over it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from degrade import Frame, Sensor, Space
from degrade.gear.lens import Lens, half_sides
from degrade.maths import fourier
from degrade.maths.philox import uniform_field
from degrade.operators.optics import PsfBlur

PATCHES, CHANNELS, SIZE, SIDE = 256, 3, 160, 31
Blur = Callable[[Tensor, Tensor], Tensor]


def blocks(rows: int) -> Blur:
    """Ours, so many patches at a time, as recipes are rendered; a single kernel serves all."""

    def blur(data: Tensor, kernel: Tensor) -> Tensor:
        parts = [slice(i, i + rows) for i in range(0, len(data), rows)]
        return torch.cat([fourier.convolve(data[p], kernel[p] if len(kernel) > 1 else kernel) for p in parts])

    return blur


def plain(data: Tensor, kernel: Tensor) -> Tensor:
    """torch.fft of the whole batch."""
    transfer = torch.fft.rfft2(data) * torch.fft.rfft2(kernel, s=data.shape[-2:])
    return torch.fft.irfft2(transfer, s=data.shape[-2:]).roll((-(SIDE // 2), -(SIDE // 2)), dims=(-2, -1))


def grouped(data: Tensor, kernel: Tensor) -> Tensor:
    """torch's direct convolution, a group for each patch and channel."""
    edge = SIDE // 2
    flat = functional.pad(data, (edge,) * 4).reshape(1, -1, data.shape[-2] + 2 * edge, data.shape[-1] + 2 * edge)
    weight = kernel.flip((-2, -1)).reshape(-1, 1, SIDE, SIDE)
    return functional.conv2d(flat, weight, groups=flat.shape[1]).reshape(data.shape)


def peers() -> dict[str, Blur]:
    """What can be imported of kornia and deepinv."""
    found: dict[str, Blur] = {}
    try:
        filter2d = importlib.import_module("kornia.filters").filter2d
    except ImportError as wrong:
        print(f"kornia left out: {wrong}")
    else:

        def kornia(data: Tensor, kernel: Tensor) -> Tensor:
            # one kernel a row of the batch: channels become rows; it correlates
            flat = data.reshape(-1, 1, *data.shape[-2:])
            return filter2d(flat, kernel.flip((-2, -1)).reshape(-1, SIDE, SIDE)).reshape(data.shape)

        found["kornia filter2d"] = kornia
    try:
        conv2d_fft = importlib.import_module("deepinv.physics.functional").conv2d_fft
    except ImportError as wrong:
        print(f"deepinv left out: {wrong}")
    else:

        def deepinv(data: Tensor, kernel: Tensor) -> Tensor:
            return conv2d_fft(data, kernel, padding="circular")

        found["deepinv conv2d_fft"] = deepinv
    return found


def lenses(data: Tensor, folder: str) -> dict[str, Callable[[], object]]:
    """`psf_blur` in blocks of 16 patches that lie all over the field, with a lens that varies over it or does not."""
    psf = uniform_field(torch.arange(9 * 13), CHANNELS, (0, 0), (SIDE, SIDE)).double().numpy()
    psf = psf.reshape(1, 9, 13, CHANNELS, SIDE, SIDE) / psf.sum((-2, -1)).reshape(1, 9, 13, CHANNELS, 1, 1)
    y, x = (np.linspace(-half, half, n) for half, n in zip(half_sides(), (9, 13), strict=True))
    made = {"space-variant lens": Lens(psf, y, x), "shared lens": Lens(psf[:, :1, :1], np.zeros(1), np.zeros(1))}
    field = (2 * uniform_field(torch.arange(len(data)), 2, (0, 0), (1, 1))[..., 0, 0] - 1) * torch.tensor(half_sides())

    def task(file: Path) -> Callable[[], object]:
        blur = PsfBlur.model_validate({"kernels": [{"psf": "lens", "file": str(file)}], "radius": SIDE // 2})
        blocks = [slice(i, i + 16) for i in range(0, len(data), 16)]
        frames = [Frame(data[b], Space.LINEAR, Sensor.make(16), field=field[b].float()) for b in blocks]
        return lambda: [blur.apply(frame) for frame in frames]

    return {name: task(lens.write(Path(folder, f"{i}.npz"))) for i, (name, lens) in enumerate(made.items())}


def race(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each; all take part in each round, after a warm one."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for i in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = uniform_field(torch.arange(PATCHES), CHANNELS, (0, 0), (SIZE, SIZE))
    kernel = uniform_field(torch.arange(PATCHES) + PATCHES, CHANNELS, (0, 0), (SIDE, SIDE))
    kernel = kernel / kernel.sum((-2, -1), keepdim=True)
    ours = {f"degrade, blocks of {n}": blocks(n) for n in (4, 8, 16)} | {"degrade, at once": blocks(PATCHES)}
    others = peers()
    every = {**ours, "torch FFT, whole batch": plain, "torch grouped conv2d": grouped, **others}
    inside = (..., slice(SIDE // 2, -(SIDE // 2)), slice(SIDE // 2, -(SIDE // 2)))
    truth = blocks(16)(data, kernel)[inside]
    with torch.inference_mode():
        for name, blur in every.items():
            error = (blur(data, kernel)[inside] - truth).abs().max().item()
            if error > 1e-5:
                raise SystemExit(f"{name} does something else: differs by {error:.1e}")
        seconds = race({n: lambda blur=blur: blur(data, kernel) for n, blur in every.items()}, arguments.rounds)
        shared = race(
            {
                "own kernel each": lambda: blocks(16)(data, kernel),
                "one kernel a channel": lambda: blocks(16)(data, kernel[:1]),
            },
            arguments.rounds,
        )
        with tempfile.TemporaryDirectory() as folder:
            varied = race(lenses(data, folder), arguments.rounds)
    print(f"{PATCHES} x {CHANNELS} x {SIZE} x {SIZE}, kernels {SIDE} x {SIDE}, median of {arguments.rounds}\n")
    for name, value in seconds.items():
        print(f"{name:28}{value:8.3f} s")
    result: dict[str, object] = {"seconds": seconds, "shared": shared, "lens": varied}
    if others:
        rival = min(seconds[name] for name in others)
        result["ahead"] = rival / seconds["degrade, blocks of 16"]
        print(f"\n{'faster peer / blocks of 16':28}{result['ahead']:8.2f}")
    ratio = shared["own kernel each"] / shared["one kernel a channel"]
    result["own_to_shared"] = ratio
    print(f"{'own / one kernel a channel':28}{ratio:8.2f}")
    ratio = varied["space-variant lens"] / varied["shared lens"]
    result["variant_to_shared"] = ratio
    print(f"{'space-variant / shared lens':28}{ratio:8.2f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

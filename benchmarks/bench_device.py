"""A device that is fed: noise against its memory, rows into it, and how long a small training step waits for them.

    python benchmarks/bench_device.py [--device cuda] [--batch 64] [--steps 200] [--threads 2] [--out FILE]

Bandwidth: `sensor_noise`'s last step reads a signal twice and writes it once, against a copy of as many bytes. Rows and
steps: pairs of residual-maps, stored, and rendered afresh from the stored subject; the step is that of a residual net
of 0.6 M parameters. What it waits is the part of its time that the same steps on one batch, kept, do not take. Without
a GPU the same is run on the CPU, which only shows that it runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from bench_rendered import DRAWS, stores
from torch import Tensor, nn

from degrade.maths.sensor import noisy
from degrade.store.loader import Loader

PAIR = ("clean", "noise_blur")
Batch = dict[str, Tensor]


def seconds(device: torch.device, task: Callable[[], object], rounds: int = 7) -> float:
    """The least time of a task, all that it began on the device included."""
    found: list[float] = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        task()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - start)
    return min(found[1:])


def bandwidth(device: torch.device, samples: int) -> dict[str, float]:
    """GB/s of a copy, and of noise."""
    x = torch.rand(samples // 2**14, 4, 64, 64, device=device)
    line = torch.full((len(x), 4, 1, 1), 1e-3, device=device)
    seed, signal, out = torch.arange(len(x), device=device), x.clone(), torch.empty_like(x)
    copy = 8 * x.numel() / seconds(device, lambda: out.copy_(x)) / 1e9
    noise = 12 * x.numel() / seconds(device, lambda: noisy(x, signal, line, line, seed, (0, 0))) / 1e9
    return {"copy": copy, "noise": noise, "noise / copy": noise / copy}


class Net(nn.Module):
    """A residual net: 16 convolutions of 64 channels between two."""

    def __init__(self) -> None:
        super().__init__()
        inner = [layer for _ in range(16) for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
        self.body = nn.Sequential(nn.Conv2d(4, 64, 3, padding=1), nn.ReLU(), *inner, nn.Conv2d(64, 4, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader


def trained(device: torch.device, steps: int) -> Callable[[Iterator[Batch]], None]:
    """Some steps of training on batches."""
    net = Net().to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def run(batches: Iterator[Batch]) -> None:
        for batch in itertools.islice(batches, steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = (net(batch["noise_blur"]) - batch["clean"]).abs().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="rows; 64 on a GPU, 8 elsewhere")
    parser.add_argument("--steps", type=int, help="of training; 200 on a GPU, 1 elsewhere")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    real = device.type == "cuda"
    steps, size = args.steps or (200 if real else 1), args.batch or (64 if real else 8)
    found: dict[str, dict[str, float]] = {"bandwidth [GB/s]": bandwidth(device, 2**28 if real else 2**23)}
    train = trained(device, steps)
    with tempfile.TemporaryDirectory() as name:
        for kind, store in stores(Path(name), 1024 if real else 64, PAIR).items():
            loader = store.loader(size, PAIR, device=device, threads=args.threads, draws=DRAWS[kind])
            rate = len(loader) * size / seconds(device, lambda loader=loader: list(loader), rounds=3)
            one, batches = next(iter(loader)), endless(loader)
            alone = seconds(device, lambda one=one: train(itertools.repeat(one)), rounds=3)
            fed = seconds(device, lambda batches=batches: train(batches), rounds=3)
            found[kind] = {"rows/s": rate, "steps/s": steps / fed, "waits": max(0.0, 1 - alone / fed)}
    print(f"{torch.cuda.get_device_name(device) if real else 'CPU: no figures of a GPU'}, batches of {size}")
    for kind, figures in found.items():
        print(f"{kind:18}", "  ".join(f"{name} {value:,.4g}" for name, value in figures.items()))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

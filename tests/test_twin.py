"""Formulas and their compiled twins: each formula that has one agrees with it, and only what it can do goes to it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import degrade.maths
from degrade.maths import bayer, display, jpeg, philox, resize, sensor
from degrade.maths.twin import compilable, twin


def rand(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


X = rand(2, 3, 21, 34)
ONE, TWO = torch.full((1, 1, 1, 1), 0.02), torch.tensor([0.1, 0.4])
BLACK, FULL = torch.tensor([64.0, 512.0]).reshape(2, 1, 1, 1), torch.tensor([960.0, 15871.0]).reshape(2, 1, 1, 1)
SEED, COUNTERS = torch.tensor([1, 2**52]), torch.arange(-3, 9)
#: Each formula with a twin, what it is given, and how far they may be apart.
GIVEN: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], float]] = {
    "bayer._sampled": (bayer._sampled, (rand(5, 2, 3, 8, 10),), 0),
    "resize._summed": (resize._summed, (X, resize.taps(21, 9, "lanczos"), resize.taps(34, 50, "bicubic")), 1e-6),
    "jpeg.requantised": (jpeg.requantised, (X, *jpeg.tables(torch.tensor([30, 90])), "4:2:0"), 0),
    "display._counts": (display._counts, (4 * X - 2, 30 * X), 0),
    "display.gaussian": (display.gaussian, (X, TWO, TWO, SEED, (-3, 5)), 1e-6),
    "display.poisson": (display.poisson, (X, TWO, 300 * TWO, TWO, SEED, (-3, 5)), 1e-6),
    "philox.field": (philox.field, ("normal", SEED, 3, COUNTERS, COUNTERS + 50, 1), 1e-6),
    "sensor._noisy": (sensor._noisy, (X, X - 0.2, ONE, 0 * ONE, 4 * X - 2), 1e-6),
    "sensor.quantised": (sensor.quantised, (X, BLACK, FULL), 0),
    "sensor.numbers": (sensor.numbers, (X, BLACK, FULL, torch.uint16), 0),
}


def test_none_is_left_out() -> None:
    found: set[str] = set()
    for info in pkgutil.iter_modules(degrade.maths.__path__):
        if not info.name.endswith("_gpu"):
            room = importlib.import_module(f"degrade.maths.{info.name}")
            for name, f in inspect.getmembers(room, inspect.isfunction):
                if f.__code__.co_filename.endswith("twin.py") and f.__module__ == room.__name__ != twin.__module__:
                    found.add(f"{info.name}.{name}")
    assert found == set(GIVEN)


@pytest.mark.parametrize("name", GIVEN)
def test_formula_and_twin_agree(name: str) -> None:
    f, given, apart = GIVEN[name]
    fast, slow = f(*given), inspect.unwrap(f)(*given)
    assert fast.dtype is slow.dtype
    torch.testing.assert_close(fast.double(), slow.double(), atol=apart, rtol=0)


def test_what_a_twin_cannot_do_is_left_to_the_formula() -> None:
    x = torch.zeros(3)
    assert compilable(x, 1, "4:2:0", x)
    assert compilable(SEED, dtype=torch.int64)
    for other in (x.double(), x.half(), x.long(), x.clone().requires_grad_(), x.to("meta")):
        assert not compilable(other)
    assert not compilable(x, x.clone().requires_grad_())
    assert not compilable(x, x.to("meta"))

    @twin("no_such_cpu")
    def doubled(x: Tensor) -> Tensor:
        return 2 * x

    assert doubled(x.double()).dtype is torch.float64
    with pytest.raises(ModuleNotFoundError, match="no_such_cpu"):
        doubled(x)


def test_choosing_costs_little() -> None:
    """Less than 20 us a call on a machine however busy: an operator takes milliseconds."""

    @twin("bayer_cpu")
    def sampled(x: Tensor) -> Tensor:
        return x

    x = X.double()
    took = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(1000):
            sampled(x)
        took.append((time.perf_counter() - began) / 1000)
    assert min(took) < 20e-6

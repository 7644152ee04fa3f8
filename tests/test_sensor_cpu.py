"""Compiled passes of the sensor against the tensor operations that other devices, and gradients, take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from degrade.maths import bayer, bayer_cpu, cfa, sensor

PHASES = st.sampled_from(sorted(cfa.PHASES))
BLACK, FULL = (torch.tensor(v).reshape(3, 1, 1, 1) for v in ([64.0, 512.0, 0.0], [960.0, 15871.0, 255.0]))


def signal(*shape: int, seed: int = 0) -> Tensor:
    """Below black, between, and above white."""
    return 1.6 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.3


def both(task: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Compiled, and as tensor operations."""
    return task(x), task(x.clone().requires_grad_()).detach()


def test_quantised_is_the_same_to_the_bit() -> None:
    x = signal(3, 4, 31, 33)
    compiled, tensors = both(lambda x: sensor.quantised(x, BLACK, FULL), x)
    assert torch.equal(compiled, tensors)
    dn = compiled * FULL + BLACK
    assert dn.min() > -1e-3
    assert torch.all(dn <= BLACK + FULL + 1e-3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16], ids=str)
def test_whole_numbers_are_those_that_were_quantised(dtype: torch.dtype) -> None:
    dn = torch.arange(256.0).reshape(1, 1, 16, 16)
    black, full = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), 252.0)
    compiled, tensors = both(lambda x: sensor.numbers(x, black, full, dtype), (dn - black) / full)
    assert compiled.dtype is tensors.dtype is dtype
    assert torch.equal(compiled.int(), dn.int())
    assert torch.equal(tensors.int(), dn.int())


def test_noise_is_the_same_within_rounding_and_never_of_a_negative_variance() -> None:
    x, seed = signal(3, 4, 31, 33), torch.tensor([1, 2, 3])
    shot, read = 1e-3 * BLACK, torch.tensor([-1e-3, 1e-6, 0.2, 0.0]).reshape(1, 4, 1, 1)
    compiled, tensors = both(lambda x: sensor.noisy(x, x, shot, read, seed, (0, 0)), x)
    torch.testing.assert_close(compiled, tensors, atol=1e-6, rtol=0)
    assert torch.equal(compiled[2, 0], x[2, 0])  # no noise at all
    assert bool(torch.isfinite(compiled).all())


def test_the_mosaic_is_the_same() -> None:
    assert torch.equal(*both(bayer.mosaic, signal(2, 3, 10, 14)))


# -- from a file's mosaic ---------------------------------------------------------------------------------------------


def mosaic(h: int, w: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(h * w).integers(0, 65536, (h, w)).astype(np.uint16)


@given(st.integers(21, 60), st.integers(21, 60), PHASES, st.sampled_from([2, 4, 6, 8]))
def test_linear_is_that_of_tensors(h: int, w: int, phase: str, shrink: int) -> None:
    black, white = (500.0, 510.5, 520.0, 530.25), 60000.0
    packed = bayer.pack(torch.from_numpy(mosaic(h, w)), phase)[None]
    levels = torch.tensor(black)[:, None, None]
    expected = cfa.BAYER.merge((bayer.planes(packed, shrink) - levels) / (white - levels), -3)[0]
    found = torch.from_numpy(bayer_cpu.linear(bayer_cpu.whole(mosaic(h, w), phase), shrink, black, white))
    # a power of two scales without rounding
    torch.testing.assert_close(found, expected, atol=0 if shrink != 6 else 1e-6, rtol=0)


@given(st.integers(21, 60), st.integers(21, 60), PHASES, st.sampled_from([2, 4, 6]))
def test_touched_is_that_of_tensors(h: int, w: int, phase: str, shrink: int) -> None:
    packed = bayer.pack(torch.from_numpy(mosaic(h, w)), phase)[None]
    expected = bayer.touched(torch.from_numpy(packed.numpy() >= 65000), shrink)[0]
    assert np.array_equal(bayer_cpu.touched(bayer_cpu.whole(mosaic(h, w), phase), shrink, 65000.0), expected)


def test_extremes_are_those_of_what_is_packed() -> None:
    found = bayer_cpu.extremes(bayer_cpu.whole(mosaic(41, 30), "BGGR"))
    packed = bayer.pack(torch.from_numpy(mosaic(41, 30)), "BGGR").numpy()
    assert found == (packed.min(), packed.max())


@pytest.mark.parametrize(
    "task", [lambda m: bayer_cpu.linear(m, 4, (0.0,) * 4, 1.0), lambda m: bayer_cpu.touched(m, 4, 1.0)]
)
def test_too_small(task: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="a mosaic of 8 x 30 is too small for shrink 4: need 10 x 10"):
        task(mosaic(8, 30))

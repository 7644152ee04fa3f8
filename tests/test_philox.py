"""Random fields: the authors' known answers, agreement wherever fields overlap, and the statistics of a normal."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from degrade.maths import philox as philox_module
from degrade.maths.philox import field, normal_field, philox, uniform_field

#: Random123, kat_vectors, philox4x32 with 10 rounds: counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
seeds = st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=3, unique=True)
starts = st.tuples(st.integers(-300, 300), st.integers(-300, 300))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def _words(text: str) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(int(w, 16)) for w in text.split())


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    c, k = _words(counter), _words(key)
    found = philox((c[0], c[1], c[2], c[3]), (k[0], k[1]))
    assert " ".join(f"{int(w):08x}" for w in found) == answer


@pytest.mark.parametrize("field", [uniform_field, normal_field])
@given(seeds, starts, sizes, st.tuples(*[st.integers(0, 9)] * 4), st.integers(1, 4), st.integers(0, 3))
def test_a_sample_belongs_to_its_place(
    field: Callable[..., Tensor],
    seeds: list[int],
    start: tuple[int, int],
    size: tuple[int, int],
    margin: tuple[int, int, int, int],
    channels: int,
    stream: int,
) -> None:
    seed = torch.tensor(seeds)
    top, left, below, right = margin
    small = field(seed, channels, start, size, stream)
    large = field(
        seed, channels + 2, (start[0] - top, start[1] - left), (size[0] + top + below, size[1] + left + right), stream
    )
    assert small.shape == (len(seeds), channels, *size)
    assert small.dtype == torch.float32
    assert small.is_contiguous()
    assert torch.equal(large[:, :channels, top : top + size[0], left : left + size[1]], small)
    for j in range(len(seeds)):
        assert torch.equal(field(seed[j : j + 1], channels, start, size, stream)[0], small[j])


@given(seeds, starts, st.integers(0, 3))
def test_another_seed_stream_or_channel_is_another_field(seeds: list[int], start: tuple[int, int], stream: int) -> None:
    seed = torch.tensor([seeds[0], (seeds[0] + 1) % 2**53, seeds[0] ^ 1 << 40])
    here = normal_field(seed, 2, start, (4, 4), stream)
    other = normal_field(seed, 2, start, (4, 4), stream + 1)
    fields = torch.cat((here, other)).flatten(0, 1)
    assert all(not torch.equal(fields[i], fields[j]) for i in range(len(fields)) for j in range(i))


def test_uniform_fields_are_uniform() -> None:
    u = uniform_field(torch.tensor([5]), 2, (-100, -100), (500, 500)).double().numpy().ravel()
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3


@pytest.fixture(scope="module")
def normal() -> Tensor:
    """(4, 4, 500, 500): four million samples."""
    return normal_field(torch.arange(4), 4, (-16, -16), (500, 500)).double()


def test_moments_are_a_normals(normal: Tensor) -> None:
    """Each within four standard errors: 1/n, 2/n, 6/n and 24/n are the variances of the estimates."""
    n = normal.numel()
    z = normal.flatten().numpy()
    assert abs(z.mean()) < 4 * np.sqrt(1 / n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(z)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(z)) < 4 * np.sqrt(24 / n)


def test_distribution_is_a_normals(normal: Tensor) -> None:
    z = normal.flatten().numpy()
    assert stats.kstest(z[::7], "norm").pvalue > 1e-3
    expected = 2 * stats.norm.sf(4) * len(z)
    assert stats.poisson.interval(0.999, expected)[0] <= (np.abs(z) > 4).sum()
    assert (np.abs(z) > 4).sum() <= stats.poisson.interval(0.999, expected)[1]
    assert np.abs(z).max() > 4.7


LAGS = [("seed", 0, 1), ("channel", 1, 1), *((n, d, lag) for n, d in (("y", 2), ("x", 3)) for lag in (1, 2, 3, 4))]


@pytest.mark.parametrize(("dim", "lag"), [v[1:] for v in LAGS], ids=[f"{n}-{lag}" for n, _, lag in LAGS])
def test_neighbours_are_uncorrelated(normal: Tensor, dim: int, lag: int) -> None:
    count = normal.shape[dim] - lag
    a, b = normal.narrow(dim, 0, count), normal.narrow(dim, lag, count)
    assert abs((a * b).mean()) < 4 / np.sqrt(a.numel())
    squares = ((a**2 - 1) * (b**2 - 1)).mean() / 2  # a pair of Box and Muller shares its radius
    assert abs(squares) < 4 / np.sqrt(a.numel())


def test_even_and_odd_columns_have_the_same_moments(normal: Tensor) -> None:
    """The cosine's and the sine's samples, and the four places of a counter."""
    for k in range(4):
        z = normal[..., k::4]
        assert abs(z.mean()) < 4 / np.sqrt(z.numel())
        assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.numel())


@given(
    seeds=st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=3), start=st.tuples(*[st.integers(-99, 2000)] * 2)
)
def test_compiled_and_tensor_fields_agree(seeds: list[int], start: tuple[int, int]) -> None:
    x, y = (torch.arange(s, s + 40) for s in start)
    for kind, most in (("uniform", 0.0), ("normal", 1e-6)):
        compiled, tensors = (f(kind, torch.tensor(seeds), 2, x, y, 3) for f in (field, inspect.unwrap(field)))
        assert (compiled - tensors).abs().max() <= most


def test_compiled_and_tensor_normals_agree_on_a_million() -> None:
    x, y = torch.arange(-100, 400), torch.arange(-100, 400)
    compiled, tensors = (f("normal", torch.arange(1), 1, x, y, 0) for f in (field, inspect.unwrap(field)))
    assert (compiled - tensors).abs().max() <= 1e-6


def test_a_field_that_is_asked_for_again_is_fresh_and_the_same() -> None:
    """The latest is kept; whoever got it may write into it, and any other argument makes another one."""
    asked = (torch.tensor([3, 4]), 2, (-1, 0), (5, 8))
    first = normal_field(*asked)
    kept = first.clone()
    first.zero_()
    assert torch.equal(normal_field(*asked), kept)
    for other in (
        uniform_field(*asked),
        normal_field(*asked, stream=1),
        normal_field(torch.tensor([4, 3]), *asked[1:]),
        normal_field(asked[0], 2, (0, 0), (5, 8)),
    ):
        assert not torch.equal(other, kept)
    assert torch.equal(normal_field(*asked), kept)


def test_uniform_numbers_are_never_0_or_1() -> None:
    words = torch.tensor([0, 2**32 - 1]).expand(1, 1, 1, 2)
    low, high = philox_module._unit(words)[0, 0, 0].double().tolist()
    assert (low, high) == (2.0**-24, 1 - 2.0**-24)

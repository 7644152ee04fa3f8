"""Priors: what they draw, how they are written, and what fields refuse."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError
from scipy import stats

from degrade import Choice, Integer, Key, LogUniform, Normal, Param, Seed, Uniform, UnknownName
from degrade.core.param import Model
from degrade.core.prior import Prior, as_data, bounds
from degrade.operators.kernels import GaussianKernel
from degrade.operators.light import Exposure
from degrade.operators.noise import SensorNoise

ALPHA = 1e-3
N = 20_000
finite = st.floats(-1e6, 1e6, allow_subnormal=False)
ranges = st.tuples(finite, finite).map(sorted)
positive = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).map(sorted)

priors = st.one_of(
    ranges.map(lambda r: Uniform(*r)),
    positive.map(lambda r: LogUniform(*r)),
    st.tuples(finite, st.floats(1e-3, 1e3)).map(lambda p: Normal(*p)),
    st.tuples(finite, st.floats(0.1, 10), st.floats(0.1, 5), st.floats(0.1, 5)).map(
        lambda p: Normal(p[0], p[1], p[0] - p[1] * p[2], p[0] + p[1] * p[3])
    ),
    st.tuples(st.integers(-1000, 1000), st.integers(0, 1000)).map(lambda p: Integer(p[0], sum(p))),
    st.lists(finite, min_size=1, max_size=5).map(lambda v: Choice(*v)),
    st.just(Seed()),
)


@given(priors, st.integers(0, 2**53))
def test_draws_lie_within_the_bounds_and_many_are_one_by_one(prior: Prior, seed: int) -> None:
    key = Key(seed).at(np.arange(9))
    many = prior.draw(key)
    low, high = prior.bounds
    assert low <= many.min()
    assert many.max() <= high
    one = [prior.draw(Key(seed).at(j)) for j in range(9)]
    assert many.tolist() == one
    assert all(type(v) in (int, float) for v in one)
    assert bounds(prior) == prior.bounds


@given(priors)
def test_written_and_read_again_it_is_the_same(prior: Prior) -> None:
    ((name, args),) = json.loads(json.dumps(as_data(prior))).items()
    assert Prior.parse(name, args) == prior
    assert eval(repr(prior)) == prior


@pytest.mark.parametrize(
    ("prior", "peer"),
    [
        (Uniform(-2.0, 5.0), stats.uniform(-2, 7)),
        (LogUniform(1e-3, 50.0), stats.loguniform(1e-3, 50)),
        (Normal(3.0, 2.0), stats.norm(3, 2)),
        (Normal(0.0, 1.0, -0.5, 2.0), stats.truncnorm(-0.5, 2)),
        (Normal(1.0, 0.5, 1.5), stats.truncnorm(1, np.inf, 1, 0.5)),
        (Normal(0.0, 1.0, 10.0, 11.0), stats.truncnorm(10, 11)),
        (Normal(0.0, 1.0, -11.0, -10.0), stats.truncnorm(-11, -10)),
    ],
    ids=lambda v: str(v) if isinstance(v, Prior) else "",
)
def test_distribution(prior: Prior, peer: Any) -> None:
    assert stats.kstest(prior.draw(Key(1).at(np.arange(N))), peer.cdf).pvalue > ALPHA


@pytest.mark.parametrize("prior", [Integer(-3, 6), Choice(*range(-3, 7))], ids=str)
def test_whole_numbers_are_as_likely_as_each_other(prior: Prior) -> None:
    drawn = prior.draw(Key(2).at(np.arange(N)))
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == list(range(-3, 7))
    assert stats.chisquare(counts).pvalue > ALPHA


def test_seeds_differ() -> None:
    assert len(np.unique(Seed().draw(Key(3).at(np.arange(N))))) == N


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"uniform": [0.2, 3]}, Uniform(0.2, 3.0)),
        ({"uniform": {"low": 0.2, "high": 3}}, Uniform(0.2, 3.0)),
        ({"log_uniform": [1, 10]}, LogUniform(1.0, 10.0)),
        ({"normal": [1, 2]}, Normal(1.0, 2.0)),
        ({"normal": {"mean": 1, "std": 2, "low": 0}}, Normal(1.0, 2.0, 0.0)),
        ({"integer": [1, 4]}, Integer(1, 4)),
        ({"choice": [1, 4, 9]}, Choice(1.0, 4.0, 9.0)),
        ({"seed": []}, Seed()),
    ],
)
def test_one_key_form(written: dict[str, Any], meant: Prior) -> None:
    class Any_(Model):
        x: Param[float]

    read = Any_.model_validate({"x": written}).x
    assert read == meant
    assert json.dumps(as_data(read)) == json.dumps(as_data(Any_(x=meant).x))


REFUSED: list[tuple[Any, str]] = [
    ({"uniform": [3, 0.2]}, r"uniform: low must not exceed high, got 3 and 0.2"),
    ({"uniform": [0.2]}, r"uniform takes \(low, high\), got \[0.2\]"),
    ({"uniform": 3}, r"uniform takes \(low, high\), got 3"),
    ({"uniform": [1, 2, 3]}, r"uniform takes \(low, high\), got \[1, 2, 3\]"),
    ({"uniform": {"low": 1, "hihg": 2}}, r"uniform takes \(low, high\)"),
    ({"uniform": ["a", "b"]}, r"uniform: bounds must be numbers, got 'a' and 'b'"),
    ({"uniform": [None, 1]}, r"uniform takes \(low, high\), got \[None, 1\]"),
    ({"uniform": [float("nan"), 1]}, r"low must not exceed high"),
    ({"uniform": [0, float("inf")]}, r"uniform: bounds must be finite"),
    ({"uniform": [-1, 3]}, r"uniform: input should be greater than or equal to 0, got -1"),
    ({"uniform": [1, 300]}, r"uniform: input should be less than or equal to 100, got 300"),
    ({"log_uniform": [0, 3]}, r"log_uniform: low must be above 0, got 0"),
    ({"normal": [1, 0]}, r"normal: std must be above 0 and finite, got 0"),
    ({"normal": [1, 0.5]}, r"normal: input should be greater than or equal to 0, got -inf; give low and high"),
    ({"normal": [1, 0.5, 0]}, r"normal: input should be less than or equal to 100, got inf; give low and high"),
    ({"normal": [1, 0.5, 2, 1]}, r"normal: low must not exceed high, got 2 and 1"),
    ({"normal": [1, 0.01, 90, 100]}, r"normal: nothing can be drawn from 90 to 100, too far from 1"),
    ({"integer": [0.5, 3]}, r"integer: bounds must be whole numbers, got 0.5 and 3"),
    ({"choice": []}, r"choice: needs at least one value"),
    ({"choice": [1, -4]}, r"choice: input should be greater than or equal to 0, got -4"),
    ({"choice": [1, "x"]}, r"choice: input should be a valid number.*got 'x'"),
    ({"seed": []}, r"seed: input should be less than or equal to 100"),
    ({"unifrom": [1, 3]}, r"unknown prior 'unifrom': did you mean 'uniform'\?"),
]


@pytest.mark.parametrize(("written", "sentence"), REFUSED)
def test_what_a_field_refuses(written: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        GaussianKernel(sigma=written)


def test_fractions_are_not_drawn_for_whole_numbers() -> None:
    for wrong in ({"uniform": [0, 10]}, {"normal": [5, 1, 0, 10]}, {"log_uniform": [1, 10]}):
        with pytest.raises(ValidationError, match=r"valid integer"):
            SensorNoise.model_validate({"iso": 100, "seed": wrong})
    assert SensorNoise.model_validate({"iso": 100, "seed": {"integer": [0, 10]}}).seed == Integer(0, 10)


def test_limits_beside_param_are_refused_because_priors_would_pass_them() -> None:
    with pytest.raises(TypeError, match=r"Loose.x: limits stand inside Param"):

        class Loose(Model):
            x: Param[float] = Field(default=1.0, ge=0)

    with pytest.raises(ValidationError, match=r"less than or equal to 20"):
        Exposure(stops=21.0)


def test_defaults_are_held_to_the_field_too() -> None:
    class Wrong(Model):
        x: Param[Annotated[float, Field(ge=0)]] = Uniform(-1, 1)

    with pytest.raises(ValidationError, match=r"greater than or equal to 0"):
        Wrong()


def test_a_prior_without_bounds_says_so() -> None:
    assert Normal(0, 1).bounds == (-np.inf, np.inf)
    assert Normal(0, 1, low=-1).bounds == (-1, np.inf)
    assert bounds(3.5) == (3.5, 3.5)


def test_an_unknown_prior_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown prior 'log_unifrom': did you mean 'log_uniform'\?"):
        Prior.parse("log_unifrom", [1, 2])


def test_schema_of_a_param_takes_value_and_prior() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(TypeAdapter(Param[float]).json_schema())
    assert all(check.is_valid(v) for v in (1.5, {"uniform": [0, 1]}, {"choice": [1, 2]}))
    assert not any(check.is_valid(v) for v in ("x", {"uniform": 3}, {"nope": [1]}, {"uniform": [0, 1], "b": 1}))

"""Every registered operator keeps every promise of the contract, and one that breaks it is found out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import pytest
import torch
from pydantic import Field

from degrade import Frame, Key, Param, PhotoError, RecipeError, Space, Spec, Uniform, testing
from degrade.core.operator import Operator
from degrade.core.registry import register
from degrade.operators.noise import SensorNoise
from degrade.testing import all_examples, check_operator, promises, trial
from tests.examples import BLUR

GOLDEN = Path(__file__).with_name("golden") / "operators.json"
CASES = [(given, space) for given in all_examples() for space in trial.spaces(trial.example(given))]
NAMES = [f"{given['op']}-{k}" for k, (given, _) in enumerate(CASES)]


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda p: p.__name__)
@pytest.mark.parametrize(("given", "space"), CASES, ids=NAMES)
def test_contract(given: dict[str, Any], space: Space, promise: Callable[[dict[str, Any], Space], None]) -> None:
    promise(given, space)


def numbers(given: dict[str, Any], space: Space) -> dict[str, float]:
    """A few numbers of the result, to be compared with those kept from the day they were checked."""
    op = trial.example(given)
    frame = trial.frame_for(op, space)
    data = trial.one(op, 3, frame).apply(frame).data.double()
    weight = torch.cos(torch.arange(data.numel(), dtype=torch.float64) * math.sqrt(2)).reshape(data.shape)
    return {
        "mean": data.mean().item(),
        "square": data.square().mean().item(),
        "pattern": (data * weight).mean().item(),
        "middle": data[0, 0, data.shape[2] // 2, data.shape[3] // 2].item(),
    }


def golden_names() -> dict[str, tuple[dict[str, Any], Space]]:
    """The cases by the names under which their numbers are kept."""
    version = {given["op"]: trial.example(given).version for given, _ in CASES}
    return {f"{json.dumps(g, sort_keys=True)} {space.value} v{version[g['op']]}": (g, space) for g, space in CASES}


def test_golden_values() -> None:
    """Numbers kept since they were checked; DEGRADE_GOLDEN=write keeps today's (raise `version` where they moved)."""
    today = {name: numbers(*case) for name, case in golden_names().items()}
    if os.environ.get("DEGRADE_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(today, indent=1) + "\n", "utf-8")
    kept = json.loads(GOLDEN.read_text("utf-8"))
    for name, found in today.items():
        assert found == pytest.approx(kept[name], abs=1e-6, rel=0), name


def test_golden_names_are_those_of_the_examples() -> None:
    assert json.loads(GOLDEN.read_text("utf-8")).keys() == golden_names().keys()


def test_an_operator_without_example_is_found() -> None:
    @register("test_contract_bare")
    class Bare(Operator):
        pass

    Bare.__module__ = "degrade.somewhere"
    try:
        with pytest.raises(AssertionError, match=r"without an example.*test_contract_bare"):
            all_examples()
    finally:
        del Operator.named["test_contract_bare"]


def test_a_third_party_runs_it_for_its_own() -> None:
    from tests.foreign import Bleach

    try:
        check_operator(Bleach, {"amount": {"uniform": [0.1, 0.5]}}, spaces=[Space.LINEAR])
    finally:
        Operator.named.pop(Bleach.op)


# -- what an operator states of noise ---------------------------------------------------------------------------------


class Halo(Operator):
    """A neighbour's light: ``y = x + a x'`` with the pixel x' on the left; nothing is said of noise."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})

    amount: Param[float] = Field(default=Uniform(0.2, 0.4), description="a")

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, pixels=1)

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(frame.data + self.column("amount", frame) * frame.data.roll(1, -1))


class Boast(Halo):
    """The same, with a claim of its own: what noise there is, and whether neighbours share it."""

    claim: Literal["old", "true", "white"] = Field(default="old", description="what it states")

    def apply(self, frame: Frame) -> Frame:
        a = self.column("amount", frame).reshape(-1, 1)
        squares = torch.stack(((1 + a * a) / (1 + a), 1 + a * a), dim=1)  # a flat picture is 1 + a times brighter
        noise = frame.noise if self.claim == "old" else frame.filtered(squares)
        return super().apply(frame).changed(noise=noise, correlated=self.claim == "true")


class Lie(Operator):
    """States what is nearly true of noise: each channel's of another, or a neighbour's light to say nothing of."""

    where: Literal["channels", "diagonal"] = Field(default="channels", description="what is wrong")

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, pixels=1)

    def apply(self, frame: Frame) -> Frame:
        if self.where == "channels":
            return frame.with_data(frame.data.flip(1), noise=frame.noise)
        data = (frame.data + frame.data.roll((1, 1), (-2, -1))) / 2
        return frame.with_data(data, noise=None if frame.noise is None else frame.noise / 2)


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    kinds = {"halo": Halo, "boast": Boast, "sloppy": Sloppy, "lie": Lie}
    for name, kind in kinds.items():
        register(f"test_contract_{name}")(kind)
    yield
    for kind in kinds.values():
        del Operator.named[kind.op]


def test_an_operator_that_says_nothing_of_noise_is_right_and_noise_behind_it_is_unknown() -> None:
    check_operator(Halo)
    frame = testing.frame(Space.LINEAR)
    blurred = Halo(amount=0.3).apply(frame)
    assert frame.noise is not None
    assert blurred.noise is None
    with pytest.raises(PhotoError, match=r"the noise already in the picture is unknown, so it cannot be subtracted"):
        SensorNoise(iso=100, source="subtract", seed=1).apply(blurred)


def test_one_that_claims_the_old_noise_fails_and_both_variances_are_named() -> None:
    with pytest.raises(AssertionError, match=r"a variance of 0\.\d+, the frame states 0\.\d+; say"):
        check_operator(Boast)


class Sloppy(Halo):
    """An operator with one of the faults that people make."""

    fault: Literal["far", "random", "in place", "double", "half", "none"] = Field(default="far", description="which")

    def apply(self, frame: Frame) -> Frame:
        data = frame.data
        if self.fault == "none":
            return cast(Frame, None)
        if self.fault == "far":
            data = data.roll(2, -1)
        if self.fault == "random":
            data = data + torch.randn_like(data)
        if self.fault == "in place":
            data.mul_(2)
        if self.fault == "double":
            data = data.double()
        return frame.with_data(data[..., ::2] if self.fault == "half" else data)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("far", AssertionError, r"more than 1 pixels away: say how far it looks, `def needs"),
        ("random", AssertionError, r"^applied twice, it gives two pictures"),
        ("in place", AssertionError, r"^it changes the frame that it is given"),
        ("double", AssertionError, r"^the data is torch.float64"),
        ("half", AssertionError, r"^its size is .*`plan` says \(12, 24\)"),
        ("none", TypeError, r"^`apply` gave NoneType, not a Frame"),
    ],
)
def test_a_fault_is_said(fault: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        check_operator(Sloppy, {"amount": 0.1, "fault": fault})


def test_an_example_that_is_none_is_said() -> None:
    with pytest.raises(RecipeError, match=r"^an example of test_contract_halo: amuont: .*; did you mean 'amount'"):
        check_operator(Halo, {"amuont": 1})
    with pytest.raises(RecipeError, match=r"^examples of test_contract_halo are mappings of fields.*got 'amount'"):
        check_operator(Halo, cast(Any, "amount"))


def test_one_that_claims_what_is_there_passes() -> None:
    check_operator(Boast, {"claim": "true"})


@pytest.mark.parametrize(("where", "said"), [("channels", "the frame states"), ("diagonal", "a covariance of 50%")])
def test_what_is_nearly_true_of_noise_fails(where: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_operator(Lie, {"where": where}, spaces=[Space.LINEAR])


def test_one_whose_noise_is_correlated_says_so() -> None:
    with pytest.raises(AssertionError, match=r"neighbours has a covariance of \d+% of the variance.*correlated=True"):
        check_operator(Boast, {"claim": "white"})


def test_a_second_filter_does_not_guess() -> None:
    """What two blurs leave is no product of what each does to white noise."""
    frame, blur = testing.frame(Space.LINEAR), Operator.model_validate(BLUR)
    once = cast(Operator, blur.draw(Key(1).at("a"))).apply(frame)
    assert once.noise is not None
    assert once.correlated
    assert cast(Operator, blur.draw(Key(1).at("b"))).apply(once).noise is None
    assert Operator.model_validate({"op": "downsample", "factor": 2}).apply(once).noise is None
    assert Operator.model_validate({"op": "downsample", "factor": 2}).apply(frame).noise is not None

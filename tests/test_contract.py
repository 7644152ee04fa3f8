"""Every registered operator keeps every promise of the contract."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from degrade import Space
from degrade.core.operator import Operator
from degrade.core.registry import register
from tests import contract

GOLDEN = Path(__file__).with_name("golden") / "operators.json"
CASES = [(given, space) for given in contract.examples() for space in contract.spaces(contract.example(given))]
NAMES = [f"{given['op']}-{k}" for k, (given, _) in enumerate(CASES)]


@pytest.mark.parametrize("promise", contract.PROMISES, ids=lambda p: p.__name__)
@pytest.mark.parametrize(("given", "space"), CASES, ids=NAMES)
def test_contract(given: dict[str, Any], space: Space, promise: Callable[[dict[str, Any], Space], None]) -> None:
    promise(given, space)


def test_golden_values() -> None:
    """Numbers kept since they were checked; DEGRADE_GOLDEN=write keeps today's (raise `version` where they moved)."""
    today = {
        f"{json.dumps(given, sort_keys=True)} {space.value} v{Operator.model_validate(given).version}": (
            contract.keeps_its_numbers(given, space)
        )
        for given, space in CASES
    }
    if os.environ.get("DEGRADE_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(today, indent=1) + "\n", "utf-8")
    kept = json.loads(GOLDEN.read_text("utf-8"))
    assert kept.keys() == today.keys()
    for name, numbers in today.items():
        assert numbers == pytest.approx(kept[name], abs=1e-6, rel=0), name


def test_an_operator_without_example_is_found() -> None:
    @register("test_contract_bare")
    class Bare(Operator):
        pass

    Bare.__module__ = "degrade.somewhere"
    try:
        with pytest.raises(AssertionError, match=r"without an example.*test_contract_bare"):
            contract.examples()
    finally:
        del Operator.named["test_contract_bare"]


def test_a_third_party_runs_it_for_its_own() -> None:
    from tests.foreign import Bleach

    try:
        contract.check({"op": Bleach.op, "amount": {"uniform": [0.1, 0.5]}}, [Space.LINEAR])
    finally:
        Operator.named.pop(Bleach.op)

"""Operators made of operators: probabilities, addresses, and rows that go their own ways and meet again."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from degrade import Chain, Key, Maybe, OneOf, Operator, Recipe, RecipeError, Shuffle, Space, Spec, testing
from degrade.core.group import Group
from degrade.core.operator import Split
from degrade.operators.light import Exposure
from degrade.operators.sampling import Downsample
from degrade.recipe.render import render
from degrade.testing import trial
from tests import examples

N = 6000
ROWS = Key(5).at("a", np.arange(N))
BLUR = Operator.model_validate(examples.BLUR)
NOISE = Operator.model_validate(examples.NOISE)
UP, DOWN = Exposure(stops=1.0), Exposure(stops=-1.0)


def counts(values: Any) -> np.ndarray:
    return np.unique(values, return_counts=True)[1]


# -- probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.03, 0.5, 0.9])
def test_maybe_happens_with_its_probability(p: float) -> None:
    taken = Maybe(do=UP, p=p).happens(ROWS)
    assert stats.binomtest(int(taken.sum()), N, p).pvalue > 1e-3


def test_maybe_at_its_ends() -> None:
    assert not Maybe(do=UP, p=0).happens(ROWS).any()
    assert Maybe(do=UP, p=1).happens(ROWS).all()


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 5.0), (0.5, 0.0, 0.5)])
def test_one_of_follows_its_weights(weights: tuple[float, ...] | None) -> None:
    pick = OneOf(ops=(UP, DOWN, BLUR), weights=weights).picks(ROWS)
    w = np.array(weights or (1, 1, 1))
    share = N * w / w.sum()
    found = np.bincount(pick, minlength=3)
    assert (found[w == 0] == 0).all()
    assert stats.chisquare(found[w > 0], share[w > 0]).pvalue > 1e-3


def test_shuffle_draws_each_order_as_often() -> None:
    orders = [tuple(o) for o in Shuffle(steps=(UP, DOWN, BLUR)).orders(ROWS).tolist()]
    assert set(orders) == set(itertools.permutations(range(3)))
    assert stats.chisquare(counts([str(o) for o in orders])).pvalue > 1e-3


def test_choices_at_two_names_are_independent() -> None:
    both = Maybe(do=UP, p=0.5)
    table = np.histogram2d(both.happens(ROWS.at("x")), both.happens(ROWS.at("y")), bins=2)[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


# -- addresses --------------------------------------------------------------------------------------------------------


def test_another_alternative_never_changes_the_draws_of_those_before() -> None:
    a = OneOf(ops=(BLUR, NOISE), weights=(1, 0))
    b = OneOf(ops=(BLUR, NOISE, UP), weights=(1, 0, 0))
    for j in range(5):
        assert a.draw(Key(1).at(j)).model_dump()["ops"][0] == b.draw(Key(1).at(j)).model_dump()["ops"][0]


def test_a_drawn_container_says_what_was_chosen() -> None:
    key = Key(3).at("x")
    assert OneOf(ops=(UP, DOWN)).draw(key).model_dump()["pick"] in (0, 1)
    assert sorted(Shuffle(steps=(UP, DOWN)).draw(key).model_dump()["order"]) == [0, 1]
    assert Maybe(do=UP, p=1).draw(key).model_dump()["taken"] is True


# -- groups -----------------------------------------------------------------------------------------------------------

NESTED = Chain(
    steps=(
        Maybe(do=Shuffle(steps=(Exposure(stops={"uniform": [-1, 1]}), BLUR)), p=0.5),
        OneOf(ops=(NOISE, Maybe(do=UP, p=0.3), Chain(steps=(BLUR, DOWN)))),
    )
)


def test_nested_containers_split_and_merge_as_one_by_one() -> None:
    b = 24
    frame = testing.frame(Space.LINEAR, b, (40, 36))
    keys = Key(9).at(np.arange(b))
    drawn = NESTED.draw(keys)
    groups = drawn.over([Group(np.arange(b), frame)], np.arange(b))
    assert [g.slots.tolist() for g in groups] == [list(range(b))]
    kinds = set()
    for j in range(b):
        record = NESTED.draw(Key(9).at(j))
        assert isinstance(record, Operator)
        alone = record.apply(trial.rows_of(frame, [j]))
        assert (groups[0].frame.data[j] - alone.data[0]).abs().max() < 2e-6
        assert trial.same(trial.row(drawn, j), record)
        taken, pick = record.model_dump()["steps"][0]["taken"], record.model_dump()["steps"][1]["pick"]
        kinds.add((taken, pick))
        lost = groups[0].frame.notes["lost"][j]
        blurred = taken or pick == 2
        assert bool(lost.isfinite()) == blurred
    assert len(kinds) == 6


def test_rows_of_any_subset_are_those_of_the_whole() -> None:
    b = 16
    frame = testing.frame(Space.LINEAR, b, (40, 36))
    drawn = NESTED.draw(Key(9).at(np.arange(b)))
    whole = trial.apply(drawn, frame).data
    for at in ([3], [0, 5, 11], list(range(0, b, 2))):
        some = trial.apply(drawn.take(np.array(at)), trial.rows_of(frame, at)).data
        assert (some - whole[at]).abs().max() < 2e-6


def test_rows_of_different_sizes_stay_apart_until_they_agree() -> None:
    b = 12
    frame = testing.frame(Space.LINEAR, b, (24, 24), margin=0)
    drawn = OneOf(ops=(Downsample(factor=2), Downsample(factor=3))).draw(Key(1).at(np.arange(b)))
    assert isinstance(drawn, Split)
    groups = drawn.over([Group(np.arange(b), frame)], np.arange(b))
    assert sorted(g.frame.size for g in groups) == [(8, 8), (12, 12)]
    other = Split(
        tuple((rows, Downsample(factor=3 if op.model_dump()["pick"] == 0 else 2)) for rows, op in drawn.parts)
    )
    again = other.over(groups, np.arange(b))
    assert [g.slots.tolist() for g in again] == [list(range(b))]
    assert again[0].frame.size == (4, 4)
    expected = torch.nn.functional.avg_pool2d(frame.data, 6)
    torch.testing.assert_close(again[0].frame.data, expected, atol=1e-6, rtol=0)


# -- plans ------------------------------------------------------------------------------------------------------------


def test_margins_add_up_in_a_chain_and_keep_its_multiple() -> None:
    """A blur of an odd radius before the colour filters asks for an even margin: the filters' phase stays."""
    spec = Spec(Space.LINEAR, 3, (16, 16))
    blur, mosaic = examples.BLUR | {"radius": 3}, {"op": "mosaic"}
    read = Operator.model_validate
    assert read({"op": "chain", "steps": [blur, mosaic]}).needs(spec, 0) == 4
    assert read({"op": "chain", "steps": [blur, mosaic]}).needs(spec, 2) == 8
    chained = {"op": "chain", "steps": [blur, blur, {"op": "downsample", "factor": 4}, blur]}
    assert read(chained).needs(spec, 0) == 20
    nested = {"op": "one_of", "ops": [{"op": "chain", "steps": [mosaic]}, {"op": "chain", "steps": [blur, mosaic]}]}
    assert read(nested).needs(spec, 1) == 6
    assert read({"op": "shuffle", "steps": [blur, blur, examples.EXPOSURE]}).needs(spec, 1) == 7
    assert read({"op": "maybe", "p": 0.1, "do": blur}).needs(spec, 1) == 4
    assert Chain(steps=()).needs(spec, 5) == 5


def test_a_chain_in_a_recipe_renders_as_its_steps_by_name() -> None:
    text = """
    operators:
      patches: {op: crop, size: 16, margin: 8, per_photo: 3}
      blur: {op: psf_blur, radius: 3, kernels: [{psf: gaussian, sigma: 1}]}
      cfa: {op: mosaic}
      both:
        op: chain
        steps: [{op: psf_blur, radius: 3, kernels: [{psf: gaussian, sigma: 1}]}, {op: mosaic}]
    planes:
      named: [patches, blur, cfa]
      chained: [patches, both]
    """
    planes = render(Recipe.parse(text), testing.photo(), "a")
    assert planes["named"].grid == planes["chained"].grid
    assert (planes["named"].data - planes["chained"].data).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"op": "maybe", "p": 1, "do": {"op": "downsample", "factor": 2}}, r"maybe: downsample changes space or size"),
        ({"op": "shuffle", "steps": [examples.EXPOSURE, {"op": "mosaic"}]}, r"shuffle: mosaic changes space or size"),
        ({"op": "one_of", "ops": [examples.EXPOSURE, {"op": "mosaic"}]}, r"one_of: the alternatives must agree"),
    ],
)
def test_plans_that_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        Operator.model_validate(given).plan(Spec(Space.LINEAR, 3, (16, 16)))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"op": "one_of", "ops": []}, r"at least 1 item"),
        ({"op": "one_of", "ops": [examples.EXPOSURE], "weights": [1, 2]}, r"weights must be 1 numbers"),
        ({"op": "one_of", "ops": [examples.EXPOSURE], "weights": [0]}, r"not all 0"),
        ({"op": "maybe", "p": 1.5, "do": examples.EXPOSURE}, r"less than or equal to 1"),
        ({"op": "shuffle", "steps": [examples.EXPOSURE], "order": [1]}, r"order must name each of the 1 steps once"),
        (
            {"op": "maybe", "p": 0.5, "do": examples.EXPOSURE | {"per": "photo"}},
            r"exposure: `per: photo` stands beside the outermost operator, here maybe",
        ),
        (
            {"op": "maybe", "p": 0.5, "do": examples.NOISE | {"reference": "other"}},
            r"sensor_noise: `reference` cannot stand inside maybe; give the operator a name of its own",
        ),
    ],
)
def test_containers_that_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Operator.model_validate(given)


def test_undrawn_containers_are_not_applied() -> None:
    frame = testing.frame(Space.LINEAR, 1)
    undrawn = Exposure(stops={"uniform": [0, 1]})
    for op in (OneOf(ops=(UP,)), Maybe(do=UP, p=1), Shuffle(steps=(UP, DOWN)), undrawn, Chain(steps=(undrawn,))):
        with pytest.raises(RecipeError, match=r"draw"):
            op.apply(frame)


def test_per_photo_choices_hold_for_all_patches() -> None:
    text = json.dumps(
        {
            "operators": {
                "patches": {"op": "crop", "size": 16, "margin": 8, "per_photo": 8},
                "it": {"op": "one_of", "ops": [examples.BLUR, examples.EXPOSURE], "per": "photo"},
            },
            "planes": {"a": ["patches", "it"]},
        }
    )
    from degrade.recipe.render import Rendering

    frame = testing.photo()
    picks = {}
    for name in "abcdefgh":
        columns = Rendering(Recipe.parse(text), frame, name).columns()
        pick = columns.values["it.pick"]
        assert len(np.unique(pick)) == 1
        picks[name] = pick[0]
    assert set(picks.values()) == {0, 1}

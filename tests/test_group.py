"""Groups of rows and their cameras: what is taken, what is shared, and what is left alone."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from degrade import Frame, Sensor, Space, testing
from degrade.core.compose import OneOf
from degrade.core.group import WIDE, Group, merge, parts, subset
from degrade.core.key import Key
from degrade.core.operator import Operator
from degrade.core.registry import operator
from degrade.operators.develop import Unprocess
from degrade.operators.display_noise import GaussianNoise
from degrade.operators.light import Exposure


def cameras(b: int) -> Sensor:
    numbered = Sensor.make(b).map(lambda t: torch.arange(float(b)).reshape(-1, *(1,) * (t.ndim - 1)).expand_as(t))
    return replace(numbered, ladder=torch.zeros(b, 0, 9))


def same(a: Sensor, b: Sensor) -> bool:
    pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in fields(Sensor))
    return all(torch.equal(x.nan_to_num(-1), y.nan_to_num(-1)) for x, y in pairs)


def test_cameras_of_some_rows_are_those_rows_of_each_field() -> None:
    whole, at = cameras(6), torch.tensor([4, 1, 5])
    expected = whole.map(lambda t: t[at])
    some = whole.rows(at)
    assert len(some) == 3
    assert same(some, expected)
    assert same(whole.rows(at).rows(torch.tensor([2, 0])), whole.rows(torch.tensor([5, 4])))
    assert same(pickle.loads(pickle.dumps(whole.rows(at))), expected)
    assert same(copy.deepcopy(whole.rows(at)), expected)
    moved = replace(whole.rows(at), pitch=torch.zeros(3))
    assert torch.equal(moved.pitch, torch.zeros(3))
    assert torch.equal(moved.iso, expected.iso)
    assert same(Sensor.joined([moved, moved]).rows(torch.tensor([3])), moved.rows(torch.tensor([0])))
    assert not hasattr(some, "shutter")


def test_cameras_join_whether_or_not_they_come_from_one() -> None:
    whole = cameras(5)
    a, b = whole.rows(torch.tensor([3, 0])), whole.rows(torch.tensor([4]))
    expected = whole.rows(torch.tensor([3, 0, 4]))
    assert same(Sensor.joined([a, b]), expected)
    assert same(Sensor.joined([a, b.map(torch.clone)]), expected)


def test_rows_that_follow_one_another_are_not_copied() -> None:
    frame = testing.frame(Space.DISPLAY, 5, (8, 8))
    middle = subset(Group(np.arange(5), frame), np.array([1, 2, 3])).frame
    assert middle.data.data_ptr() == frame.data[1].data_ptr()
    apart = subset(Group(np.arange(5), frame), np.array([0, 3])).frame
    assert torch.equal(apart.data, frame.data[[0, 3]])
    assert same(apart.sensor, frame.sensor.rows(torch.tensor([0, 3])))


def test_wide_rows_stay_apart_until_a_plane_is_asked_for() -> None:
    side = int((WIDE / 3) ** 0.5) + 1
    frame = testing.frame(Space.DISPLAY, 4, (side, side))
    each = parts(Group(np.arange(4), frame), np.array([0, 2, 3]))
    assert [g.slots.tolist() for g in each] == [[0], [2], [3]]
    assert all(g.frame.data.data_ptr() == frame.data[i].data_ptr() for g, i in zip(each, (0, 2, 3), strict=True))
    assert len(merge(each)) == 3
    (whole,) = merge(each[::-1], wide=True)
    assert whole.slots.tolist() == [0, 2, 3]
    assert torch.equal(whole.frame.data, frame.data[[0, 2, 3]])
    assert same(whole.frame.sensor, frame.sensor.rows(torch.tensor([0, 2, 3])))


STACKS: dict[str, dict[str, Any]] = {
    "psf_blur": {
        "border": "reflect",
        "radius": 4,
        "window": {"choice": [2, 4]},
        "kernels": [{"psf": "gaussian", "sigma": {"uniform": [0.5, 2]}}],
    },
    "gaussian_noise": {"sigma": {"uniform": [1, 30]}, "grey": {"choice": [0, 1]}},
    "poisson_noise": {"scale": {"uniform": [1, 3]}},
    "correlated_noise": {"sigma": {"uniform": [1, 30]}},
    "jpeg": {"quality": {"integer": [10, 90]}},
    "resize": {"scale": {"uniform": [0.5, 2]}, "filter": "bicubic"},
    "usm": {"weight": {"uniform": [0.1, 1]}, "radius": 5},
}


@pytest.mark.parametrize("name", STACKS)
def test_rows_of_several_sizes_done_in_one_call_are_those_done_alone(name: str) -> None:
    stack = cast(Operator, operator(name).model_validate(STACKS[name]).draw(Key(3).at(np.arange(7))))
    sizes = {(0, 3): (24, 20), (1,): (31, 17), (2, 5): (16, 16)}
    groups = [Group(np.array(rows), testing.frame(Space.DISPLAY, len(rows), size)) for rows, size in sizes.items()]
    places = np.array([6, 0, 4, 2, 1, 3])
    done = {int(row): g.frame.data[i] for g in stack.over(groups, places) for i, row in enumerate(g.slots)}
    assert sorted(done) == [0, 1, 2, 3, 5]
    for group in groups:
        for i, row in enumerate(group.slots):
            alone = stack.take(places[[row]]).apply(group.frame.rows(np.array([i])))
            assert (alone.data[0] - done[int(row)]).abs().max() < 1e-6


def test_an_operator_made_of_another_is_applied_as_it_says() -> None:
    class Darker(GaussianNoise):
        def apply(self, frame: Frame) -> Frame:
            noisy = super().apply(frame)
            return noisy.with_data(noisy.data - 1)

    frame, plain = testing.frame(Space.DISPLAY, 1, (8, 8)), GaussianNoise(sigma=3.0, seed=1)
    (darker,) = Darker(sigma=3.0, seed=1).over([Group(np.array([0]), frame)], np.array([0]))
    assert torch.equal(darker.frame.data, plain.apply(frame).data - 1)


def test_a_frame_takes_no_field_it_does_not_have() -> None:
    frame = testing.frame(Space.DISPLAY, 1, (8, 8))
    with pytest.raises(TypeError, match="a frame has no colour, grids"):
        frame.changed(grids=1, colour=2, data=frame.data)


def test_narrow_rows_join_in_their_order() -> None:
    frame = testing.frame(Space.DISPLAY, 6, (8, 8))
    whole = Group(np.arange(6), frame)
    (joined,) = merge([subset(whole, np.array(at)) for at in ([1, 4], [5], [0, 2, 3])])
    assert joined.slots.tolist() == list(range(6))
    assert torch.equal(joined.frame.data, frame.data)
    assert torch.equal(joined.frame.origin, frame.origin)


def test_notes_that_some_rows_lack_are_joined_where_the_rows_are() -> None:
    """Half of the rows were blurred, and noted what was lost, on a device that is not the CPU."""
    frame = Frame(torch.zeros(1, 3, 4, 4), Space.LINEAR, Sensor.make()).map(lambda t: t.to("meta"))
    noted = frame.changed(notes={"lost": torch.zeros(1, device="meta")})
    (whole,) = merge([Group(np.array([1]), noted), Group(np.array([0]), frame)])
    assert whole.frame.notes["lost"].shape == (2,)
    assert whole.frame.notes["lost"].is_meta


def test_rows_that_chose_differently_keep_their_cameras_on_their_device() -> None:
    either = OneOf(ops=(Unprocess(matrices=()), Exposure(stops=1.0)))
    there = Sensor.make(8).map(lambda t: t.to("meta"))
    assert either.draw(Key(3).at(np.arange(8))).camera(there).white_balance.is_meta

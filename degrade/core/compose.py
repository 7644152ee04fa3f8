"""Operators made of operators: Chain, Shuffle, OneOf, Maybe. Probability lives here and nowhere else.

A drawn container keeps its form and says what was chosen (``order``, ``pick``, ``taken``). In a block, rows that chose
differently go their own ways as groups and join again as soon as their pictures agree in size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np
from pydantic import Field, model_validator

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Sensor
from degrade.core.group import Group, Slots
from degrade.core.key import Key, Keys
from degrade.core.operator import Drawn, Operator, Split, asked
from degrade.core.registry import register
from degrade.core.spec import Spec, joined, up
from degrade.core.tree import put

# of the examples below
_EXPOSURE = {"op": "exposure", "stops": {"uniform": [-1, 1]}}
_BLUR = {"op": "psf_blur", "radius": 4, "kernels": [{"psf": "gaussian", "sigma": {"uniform": [0.5, 1.5]}}]}
_NOISE = {"op": "sensor_noise", "iso": {"choice": [100, 800]}, "k1": 0.4, "k0": {"log_uniform": [1, 4]}}


class Container(Operator):
    """Base of operators made of others: what is true of each of them is true of the whole."""

    def members(self) -> tuple[Operator, ...]:
        """The operators inside, in the order in which they are written."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _as_one(self) -> Self:
        for op in self.members():
            if op.per != self.per and op.per != "patch":
                raise RecipeError(f"{op.op}: `per: photo` stands beside the outermost operator, here {self.op}")
            if getattr(op, "reference", None) is not None:
                raise RecipeError(
                    f"{op.op}: `reference` cannot stand inside {self.op}; give the operator a name of its own"
                )
        return self

    def sequence(self) -> tuple[Drawn, ...]:
        """What a drawn container really does, in order."""
        raise NotImplementedError

    def apply(self, frame: Frame) -> Frame:
        notes = dict(frame.notes)
        for op in self.sequence():
            frame = asked(cast(Operator, op).apply, frame)
            notes |= frame.notes
        return frame.changed(notes=notes)

    def over(self, groups: Sequence[Group], slots: Slots) -> list[Group]:
        for op in self.sequence():
            groups = asked(op.over, groups, slots)
        return list(groups)

    def camera(self, sensor: Sensor) -> Sensor:
        for op in self.sequence():
            sensor = asked(op.camera, sensor)
        return sensor

    def suits(self, sensor: Sensor) -> None:
        for op in self.members():
            asked(op.suits, sensor)

    def noted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n for op in self.members() for n in asked(op.noted)))

    def multiple(self, spec: Spec) -> int:
        return math.lcm(*(asked(op.multiple, spec) for op in self.members()))

    def unchanged(self, spec: Spec) -> Spec:
        """``spec``, after a check that no member changes it; where sizes may differ, each may change them."""
        for op in self.members() * 2:  # each may also stand behind another one that left sizes open
            after = joined([spec, asked(op.plan, spec)])
            if after is None:
                raise RecipeError(
                    f"{self.op}: {op.op} changes space or size, so it cannot stand where it may be left out or moved"
                )
            spec = after
        return spec


@register("chain")
class Chain(Container):
    """Operators one after the other.

    >>> from degrade.operators.light import Exposure
    >>> Chain(steps=(Exposure(stops=1.0), Exposure(stops=-1.0))).model_dump()["op"]
    'chain'
    """

    steps: tuple[Operator, ...] = Field(description="the operators, first to last")

    examples = (
        {"steps": [_EXPOSURE, _BLUR, {"op": "downsample", "factor": 2}]},
        {"steps": [_BLUR | {"radius": 3}, {"op": "mosaic"}, _NOISE]},
    )

    def members(self) -> tuple[Operator, ...]:
        return self.steps

    def sequence(self) -> tuple[Drawn, ...]:
        return self.steps

    def plan(self, spec: Spec) -> Spec:
        for op in self.steps:
            spec = asked(op.plan, spec)
        return spec

    def needs(self, spec: Spec, after: int) -> int:
        for op, before in reversed(list(zip(self.steps, self._specs(spec), strict=True))):
            after = asked(op.enters, before, after)
        return up(after, self.multiple(spec))  # nothing is trimmed between the steps

    def multiple(self, spec: Spec) -> int:
        steps = zip(self.steps, self._specs(spec), strict=True)
        scale = spec.grid.scale[0]
        return math.lcm(*(round(s.grid.scale[0] / scale * asked(op.multiple, s)) for op, s in steps))

    def _specs(self, spec: Spec) -> list[Spec]:
        """What stands before each step."""
        return list(itertools.accumulate(self.steps, lambda s, op: asked(op.plan, s), initial=spec))[:-1]


@register("shuffle")
class Shuffle(Container):
    """Operators in a drawn order, each order as likely. None of them may change space or size."""

    steps: tuple[Operator, ...] = Field(description="the operators, in any order")
    ordered: tuple[int, ...] = Field(
        default=(), description="steps that keep this order among themselves, counted from 0"
    )
    order: tuple[int, ...] | None = Field(default=None, description="the order drawn; none before")

    examples = ({"steps": [_EXPOSURE, _BLUR, {"op": "saturate"}]},)

    @model_validator(mode="after")
    def _permutes(self) -> Shuffle:
        if self.order is not None and sorted(self.order) != list(range(len(self.steps))):
            raise RecipeError(f"order must name each of the {len(self.steps)} steps once, got {self.order}")
        if len(set(self.ordered)) != len(self.ordered) or not set(self.ordered) <= set(range(len(self.steps))):
            raise RecipeError(f"ordered must name steps from 0 to {len(self.steps) - 1} once, got {self.ordered}")
        return self

    def members(self) -> tuple[Operator, ...]:
        return self.steps

    def sequence(self) -> tuple[Drawn, ...]:
        if self.order is None:
            raise RecipeError("shuffle: draw it before applying it")
        return tuple(self.steps[i] for i in self.order)

    def plan(self, spec: Spec) -> Spec:
        return self.unchanged(spec)

    def needs(self, spec: Spec, after: int) -> int:
        return up(after + sum(asked(op.needs, spec, 0) for op in self.steps), self.multiple(spec))

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        if self.order is not None:
            return super().draw(key, frame)
        order = self.orders(key.shared)
        if not key.shared.many:
            return cast(Operator, put(self, ["order"], tuple(order.tolist()))).draw(key, frame)
        kinds, which = np.unique(order, axis=0, return_inverse=True)
        parts = ((np.flatnonzero(which.reshape(-1) == k), kind) for k, kind in enumerate(kinds))
        return Split(tuple((r, put(self, ["order"], tuple(kind.tolist())).draw(key[r], frame)) for r, kind in parts))

    def orders(self, key: Key) -> Any:
        """The order drawn at one address, or (n, steps) orders."""
        rank = np.stack([key.at("order", i).word for i in range(len(self.steps))], axis=-1)
        order = np.argsort(rank, axis=-1, kind="stable")
        order[np.isin(order, self.ordered)] = np.resize(
            self.ordered, len(self.ordered) * (order.size // order.shape[-1])
        )
        return order


@register("one_of")
class OneOf(Container):
    """One of several operators, with weights."""

    ops: tuple[Operator, ...] = Field(description="the alternatives", min_length=1)
    weights: tuple[float, ...] | None = Field(default=None, description="relative probabilities; equal by default")
    pick: int | None = Field(default=None, description="index of the alternative drawn; none before")

    examples = ({"ops": [_BLUR, _EXPOSURE, _NOISE], "weights": [1, 2, 1]},)

    @model_validator(mode="after")
    def _weighs(self) -> OneOf:
        w = self.weights
        if w is not None and (len(w) != len(self.ops) or min(w) < 0 or not sum(w) > 0):
            raise RecipeError(f"weights must be {len(self.ops)} numbers, none negative and not all 0, got {w}")
        return self

    def members(self) -> tuple[Operator, ...]:
        return self.ops

    def sequence(self) -> tuple[Drawn, ...]:
        if self.pick is None:
            raise RecipeError("one_of: draw it before applying it")
        return (self.ops[self.pick],)

    def plan(self, spec: Spec) -> Spec:
        after = joined([asked(op.plan, spec) for op in self.ops])
        if after is None:
            raise RecipeError("one_of: the alternatives must agree in space, size and grid")
        return after

    def needs(self, spec: Spec, after: int) -> int:
        return up(max(asked(op.needs, spec, after) for op in self.ops), self.multiple(spec))

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        if self.pick is None:
            pick = self.picks(key.shared)
            if key.shared.many:
                rows = [np.flatnonzero(pick == k) for k in range(len(self.ops))]
                return Split(tuple((r, self._picked(k).draw(key[r], frame)) for k, r in enumerate(rows) if len(r)))
            return self._picked(int(pick)).draw(key, frame)
        chosen = asked(self.ops[self.pick].draw, key.at("ops", self.pick), None)
        return cast(Drawn, put(self, ["ops", self.pick], chosen))

    def picks(self, key: Key) -> Any:
        """Which alternative is drawn at one address, or at n."""
        weights = np.cumsum(self.weights or (1.0,) * len(self.ops))
        return np.searchsorted(weights / weights[-1], key.at("pick").unit(), side="right")

    def _picked(self, k: int) -> OneOf:
        return cast(OneOf, put(self, ["pick"], k))


@register("maybe")
class Maybe(Container):
    """An operator that happens with probability ``p``. It must keep space and size."""

    do: Operator = Field(description="the operator")
    p: float = Field(description="its probability", ge=0, le=1)
    taken: bool | None = Field(default=None, description="whether it was drawn to happen; none before")

    examples = ({"p": 0.5, "do": _BLUR}, {"p": 0.4, "do": _NOISE})

    def members(self) -> tuple[Operator, ...]:
        return (self.do,)

    def sequence(self) -> tuple[Drawn, ...]:
        if self.taken is None:
            raise RecipeError("maybe: draw it before applying it")
        return (self.do,) if self.taken else ()

    def plan(self, spec: Spec) -> Spec:
        return self.unchanged(spec)

    def needs(self, spec: Spec, after: int) -> int:
        return asked(self.do.needs, spec, after)

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        if self.taken is None:
            taken = self.happens(key.shared)
            if key.shared.many:
                rows = [(np.flatnonzero(taken == t), t) for t in (False, True)]
                return Split(tuple((r, self._decided(t).draw(key[r], frame)) for r, t in rows if len(r)))
            return self._decided(bool(taken)).draw(key, frame)
        if not self.taken:
            return self
        return cast(Drawn, put(self, ["do"], asked(self.do.draw, key.at("do"), None)))

    def happens(self, key: Key) -> Any:
        """Whether it is drawn to happen at one address, or at n."""
        return key.at("taken").unit() < self.p

    def _decided(self, taken: bool) -> Maybe:
        return cast(Maybe, put(self, ["taken"], taken))

"""Operator: one thing that happens to a picture: ``plan`` and ``needs`` before, ``draw`` by address, ``apply``.

- ``plan(spec)`` tells space, size and grid after it, ``needs(spec, after)`` what margin it asks for; both are read on
  the undrawn operator, so a recipe is checked, and its arrays made, before any photo is opened.
- ``draw(key, frame)`` gives the same operator with nothing left to choose; its JSON is the record. With a Key of n
  addresses it gives the stacked operator, whose fields are arrays.
- ``apply(frame)`` is a pure function of the frame and the fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar, Literal, ParamSpec, Self, TypeVar, cast

import numpy as np
import torch
from pydantic import BaseModel, Field, model_serializer, model_validator
from torch import Tensor

from degrade.core import registry
from degrade.core.errors import RecipeError, nearest, noting
from degrade.core.explain import in_one_sentence
from degrade.core.frame import Frame, Sensor, Space
from degrade.core.group import Group, Slots, agreeing, among, merge, parts
from degrade.core.key import Key, Keys
from degrade.core.param import Model, column
from degrade.core.prior import Choice, Prior, as_data
from degrade.core.spec import Spec, up
from degrade.core.tree import leaves, mapped, put, rebuilt


class Operator(Model):
    """Base of all operators. A subclass states its fields, ``accepts`` and ``apply``, and is registered by name."""

    named: ClassVar[dict[str, type[Operator]]] = registry.NAMED
    op: ClassVar[str] = ""
    version: ClassVar[int] = 1  #: raised whenever the same fields give other pixels; a replay refuses another one
    accepts: ClassVar[frozenset[Space]] = frozenset(Space)
    notes: ClassVar[tuple[str, ...]] = ()  #: names of the numbers a row that ``apply`` leaves in ``frame.notes``
    photosites: ClassVar[bool] = False  #: works on the simulated sensor's own pixels: behind the crop, and no finer
    joint: ClassVar[bool] = False  #: works on frames of several sizes at once: found by itself, see `together`
    uniform: ClassVar[frozenset[str]] = frozenset()  #: fields in which rows must agree to share one tensor call
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()  #: fields as a recipe writes them, undrawn: what tests try

    per: Literal["patch", "photo"] = Field(
        default="patch", description="drawn anew for each patch, or once for each photo"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.__dict__.keys() & {"apply", "together"}:
            cls.joint = "together" in cls.__dict__

    # -- before any photo ---------------------------------------------------------------------------------------------

    def plan(self, spec: Spec) -> Spec:
        """The spec after this operator.

        Raises:
            RecipeError: if the operator cannot follow what stands before it.
        """
        self.check_space(spec)
        return replace(spec, digital=False)

    def needs(self, spec: Spec, after: int) -> int:
        """Input margin [pixels] that leaves ``after`` valid pixels around the output.

        What looks beyond a pixel says so here: ``return self.margin_of(spec, after, pixels=3)``.
        """
        return self.margin_of(spec, after)

    def margin_of(self, spec: Spec, after: int, pixels: float = 0) -> int:
        """The same of what looks some ``pixels`` of its input, counted on the sensor's own grid, beyond each."""
        far = math.ceil(after * self.ratio(spec)) + math.ceil(pixels * spec.oversample)
        return up(far, self.multiple(spec))

    # what follows from the two

    def enters(self, spec: Spec, after: int) -> int:
        """What it `needs`, or nothing where a patch is a picture of its own."""
        return 0 if spec.whole else self.needs(spec, after)

    def ratio(self, spec: Spec) -> float:
        """Input pixels an output pixel."""
        return self.plan(spec).grid.scale[0] / spec.grid.scale[0]

    def multiple(self, spec: Spec) -> int:
        """What its input margin is a multiple of: input pixels that are a whole number of output pixels."""
        return 1 if spec.whole else Fraction(self.ratio(spec)).limit_denominator(4096).numerator

    def kernel(self, sensor: Sensor, field: Tensor | None = None) -> Tensor | None:
        """The (drawn) operator's point spread function, (b or 1, c, k, k), where it has one: for looking at.

        Args:
            sensor: the camera of each of b rows.
            field: (b, 2) their places (y, x) [half diagonals]; unknown by default.
        """
        return None

    def noted(self) -> tuple[str, ...]:
        """Names of the numbers a row that it records while it is applied."""
        return self.notes

    def camera(self, sensor: Sensor) -> Sensor:
        """The row's camera as this (drawn) operator sets it; a row has one camera in all its planes."""
        return sensor

    def suits(self, sensor: Sensor) -> None:
        """Raises RecipeError where it can be told before any photo that it cannot work with this camera (one row)."""

    def check_space(self, spec: Spec) -> None:
        """Raises RecipeError unless the operator accepts the space, and the fineness, it stands in."""
        if spec.space not in self.accepts:
            allowed = " or ".join(sorted(s.value.upper() for s in self.accepts))
            raise RecipeError(
                f"{self.op} works on {allowed}, but stands where the picture is {spec.space.value.upper()}"
            )
        if self.photosites and spec.size is None:
            raise RecipeError(f"{self.op} stands behind the crop, where the simulated sensor begins")
        if self.photosites and spec.oversample > 1:
            raise RecipeError(
                f"{self.op} works on the sensor's own pixels, which the crop made {spec.oversample} times finer: "
                f"put a downsample with factor: {spec.oversample} before it"
            )

    # -- choosing -----------------------------------------------------------------------------------------------------

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Drawn:
        """The same operator with nothing left to choose: a record at one address, a stack at n.

        Args:
            key: the address of this operator in one patch, or in n; `Keys` where it is drawn once a photo.
            frame: what enters it, for operators that must look at the picture.
        """
        return stack(self, key) if key.many else settle(self, key)

    # -- applying -----------------------------------------------------------------------------------------------------

    def column(self, name: str, frame: Frame) -> Tensor:
        """A drawn field as a tensor that multiplies ``frame.data``, (b, c, h, w): one number, or one for each row.

        Args:
            name: the field's.
            frame: what it multiplies; tells dtype and device.

        Raises:
            AttributeError: if there is no such field; names the nearest. A bug, as is ``self.strenght``.
            RecipeError: if the field is not drawn yet.

        >>> from degrade import Sensor
        >>> from degrade.operators.light import Exposure
        >>> frame = Frame(torch.ones(2, 3, 4, 4), Space.LINEAR, Sensor.make(2))
        >>> Exposure.model_construct(stops=np.array([1.0, 2.0])).column("stops", frame).shape
        torch.Size([2, 1, 1, 1])
        """
        if name not in type(self).model_fields:
            raise AttributeError(f"{self.op} has no field {name!r}: {nearest(name, type(self).model_fields)}")
        return column(getattr(self, name), frame.data)

    def apply(self, frame: Frame) -> Frame:
        """The picture after this operator. No randomness, no state, the same maths on every device."""
        raise NotImplementedError(f"{type(self).__name__} has no `apply`")

    def take(self, slots: Slots) -> Self:
        """The stack of some of its slots; a record stays what it is."""
        return cast(
            Self,
            mapped(
                self, lambda v: v[slots] if isinstance(v, np.ndarray) else v.take(slots) if isinstance(v, Split) else v
            ),
        )

    def over(self, groups: Sequence[Group], slots: Slots) -> list[Group]:
        """Applies it to groups of a block's rows; what agrees is joined.

        Args:
            groups: rows of the block.
            slots: slot in this stack of each slot of the block.

        Raises:
            TypeError: if ``apply`` gives anything but a frame: a bug.
        """
        alike = [getattr(self, n) for n in sorted(self.uniform)]
        each = [part for group in groups for part in agreeing(group, slots[group.slots], alike)]
        if not each:
            return []
        op, frames = self.take(np.concatenate([at for _, at in each])), [g.frame for g, _ in each]
        done = op.together(frames) if op.joint else Operator.together(op, frames)
        for frame in cast("list[Any]", done):
            if not isinstance(frame, Frame):
                raise TypeError(f"`apply` gave {type(frame).__name__}, not a Frame: `return frame.with_data(data)`")
        return merge([Group(g.slots, frame) for (g, _), frame in zip(each, done, strict=True)])

    def together(self, frames: Sequence[Frame]) -> list[Frame]:
        """Frames of whatever sizes, which hold the rows of this stack one after the other, each as by `apply`.

        A class that can do better than one by one states it beside its `apply`; one that states `apply` alone, though
        made of such a class, is applied one by one.
        """
        if len(frames) == 1:
            return [self.apply(frames[0])]
        ends = np.cumsum([len(f) for f in frames])
        return [self.take(np.arange(end - len(f), end)).apply(f) for f, end in zip(frames, ends, strict=True)]

    # -- reading and writing ------------------------------------------------------------------------------------------

    @model_validator(mode="wrap")
    @classmethod
    def _by_name(cls, value: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(value, Operator):
            return handler(value)
        if not isinstance(value, dict):
            raise RecipeError(f"an operator is a mapping with `op:`, got {value!r}")
        given = cast(dict[str, Any], value)
        if "op" not in given:
            if cls.op:
                return handler(given)
            raise RecipeError(f"an operator is a mapping with `op:`, got {given!r}")
        kind = registry.operator(str(given["op"]))
        if not issubclass(kind, cls):
            raise RecipeError(f"{kind.op} is not a {cls.op or cls.__name__}")
        with noting(f"operator {kind.op!r} ({kind.__module__}.{kind.__qualname__}), as it is read", ValueError):
            return kind.model_validate({k: v for k, v in given.items() if k != "op"})

    @model_serializer
    def _record(self) -> dict[str, Any]:
        if stacked(self):
            raise TypeError("a stack of operators has no record; draw at one address for that")
        return {"op": self.op, **{n: as_data(v) for n, v in self.__dict__.items()}}

    def __eq__(self, other: object) -> bool:
        if stacked(self) or (isinstance(other, Operator) and stacked(other)):
            raise TypeError("stacks of operators are not compared; draw at one address for that")
        return super().__eq__(other)

    def __hash__(self) -> int:
        if stacked(self):
            raise TypeError("a stack of operators is not hashed")
        return hash((type(self), tuple(self.__dict__.items())))


@dataclass(frozen=True)
class Split:
    """A stack whose rows chose different structures: ``parts`` of (sorted slots, drawn operator)."""

    parts: tuple[tuple[Slots, Drawn], ...]

    def over(self, groups: Sequence[Group], slots: Slots) -> list[Group]:
        """Applies each part to its rows of the groups."""
        part, inner = np.full_like(slots, -1), np.zeros_like(slots)
        for k, (own, _) in enumerate(self.parts):
            here = among(slots, own)
            part[here], inner[here] = k, np.searchsorted(own, slots[here])
        mine: list[list[Group]] = [[] for _ in self.parts]
        for group in groups:
            which = part[group.slots]
            for k in sorted(set(which.tolist())):
                mine[k] += parts(group, np.flatnonzero(which == k))
        done = (op.over(some, inner) for (_, op), some in zip(self.parts, mine, strict=True) if some)
        return merge([group for some in done for group in some])

    def take(self, slots: Slots) -> Split:
        """The stack of some of its slots."""
        here = ((among(slots, own), own, op) for own, op in self.parts)
        return Split(tuple((at, op.take(np.searchsorted(own, slots[at]))) for at, own, op in here if len(at)))

    def camera(self, sensor: Sensor) -> Sensor:
        """The rows' cameras as their own parts set them."""
        changed = sensor
        for slots, op in self.parts:
            at = torch.from_numpy(slots)
            before = changed.rows(at)
            part = op.camera(before)
            if part is not before:
                whole = {x.name: (getattr(changed, x.name), getattr(part, x.name)) for x in fields(Sensor)}
                changed = Sensor(**{n: t.index_copy(0, at.to(t.device), new) for n, (t, new) in whole.items()})
        return changed


Drawn = Operator | Split
_P = ParamSpec("_P")
_T = TypeVar("_T")


# -- drawing ----------------------------------------------------------------------------------------------------------


def stacked(value: Any) -> bool:
    """Whether any field holds an array, one value for each of n rows."""
    return any(isinstance(v, np.ndarray | Split) for _, v in leaves(value))


def _step_of(op: Drawn) -> str:
    """What a bug in an operator inside another is noted with: its class, or those that rows chose between."""
    if isinstance(op, Split):
        return " or ".join(dict.fromkeys(_step_of(part) for _, part in op.parts))
    return f"step {op.op} ({type(op).__module__}.{type(op).__qualname__})"


def asked(method: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
    """What a method of an operator inside another gives; a bug in it is noted with the operator."""
    with noting(partial(_step_of, cast(Any, method).__self__)):
        return method(*given, **named)


def fill(value: Any, key: Key | Keys) -> Any:
    """``value`` with its priors drawn at ``key``, seeds at each patch's own."""
    if isinstance(value, Prior):
        drawn = value.draw(key.own if value.own else key.shared)
        return fill(drawn, key) if isinstance(drawn, BaseModel | tuple) else drawn
    if isinstance(value, Operator):
        return asked(value.draw, key)
    if isinstance(value, BaseModel):
        return rebuilt(value, {n: fill(v, key.at(n)) for n, v in value.__dict__.items()})
    if isinstance(value, tuple):
        return tuple(fill(v, key.at(i)) for i, v in enumerate(cast("tuple[Any, ...]", value)))
    return value


def settle(op: Operator, key: Key | Keys) -> Operator:
    """The validated record of ``op`` at one address."""
    fields = {n: fill(v, key.at(n)) for n, v in op.__dict__.items()}
    with in_one_sentence(where=f"{op.op}, as drawn: "):
        return type(op).model_validate(fields)


def stack(op: Operator, keys: Key | Keys) -> Drawn:
    """The stacked operator at n addresses, split only where rows choose different structures."""
    found = next(((p, v) for p, v in leaves(op) if isinstance(v, Choice) and not v.numeric), None)
    if found is None:
        return rebuilt(op, {n: fill(v, keys.at(n)) for n, v in op.__dict__.items()})
    path, choice = found
    pick = choice.index(keys.shared.at(*path))
    if not keys.shared.many:
        return cast(Operator, put(op, path, choice.values[int(pick)])).draw(keys)
    parts = ((np.flatnonzero(pick == k), value) for k, value in enumerate(choice.values))
    return Split(tuple((r, cast(Operator, put(op, path, v)).take(r).draw(keys[r])) for r, v in parts if len(r)))

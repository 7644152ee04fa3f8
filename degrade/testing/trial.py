"""How an operator is tried: the frames it can stand behind, its draws one by one and together, what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np
import torch

from degrade.core import registry
from degrade.core.errors import RecipeError
from degrade.core.explain import in_one_sentence
from degrade.core.frame import Frame, Space
from degrade.core.group import Group, subset
from degrade.core.key import Key, Keys
from degrade.core.operator import Drawn, Operator, Split
from degrade.core.patches import Patches
from degrade.core.spec import Spec
from degrade.testing import frames

ADDRESS: Final = Key(11).at("IMG_0001.DNG")
SIZE: Final = (12, 24)  #: of the patches tried on, without their margin [pixels]
MARGIN: Final = 12  #: of the frames tried on [pixels], a multiple of what most examples ask for


def example(given: Mapping[str, Any]) -> Operator:
    """The operator of an example as a recipe would read it.

    Raises:
        RecipeError: if it is none.
    """
    kind = registry.operator(given["op"])
    with in_one_sentence(lambda _: kind.model_fields, where=f"an example of {kind.op}: "):
        return Operator.model_validate(dict(given))


def spec_of(op: Operator, space: Space) -> Spec:
    """What a plan knows of a frame that `op` stands behind: nothing of a photo's size, a patch without its margin."""
    return Spec(space, space.channels, None if isinstance(op, Patches) else SIZE)


def spaces(op: Operator) -> list[Space]:
    """Where an operator can stand, as it says itself."""
    found: list[Space] = []
    for space in Space:
        try:
            op.plan(spec_of(op, space))
        except RecipeError:
            continue
        found.append(space)
    assert found, f"{op.op}: no space of {sorted(Space)} can be planned"
    return found


def frame_for(op: Operator, space: Space, b: int = 1) -> Frame:
    """A frame it can stand behind: whole photos before a crop, patches with a margin elsewhere."""
    if isinstance(op, Patches):
        whole = frames.frame(space, b, (90, 110), margin=0)
        return replace(whole, aux={"clipped": torch.zeros_like(whole.data[:, :1])})
    margin = margin_for(op, space)
    return frames.frame(space, b, (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin), margin)


def margin_for(op: Operator, space: Space) -> int:
    """Margin of the frames it is tried on [pixels]."""
    spec = spec_of(op, space)
    if op.plan(spec).whole:
        return 0
    return MARGIN if op.needs(spec, 0) <= MARGIN and MARGIN % op.multiple(spec) == 0 else 4 * MARGIN


def one(op: Operator, j: int, frame: Frame) -> Operator:
    """The record of patch j, drawn as a photo's rendering draws it."""
    if isinstance(op, Patches):
        return row(many(op, op.per_photo, frame), j)
    return cast(Operator, _drawn(op, ADDRESS.at(j), frame))


def many(op: Operator, n: int, frame: Frame) -> Drawn:
    """The records of patches 0 .. n - 1 at once; a crop places all patches of a photo together."""
    if isinstance(op, Patches):
        return _drawn(op, ADDRESS.at(np.arange(op.per_photo)), frame).take(np.arange(n))
    return _drawn(op, ADDRESS.at(np.arange(n)), frame)


def _drawn(op: Operator, patches: Key, frame: Frame) -> Drawn:
    if op.per == "photo":
        return op.draw(Keys(ADDRESS, patches).at("it"), frame)
    return op.draw(patches.at("it"), frame)


def row(drawn: Drawn, j: int) -> Operator:
    """One row of a stack as a record."""
    if isinstance(drawn, Split):
        return next(row(op, int(np.searchsorted(rows, j))) for rows, op in drawn.parts if j in rows)
    return cast(Operator, _row(drawn, j))


def _row(value: Any, j: int) -> Any:
    if isinstance(value, Split):
        return row(value, j)
    if isinstance(value, np.ndarray):
        return value[j].item()
    if isinstance(value, tuple):
        return tuple(_row(v, j) for v in value)
    if hasattr(value, "model_construct"):
        return value.model_construct(**{n: _row(v, j) for n, v in value.__dict__.items()})
    return value


def groups(drawn: Drawn, frame: Frame) -> list[Group]:
    """A drawn operator on all rows of a frame, those that end in one size together."""
    if isinstance(drawn, Patches):
        return [Group(np.arange(len(drawn.top)), drawn.apply(frame))]
    slots = np.arange(len(frame))
    done = drawn.over([Group(slots, frame)], slots)
    sizes = {g.frame.size for g in done}
    assert len(done) == len(sizes), f"rows of {len(sizes)} sizes end in {len(done)} groups"
    return done


def apply(drawn: Drawn, frame: Frame) -> Frame:
    """The same of rows that must stay in one size."""
    (done,) = groups(drawn, frame)
    return done.frame


def rows_of(frame: Frame, at: list[int]) -> Frame:
    """Some rows of a frame."""
    return subset(Group(np.arange(len(frame)), frame), np.array(at)).frame


def same(a: Operator, b: Operator) -> bool:
    """Whether two drawn operators hold the same, whatever they were made by."""
    return type(a) is type(b) and json.dumps(a.model_dump()) == json.dumps(b.model_dump())

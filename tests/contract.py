"""What every operator promises. An operator passes by being registered; another package's runs the same suite:

    from tests.contract import check
    check({"op": "fog", "beta": {"uniform": [0.1, 0.2]}}, spaces=[Space.LINEAR])

Each promise is one function of an example: an undrawn operator with priors, as a recipe would write it."""

from __future__ import annotations

import functools
import json
import pickle
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import cloudpickle
import numpy as np
import torch
from torch import Tensor

import degrade
from degrade import Frame, Key, Operator, Patches, RecipeError, Space, Spec
from degrade.core.group import Group, subset
from degrade.core.key import Keys
from degrade.core.operator import Drawn, Split
from degrade.core.prior import Prior, Seed
from degrade.core.registry import load_operators
from degrade.core.tree import leaves
from degrade.operators import optics
from tests import strategies
from tests.flats import Flats

ADDRESS = Key(11).at("IMG_0001.DNG")
SIZE = (12, 24)  #: of the patches tried on, without their margin [pixels]
MARGIN = 12  #: of the frames tried on [pixels], a multiple of what most examples ask for


def example(given: dict[str, Any]) -> Operator:
    """The operator of an example as a recipe would read it."""
    return Operator.model_validate(given)


def examples() -> list[dict[str, Any]]:
    """Examples of all registered operators.

    Raises:
        AssertionError: naming a registered operator that has none.
    """
    named = load_operators()
    ours = {n for n, kind in named.items() if kind.__module__.startswith("degrade.")}
    bare = sorted(ours - strategies.EXAMPLES.keys())
    assert not bare, f"operators without an example in tests/strategies.py, so that nothing tests them: {bare}"
    return [given for name in sorted(ours) for given in strategies.EXAMPLES[name]]


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
        whole = strategies.frame(space, b, (90, 110), margin=0)
        return replace(whole, aux={"clipped": torch.zeros_like(whole.data[:, :1])})
    margin = margin_for(op, space)
    return strategies.frame(space, b, (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin), margin)


def margin_for(op: Operator, space: Space) -> int:
    """Margin of the frames it is tried on [pixels]."""
    spec = spec_of(op, space)
    if op.plan(spec).whole:
        return 0
    return MARGIN if op.needs(spec, 0) <= MARGIN and MARGIN % op.multiple(spec) == 0 else 4 * MARGIN


def one(op: Operator, j: int, frame: Frame) -> Operator:
    """The record of patch j, drawn as a photo's rendering draws it."""
    if isinstance(op, Patches):
        return row(stack(op, op.per_photo, frame), j)
    return cast(Operator, _drawn(op, ADDRESS.at(j), frame))


def stack(op: Operator, n: int, frame: Frame) -> Drawn:
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


# -- promises ---------------------------------------------------------------------------------------------------------


def survives_json(given: dict[str, Any], space: Space) -> None:
    """Undrawn and drawn, an operator is what its JSON says."""
    op = example(given)
    frame = frame_for(op, space)
    for value in (op, one(op, 0, frame)):
        back = Operator.model_validate(json.loads(json.dumps(value.model_dump())))
        assert back == value
        assert same(back, value)
        assert hash(back) == hash(value)


def survives_repr(given: dict[str, Any], space: Space) -> None:
    """Its repr is an expression that gives it again."""
    op = example(given)
    names = {k.__name__: k for k in (*load_operators().values(), *Prior.named.values())} | vars(degrade)
    for value in (op, one(op, 0, frame_for(op, space))):
        assert eval(repr(value), {**vars(optics), **vars(sys.modules[type(value).__module__]), **names}) == value


def survives_pickle(given: dict[str, Any], space: Space) -> None:
    """It travels to a worker."""
    op = example(given)
    for value in (op, one(op, 0, frame_for(op, space))):
        for library in (pickle, cloudpickle):
            assert library.loads(library.dumps(value)) == value


def leaves_nothing_to_choose(given: dict[str, Any], space: Space) -> None:
    """Drawn again at another address, a record stays what it is."""
    op = example(given)
    frame = frame_for(op, space)
    record = one(op, 0, frame)
    again = cast(Operator, record.draw(Key(99).at("elsewhere"), frame))
    assert same(again, record)
    moved = one(op, 0, replace(frame, data=frame.data + 0.1))
    assert same(moved, record) or isinstance(op, Patches)


def draws_many_as_one(given: dict[str, Any], space: Space) -> None:
    """n addresses give what each gives alone: fields exactly, pixels within 1e-6 before quantising."""
    op = example(given)
    frame = frame_for(op, space, 1 if isinstance(op, Patches) else 5)
    many = stack(op, 5, frame)
    for j in range(5):
        assert same(row(many, j), one(op, j, frame)), f"row {j}"
    rows = {int(r): rows_of(g.frame, [k]) for g in groups(many, frame) for k, r in enumerate(g.slots)}
    for j, together in sorted(rows.items()):
        alone = one(op, j, frame).apply(frame if isinstance(op, Patches) else rows_of(frame, [j]))
        error = (together.data - alone.data).abs()
        if op.plan(spec_of(op, space)).digital:
            assert (error > 1e-6).double().mean() < 1e-4
        else:
            assert error.max() <= 1e-6, f"row {j} differs by {error.max():.1e}"
        assert torch.equal(together.origin, alone.origin)


def keeps_a_photos_draws(given: dict[str, Any], space: Space) -> None:
    """`per: photo` draws once a photo, but seeds stay each patch's own."""
    op = example({**given, "per": "photo"})
    if isinstance(op, Patches):
        return
    frame = frame_for(op, space, 4)
    records = [one(op, j, frame).model_dump() for j in range(4)]
    seeds = [path for path, v in leaves(op) if isinstance(v, Seed)]
    if seeds and not isinstance(op, (degrade.OneOf, degrade.Maybe)):
        assert len({json.dumps(r) for r in records}) == 4
    for r in records:
        _forget(r, seeds)
    assert all(r == records[0] for r in records)


def tells_the_truth_in_its_plan(given: dict[str, Any], space: Space) -> None:
    """Space, channels, size and grid after it are those planned."""
    op = example(given)
    frame, after = frame_for(op, space), op.plan(spec_of(op, space))
    done = one(op, 0, frame).apply(frame)
    assert (done.space, done.data.shape[1]) == (after.space, after.channels)
    margin = -round(done.grid.offset[0] / done.grid.scale[0])
    if not after.varying:
        assert after.size == tuple(n - 2 * margin for n in done.size)
        assert done.grid.scale == after.grid.scale
        assert done.trim(margin).grid == after.grid
    assert all(v.shape[-2:] == done.data.shape[-2:] for v in done.aux.values())
    if done.noise is not None:
        assert done.noise.shape == (len(done), 2, after.channels)


def looks_no_further_than_it_says(given: dict[str, Any], space: Space) -> None:
    """Pixels beyond its stated margin change nothing inside; those within a blur's do."""
    op = example(given)
    if isinstance(op, Patches):
        return
    frame, spec = frame_for(op, space), spec_of(op, space)
    margin, need = margin_for(op, space), op.needs(spec, 0)
    assert need % op.multiple(spec) == 0
    assert need <= margin, f"{op.op}: the frames tried on have too small a margin"
    noisy, k = frame.data.clone(), margin - need
    inner = torch.zeros_like(noisy, dtype=torch.bool)
    inner[..., k : noisy.shape[2] - k, k : noisy.shape[3] - k] = True
    noisy[~inner] += 5.0
    centre = margin / op.ratio(spec)
    assert centre % 1 == 0
    for j in range(4):
        drawn = one(op, j, frame)
        clean, disturbed = (drawn.apply(frame.changed(data=d)).trim(int(centre)).data for d in (frame.data, noisy))
        torch.testing.assert_close(disturbed, clean, atol=3e-6, rtol=0)


def sees_a_place_not_a_margin(given: dict[str, Any], space: Space) -> None:
    """With a larger margin around it, the patch comes out the same: noise, colour filters and all."""
    op = example(given)
    if isinstance(op, Patches):
        return
    frame, spec = frame_for(op, space), spec_of(op, space)
    margin, need, drawn = margin_for(op, space), op.needs(spec, 0), one(op, 0, frame)
    wide, tight = drawn.apply(frame), drawn.apply(frame.trim(margin - need))
    inner = tight.trim(round(need / op.ratio(spec)))
    torch.testing.assert_close(wide.trim(round(margin / op.ratio(spec))).data, inner.data, atol=3e-6, rtol=0)


def tells_the_truth_about_noise(given: dict[str, Any], space: Space) -> None:
    """The noise that it states is there, to 1%; what states nothing passes, as does a crop, which only cuts."""
    op = example({**given, "per": "photo"})  # drawn once for all pictures, but for their seeds
    if isinstance(op, Patches) or one(op, 0, small := frame_for(op, space)).apply(small).noise is None:
        return
    spec = spec_of(op, space)
    flats = Flats(space, SIZE, margin_for(op, space) or MARGIN, op.multiple(spec), op.plan(spec).whole)
    wrong = flats.misstated(lambda frame: apply(stack(op, len(frame), frame), frame))
    assert not wrong, f"{op.op} on {space.value}: {wrong}"


def is_pure(given: dict[str, Any], space: Space) -> None:
    """The same input gives the same bits, and stays as it was."""
    op = example(given)
    frame = frame_for(op, space, 1 if isinstance(op, Patches) else 3)
    before = frame.map(Tensor.clone)
    many = stack(op, 3, frame)
    for first, second in zip(groups(many, frame), groups(many, frame), strict=True):
        assert torch.equal(first.frame.data, second.frame.data)
    for a, b in zip(_tensors(frame), _tensors(before), strict=True):
        assert torch.equal(a.nan_to_num(-7), b.nan_to_num(-7))


def gives_plain_tensors(given: dict[str, Any], space: Space) -> None:
    """float32, contiguous, finite, as many rows as came; one row and three of mixed cameras alike."""
    op = example(given)
    for b in (1, 3):
        frame = frame_for(op, space, 1 if isinstance(op, Patches) else b)
        done = one(op, 0, frame).apply(frame)
        assert done.data.dtype == torch.float32
        assert done.data.is_contiguous()
        assert done.data.isfinite().all()
        assert len(done) == len(done.sensor) == len(done.origin) == len(frame)


PROMISES = (
    survives_json,
    survives_repr,
    survives_pickle,
    leaves_nothing_to_choose,
    draws_many_as_one,
    keeps_a_photos_draws,
    tells_the_truth_in_its_plan,
    looks_no_further_than_it_says,
    sees_a_place_not_a_margin,
    tells_the_truth_about_noise,
    is_pure,
    gives_plain_tensors,
)


def check(given: dict[str, Any], spaces: Iterable[Space] | None = None) -> None:
    """All promises, for one example of anybody's operator."""
    for space in globals()["spaces"](example(given)) if spaces is None else spaces:
        for promise in PROMISES:
            promise(given, space)


def _forget(record: Any, paths: list[tuple[Any, ...]]) -> None:
    for *stem, last in paths:
        functools.reduce(lambda r, part: r[part], stem, record)[last] = None


def _tensors(frame: Frame) -> list[Tensor]:
    found: list[Tensor] = []
    frame.map(lambda t: found.append(t) or t)
    return found

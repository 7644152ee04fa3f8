"""What every operator promises, each promise a function of an example: fields with priors, as a recipe writes them."""

from __future__ import annotations

import functools
import json
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import cloudpickle
import torch
from pydantic import BaseModel
from torch import Tensor

from degrade.core.compose import Maybe, OneOf
from degrade.core.frame import Frame, Space
from degrade.core.key import Key
from degrade.core.operator import Operator
from degrade.core.patches import Patches
from degrade.core.prior import Prior, Seed
from degrade.core.tree import leaves
from degrade.testing.trial import example, frame_for, groups, many, margin_for, one, row, rows_of, same, spec_of
from degrade.testing.variance import tells_the_truth_about_noise


def survives_json(given: Mapping[str, Any], space: Space) -> None:
    """Undrawn and drawn, an operator is what its JSON says."""
    op = example(given)
    frame = frame_for(op, space)
    for value in (op, one(op, 0, frame)):
        back = Operator.model_validate(json.loads(json.dumps(value.model_dump())))
        assert back == value
        assert same(back, value)
        assert hash(back) == hash(value)


def survives_repr(given: Mapping[str, Any], space: Space) -> None:
    """Its repr is an expression that gives it again."""
    op = example(given)
    for value in (op, one(op, 0, frame_for(op, space))):
        names = {kind.__name__: kind for kind in _kinds(value)}
        assert eval(repr(value), {**vars(sys.modules[type(value).__module__]), **names}) == value


def survives_pickle(given: Mapping[str, Any], space: Space) -> None:
    """It travels to a worker."""
    op = example(given)
    for value in (op, one(op, 0, frame_for(op, space))):
        for library in (pickle, cloudpickle):
            assert library.loads(library.dumps(value)) == value


def leaves_nothing_to_choose(given: Mapping[str, Any], space: Space) -> None:
    """Drawn again at another address, a record stays what it is."""
    op = example(given)
    frame = frame_for(op, space)
    record = one(op, 0, frame)
    again = cast(Operator, record.draw(Key(99).at("elsewhere"), frame))
    assert same(again, record)
    moved = one(op, 0, replace(frame, data=frame.data + 0.1))
    assert same(moved, record) or isinstance(op, Patches)


def draws_many_as_one(given: Mapping[str, Any], space: Space) -> None:
    """n addresses give what each gives alone: fields exactly, pixels within 1e-6 before quantising."""
    op = example(given)
    frame = frame_for(op, space, 1 if isinstance(op, Patches) else 5)
    drawn = many(op, 5, frame)
    for j in range(5):
        assert same(row(drawn, j), one(op, j, frame)), f"row {j}"
    rows = {int(r): rows_of(g.frame, [k]) for g in groups(drawn, frame) for k, r in enumerate(g.slots)}
    for j, together in sorted(rows.items()):
        alone = one(op, j, frame).apply(frame if isinstance(op, Patches) else rows_of(frame, [j]))
        error = (together.data - alone.data).abs()
        if op.plan(spec_of(op, space)).digital:
            assert (error > 1e-6).double().mean() < 1e-4
        else:
            assert error.max() <= 1e-6, f"row {j} differs by {error.max():.1e}"
        assert torch.equal(together.origin, alone.origin)


def keeps_a_photos_draws(given: Mapping[str, Any], space: Space) -> None:
    """`per: photo` draws once a photo, but seeds stay each patch's own."""
    op = example({**given, "per": "photo"})
    if isinstance(op, Patches):
        return
    frame = frame_for(op, space, 4)
    records = [one(op, j, frame).model_dump() for j in range(4)]
    seeds = [path for path, v in leaves(op) if isinstance(v, Seed)]
    if seeds and not isinstance(op, (OneOf, Maybe)):
        assert len({json.dumps(r) for r in records}) == 4
    for r in records:
        _forget(r, seeds)
    assert all(r == records[0] for r in records)


def tells_the_truth_in_its_plan(given: Mapping[str, Any], space: Space) -> None:
    """Space, channels, size and grid after it are those planned."""
    op = example(given)
    frame, after = frame_for(op, space), op.plan(spec_of(op, space))
    done = one(op, 0, frame).apply(frame)
    is_, planned = (done.space, done.data.shape[1]), (after.space, after.channels)
    assert is_ == planned, f"space and channels are {is_}, `plan` says {planned}"
    margin = -round(done.grid.offset[0] / done.grid.scale[0])
    if not after.varying:
        size = tuple(n - 2 * margin for n in done.size)
        assert size == after.size, f"its size is {size} within the margin, `plan` says {after.size}"
        grid = done.trim(margin).grid
        assert grid == after.grid, f"its grid is {grid}, `plan` says {after.grid}"
    assert all(v.shape[-2:] == done.data.shape[-2:] for v in done.aux.values())
    if done.noise is not None:
        assert done.noise.shape == (len(done), 2, after.channels)


def looks_no_further_than_it_says(given: Mapping[str, Any], space: Space) -> None:
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
        far = (disturbed - clean).abs().max()
        assert far <= 3e-6, (
            f"pixels change by {far:.1e} with what lies more than {need} pixels away: say how far it looks, "
            "`def needs(self, spec, after): return self.margin_of(spec, after, pixels=...)`"
        )


def sees_a_place_not_a_margin(given: Mapping[str, Any], space: Space) -> None:
    """With a larger margin around it, the patch comes out the same: noise, colour filters and all."""
    op = example(given)
    if isinstance(op, Patches):
        return
    frame, spec = frame_for(op, space), spec_of(op, space)
    margin, need, drawn = margin_for(op, space), op.needs(spec, 0), one(op, 0, frame)
    wide, tight = drawn.apply(frame), drawn.apply(frame.trim(margin - need))
    inner = tight.trim(round(need / op.ratio(spec)))
    torch.testing.assert_close(wide.trim(round(margin / op.ratio(spec))).data, inner.data, atol=3e-6, rtol=0)


def is_pure(given: Mapping[str, Any], space: Space) -> None:
    """The same input gives the same bits, and stays as it was."""
    op = example(given)
    frame = frame_for(op, space, 1 if isinstance(op, Patches) else 3)
    before = frame.map(Tensor.clone)
    drawn = many(op, 3, frame)
    for first, second in zip(groups(drawn, frame), groups(drawn, frame), strict=True):
        assert torch.equal(first.frame.data, second.frame.data), "applied twice, it gives two pictures"
    for a, b in zip(_tensors(frame), _tensors(before), strict=True):
        assert torch.equal(a.nan_to_num(-7), b.nan_to_num(-7)), "it changes the frame that it is given"


def gives_plain_tensors(given: Mapping[str, Any], space: Space) -> None:
    """Its data is float32, contiguous and finite, of as many rows as came; of one camera or of several."""
    op = example(given)
    for b in (1, 3):
        frame = frame_for(op, space, 1 if isinstance(op, Patches) else b)
        done = one(op, 0, frame).apply(frame)
        assert done.data.dtype == torch.float32, f"the data is {done.data.dtype}"
        assert done.data.is_contiguous(), "the data is not contiguous, as a view of other data may be"
        assert done.data.isfinite().all(), "the data is not finite everywhere"
        assert len(done) == len(done.sensor) == len(done.origin) == len(frame)


#: All of them, in the order in which they are held.
PROMISES: Final[tuple[Callable[[Mapping[str, Any], Space], None], ...]] = (
    survives_json,
    survives_repr,
    survives_pickle,
    leaves_nothing_to_choose,
    is_pure,
    draws_many_as_one,
    keeps_a_photos_draws,
    tells_the_truth_in_its_plan,
    looks_no_further_than_it_says,
    sees_a_place_not_a_margin,
    tells_the_truth_about_noise,
    gives_plain_tensors,
)


def _kinds(value: Any) -> Iterator[type]:
    """The classes of all that a value is made of."""
    yield type(value)
    parts = vars(value).values() if isinstance(value, BaseModel | Prior) else value if isinstance(value, tuple) else ()
    for part in cast("Iterable[Any]", parts):
        yield from _kinds(part)


def _forget(record: Any, paths: list[tuple[Any, ...]]) -> None:
    for *stem, last in paths:
        functools.reduce(lambda r, part: r[part], stem, record)[last] = None


def _tensors(frame: Frame) -> list[Tensor]:
    found: list[Tensor] = []
    frame.map(lambda t: found.append(t) or t)
    return found

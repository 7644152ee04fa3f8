"""Groups: rows of a block that share one tensor, because they agree in size and in what happens to them.

A row is one of a photo's, or of a store's, and has a number there. A block, and a stack of drawn operators, hold some
of them: a slot is a row's place in such a one, counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.frame import Frame, Sensor

Rows = NDArray[np.int64]  #: numbers of rows, in their photo or store
Slots = NDArray[np.int64]  #: places of rows in a block, or in a stack
WIDE: Final = 2**17  #: samples of a row from which a CPU copies it longer than it takes to begin a tensor call


@dataclass(frozen=True)
class Group:
    """Some rows of a block, in one tensor."""

    slots: Slots  #: of its rows, in the block
    frame: Frame


def among(slots: Slots, these: Slots) -> NDArray[np.int64]:
    """Where in ``slots`` those are that are among ``these``, which are sorted.

    >>> among(np.array([4, 1, 7]), np.array([1, 7])).tolist()
    [1, 2]
    """
    if not len(these):
        return np.zeros(0, np.int64)
    return np.flatnonzero(these[np.searchsorted(these[:-1], slots)] == slots)


def subset(group: Group, at: NDArray[np.int64]) -> Group:
    """Some rows of a group, by index within it."""
    return group if len(at) == len(group.slots) else Group(group.slots[at], group.frame.rows(at))


def parts(group: Group, at: NDArray[np.int64]) -> list[Group]:
    """The same: together, or each by itself where they are wide, so that none is copied."""
    if len(at) < len(group.slots) and _wide(group.frame):
        return [subset(group, at[i : i + 1]) for i in range(len(at))]
    return [subset(group, at)]


def _wide(frame: Frame) -> bool:
    return frame.data.is_cpu and frame.data.numel() >= WIDE * len(frame)


def merge(groups: Sequence[Group], wide: bool = False) -> list[Group]:
    """Groups that agree in all but their rows, joined in the block's order; those of wide rows only if asked for.

    Noise of the rows together is known where it is known of all.
    """
    if len({g.frame.data.shape[1:] for g in groups}) == len(groups):
        return list(groups)
    alike: dict[Any, list[Group]] = {}
    for g in groups:
        f = g.frame
        key = (
            None if wide or not _wide(f) else int(g.slots[0]),
            f.data.shape[1:],
            f.space,
            f.grid,
            tuple(sorted((k, v.shape[1:]) for k, v in f.aux.items())),
        )
        alike.setdefault(key, []).append(g)
    return [_join(gs) if len(gs) > 1 else gs[0] for gs in alike.values()]


def _join(groups: list[Group]) -> Group:
    slots = np.concatenate([g.slots for g in groups])
    order = np.argsort(slots)
    frames, index = [g.frame for g in groups], torch.from_numpy(order)
    ends = np.cumsum([len(f) for f in frames])

    def cat(pick: Callable[[Frame], Tensor]) -> Tensor:
        parts = [pick(f) for f in frames]
        first = parts[0]
        if first.numel() < WIDE * len(first):
            return torch.cat(parts)[index.to(first.device)]
        whole = first.new_empty(len(slots), *first.shape[1:])  # each is copied once
        for at, part in zip(np.split(np.argsort(order), ends[:-1]), parts, strict=True):
            whole[int(at[0]) if len(at) == 1 else torch.from_numpy(at).to(first.device)] = part
        return whole

    names = sorted({n for f in frames for n in f.notes})
    nothing = torch.full((1,), float("nan"), device=frames[0].data.device)
    first = frames[0]
    joined = first.changed(
        data=cat(lambda f: f.data),
        sensor=Sensor.joined([f.sensor for f in frames]).rows(index),
        origin=cat(lambda f: f.origin),
        field=cat(lambda f: f.field),
        noise=None if any(f.noise is None for f in frames) else cat(lambda f: cast(Tensor, f.noise)),
        correlated=any(f.correlated for f in frames),
        aux={k: cat(lambda f, k=k: f.aux[k]) for k in first.aux},
        reference=first.reference and _join([Group(g.slots, cast(Frame, g.frame.reference)) for g in groups]).frame,
        notes={n: cat(lambda f, n=n: f.notes[n] if n in f.notes else nothing.expand(len(f))) for n in names},
    )
    return Group(slots[order], joined)


def agreeing(group: Group, slots: Slots, fields: list[Any]) -> list[tuple[Group, Slots]]:
    """The group split so that rows of a part agree in a stack's ``fields``, with the slots of each part in the stack.

    Args:
        group: rows of a block.
        slots: of those rows, in the stack.
        fields: of the stack; those that are no arrays are the same in all its rows.
    """
    varying = [f for f in fields if isinstance(f, np.ndarray)]
    if not varying or len(slots) == 1:
        return [(group, slots)]
    _, which = np.unique(np.stack([f[slots] for f in varying]), axis=1, return_inverse=True)
    each = (np.flatnonzero(which == k) for k in range(int(which.max()) + 1))
    return [(subset(group, at), slots[at]) for at in each]

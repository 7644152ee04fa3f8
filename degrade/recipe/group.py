"""Groups: rows of a block that share one tensor, because they agree in size and in what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.recipe.frame import Frame, Sensor

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Some rows of a block, in one tensor: ``rows`` counts within the block."""

    rows: Rows
    frame: Frame


def among(rows: Rows, these: Rows) -> Rows:
    """Places in ``rows`` of those that are among ``these``, which are sorted.

    >>> among(np.array([4, 1, 7]), np.array([1, 7])).tolist()
    [1, 2]
    """
    if not len(these):
        return np.zeros(0, np.int64)
    return np.flatnonzero(these[np.searchsorted(these[:-1], rows)] == rows)


def subset(group: Group, at: Rows) -> Group:
    """Some rows of a group, by place within it."""
    if len(at) == len(group.rows):
        return group
    index = torch.from_numpy(at).to(group.frame.data.device)
    return Group(group.rows[at], group.frame.map(lambda t: t[index]))


def merge(groups: Sequence[Group]) -> list[Group]:
    """Groups that agree in all but their rows, joined in row order."""
    alike: dict[Any, list[Group]] = {}
    for g in groups:
        f = g.frame
        key = (
            f.data.shape[1:],
            f.space,
            f.grid,
            f.noise is None,
            tuple(sorted((k, v.shape[1:]) for k, v in f.aux.items())),
        )
        alike.setdefault(key, []).append(g)
    return [_join(gs) if len(gs) > 1 else gs[0] for gs in alike.values()]


def _join(groups: list[Group]) -> Group:
    rows = np.concatenate([g.rows for g in groups])
    order = np.argsort(rows)
    index = torch.from_numpy(order)
    frames = [g.frame for g in groups]

    def cat(pick: Callable[[Frame], Tensor]) -> Tensor:
        return torch.cat([pick(f) for f in frames])[index]

    names = sorted({n for f in frames for n in f.notes})
    nothing = [torch.full((len(f),), float("nan")) for f in frames]
    first = frames[0]
    joined = replace(
        first,
        data=cat(lambda f: f.data),
        sensor=Sensor(**{n: cat(lambda f, n=n: getattr(f.sensor, n)) for n in first.sensor.__dict__}),
        origin=cat(lambda f: f.origin),
        field=cat(lambda f: f.field),
        noise=None if first.noise is None else cat(lambda f: cast(Tensor, f.noise)),
        aux={k: cat(lambda f, k=k: f.aux[k]) for k in first.aux},
        reference=first.reference and _join([Group(g.rows, cast(Frame, g.frame.reference)) for g in groups]).frame,
        notes={
            n: torch.cat([f.notes.get(n, none) for f, none in zip(frames, nothing, strict=True)])[index] for n in names
        },
    )
    return Group(rows[order], joined)


def agreeing(group: Group, at: Rows, fields: list[Any]) -> list[tuple[Group, Rows]]:
    """The group split so that rows of a part agree in ``fields``."""
    varying = [f for f in fields if isinstance(f, np.ndarray)]
    if not varying:
        return [(group, at)]
    _, which = np.unique(np.stack([f[at] for f in varying]), axis=1, return_inverse=True)
    parts = [np.flatnonzero(which == k) for k in range(int(which.max()) + 1)]
    return [(subset(group, p), at[p]) for p in parts]

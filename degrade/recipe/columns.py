"""Columns: the draws of many rows as named numbers, for people.

They are derived from the addresses alone and never read for rendering. A column is named by the field's path,
``optics.kernels.0.f_number``; a choice among structures becomes an integer code with labels (-1 where it was not
reached), and fields of alternatives that a row did not choose are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from degrade.core.compose import Maybe, OneOf, Shuffle
from degrade.core.key import Keys
from degrade.core.operator import Operator
from degrade.core.prior import Choice, Prior, as_data

Values = NDArray[np.float64]


@dataclass
class Columns:
    """Values a row by column name, and the labels of the columns that hold codes."""

    values: dict[str, Values] = field(default_factory=dict[str, Values])
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def put(self, name: str, values: Any, where: NDArray[np.bool_], labels: tuple[str, ...] | None = None) -> None:
        """Fills the rows ``where`` of a column, which begins as all absent."""
        nothing = np.nan if labels is None else -1.0
        column = self.values.setdefault(name, np.full(len(where), nothing))
        column[where] = np.broadcast_to(values, len(where))[where]
        if labels is not None:
            self.labels[name] = labels

    def collect(self, name: str, op: Operator, keys: Keys) -> None:
        """Adds all that ``op``, called ``name`` in the recipe, draws in n rows.

        Args:
            name: the operator's name in the recipe.
            op: the undrawn operator.
            keys: n addresses that its seeds are drawn at, and n that all else is; the photo's own, n times, where it
                is drawn once a photo.
        """
        self._walk(op, keys.at(name), name, np.ones(len(keys), bool))

    def _walk(self, value: Any, keys: Keys, name: str, where: NDArray[np.bool_]) -> None:
        if isinstance(value, Prior):
            self._prior(value, keys, name, where)
        elif isinstance(value, OneOf) and value.pick is None:
            pick = value.picks(keys.shared)
            self.put(f"{name}.pick", pick, where, tuple(op.op for op in value.ops))
            for k, op in enumerate(value.ops):
                self._walk(op, keys.at("ops", k), f"{name}.ops.{k}", where & (pick == k))
        elif isinstance(value, Maybe) and value.taken is None:
            taken = value.happens(keys.shared)
            self.put(f"{name}.taken", taken, where, ("no", "yes"))
            self._walk(value.do, keys.at("do"), f"{name}.do", where & taken)
        elif isinstance(value, BaseModel):
            if isinstance(value, Shuffle) and value.order is None:
                for i, step in enumerate(value.orders(keys.shared).T):
                    self.put(f"{name}.order.{i}", step, where)
            for n, v in value.__dict__.items():
                self._walk(v, keys.at(n), f"{name}.{n}", where)
        elif isinstance(value, tuple):
            for i, v in enumerate(cast("tuple[Any, ...]", value)):
                self._walk(v, keys.at(i), f"{name}.{i}", where)

    def _prior(self, value: Prior, keys: Keys, name: str, where: NDArray[np.bool_]) -> None:
        if not isinstance(value, Choice) or value.numeric:
            self.put(name, value.draw(keys.own if value.own else keys.shared), where)
            return
        code = value.index(keys.shared)
        self.put(name, code, where, _labels(value.values))
        for k, alternative in enumerate(value.values):
            self._walk(alternative, keys, name, where & (code == k))


def _labels(values: tuple[Any, ...]) -> tuple[str, ...]:
    """What alternatives are called: models by their `op` or `psf`; of equal names the later ones are numbered.

    >>> _labels(("photo", "photo", 3))
    ('photo', 'photo 2', '3')
    """
    names = [_label(v) for v in values]
    counts = [names[: i + 1].count(n) for i, n in enumerate(names)]
    return tuple(n if k == 1 else f"{n} {k}" for n, k in zip(names, counts, strict=True))


def _label(value: Any) -> str:
    written = as_data(value)
    if not isinstance(written, dict):
        return str(written)
    known = cast("dict[str, Any]", written)
    return known.get("op") or next(str(v) for v in (*known.values(), known) if isinstance(v, str) or v is known)

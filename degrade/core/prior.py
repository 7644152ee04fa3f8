"""Priors: what a field may be, and the rule that turns an address into a value.

A field typed ``Param[float]`` holds a number or a prior; in YAML a prior is a one-key mapping, ``{uniform: [0.2, 3]}``.
Bounds and choices are checked against the field's own type, so a wrong range is found when the recipe is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from pydantic import BaseModel

from degrade.core.errors import RecipeError, find
from degrade.core.key import Key

_T = TypeVar("_T")


class Prior:
    """A distribution over one field. Subclasses are frozen dataclasses of plain numbers."""

    named: ClassVar[dict[str, type[Prior]]] = {}
    name: ClassVar[str]
    checks: ClassVar[tuple[str, ...]] = ("low", "high")  #: the fields that must be values of the field's type
    own: ClassVar[bool] = False  #: drawn for each patch even where the operator is drawn once a photo

    def __init_subclass__(cls, name: str) -> None:
        cls.name = name
        Prior.named[name] = cls

    def draw(self, key: Key) -> Any:
        """The value at one address, or an array of the values at n."""
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value that can be drawn; infinite where there is none."""
        raise NotImplementedError

    def checked(self, check: Callable[[Any], Any]) -> Prior:
        """The same prior in the field's own type, after a check that the field takes all that can be drawn."""
        found = {n: getattr(self, n) for n in self.checks}
        prior = cast(Prior, replace(cast(Any, self), **{n: check(v) for n, v in found.items() if v is not None}))
        for value in (*prior.bounds, prior.draw(Key(0))):
            check(value)
        return prior

    def record(self) -> Any:
        """The arguments as plain data, in order."""
        return [as_data(getattr(self, f.name)) for f in fields(cast(Any, self))]

    @staticmethod
    def parse(name: str, args: Any) -> Prior:
        """A prior from its YAML form: arguments by position or by name.

        Raises:
            UnknownName: if there is none of that name.
            RecipeError: if the arguments do not fit it.
        """
        kind = find(name, Prior.named, "prior")
        try:
            return (
                kind(**args) if isinstance(args, dict) else kind(*(args if isinstance(args, list | tuple) else [args]))
            )
        except TypeError as wrong:
            takes = ", ".join(f.name for f in fields(cast(Any, kind)))
            raise RecipeError(f"{name} takes ({takes}), got {args!r}") from wrong


def _ordered(prior: Any) -> None:
    low, high = prior.low, prior.high
    if any(isinstance(v, str) for v in (low, high)):
        raise RecipeError(f"{prior.name}: bounds must be numbers, got {low!r} and {high!r}")
    if not low <= high:
        raise RecipeError(f"{prior.name}: low must not exceed high, got {low} and {high}")
    if np.isinf(low) or np.isinf(high):
        raise RecipeError(f"{prior.name}: bounds must be finite, got {low} and {high}")


@dataclass(frozen=True)
class Uniform(Prior, name="uniform"):
    """Evenly from ``low`` to ``high``.

    >>> 0.2 <= Uniform(0.2, 3.0).draw(Key(1).at("a")) < 3.0
    True
    """

    low: float
    high: float
    __post_init__ = _ordered

    def draw(self, key: Key) -> Any:
        return _plain(key, self.low + (self.high - self.low) * key.unit())

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True)
class LogUniform(Prior, name="log_uniform"):
    """Evenly on a logarithmic scale from ``low`` (above 0) to ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _ordered(self)
        if not self.low > 0:
            raise RecipeError(f"log_uniform: low must be above 0, got {self.low}")

    def draw(self, key: Key) -> Any:
        return _plain(key, np.minimum(self.low * np.exp(np.log(self.high / self.low) * key.unit()), self.high))

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True)
class Normal(Prior, name="normal"):
    """Gaussian of ``mean`` and ``std``, optionally truncated to ``low .. high`` (by its inverse CDF, not clipped)."""

    mean: float
    std: float
    low: float | None = None
    high: float | None = None
    checks: ClassVar[tuple[str, ...]] = ("mean", "low", "high")

    def __post_init__(self) -> None:
        if not 0 < self.std < np.inf:
            raise RecipeError(f"normal: std must be above 0 and finite, got {self.std}")
        object.__setattr__(self, "std", float(self.std))
        if self.low is not None and self.high is not None:
            _ordered(self)
        _, (below, above) = self._tails()
        if not below < above:
            raise RecipeError(f"normal: nothing can be drawn from {self.low} to {self.high}, too far from {self.mean}")

    def _tails(self) -> tuple[float, tuple[float, float]]:
        """The CDF at both bounds, mirrored (-1) where they lie above the mean: small numbers keep their digits."""
        low, high = ((b - self.mean) / self.std for b in self.bounds)
        side = -1.0 if low > 0 else 1.0
        ends = 0.5 * torch.erfc(-torch.tensor(sorted((side * low, side * high)), dtype=torch.float64) / math.sqrt(2))
        return side, (ends[0].item(), ends[1].item())

    def draw(self, key: Key) -> Any:
        side, (below, above) = self._tails()
        # half a step keeps the inverse CDF finite at unit() = 0
        p = np.minimum(below + (above - below) * (key.unit() + 2.0**-54), 1 - 2.0**-53)
        z = side * torch.special.ndtri(torch.from_numpy(np.asarray(p))).numpy()
        return _plain(key, np.clip(self.mean + self.std * z, *self.bounds))

    @property
    def bounds(self) -> tuple[float, float]:
        return (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)


@dataclass(frozen=True)
class Integer(Prior, name="integer"):
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _ordered(self)
        if self.low % 1 or self.high % 1:
            raise RecipeError(f"integer: bounds must be whole numbers, got {self.low} and {self.high}")

    def draw(self, key: Key) -> Any:
        return _plain(key, (self.low + np.floor(key.unit() * (self.high - self.low + 1))).astype(np.int64))

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True)
class Seed(Prior, name="seed"):
    """A 53-bit whole number for a random field: always each patch its own, also under ``per: photo``."""

    checks: ClassVar[tuple[str, ...]] = ()
    own: ClassVar[bool] = True

    def draw(self, key: Key) -> Any:
        return _plain(key, key.bits())

    @property
    def bounds(self) -> tuple[float, float]:
        return 0, 2.0**53 - 1


@dataclass(frozen=True, init=False)
class Choice(Prior, name="choice"):
    """One of some values, each as likely; the values may be numbers, texts or whole sub-models.

    >>> Choice(100, 400, 1600).draw(Key(5).at("iso")) in (100, 400, 1600)
    True
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise RecipeError("choice: needs at least one value")
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.values))})"

    def checked(self, check: Callable[[Any], Any]) -> Prior:
        return Choice(*map(check, self.values))

    def record(self) -> Any:
        return [as_data(v) for v in self.values]

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers, so that n draws are an array."""
        return all(type(v) in (int, float) for v in self.values)

    def index(self, key: Key) -> Any:
        """Which value is drawn at one address, or at n."""
        return np.floor(key.unit() * len(self.values)).astype(np.int64)

    def draw(self, key: Key) -> Any:
        if not key.many:
            return self.values[int(self.index(key))]
        if not self.numeric:
            raise TypeError("a choice among things that are not numbers splits the rows; it is drawn by `stack`")
        return np.asarray(self.values)[self.index(key)]

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


def _plain(key: Key, value: Any) -> Any:
    return value if key.many else value.item()


def as_data(value: Any) -> Any:
    """A field's value as JSON can hold it: priors as one-key mappings, models by name, numbers as Python's own."""
    if isinstance(value, Prior):
        return {value.name: value.record()}
    if isinstance(value, tuple | list):
        return [as_data(v) for v in cast("tuple[Any, ...]", value)]
    if isinstance(value, dict):
        return {k: as_data(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value.item() if isinstance(value, np.generic) else value


def bounds(value: Any) -> tuple[float, float]:
    """Least and greatest number a field may hold, drawn or not.

    >>> bounds(Uniform(0.5, 2.0)), bounds(3)
    ((0.5, 2.0), (3, 3))
    """
    return value.bounds if isinstance(value, Prior) else (value, value)

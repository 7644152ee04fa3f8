"""Models as trees: walking, rebuilding and replacing their leaves, unchecked, because the whole was checked before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from pydantic import BaseModel


def mapped(value: Any, f: Callable[[Any], Any]) -> Any:
    """``value`` with ``f`` applied to each leaf; models and tuples are rebuilt unchecked."""
    if isinstance(value, BaseModel):
        return value.model_construct(**{n: mapped(v, f) for n, v in value.__dict__.items()})
    if isinstance(value, tuple):
        return tuple(mapped(v, f) for v in cast("tuple[Any, ...]", value))
    return f(value)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each leaf of a model with its path, priors as leaves."""
    if isinstance(value, BaseModel):
        items: Any = value.__dict__.items()
    elif isinstance(value, tuple):
        items = enumerate(cast("tuple[Any, ...]", value))
    else:
        yield path, value
        return
    for name, inner in items:
        yield from leaves(inner, (*path, name))


def put(value: Any, path: Sequence[Any], new: Any) -> Any:
    """``value`` with the leaf at ``path`` replaced, unchecked."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, tuple):
        items = list(cast("tuple[Any, ...]", value))
        items[head] = put(items[head], rest, new)
        return tuple(items)
    return value.model_construct(**{**value.__dict__, head: put(getattr(value, head), rest, new)})

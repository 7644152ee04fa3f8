"""Models as trees: walking, rebuilding and replacing their leaves, unchecked, because the whole was checked before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

_M = TypeVar("_M", bound=BaseModel)
_STATE: Final = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def rebuilt(model: _M, fields: dict[str, Any]) -> _M:
    """A model with these fields, all of them, unchecked."""
    new = object.__new__(type(model))
    for name, value in zip(_STATE, (fields, set(fields), None, model.__pydantic_private__), strict=True):
        object.__setattr__(new, name, value)
    return new


def mapped(value: Any, f: Callable[[Any], Any]) -> Any:
    """``value`` with ``f`` applied to each leaf; models and tuples are rebuilt unchecked, if a leaf changes."""
    if isinstance(value, BaseModel):
        before = value.__dict__
        after = {n: mapped(v, f) for n, v in before.items()}
        return value if all(after[n] is v for n, v in before.items()) else rebuilt(value, after)
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        new = tuple(mapped(v, f) for v in items)
        return items if all(map(is_, new, items)) else new
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
    return rebuilt(value, {**value.__dict__, head: put(getattr(value, head), rest, new)})

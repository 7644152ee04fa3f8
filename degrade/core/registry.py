"""Registry: the names of operators in recipes, ours and third parties'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from degrade.core.errors import RecipeError, UnknownName, find
from degrade.core.plugin import load_plugin, plugin_files

GROUP: Final = "degrade.operators"  #: entry-point group of modules that register operators on import
NAMED: Final[dict[str, type[Any]]] = {}  #: all that are registered so far
BROKEN: Final[list[str]] = []  #: which modules of the group could not be imported, and why
HOW: Final = (
    f"(another package's: installed, with an entry point in {GROUP!r} that registers it; a file's: --plugin FILE.py)"
)

_K = TypeVar("_K", bound="type[Any]")


def register(name: str) -> Callable[[_K], _K]:
    """Class decorator that gives an operator its name in recipes.

    Raises:
        RecipeError: if the name is left out or taken by another operator, or what is registered is no operator.

    >>> from degrade import Frame, Operator
    >>> @register("negative")
    ... class Negative(Operator):
    ...     def apply(self, frame: Frame) -> Frame:
    ...         return frame.with_data(1 - frame.data)
    >>> NAMED.pop("negative").op
    'negative'
    """

    if not isinstance(name, str) or not name:
        bare: Any = name
        hint = bare.__name__.lower() if isinstance(bare, type) else "fog"
        raise RecipeError(f"@register needs the name in recipes, such as @register({hint!r}), got {name!r}")

    def add(kind: _K) -> _K:
        if not isinstance(kind, type) or not hasattr(kind, "op"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"{kind.__qualname__} of {kind.__module__} is registered as {name!r}, and no Operator")
        taken = NAMED.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (kind.__module__, kind.__qualname__):
            raise RecipeError(
                f"two operators are called {name!r}: {taken.__qualname__} of {taken.__module__} "
                f"and {kind.__qualname__} of {kind.__module__}"
            )
        kind.op = name
        NAMED[name] = kind
        return kind

    return add


def load_operators() -> dict[str, type[Any]]:
    """All operators: imports every module of the entry-point group, ours and third parties', and plug-in files, once.

    A module that cannot be imported takes nothing from those that can: `BROKEN` says what is wrong with it.

    Raises:
        RecipeError: if a plug-in file, which somebody asked for, cannot be imported or registers nothing.
    """
    from importlib.metadata import entry_points

    BROKEN.clear()
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            entry.load()
        except Exception as wrong:  # noqa: BLE001  (another package may fail in any way)
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
            said = " ".join(str(wrong).split())
            BROKEN.append(f"{entry.module} of {package} cannot be imported ({type(wrong).__name__}: {said})")
    for file in plugin_files():
        load_plugin(file, NAMED)
    return NAMED


def operator(name: str) -> type[Any]:
    """The operator class of that name.

    Raises:
        UnknownName: if there is none; tells the nearest name, what cannot be imported, and how others are found.
    """
    if name in NAMED:
        return NAMED[name]
    try:
        return find(name, load_operators(), "operator")
    except UnknownName as wrong:
        broken = "".join(f"; {said}" for said in BROKEN)
        raise UnknownName(f"{wrong}{broken} {HOW}") from None

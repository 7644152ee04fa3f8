"""The contract as one call, and the examples that it is held on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from degrade.core.errors import RecipeError, noting
from degrade.core.frame import Space
from degrade.core.operator import Operator
from degrade.core.registry import load_operators
from degrade.testing import trial
from degrade.testing.promises import PROMISES


def check_operator(kind: type[Operator], *examples: Mapping[str, Any], spaces: Iterable[Space] | None = None) -> None:
    """Holds an operator to all that operators promise: a test of one line.

    Args:
        kind: its class.
        examples: its fields as a recipe writes them, with priors; its own ``examples`` if none are given, or the
            defaults of all its fields.
        spaces: where it stands; wherever it can, if not given.

    Raises:
        AssertionError: if it breaks a promise; its notes name example, space and promise.
        RecipeError: if the class is not registered, or an example is none.

    >>> from degrade.operators.light import Exposure
    >>> check_operator(Exposure, {"stops": {"uniform": [0, 1]}}, spaces=[Space.MOSAIC])
    """
    if not kind.op:
        raise RecipeError(f"{kind.__name__} has no name yet: register it, @register({kind.__name__.lower()!r})")
    places = None if spaces is None else [Space(space) for space in spaces]
    for fields in examples or kind.examples or ({},):
        if not isinstance(cast(Any, fields), Mapping):
            raise RecipeError(f"examples of {kind.op} are mappings of fields, `examples = ({{...}},)`, got {fields!r}")
        given = {"op": kind.op, **fields}
        for space in trial.spaces(trial.example(given)) if places is None else places:
            for promise in PROMISES:
                said = str(promise.__doc__).partition("\n")[0]
                with noting(f"{given} on {space.value} breaks a promise, {promise.__name__}: {said}"):
                    promise(given, space)


def examples_of(kind: type[Operator]) -> list[dict[str, Any]]:
    """The examples of an operator as a recipe writes them, its name included.

    >>> from degrade.operators.sampling import Downsample
    >>> examples_of(Downsample)
    [{'op': 'downsample', 'factor': 2}, {'op': 'downsample', 'factor': 3}]
    """
    return [{"op": kind.op, **fields} for fields in kind.examples]


def all_examples() -> list[dict[str, Any]]:
    """Examples of all operators of degrade, by name.

    Raises:
        AssertionError: naming those that do not state ``examples``, so that nothing would test them.
    """
    ours = {name: kind for name, kind in load_operators().items() if kind.__module__.startswith("degrade.")}
    bare = sorted(name for name, kind in ours.items() if "examples" not in vars(kind))
    assert not bare, f"operators without an example, which a class states as `examples`: {bare}"
    return [given for name in sorted(ours) for given in examples_of(ours[name])]

"""Explain: what pydantic complains of, as one sentence with its place and the nearest right name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from degrade.core.errors import RecipeError, nearest

FieldPlace = tuple[int | str, ...]
Fields = Callable[[FieldPlace], Iterable[str]]  #: names of the fields that may stand where an unknown one was found


@contextmanager
def in_one_sentence(fields: Fields = lambda _: (), where: str = "") -> Generator[None]:
    """Turns what pydantic complains of within into one sentence, which begins with ``where``.

    A bug that pydantic took for a wrong value, see `degrade.core.errors.noting`, goes on as what it is.

    Raises:
        RecipeError: in place of any ValidationError.
    """
    try:
        yield
    except ValidationError as wrong:
        causes = (e.get("ctx", {}).get("error") for e in wrong.errors(include_url=False))
        bug = next((c for c in causes if getattr(c, "__notes__", None)), None)
        if isinstance(bug, Exception):
            raise bug from None
        raise RecipeError(where + explain(wrong, fields)) from wrong


def explain(wrong: ValidationError, fields: Fields = lambda _: ()) -> str:
    """The first error of a validation as one sentence with its place and the nearest right name.

    Args:
        wrong: the error.
        fields: tells which fields a misspelt one stands beside.
    """
    errors = wrong.errors(include_url=False)
    # a misspelt field is the cause of the one that then seems to be missing
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    place = ".".join(str(p) for p in first["loc"] if not _internal(p))
    message = str(first["msg"]).removeprefix("Value error, ")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ValidationError):
        message = explain(cause)
    elif first["type"] == "extra_forbidden":
        message = f"unknown field; {nearest(str(first['loc'][-1]), fields(first['loc']))}"
    elif first["type"] == "union_tag_invalid":
        context = first.get("ctx", {})
        names = [n.strip("' ") for n in str(context["expected_tags"]).split(",")]
        field = str(context["discriminator"]).strip("'")
        message = f"unknown {field} {str(context['tag'])!r}: {nearest(str(context['tag']), names)}"
    elif first["type"] == "missing":
        message = "field required"
    elif first["type"] not in ("value_error", "assertion_error", "json_invalid"):
        message = f"{message[0].lower()}{message[1:]}, got {first['input']!r}"
    return f"{place}: {message}" if place else message


def _internal(part: Any) -> bool:
    """Parts of an error's place that name pydantic's own steps and not what a person wrote."""
    return isinstance(part, str) and ("[" in part or "-" in part or part in ("float", "int", "str", "tuple", "none"))

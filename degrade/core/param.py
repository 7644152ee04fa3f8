"""Param: a field that holds a value or a prior over it; Model: what has such fields.

``Param[float]`` accepts a number, a prior, or a prior's YAML form; the prior's bounds pass the field's own check.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, Union, cast, get_args

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from degrade.core.errors import RecipeError, UnknownName, nearest
from degrade.core.prior import Prior, as_data

_T = TypeVar("_T")


class _ParamSchema:
    """Lets pydantic accept a prior, or its YAML form, wherever a value of the type may stand."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kind: Any = Union[tuple(a for a in get_args(source) if a is not Prior)]  # noqa: UP007
        check = TypeAdapter[Any](kind).validate_python

        def validate(value: Any, inner: Callable[[Any], Any]) -> Any:
            if isinstance(value, dict) and len(cast(dict[Any, Any], value)) == 1:
                ((name, args),) = cast(dict[str, Any], value).items()
                if name in Prior.named:
                    value = Prior.parse(name, args)
                elif not _takes_mapping(kind):
                    raise UnknownName(f"unknown prior {name!r}: {nearest(str(name), Prior.named)}")
            if isinstance(value, Prior):
                try:
                    return value.checked(check)
                except ValidationError as wrong:
                    first = wrong.errors()[0]
                    hint = "; give low and high" if first["input"] in (-math.inf, math.inf) else ""
                    raise RecipeError(f"{value.name}: {first['msg'].lower()}, got {first['input']!r}{hint}") from wrong
            return inner(value)

        written = core_schema.plain_serializer_function_ser_schema(as_data)
        return core_schema.no_info_wrap_validator_function(
            validate, handler.generate_schema(kind), serialization=written
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(schema["schema"]), *(_prior_schema(n) for n in sorted(Prior.named))]}


def _takes_mapping(kind: Any) -> bool:
    members = get_args(kind) or (kind,)
    return any(isinstance(m, type) and issubclass(m, BaseModel) for m in members) or any(
        map(_takes_mapping, get_args(kind))
    )


def _prior_schema(name: str) -> dict[str, Any]:
    takes = {"type": "array"} if name == "choice" else {"type": ["array", "object"]}
    return {"type": "object", "properties": {name: takes}, "required": [name], "additionalProperties": False}


def misplaced(field: FieldInfo) -> bool:
    """Whether a field states limits beside ``Param[...]``, where no prior would meet them."""
    return len(field.metadata) > 1 and any(isinstance(m, _ParamSchema) for m in field.metadata)


Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Param = Annotated[Union[_T, Prior], _ParamSchema()]  # noqa: UP007  (a generic alias needs Union)


class Model(BaseModel):
    """Base of everything a recipe is written in: frozen, no unknown fields, compared by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        wrong = next((n for n, field in cls.model_fields.items() if misplaced(field)), None)
        if wrong is not None:
            raise TypeError(
                f"{cls.__name__}.{wrong}: limits stand inside Param, Param[Annotated[float, Field(ge=0)]], "
                "so that priors are held to them too"
            )


def column(value: Any, like: Tensor) -> Tensor:
    """A field as a tensor that multiplies (b, c, h, w): ``(b, 1, 1, 1)``, ``(b, c, 1, 1)``, or one number.

    Raises:
        RecipeError: if it is a prior, which is not drawn yet.

    >>> column([0.5, 2.0], torch.ones(2, 3, 8, 8)).shape
    torch.Size([2, 1, 1, 1])
    """
    if isinstance(value, Prior):
        raise RecipeError(f"{value} is not drawn yet: op.draw(key) comes before apply")
    t = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return t.reshape(*t.shape, *(1,) * (4 - t.ndim)) if t.ndim else t

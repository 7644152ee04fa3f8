"""Schema: JSON Schema of recipe files, for editors and validators."""

from __future__ import annotations

from typing import Any

from degrade.core.errors import noting
from degrade.core.registry import load_operators
from degrade.recipe.recipe import Recipe


def schema() -> dict[str, Any]:
    """JSON Schema of recipe files, with all registered operators, for editors and validators.

    >>> "crop" in schema()["$defs"]
    True
    """
    named = load_operators()
    root = Recipe.model_json_schema()
    defs: dict[str, Any] = root.setdefault("$defs", {})
    for name, kind in sorted(named.items()):
        with noting(f"operator {name!r} ({kind.__module__}.{kind.__qualname__})"):
            own = kind.model_json_schema(ref_template="#/$defs/{model}")
        defs |= {k: v for k, v in own.pop("$defs", {}).items() if k != "Operator"}
        own["properties"] = {"op": {"const": name}, **own["properties"]}
        own["required"] = ["op", *own.get("required", [])]
        defs[name] = own
    defs["Operator"] = {"oneOf": [{"$ref": f"#/$defs/{n}"} for n in sorted(named)]}
    path = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    plane = root["properties"]["planes"]
    plane["additionalProperties"] = {"anyOf": [path, {"$ref": "#/$defs/Plane"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}

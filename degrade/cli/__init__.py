"""The command line: one thin function a command."""

from __future__ import annotations

import sys
from typing import Any, cast

import typer
from typer.rich_utils import rich_format_error

from degrade.cli import calibrate, check, lens, maps, plan, stores  # commands register when they are imported
from degrade.cli.app import app
from degrade.core.errors import PhotoError, RecipeError

__all__ = ["app", "calibrate", "check", "lens", "main", "maps", "plan", "stores"]

_MISUSE = cast("type[Exception]", typer.BadParameter.__base__)  # of all usage errors; typer does not export it


def main() -> None:
    """Entry point: known errors become one sentence and exit status 1."""
    from degrade.store.disk import StoreError

    try:
        sys.exit(app(standalone_mode=False))
    except _MISUSE as wrong:
        # 2, which typer would give, means that some photos were quarantined
        rich_format_error(cast(Any, wrong))
        sys.exit(1)
    except (RecipeError, PhotoError, StoreError, OSError, ValueError, LookupError) as wrong:
        message = wrong.args[0] if isinstance(wrong, KeyError) else wrong
        if isinstance(wrong, OSError) and wrong.strerror:
            message = f"{wrong.filename}: {wrong.strerror.lower()}"
        typer.echo(f"error: {message}", err=True)
        sys.exit(1)

"""The command line: one thin function a command."""

from __future__ import annotations

import sys
from typing import Any, cast

import typer
from typer.rich_utils import rich_format_error

from degrade.cli import calibrate, check, lens, maps, plan, stores  # commands register when they are imported
from degrade.cli.app import app
from degrade.core.errors import DegradeError

__all__ = ["app", "calibrate", "check", "lens", "main", "maps", "plan", "stores"]

_MISUSE = cast("type[Exception]", typer.BadParameter.__base__)  # of all usage errors; typer does not export it
_BUG = (
    "This is a bug and no mistake of yours: in the class of the operator, if one is named above (where that does not "
    "begin with degrade, it is another package's, or in your own file), else in degrade."
)


def main() -> None:
    """Entry point: what a user can put right becomes one sentence and exit status 1; all else is a bug, and shows."""
    try:
        sys.exit(app(standalone_mode=False))
    except _MISUSE as wrong:
        # 2, which typer would give, means that some photos were quarantined
        if getattr(wrong, "option_name", None) == "--plugin":
            cast(Any, wrong).message += ": it stands before the command, degrade --plugin FILE.py COMMAND"
        rich_format_error(cast(Any, wrong))
    except typer.Abort:
        sys.exit(130)
    except (DegradeError, OSError) as wrong:
        typer.echo(f"error: {_sentence(wrong)}", err=True)
    except Exception as bug:
        bug.add_note(_BUG)
        raise
    sys.exit(1)


def _sentence(wrong: DegradeError | OSError) -> str:
    if isinstance(wrong, OSError) and wrong.strerror:
        return ": ".join(str(part) for part in (wrong.filename, wrong.strerror.lower()) if part is not None)
    return str(wrong)

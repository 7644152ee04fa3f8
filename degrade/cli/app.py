"""What all commands share: the application, the terminal, how things are said and stopped."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="RAW photographs into physically true, aligned training pairs.",
)
console = Console()


@contextmanager
def stoppable() -> Generator[None]:
    """Ctrl-C becomes one sentence and the exit status that shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; the same command continues", err=True)
        raise typer.Exit(130) from None


def say(text: str, label: str = "") -> None:
    """One line, however long, its text as it is; ``label`` may be coloured."""
    console.print(label + escape(text), soft_wrap=True, highlight=False)

"""What all commands share: the application, the terminal, how things are said and stopped."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from degrade.core import registry
from degrade.core.plugin import add_plugins
from degrade.core.progress import Done, Progress

if TYPE_CHECKING:
    from degrade.recipe.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="RAW photographs into physically true, aligned training pairs.",
)
console = Console()


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"degrade {version('degrade')}")
        raise typer.Exit


@app.callback()
def options(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="A file that registers operators, named before the command; several, if given several times.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is, and exit.")
    ] = False,
) -> None:
    """What stands before a command."""
    if plugin:
        add_plugins(plugin)
        registry.load_operators()


@contextmanager
def stoppable() -> Generator[None]:
    """Ctrl-C becomes one sentence and the exit status that shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; the same command continues", err=True)
        raise typer.Exit(130) from None


@contextmanager
def bar(stays: bool = True) -> Generator[Progress]:
    """Draws each step on the terminal, from the first to the one that is all; the bar ``stays`` there then, or not."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Drawn

    told = [TextColumn(f"{{task.fields[{name}]}}") for name in ("count", "note")]
    columns = TextColumn("[bold]{task.description}"), BarColumn(), *told, TimeRemainingColumn()
    open_: dict[str, Drawn] = {}

    def show(step: Done) -> None:
        if step.what not in open_:
            close()
            hidden = not (stays or console.is_terminal)
            open_[step.what] = Drawn(*columns, console=console, transient=not stays, disable=hidden)
            open_[step.what].add_task(escape(step.what), completed=step.done, count="", note="")
            open_[step.what].start()
        drawn = open_[step.what]
        (task,) = drawn.tasks
        speed = f"{task.speed / 1e6:,.1f} MB/s" if step.unit == "bytes" and task.speed else ""
        task.fields.update(count=escape(step.count), note=escape(step.note or speed))
        drawn.update(task.id, total=step.total, completed=step.done)
        if step.done == step.total:
            close()

    def close() -> None:
        for drawn in open_.values():
            if drawn.live.is_started:  # told to stop twice it would print an empty line
                drawn.stop()

    try:
        yield show
    finally:
        close()


def chosen(name: str, iso: float | None, seed: int | None) -> Recipe:
    """A recipe, changed as --iso and --seed ask.

    Raises:
        BadParameter: if the ISO is not above 0.
    """
    from degrade.recipe.recipe import Recipe

    recipe = Recipe.load(name)
    if iso is not None:
        if not 0 < iso < float("inf"):
            raise typer.BadParameter(f"must be above 0, got {iso:g}", param_hint="--iso")
        recipe = recipe.changed(source=recipe.source.model_copy(update={"iso": iso}))
    return recipe if seed is None else recipe.changed(seed=seed)


def warn_of_broken() -> None:
    """Names the plug-ins that could not be imported, beside what was asked for."""
    for broken in registry.BROKEN:
        typer.echo(f"warning: {broken}", err=True)


def counted(n: int, what: str) -> str:
    """A number of things, in words.

    >>> counted(1, "photo"), counted(2000, "photo")
    ('1 photo', '2,000 photos')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def say(text: str, label: str = "") -> None:
    """One line, however long, its text as it is; ``label`` may be coloured."""
    console.print(label + escape(text), soft_wrap=True, highlight=False)

"""Commands that make a store and look into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from degrade.cli.app import app, bar, chosen, console, counted, say, stoppable, warn_of_broken
from degrade.core.disk import whole
from degrade.core.errors import StoreError

if TYPE_CHECKING:
    from degrade.pairs.store import PatchStore
    from degrade.store.read import Store

StorePath = Annotated[
    str, typer.Argument(help="The store: a .zarr folder, or its address, https:// s3:// gs://", show_default=False)
]


@app.command()
def build(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or a shipped pipeline such as residual-maps.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="The folder of photographs.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where the store goes.", show_default=False)],
    workers: Annotated[int | None, typer.Option(help="Local worker processes; one a core by default.", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a running Dask scheduler, tcp://host:8786.")] = None,
    iso: Annotated[float | None, typer.Option(help="ISO of the photos, where they do not tell it.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all draws, instead of the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="Where patches are rendered: cpu, cuda, cuda:1.")] = "cpu",
) -> None:
    """Build a store of patches. The same command continues one that was interrupted.

    Exit status: 0 all photos built, 2 some quarantined (`degrade info` says why), 1 nothing useful.
    """
    from degrade.pairs.run import build as run

    named = chosen(recipe, iso, seed)
    with stoppable(), bar() as progress:
        report = run(named, folder, out, workers=workers, scheduler=scheduler, device=device, progress=progress)
    built = report.photos - len(report.quarantined)
    say(f"{report.store}: {counted(report.rows, 'row')} of {counted(built, 'photo')}")
    for message, keys in report.warnings.items():
        say(f"{message} ({counted(len(keys), 'photo')}, such as {keys[0]})", "[yellow]warning[/] ")
    quarantined(report.quarantined)
    raise typer.Exit(report.exit_code)


def quarantined(reasons: Any) -> None:
    """The first ten photos that were set aside, and why."""
    for key, reason in list(reasons.items())[:10]:
        say(f"{key}: {reason}", "[yellow]quarantined[/] ")
    if len(reasons) > 10:
        say(f"... and {len(reasons) - 10} more: `degrade info --json` lists them all")


@app.command()
def info(
    store: StorePath, as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False
) -> None:
    """Say what a store holds: rows, planes, draws, quarantined photos."""
    from degrade.store.read import Store

    opened = Store(store)
    facts: dict[str, Any] = {**opened.info(), "renders": _renders(opened)}
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(title=escape(str(store)), show_header=False, title_justify="left")
    present, absent = facts["rows"], facts["rows_absent"]
    table.add_row("rows", f"{present:,} present, {absent:,} absent, {facts['per_photo']} a photo")
    table.add_row("photos", f"{facts['photos']:,}, of which {len(facts['quarantined'])} quarantined")
    table.add_row("size", f"{facts['bytes'] / 1e6:,.1f} MB in {facts['shards']} shards")
    for name, plane in facts["planes"].items():
        table.add_row(
            f"plane {name}", f"{'x'.join(map(str, plane['shape']))} {plane['dtype']} {plane['space'].upper()}"
        )
    if facts["renders"]:
        table.add_row("renders", ", ".join(facts["renders"]))
    table.add_row("columns", escape(", ".join(facts["columns"])))
    table.add_row("recipe", f"{facts['recipe_hash']}, seed {facts['seed']}")
    console.print(table)
    quarantined(facts["quarantined"])


def _renders(opened: Store) -> list[str]:
    """Planes that can be rendered; only where some are not stored does it take the recipe, and so its operators."""
    if opened.planes.keys() >= set(opened.layout.named):
        return []
    from degrade.pairs.store import PatchStore

    found = list(PatchStore(opened.path).renders)
    warn_of_broken()
    return found


@app.command()
def show(
    store: StorePath,
    out: Annotated[Path | None, typer.Option(help="The picture; beside a local store by default.")] = None,
    rows: Annotated[
        str | None, typer.Option(help="Row numbers, such as 3,17,200; spread over the store by default.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many rows, where none are named.", min=1, max=64)] = 6,
) -> None:
    """Write a contact sheet: planes side by side, their differences, the kernel, the draws."""
    from degrade.look.sheet import contact_sheet
    from degrade.pairs.store import PatchStore

    beside = Path(Path(store).name if "://" in store else store)
    target = out or beside.with_suffix(".png")
    opened = PatchStore(store)
    numbers = None if rows is None else _present(opened, _numbers(rows))
    contact_sheet(opened, target, rows=numbers, count=count)
    say(f"{target}: look at it")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"row numbers are whole numbers with commas between them, got {text!r}") from None


def _present(store: PatchStore, rows: list[int]) -> list[int]:
    """The numbers of rows, checked: to a sequence a wrong one is an IndexError, to a person a sentence."""
    from degrade.store.order import row_numbers

    try:
        return store.checked(row_numbers(rows)).tolist()
    except IndexError as wrong:
        raise StoreError(str(wrong)) from wrong


@app.command()
def verify(store: StorePath) -> None:
    """Check every byte of a store against its digests. Exit status 1 if anything is wrong."""
    from degrade.store.verify import verify as check

    with bar() as progress:
        problems = check(store, progress)
    for problem in problems:
        say(problem, "[red]wrong[/] ")
    if problems:
        raise typer.Exit(1)
    say(f"{store}: every byte is as it was written")


@app.command()
def copy(
    store: StorePath,
    out: Annotated[Path, typer.Argument(help="The folder that the copy becomes.", show_default=False)],
    codec: Annotated[
        str, typer.Option(help="blosc (smallest), lz4 (fastest of the compressed), zstd, or plain, which is mapped.")
    ] = "blosc",
) -> None:
    """Copy a store, compressed, or plain again: to archive it, to publish it, or to fetch it from an address."""
    from degrade.store.copy import copy as run

    with bar() as progress:
        copied = run(store, out, codec, progress)
    say(f"{out}: {len(copied):,} rows, {copied.info()['bytes'] / 1e6:,.1f} MB; every row is as in {store}")


@app.command()
def replay(
    store: StorePath,
    row: Annotated[int, typer.Argument(help="The row's number.", show_default=False)],
    photos: Annotated[Path, typer.Option(help="The folder that the store was built from.", show_default=False)],
) -> None:
    """Render a row again from its address and compare it with what is stored. Exit status 1 if it differs."""
    from degrade.pairs.store import PatchStore

    opened = PatchStore(store)
    again = opened.replay(*_present(opened, [row]), photos=photos)
    for name, values in again.planes.items():
        differ = again.different.get(name, 0)
        said = f"{differ:,} of {values.size:,} samples differ" if differ else "identical"
        say(f"row {row}, {name}: {said}", "[red]wrong[/] " if differ else "")
    raise typer.Exit(0 if again.identical else 1)


@app.command()
def schema(out: Annotated[Path | None, typer.Option(help="A file; the terminal by default.")] = None) -> None:
    """Write the JSON Schema of recipe files, for editors and validators."""
    from degrade.recipe.schema import schema as written

    text = json.dumps(written(), indent=1)
    warn_of_broken()
    if out is None:
        typer.echo(text)
    else:
        with whole(out) as temporary:
            temporary.write_text(text + "\n", "utf-8")


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="The folder for photos, pairs and picture.")] = Path("demo"),
    workers: Annotated[int | None, typer.Option(help="Local worker processes; one a core by default.", min=1)] = None,
) -> None:
    """Make three RAW photographs of real scenes, pairs from them, a check, a picture and a short training."""
    from degrade.demo import demo as run

    with stoppable(), bar() as progress:
        report = run(out, workers=workers, say=say, progress=progress)
    raise typer.Exit(report.exit_code)

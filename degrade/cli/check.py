"""The command that checks a recipe against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from degrade.cli.app import app, console, say


@app.command()
def check(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or a shipped pipeline such as residual-maps.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="The picture; check-RECIPE.png by default.")] = None,
    rows: Annotated[int, typer.Option(help="Patches of each grey; more make errors smaller.", min=2, max=1024)] = 32,
    camera: Annotated[
        str | None, typer.Option(help="A camera in place of the recipe's, which `camera: auto` needs.")
    ] = None,
) -> None:
    """Measure what a recipe really does, on synthetic photographs, beside what it says.

    Photon transfer, energy, colour of grey and MTF of each plane. Exit status: 0 all agree, 1 some do not.
    """
    from degrade.check.compare import check as measured
    from degrade.check.picture import check_sheet
    from degrade.look.typeset import save
    from degrade.recipe.recipe import Recipe

    name = Path(recipe).stem
    found = measured(Recipe.load(recipe), camera=camera, rows=rows)
    table = Table(title=escape(f"{name}, camera {found.camera}"), title_justify="left")
    for column in ("plane", "figure", "does", "says", ""):
        table.add_column(column)
    for plane in found.planes:
        for i, figure in enumerate(plane.figures):
            verdict = {True: "ok", False: "[red]wrong[/]", None: "[dim]not said[/]"}[figure.ok]
            table.add_row(escape(plane.name) if i == 0 else "", escape(figure.name), *figure.texts, verdict)
        table.add_section()
    console.print(table)
    for note, (mean, most) in found.notes.items():
        say(f"{note}: {mean:.3g} on average, {most:.3g} at most")
    for plane in found.planes:
        if plane.remark:
            say(f"plane {plane.name}: {plane.remark}", "[yellow]note[/] ")
    say(f"{save(check_sheet(found, name), out or Path(f'check-{name}.png'))}: look at it")
    for wrong in found.wrong:
        say(wrong, "[red]wrong[/] ")
    raise typer.Exit(1 if found.wrong else 0)

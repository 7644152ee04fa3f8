"""The command that says what a build will take, before it is begun."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from degrade.cli.app import app, bar, chosen, console, counted, say


@app.command()
def plan(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or a shipped pipeline such as residual-maps.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="The folder of photographs.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Where the store goes, or a begun one: is there room, what is left?")
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(help="How many workers; give it several times to compare. 1, 2, 4, ... by default.", min=1),
    ] = None,
    iso: Annotated[float | None, typer.Option(help="ISO of the photos, where they do not tell it.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all draws, instead of the recipe's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Foretell rows, bytes, time and memory of a build, from two photos that are built to measure and thrown away."""
    from degrade.pairs.forecast import forecast

    named = chosen(recipe, iso, seed)
    with bar(stays=False) as progress:
        found = forecast(named, folder, out, progress=progress)
    whole, one = found.layout, found.measured
    counts = workers or [n for n in _POWERS if n <= max(1, found.left)]
    if as_json:
        facts = {
            "photos": found.photos,
            "photo_bytes": found.photo_bytes,
            "duplicates": found.duplicates,
            "rows": whole.rows,
            "shards": whole.shards,
            "shards_built": found.done,
            "photos_per_shard": whole.photos_per_shard,
            "plane_bytes": found.plane_bytes,
            "column_bytes": found.column_bytes,
            "bytes": found.bytes,
            "files": found.files,
            "free": found.free,
            "measured": asdict(one),
            "seconds": {n: found.seconds(n) for n in counts},
            "memory": {n: found.memory(n) for n in counts},
        }
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(show_header=False, title_justify="left")
    table.add_row("photos", f"{found.photos:,}, {_bytes(found.photo_bytes)}; {found.duplicates} are copies of others")
    table.add_row("rows", f"{whole.rows:,} at most, {whole.per_photo} a photo")
    built = f", of which {found.done:,} are built already" if found.done else ""
    table.add_row("tasks", f"{counted(whole.shards, 'shard')} of {counted(whole.photos_per_shard, 'photo')}{built}")
    table.add_row("store", f"{_bytes(found.plane_bytes)} planes, {_bytes(found.column_bytes)} columns")
    table.add_row("files", f"{found.files:,}")
    table.add_row("a photo", f"{one.seconds:.2f} s, of which reading {one.read:.2f} s ({one.photo})")
    table.add_row("a worker", f"{_bytes(one.memory)} of memory, {one.start:.1f} s to start")
    for n in counts:
        table.add_row(f"{n:,} worker{'s' * (n > 1)}", f"{_time(found.seconds(n))}, {_bytes(found.memory(n))} of memory")
    console.print(table)
    cores = os.cpu_count() or 1
    say(
        f"Measured alone, on one core of this machine, which has {cores}; not known: photos of another size, how many "
        "will be set aside, and whether disks and network keep up with all workers at once",
    )
    for key, reason in one.refused.items():
        say(f"{key}: {reason}", "[yellow]would be quarantined[/] ")
    if not found.fits:
        say(
            f"the store takes up to {_bytes(found.bytes)} more until it is done, and {out} has "
            f"{_bytes(found.free or 0)} free: choose another --out, or make room",
            "[yellow]warning[/] ",
        )


_POWERS = [2**k for k in range(9)]


def _bytes(n: int) -> str:
    """
    >>> _bytes(33_600_000)
    '33.6 MB'
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:,.1f} {unit}"
    return f"{n / 1e3:,.1f} kB"


def _time(seconds: float) -> str:
    """
    >>> _time(93_784)
    '26 h 3 min'
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"

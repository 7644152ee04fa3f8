"""Commands that measure a camera, or a lens, from its own pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import app, say

calibrate = typer.Typer(no_args_is_help=True, help="Measure a camera, or a lens, from its own pictures.")
app.add_typer(calibrate, name="calibrate")


@calibrate.command()
def noise(
    out: Annotated[Path, typer.Option(help="The camera file, JSON.", show_default=False)],
    flats: Annotated[Path | None, typer.Option(help="Folder of flats: pairs, about 12 brightnesses.")] = None,
    darks: Annotated[Path | None, typer.Option(help="Folder of darks; masked pixels of the flats if left out.")] = None,
    profile: Annotated[Path | None, typer.Option(help="A DNG whose NoiseProfile is taken instead.")] = None,
    picture: Annotated[Path | None, typer.Option(help="One RAW picture instead: a makeshift.")] = None,
    pitch: Annotated[float | None, typer.Option(help="Photosite pitch in um; asked for if left out.")] = None,
    iso: Annotated[float | None, typer.Option(help="ISO of the files, where they do not tell it.")] = None,
    name: Annotated[str | None, typer.Option(help="The camera's name; what the files say by default.")] = None,
    report: Annotated[Path | None, typer.Option(help="A PNG with curves, residuals and intervals.")] = None,
) -> None:
    """Measure k1 and k0 of a camera, from flats and darks at best; a recipe then says `camera: FILE`."""
    from degrade.calibrate.noise import from_flats, from_picture, from_profile
    from degrade.calibrate.noise_picture import noise_sheet
    from degrade.look.typeset import save

    chosen = [path for path in (flats, profile, picture) if path is not None]
    if len(chosen) != 1:
        raise typer.BadParameter("name one of --flats, --profile and --picture")
    if profile is not None and report is not None:
        raise typer.BadParameter("a NoiseProfile has no measured points: leave it out", param_hint="--report")
    pitch = _positive(pitch if pitch is not None else _asked("photosite pitch [um]", "--pitch"), "--pitch")
    if iso is not None:
        _positive(iso, "--iso")
    if flats is not None:
        found = from_flats(flats, darks, pitch=pitch, iso=iso, name=name)
    else:
        found = (from_profile if profile is not None else from_picture)(chosen[0], pitch=pitch, iso=iso, name=name)
    for warning in found.warnings:
        say(warning, "[yellow]warning[/] ")
    for plane, line in zip(("R", "G1", "G2", "B"), found.lines, strict=True):
        k1, k0 = (f"{v:.4g} +- {1.96 * e:.2g}" for v, e in ((line.k1, line.k1_error), (line.k0, line.k0_error)))
        say(f"{plane:2} k1 {k1} DN, k0 {k0} DN^2 at ISO 100")
    if report is not None:
        say(f"{save(noise_sheet(found), report)}: look at it")
    say(f"{found.write(out)}: name it in a recipe, `source: {{camera: {out}}}`")


@calibrate.command()
def psf(
    picture: Annotated[
        Path, typer.Argument(help="RAW picture of slanted edges, or of the target.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The lens file, .npz or .zarr.", show_default=False)],
    target: Annotated[Path | None, typer.Option(help="The known target, laid onto the capture: PNG or TIFF.")] = None,
    grid: Annotated[str, typer.Option(help="Tiles down x across, an edge in each.")] = "1x1",
    roi: Annotated[str | None, typer.Option(help="top,left,height,width in pixels; all by default.")] = None,
    radius: Annotated[int, typer.Option(min=1, max=64, help="Of the kernels, in pixels.")] = 15,
    pitch: Annotated[float | None, typer.Option(help="Photosite pitch in um; asked for if left out.")] = None,
    name: Annotated[str | None, typer.Option(help="The lens's name; what the file says by default.")] = None,
    report: Annotated[Path | None, typer.Option(help="A PNG with curves, kernels, residuals and intervals.")] = None,
) -> None:
    """Measure a lens's PSF, from slanted edges or a known target; a recipe then says `{psf: lens, file: FILE}`."""
    from degrade.calibrate.psf import from_edges, from_target, summary
    from degrade.calibrate.psf_picture import psf_sheet
    from degrade.look.typeset import save

    if out.suffix not in (".npz", ".zarr"):
        raise typer.BadParameter(f"must end in .npz or .zarr, got {out.name}", param_hint="--out")
    m, n = _numbers(grid, "x", "3x3", "--grid")
    box = None
    if roi is not None:
        top, left, height, width = _numbers(roi, ",", "0,0,512,512", "--roi")
        box = top, left, height, width
    pitch = _positive(pitch if pitch is not None else _asked("photosite pitch [um]", "--pitch"), "--pitch")
    if target is None:
        found = from_edges(picture, pitch=pitch, grid=(m, n), roi=box, radius=radius, name=name)
    else:
        found = from_target(picture, target, pitch=pitch, grid=(m, n), roi=box, radius=radius, name=name)
    for warning in found.warnings:
        say(warning, "[yellow]warning[/] ")
    for tile in found.tiles:
        say(f"{tile.name}: {summary(tile)}")
    if report is not None:
        say(f"{save(psf_sheet(found), report)}: look at it")
    say(f"{found.write(out)}: name it in a recipe, `kernels: [{{psf: lens, file: {out}}}]`")


def _numbers(text: str, separator: str, example: str, option: str) -> tuple[int, ...]:
    """Whole numbers as in the example, as many."""
    parts = text.lower().split(separator)
    if len(parts) != len(example.split(separator)) or not all(p.strip().isdecimal() for p in parts):
        raise typer.BadParameter(f"must be whole numbers such as {example}, got {text!r}", param_hint=option)
    return tuple(int(p) for p in parts)


def _asked(what: str, option: str) -> float:
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"give the {what}, which no file tells", param_hint=option)
    return float(typer.prompt(what, type=float))


def _positive(value: float, option: str) -> float:
    if not 0 < value < float("inf"):
        raise typer.BadParameter(f"must be above 0, got {value:g}", param_hint=option)
    return value

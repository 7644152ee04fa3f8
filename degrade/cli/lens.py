"""Commands that make lens files and look into them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import app, bar, say

lens = typer.Typer(no_args_is_help=True, help="Lens files: kernels over states, field and channel.")
app.add_typer(lens, name="lens")

Aspect = Annotated[float, typer.Option(help="Width over height of the picture.")]
Out = Annotated[Path, typer.Argument(help="The lens file, .npz or .zarr.", show_default=False)]


@lens.command("export")
def export(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shipped pipeline.", show_default=False)],
    operator: Annotated[str, typer.Argument(help="Name of a psf_blur in it.", show_default=False)],
    out: Out,
    camera: Annotated[str | None, typer.Option(help="Whose pitch is taken; the recipe's by default.")] = None,
    grid: Annotated[str, typer.Option(help="Nodes down x across, evenly from edge to edge.")] = "9x13",
    states: Annotated[int, typer.Option(help="How many states are drawn.", min=1)] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of these draws; the recipe's by default.")] = None,
    aspect: Aspect = 1.5,
) -> None:
    """Write the kernels of a recipe's blur as a lens, which a recipe may name in its stead."""
    from degrade.calibrate.from_blur import lens_of_blur
    from degrade.core.errors import RecipeError, find
    from degrade.gear.cameras import Camera
    from degrade.operators.optics import PsfBlur
    from degrade.recipe.recipe import Recipe

    nodes = re.fullmatch(r"(\d+)x(\d+)", grid)
    if nodes is None:
        raise typer.BadParameter(f"nodes down x across, such as 9x13, got {grid!r}", param_hint="--grid")
    chosen = Recipe.load(recipe)
    blur = find(operator, chosen.operators, "operator")
    if not isinstance(blur, PsfBlur):
        raise RecipeError(f"operator {operator!r} is {blur.op}: only a psf_blur becomes a lens")
    named = camera or chosen.source.camera
    if named in (None, "auto"):
        raise typer.BadParameter("name the camera, whose pitch the samples get", param_hint="--camera")
    with bar() as progress:
        found = lens_of_blur(
            blur,
            Camera.named(str(named)).pitch,
            (int(nodes[1]), int(nodes[2])),
            states=states,
            seed=chosen.seed if seed is None else seed,
            aspect=aspect,
            about=f"{operator} of {Path(recipe).name}, camera {named}",
            progress=progress,
        )
    say(f"{found.write(out)}: {_said(found.psf.shape)}; in a recipe, `{{psf: lens, file: {out}}}`")


@lens.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A folder of PSF pictures, or a .mat file.", show_default=False)],
    out: Out,
    template: Annotated[str | None, typer.Option(help="What the pictures' names say.")] = None,
    variable: Annotated[
        str | None, typer.Option(help="Which of the .mat file's; found where one can be meant.")
    ] = None,
    pitch: Annotated[float | None, typer.Option(help="Distance of samples in um; pixels if left out.")] = None,
    includes_aperture: Annotated[
        bool, typer.Option("--aperture/--no-aperture", help="Whether the photosite's aperture is in them.")
    ] = True,
    aspect: Aspect = 1.5,
    about: Annotated[str, typer.Option(help="What it is and where it comes from.")] = "",
) -> None:
    """Make a lens of PSF pictures (names such as psf_{state}_{y}_{x}.png) or of kernels in a MATLAB file."""
    from degrade.calibrate.imported import TEMPLATE, from_matlab, from_pictures

    if source.suffix.lower() == ".mat":
        if template is not None:
            raise typer.BadParameter("is for a folder of pictures", param_hint="--template")
        found = from_matlab(
            source, variable, pitch=pitch, includes_aperture=includes_aperture, aspect=aspect, about=about
        )
    else:
        if variable is not None:
            raise typer.BadParameter("is for a .mat file", param_hint="--variable")
        found = from_pictures(
            source,
            template or TEMPLATE,
            pitch=pitch,
            includes_aperture=includes_aperture,
            aspect=aspect,
            about=about,
        )
    for warning in found.warnings:
        say(warning, "[yellow]warning[/] ")
    say(f"{found.lens.write(out)}: {_said(found.lens.psf.shape)}; in a recipe, `{{psf: lens, file: {out}}}`")


@lens.command()
def show(
    file: Annotated[str, typer.Argument(help="A lens file, or the name of one of your own.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The picture, PNG.", show_default=False)],
    state: Annotated[int, typer.Option(help="Number of the state.", min=0)] = 0,
) -> None:
    """Say what a lens holds, and write its kernels over the field as a picture."""
    from degrade.calibrate.lens_picture import lens_sheet
    from degrade.gear.lens import Lens
    from degrade.look.typeset import save

    found = Lens.named(file)
    say(_said(found.psf.shape))
    for i in range(len(found)):
        say(f"state {i}: {', '.join(f'{n} {v[i]:g}' for n, v in found.states.items())}".removesuffix(": "))
    say(f"{save(lens_sheet(found, Path(file).name, state), out)}: look at it")


def _said(shape: tuple[int, ...]) -> str:
    states, rows, columns, _, side, _ = shape
    return f"{states} state{'s' * (states != 1)}, {rows} x {columns} places, 3 channels, kernels of {side} x {side}"

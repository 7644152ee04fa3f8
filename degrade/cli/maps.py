"""Commands that make normal maps: from depth, or from pictures under several lights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import app, say

normals = typer.Typer(no_args_is_help=True, help="Normal maps, for relighting.")
app.add_typer(normals, name="normals")

Out = Annotated[Path, typer.Option(help="The normal map, 16-bit PNG, green up.", show_default=False)]


@normals.command("depth")
def from_depth(
    depth: Annotated[Path, typer.Argument(help="A depth map: .png, .tif, .exr, .npy or .npz.", show_default=False)],
    out: Out,
    scale: Annotated[float, typer.Option(help="Metres that one of its numbers stands for.", min=1e-12)] = 1.0,
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels of the map.", min=1e-6)] = None,
    pixel: Annotated[float | None, typer.Option(help="Metres a pixel spans, for a camera far away.", min=1e-12)] = None,
) -> None:
    """Normals of a depth map; say --focal, or --pixel where the camera is far away."""
    from degrade.core.errors import PhotoError, speaking
    from degrade.maths.depth import normals_from_depth
    from degrade.photos.maps import read_plain, write_normals

    if (focal is None) == (pixel is None):
        raise typer.BadParameter("give one of --focal and --pixel", param_hint="--focal")
    with speaking(PhotoError, f"{depth}: "):
        found = normals_from_depth(read_plain(depth, "depth", scale), focal, pixel or 1.0)
    say(f"{write_normals(out, found[0])}: {found.shape[2]} x {found.shape[3]} normals")


@normals.command("lights")
def from_lights(
    pictures: Annotated[
        list[Path], typer.Argument(help="Photos from one place, each under a light.", show_default=False)
    ],
    lights: Annotated[
        Path,
        typer.Option(help="Text: a line a photo, x y z to its light, x right, y down, z to the camera."),
    ],
    out: Out,
    drop: Annotated[int, typer.Option(help="Darkest of a pixel's pictures left out, for shadows.", min=0)] = 0,
) -> None:
    """Normals of a matt surface from three or more photos under known lights (photometric stereo)."""
    import numpy as np
    import torch

    from degrade.core.errors import PhotoError, speaking
    from degrade.maths.depth import normals_from_lights
    from degrade.photos import read_photo
    from degrade.photos.maps import write_normals

    frames = (read_photo(p, space="linear") for p in pictures)
    grey = [(f.data / f.neutral).mean(1)[0] for f in frames]
    sizes = {tuple(g.shape) for g in grey}
    if len(sizes) > 1:
        raise PhotoError(f"the photos have several sizes: {', '.join(f'{h} x {w}' for h, w in sorted(sizes))}")
    try:
        directions = torch.from_numpy(np.loadtxt(lights, ndmin=2))
    except ValueError as wrong:
        raise PhotoError(f"{lights} holds no lines of three numbers: {wrong}") from wrong
    with speaking(PhotoError):
        found, _ = normals_from_lights(torch.stack(grey), directions, drop)
    say(f"{write_normals(out, found)}: {found.shape[1]} x {found.shape[2]} normals")

"""One way to open a photo: by its extension as RAW or as a picture."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame, Space
from degrade.photos.folder import PICTURE_EXTENSIONS, RAW_EXTENSIONS
from degrade.photos.image import read_picture
from degrade.photos.maps import read_map
from degrade.photos.raw import read_raw
from degrade.recipe.recipe import Source


def read_photo(
    path: str | os.PathLike[str], *, space: Space | str, shrink: int | None = None, iso: float | None = None
) -> Frame:
    """Read a RAW photo (`read_raw`) or an ordinary picture (`read_picture`) as a frame of one row.

    Args:
        path: the file; a name that ends in .tif is a picture.
        space: MOSAIC or LINEAR for RAW, LINEAR or DISPLAY for pictures.
        shrink: stored pixels an output pixel spans; default 2 for LINEAR from RAW, 1 for pictures.
        iso: overrides the file's ISO speed.

    Raises:
        RecipeError: if the arguments are not allowed for this kind of photo.
        PhotoError: if the photo cannot be used.

    >>> read_photo("holiday.txt", space="linear")
    Traceback (most recent call last):
        ...
    degrade.core.errors.PhotoError: holiday.txt is not named like a photo: see RAW_EXTENSIONS and PICTURE_EXTENSIONS
    """
    extension = os.path.splitext(os.fspath(path))[1].lower()
    if extension in RAW_EXTENSIONS:
        return read_raw(path, space=space, shrink=shrink, iso=iso)
    if extension not in PICTURE_EXTENSIONS:
        raise PhotoError(f"{path} is not named like a photo: see RAW_EXTENSIONS and PICTURE_EXTENSIONS")
    frame = read_picture(path, space=space, shrink=shrink)
    if iso is None:
        return frame
    if not 0 < iso < float("inf"):
        raise RecipeError(f"iso must be above 0, got {iso}")
    return replace(frame, sensor=replace(frame.sensor, iso=torch.tensor([float(iso)])))


def read_source(path: str | os.PathLike[str], source: Source) -> Frame:
    """Read a photo as a recipe's ``source`` asks, with the maps beside it.

    Raises:
        PhotoError: if the photo cannot be used, or the source does not suit its kind; it may suit others.
    """
    try:
        frame = read_photo(path, space=source.space, shrink=source.shrink, iso=source.iso)
    except RecipeError as wrong:
        raise PhotoError(f"the recipe's source does not suit it: {wrong}") from wrong
    found = {name: read_map(path, name, aux, frame) for name, aux in source.aux.items()}
    return replace(frame, aux={**frame.aux, **found})

"""Maps in OpenEXR files: which of the channels make one, and where they lie.

What stands before the last dot of a channel's name is its layer (``View.Depth.Z``). Pixels lie on the data window, the
picture is the display window: what the first does not cover is 0, and what juts out is cut off.
Source: OpenEXR, Technical Introduction and Standard Attributes (openexr.com).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import PhotoError
from degrade.core.maps import kind

MOST_PIXELS: Final = (
    2**29
)  #: pixels that a picture may have: more than any camera's; a damaged header may ask for any number
#: Channels that a map of each kind may be in, a letter each, the likeliest first.
CHANNELS_OF_KIND: Final = {
    "depth": ("Z", "Y", "RGB"),
    "normal": ("XYZ", "RGB"),
    "albedo": ("RGB", "Y"),
    "height": ("Z", "Y", "RGB"),
    "mask": ("Y", "RGB"),
    "label": ("Y", "RGB"),
}


def read_exr(path: Path, name: str) -> NDArray[Any]:
    """The map of that name on its file's display window: (h, w, 1 or 3), of half, float or whole numbers.

    Raises:
        PhotoError: if the file is damaged, is deep or of several parts, or leaves open which channels are meant.
        OSError: if it cannot be opened.
    """
    part = _part(path)
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for full, channel in part.channels.items():
        layer, _, letter = full.rpartition(".")
        layers.setdefault(layer, {})[letter.upper()] = channel.pixels
    found = {layer: names for layer, has in layers.items() if (names := chosen(has, name))}
    named = [layer for layer in found if layer.rpartition(".")[2].lower() == name.lower()] or list(found)
    if not found:
        ways = " or ".join((*CHANNELS_OF_KIND[kind(name)], *([] if kind(name) == "normal" else ["one alone"])))
        raise PhotoError(f"{path} has the channels {', '.join(part.channels)}: a map of kind {kind(name)} is in {ways}")
    if len(named) > 1:
        raise PhotoError(f"{path} holds the layers {', '.join(named)}: call the one to be read {name!r}")
    return _shown(path, part.header, [layers[named[0]][letter] for letter in found[named[0]]])


def chosen(channels: Collection[str], name: str) -> tuple[str, ...]:
    """Those of a layer's channels that the map of a name is in, none if there is no telling.

    >>> chosen("RGBAZ", "depth"), chosen("RGBAZ", "albedo"), chosen("XYZ", "normal"), chosen("XYZ", "depth")
    (('Z',), ('R', 'G', 'B'), ('X', 'Y', 'Z'), ())
    """
    for letters in ((name.upper(),), *CHANNELS_OF_KIND[kind(name)]):
        # Y and Z beside an X are parts of a vector
        if all(v in channels for v in letters) and ("X" in letters or "X" not in channels):
            return tuple(letters)
    alone = tuple(v for v in channels if v != "A") or tuple(channels)
    return alone if len(alone) == 1 and kind(name) != "normal" else ()


def _part(path: Path) -> Any:
    """The picture of a file of one."""
    import OpenEXR

    with path.open("rb") as file:
        try:
            parts = OpenEXR.File(file, header_only=True).parts
            kinds = [part.type().name for part in parts]
            if len(parts) > 1 or "deep" in "".join(kinds):
                raise PhotoError(f"{path} holds {', '.join(kinds)}: save the map as one flat picture, in one part")
            file.seek(0)
            parts = OpenEXR.File(file, separate_channels=True, num_threads=0).parts
        except RuntimeError:
            parts = []
    if not parts:  # the library leaves a part out that it cannot decode
        raise PhotoError(f"{path} cannot be decoded, it is damaged or no OpenEXR file: write it anew")
    return parts[0]


def _shown(path: Path, header: dict[str, Any], channels: list[NDArray[Any]]) -> NDArray[Any]:
    """(h, w, channels) on the display window."""
    shown, given = (np.asarray(header[n], np.int64)[:, ::-1] for n in ("displayWindow", "dataWindow"))
    size, held = ((window[1] - window[0] + 1).tolist() for window in (shown, given))
    start = (given[0] - shown[0]).tolist()
    if any(list(channel.shape) != held for channel in channels):
        raise PhotoError(f"{path} holds subsampled channels: write one value a pixel")
    if size[0] * size[1] > MOST_PIXELS:
        raise PhotoError(
            f"{path} shows {size[0]} x {size[1]} pixels, at most {MOST_PIXELS} are read: it is damaged or too large"
        )
    picture = np.zeros((*size, len(channels)), np.result_type(*channels))
    into = tuple(slice(max(a, 0), max(a + n, 0)) for a, n in zip(start, held, strict=True))
    part = tuple(slice(max(-a, 0), max(n - a, 0)) for a, n in zip(start, size, strict=True))
    for i, channel in enumerate(channels):
        picture[(*into, i)] = channel[part]
    return picture

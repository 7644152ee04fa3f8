"""What the TIFF tags of a RAW file say, where LibRaw says nothing or too little.

Most RAW formats are TIFF inside.  Their tags give the camera's name, NoiseProfile and exact fractions, and tell where
the picture's bytes lie, which finds a file cut short: LibRaw fills the missing part with zeros or garbage and raises
nothing.  A file that is not TIFF inside (CR3, RAF) has no tags here, which is no error.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

import tifffile

from degrade.core.errors import PhotoError

#: Tag code to what it holds: text, or numbers (fractions already divided).
Tags = dict[int, str | tuple[float, ...]]

COLOR_FILTER_ARRAY: Final = 32803
LINEAR_RAW: Final = 34892
_PHOTOMETRIC: Final = 262
_EXIF: Final = {
    "ExposureTime": 33434,
    "FNumber": 33437,
    "ISOSpeedRatings": 34855,
    "PhotographicSensitivity": 34855,
    "RecommendedExposureIndex": 34866,
    "ISOSpeed": 34867,
    "FocalLength": 37386,
}
_WANTED: Final = {
    *(_PHOTOMETRIC, 271, 272, 50708, 50706),  # kind, names, DNG version
    *(33434, 33437, 34855, 34866, 34867, 37386),  # exposure
    *(50713, 50714, 50715, 50716, 50829),  # black level and its deltas, active area
    *(50721, 50722, 50778, 50779, 50728),  # colour matrices, their illuminants, AsShotNeutral
    *(50710, 51041),  # CFA colours, NoiseProfile
}
_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
_NOWHERE: Final = 2**32 - 1  # some makers leave the offset of the strip open
#: What tifffile raises for a damaged file.
BROKEN: Final = (tifffile.TiffFileError, ValueError, IndexError, KeyError, TypeError, EOFError, struct.error)


def read_tags(path: str | os.PathLike[str]) -> Tags:
    """Tags of the RAW picture first, then those of the other directories; empty for a file that is not TIFF inside.

    Raises:
        PhotoError: if the file cannot be opened or ends before its picture does.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not file.read(4).startswith(_MAGIC):
                if size == 0:
                    raise PhotoError(f"{path} is empty: copy it again from the card")
                return {}
            file.seek(0)
            with silent(), tifffile.TiffFile(file) as tiff:
                pages = _by_weight(tiff.pages)
                if pages:
                    whole(path, pages[0], size)
                return _merged(pages)
    except OSError as error:
        raise PhotoError(f"{path} cannot be opened ({error.strerror or error}): check that it may be read") from error
    except PhotoError:
        raise
    except BROKEN as error:
        raise PhotoError(f"{path} has broken TIFF tags ({error}): it is cut short or not a RAW photo") from error


def numbers(tags: Tags, code: int) -> tuple[float, ...]:
    """Numbers of a tag, none if it is absent.

    >>> numbers({51041: (1e-4, 1e-6)}, 51041), numbers({}, 51041)
    ((0.0001, 1e-06), ())
    """
    value = tags.get(code, ())
    return () if isinstance(value, str) else value


def text(tags: Tags, code: int) -> str | None:
    """Text of a tag, None if it is absent or blank."""
    value = tags.get(code)
    return value.strip("\0 ") or None if isinstance(value, str) else None


def is_linear_raw(tags: Tags) -> bool:
    """Whether the file says that its picture is already demosaicked, or monochrome."""
    return numbers(tags, _PHOTOMETRIC) == (LINEAR_RAW,)


def whole(path: str | os.PathLike[str], page: Any, size: int) -> None:
    """Check that the bytes of a TIFF page lie inside its file of ``size`` bytes.

    Raises:
        PhotoError: if the file ends before its picture does.
    """
    parts = zip(page.dataoffsets, page.databytecounts, strict=False)
    end = max((start + count for start, count in parts if start != _NOWHERE), default=0)
    if end > size:
        raise PhotoError(f"{path} is cut short: the picture needs {end:,} bytes of {size:,}, copy it again")


@contextmanager
def silent() -> Generator[None, None, None]:
    """Keep tifffile from writing to its log: makers' private tags make it complain of what no user can change."""
    log = logging.getLogger("tifffile")
    log.addFilter(_drop)
    try:
        yield
    finally:
        log.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return record.levelno > logging.CRITICAL


def _by_weight(pages: Iterable[Any]) -> list[Any]:
    """All directories, the one that holds the RAW picture first: marked so, else the one with the most bytes."""
    found: list[Any] = []
    for page in pages:
        found += [page, *(_by_weight(page.pages) if page.pages else ())]

    def weight(page: Any) -> tuple[bool, int]:
        return int(page.photometric or 0) in (COLOR_FILTER_ARRAY, LINEAR_RAW), sum(page.databytecounts)

    return sorted(found, key=weight, reverse=True)


def _merged(pages: list[Any]) -> Tags:
    tags: Tags = {}
    for page in pages:
        for tag in page.tags:
            if tag.code in _WANTED:
                tags.setdefault(tag.code, _value(tag.value, tag.dtype in (5, 10)))
            elif tag.code == 34665 and isinstance(tag.value, dict):
                for name, code in _EXIF.items():
                    if name in tag.value:
                        value = tag.value[name]
                        tags.setdefault(code, _value(value, code in (33434, 33437, 37386)))
    return tags


def _value(value: Any, fraction: bool) -> str | tuple[float, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return tuple(float(v) for v in value)
    flat = [float(v) for v in value] if hasattr(value, "__iter__") else [float(value)]
    if not fraction:
        return tuple(flat)
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return tuple(top / bottom if bottom else float("nan") for top, bottom in pairs)

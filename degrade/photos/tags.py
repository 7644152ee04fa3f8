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
from tifffile import DATATYPE, PHOTOMETRIC

from degrade.core.errors import PhotoError

#: What each tag holds, by tifffile's name of it: text, or numbers (fractions already divided).
Tags = dict[str, str | tuple[float, ...]]

FRACTIONS: Final = ("ExposureTime", "FNumber", "FocalLength")  #: of EXIF
_EXPOSURE: Final = (*FRACTIONS, "ISOSpeedRatings", "RecommendedExposureIndex", "ISOSpeed")
_WANTED: Final = {
    *("PhotometricInterpretation", "Make", "Model", "UniqueCameraModel", "DNGVersion"),
    *("BlackLevelRepeatDim", "BlackLevel", "BlackLevelDeltaH", "BlackLevelDeltaV", "ActiveArea"),
    *("ColorMatrix1", "ColorMatrix2", "CalibrationIlluminant1", "CalibrationIlluminant2", "AsShotNeutral"),
    *("CFAPlaneColor", "NoiseProfile", *_EXPOSURE),
}
_OTHERWISE: Final = {"PhotographicSensitivity": "ISOSpeedRatings"}  # two names of one tag in EXIF
_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
_NOWHERE: Final = 2**32 - 1  # some makers leave the offset of the strip open
#: What tifffile raises for a damaged file.
DAMAGED: Final = (tifffile.TiffFileError, ValueError, IndexError, KeyError, TypeError, EOFError, struct.error)


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
                    check_whole(path, pages[0], size)
                return _merged(pages)
    except OSError as error:
        raise PhotoError(f"{path} cannot be opened ({error.strerror or error}): check that it may be read") from error
    except PhotoError:
        raise
    except DAMAGED as error:
        raise PhotoError(f"{path} has broken TIFF tags ({error}): it is cut short or not a RAW photo") from error


def tag_numbers(tags: Tags, name: str) -> tuple[float, ...]:
    """Numbers of a tag, none if it is absent.

    >>> tag_numbers({"NoiseProfile": (1e-4, 1e-6)}, "NoiseProfile"), tag_numbers({}, "NoiseProfile")
    ((0.0001, 1e-06), ())
    """
    value = tags.get(name, ())
    return () if isinstance(value, str) else value


def text(tags: Tags, name: str) -> str | None:
    """Text of a tag, None if it is absent or blank."""
    value = tags.get(name)
    return value.strip("\0 ") or None if isinstance(value, str) else None


def is_linear_raw(tags: Tags) -> bool:
    """Whether the file says that its picture is already demosaicked, or monochrome."""
    return tag_numbers(tags, "PhotometricInterpretation") == (PHOTOMETRIC.LINEAR_RAW,)


def check_whole(path: str | os.PathLike[str], page: Any, size: int) -> None:
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
        return int(page.photometric or 0) in (PHOTOMETRIC.CFA, PHOTOMETRIC.LINEAR_RAW), sum(page.databytecounts)

    return sorted(found, key=weight, reverse=True)


def _merged(pages: list[Any]) -> Tags:
    tags: Tags = {}
    for page in pages:
        for tag in page.tags:
            if tag.name in _WANTED:
                tags.setdefault(tag.name, _value(tag.value, tag.dtype in (DATATYPE.RATIONAL, DATATYPE.SRATIONAL)))
            elif tag.name == "ExifTag" and isinstance(tag.value, dict):
                for given, value in tag.value.items():
                    name = _OTHERWISE.get(given, given)
                    if name in _EXPOSURE:
                        tags.setdefault(name, _value(value, name in FRACTIONS))
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

"""A folder of photos: their keys, their sizes, and which of them are the same.

A key is the path inside the folder, POSIX and NFC, and photos are sorted by its code points, so that a folder has one
order on every system.  A fingerprint is BLAKE2b over the size and up to three blocks of 64 KiB (start, middle, end):
cheap for 10^5 photos; only photos that share one are compared whole.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from degrade.core.errors import PhotoError
from degrade.core.maps import Aux

_RAW: Final = (
    "3fr ari arw bay cap cr2 cr3 crw cs1 dcr dcs dng drf eip erf fff gpr iiq k25 kc2 kdc mdc mef mos mrw nef nrw orf "
    "ori pef ptx pxn qtk raf rdc rw2 rwl rwz sr2 srf srw sti x3f"
)
#: RAW formats that LibRaw opens. ``.raw`` is not one of them: headerless dumps of any kind bear that name.
RAW_EXTENSIONS: Final = frozenset("." + name for name in _RAW.split())
#: Ordinary pictures.
PICTURE_EXTENSIONS: Final = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff"))
_BLOCK: Final = 65536


@dataclass(frozen=True)
class Photo:
    """One photo of a folder."""

    key: str  #: path inside the folder, POSIX, NFC
    size: int  #: [bytes]
    fingerprint: str  #: BLAKE2b of size and sampled blocks, hex; empty if the file cannot be read
    duplicate_of: str | None = None  #: key of the first photo with the same content


def find_photos(folder: str | os.PathLike[str], maps: Sequence[Aux] = ()) -> tuple[Photo, ...]:
    """All photos of a folder and its subfolders, sorted by key.

    Hidden files and folders are left out, and so is a picture beside a RAW file of the same stem: its preview. Each
    real folder is entered once, however many links lead to it.

    Args:
        folder: where they lie.
        maps: what lies beside photos and is none, such as their depth.

    Raises:
        FileNotFoundError, NotADirectoryError: if there is no such folder.
        PhotoError: if it holds no photo, or two whose names differ only in their Unicode normalisation.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("b.CR2", "b.JPG", "a.png", "notes.txt"):
    ...         _ = Path(folder, name).write_text(name)
    ...     [photo.key for photo in find_photos(folder)]
    ['a.png', 'b.CR2']
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}: name the folder that holds the photos")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder: name the folder that holds the photos")
    paths: dict[str, Path] = {}
    for relative in _walk(root):
        key = _key(relative)
        if key in paths:
            raise PhotoError(f"two photos in {root} are both named {key!r} up to Unicode normalisation: rename one")
        paths[key] = root / relative
    raws = {_stem(key) for key in paths if _extension(key) in RAW_EXTENSIONS}
    here = root.resolve()
    beside = {os.path.normpath(map_.beside(here / key)) for key in paths for map_ in maps}
    keys = sorted(
        k for k in paths if (_extension(k) in RAW_EXTENSIONS or _stem(k) not in raws) and str(here / k) not in beside
    )
    if not keys:
        known = ", ".join(sorted(RAW_EXTENSIONS | PICTURE_EXTENSIONS))
        raise PhotoError(f"there is no photo in {root}: names must end in one of {known}")
    return _marked([Photo(key, *_fingerprint(paths[key])) for key in keys], paths)


def path_of(folder: str | os.PathLike[str], key: str) -> Path:
    """Where the photo of a key lies, also when the file system stores its name in another normalisation.

    Raises:
        FileNotFoundError: if there is no such photo.
    """
    here = Path(folder)
    if (here / key).exists():
        return here / key
    for part in key.split("/"):
        names = os.listdir(here) if here.is_dir() else []
        found = next((name for name in sorted(names) if unicodedata.normalize("NFC", name) == part), None)
        if found is None:
            raise FileNotFoundError(f"there is no photo {key!r} in {Path(folder)}: was it moved or renamed?")
        here /= found
    return here


def _walk(root: Path) -> Iterator[str]:
    """Relative paths of all files with a photo's extension; real folders come before links to them."""
    real, links, seen = [""], list[str](), set[tuple[int, int]]()
    while real or links:
        here = real.pop() if real else links.pop(0)
        status = os.stat(root / here)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(root / here) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                relative = os.path.join(here, entry.name)
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    real.append(relative)
                elif os.path.isdir(entry.path):
                    links = sorted([*links, relative])
                elif _extension(entry.name) in RAW_EXTENSIONS | PICTURE_EXTENSIONS:
                    yield relative


def _key(relative: str) -> str:
    key = unicodedata.normalize("NFC", relative.replace(os.sep, "/"))
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise PhotoError(f"the file name {relative!r} is not valid Unicode: rename it") from error
    return key


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _stem(key: str) -> str:
    return os.path.splitext(key)[0]


def fingerprint(path: Path) -> str:
    """BLAKE2b of a file's size and sampled blocks, 32 hexadecimal digits; empty if it cannot be read."""
    return _fingerprint(path)[1]


def _fingerprint(path: Path) -> tuple[int, str]:
    """Size and fingerprint; a file that cannot be read has none, and reading it as a photo will say why."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
            if size <= 3 * _BLOCK:
                digest.update(file.read())
            else:
                for start in (0, (size - _BLOCK) // 2, size - _BLOCK):
                    file.seek(start)
                    digest.update(file.read(_BLOCK))
    except OSError:
        return 0, ""
    return size, digest.hexdigest()


def _marked(photos: list[Photo], paths: dict[str, Path]) -> tuple[Photo, ...]:
    """The photos with later copies marked; the whole content is compared where fingerprints agree."""
    groups: dict[str, list[Photo]] = {}
    for photo in photos:
        groups.setdefault(photo.fingerprint or photo.key, []).append(photo)
    first: dict[bytes, str] = {}
    original: dict[str, str] = {}
    for group in groups.values():
        for photo in group if len(group) > 1 else ():
            with open(paths[photo.key], "rb") as file:
                content = hashlib.file_digest(file, "blake2b").digest()
            if first.setdefault(content, photo.key) != photo.key:
                original[photo.key] = first[content]
    return tuple(replace(photo, duplicate_of=original.get(photo.key)) for photo in photos)

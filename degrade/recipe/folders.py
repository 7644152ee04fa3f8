"""Folders of one's own things that a recipe names (cameras, lenses), and files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def own(kind: str) -> Path:
    """The folder of one's own ``kind``: the environment's ``$DEGRADE_<KIND>``, else where the system keeps settings.

    It need not exist.

    >>> own("cameras").name
    'cameras'
    """
    if named := os.environ.get(f"DEGRADE_{kind.upper()}"):
        return Path(named)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "degrade" / kind


@contextmanager
def whole(path: Path) -> Generator[Path]:
    """A name beside ``path`` to write a file or a folder to; at the end it is synced and takes its place, or is gone.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("all of it")
    ...     Path(folder, "a.txt").read_text(), len(os.listdir(folder))
    ('all of it', 1)
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        for part in [*temporary.rglob("*"), temporary]:
            sync_path(part)
        aside = temporary.with_suffix(".old")
        if path.is_dir() and temporary.is_dir():
            os.replace(path, aside)  # a folder takes no other's place in one step
        os.replace(temporary, path)
        shutil.rmtree(aside, ignore_errors=True)
        sync_path(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Makes a file's content, or the names in a folder, last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

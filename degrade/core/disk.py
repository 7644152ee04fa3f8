"""Files that are there whole or not at all: a temporary name beside the file, synced, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

StrPath = str | os.PathLike[str]  #: what names a file or a folder


@contextmanager
def whole(path: Path, temporary: Path | None = None, sync: bool = True) -> Generator[Path]:
    """A name to write a file or a folder to; at the end it takes its place at ``path``, or is gone.

    What stands there is replaced. Where ``path`` is a device or a pipe, it is itself the name to write to.

    Args:
        path: the file, or folder, that is to be.
        temporary: the name, on the same file system; by default one that nobody else uses, beside ``path``.
        sync: wait until all of it is on the disk; without it the caller syncs later.

    Raises:
        OSError: if it cannot be written; it names ``path``, for no user knows the temporary name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("all of it")
    ...     Path(folder, "a.txt").read_text(), len(os.listdir(folder))
    ('all of it', 1)
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    temporary = temporary or path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        if sync:
            for part in [*temporary.rglob("*"), temporary]:
                sync_path(part)
        if path.is_dir() and temporary.is_dir():
            aside = temporary.with_suffix(".old")
            os.replace(path, aside)  # a folder takes no other's place in one step
            os.replace(temporary, path)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(temporary, path)
        if sync:
            sync_path(path.parent)
    except OSError as wrong:
        if wrong.filename in (temporary, str(temporary)):
            wrong.filename, wrong.filename2 = str(path), None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Makes a file's content, or the names in a folder, last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

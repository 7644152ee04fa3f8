"""A store's files on the disk: whole or not there, many synced together; and one sentence when the disk will not.

Everything that passes away lies in ``<store>/.degrade/build``: temporary files, records of finished shards. When the
store is finished the folder is removed in one go, so that nothing stray can stay behind. ``.degrade`` itself is a
Zarr group (its attributes are the list of files), so that other readers do not stumble over it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.disk import sync_path, whole
from degrade.core.errors import StoreError

BUILD = Path(".degrade", "build")
SYNCS = 16  #: files that are synced at a time
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EBADF, errno.ENOSYS)


def digest(data: bytes) -> str:
    """BLAKE2b of some bytes, 64 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


@contextmanager
def explained(store: Path, doing: str, again: str = "it continues") -> Generator[None]:
    """Turns an OSError into one sentence: what, where, what to do, and what comes of it.

    Raises:
        StoreError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free = f"{shutil.disk_usage(store).free / 1e6:.0f} MB free" if store.exists() else "no such folder"
            raise StoreError(
                f"the disk is full ({free}, or a quota or limit on file size) while {doing} in {store}: "
                f"make room and run the same command again, {again}"
            ) from error
        raise StoreError(f"could not go on {doing} in {store}: {error.strerror or error} ({error.filename})") from error


def temporary(store: Path) -> Path:
    """A name that nobody else uses, in the store's own folder for what passes away."""
    return store / BUILD / f"tmp-{secrets.token_hex(8)}"


def sweep(store: Path) -> None:
    """Removes temporary files that somebody left who was stopped or killed."""
    for left in (store / BUILD).glob("tmp-*"):
        left.unlink(missing_ok=True)


def sync_all(paths: Iterable[Path]) -> None:
    """Waits until files and folders are on the disk: asked for together, they share its journal's commits."""
    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(sync_path, paths))


def write_file(store: Path, target: Path, *parts: bytes, sync: bool = True) -> None:
    """Writes a store's file whole or not at all.

    Args:
        sync: wait until it is on the disk; without it the caller syncs later.
    """
    with whole(target, temporary(store), sync) as temp, open(temp, "wb") as file:
        file.writelines(parts)


def contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """The array as one little-endian C block."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


@contextmanager
def locked(store: str | Path) -> Generator[Path]:
    """Holds a store against a second build, and makes its folder. Nothing stays behind, not even after kill -9.

    The lock is ``flock`` on the folder itself. Where a file system has no such locks the build goes on without: two
    builds of one recipe write the same bytes, and a file is replaced whole.

    Raises:
        StoreError: if another process holds it, or the folder cannot be made.
    """
    path = Path(store)
    with explained(path, "making the folder"):
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another process is writing {path}: wait for it, or stop it, or choose another --out"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        try:
            yield path
        finally:
            with suppress(OSError):
                path.rmdir()  # only a folder that nothing was put into
    finally:
        os.close(handle)

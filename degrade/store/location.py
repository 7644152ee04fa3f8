"""Where a store's files lie: a folder, or an address on the web (http, https), in S3 (s3) or Google's cloud (gs).

Files are asked for by name, never listed: the store's own list says what there is. TensorStore fetches them, and
decodes arrays that cannot be mapped; it is the fastest by far of the readers that ``benchmarks/bench_read.py`` races.
It is loaded when first needed, and belongs to the process that loaded it: it does not survive a fork.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.store.layout import Layout
from degrade.store.record import MANIFEST, Files, files_of
from degrade.store.write import read_layout

SCHEMES = ("http", "https", "s3", "gs")
TIMEOUT = 60.0  #: seconds that an answer may take
ROOT = "zarr.json"
LIST = MANIFEST.as_posix()
_PIECE = 8 << 20  # bytes asked for at a time
_CACHE = 64 << 20  # bytes of indices and rows kept of a store
_RETRIES = {"max_retries": 3, "initial_delay": "0.2s", "max_delay": "2s"}
_NO_ANSWER = re.compile(r"ABORTED|UNAVAILABLE|DEADLINE_EXCEEDED|CURL error|PERMISSION_DENIED|UNAUTHENTICATED")
_ADVICE = {  #: what TensorStore says, and what to do about it
    "PERMISSION_DENIED": "check the address, and your credentials",
    "UNAUTHENTICATED": "check your credentials",
    "ignored by server": "serve the folder by a server that knows byte ranges",
    "HTTP code 30": "name the address that this one leads to",
    "DATA_LOSS": "`degrade verify` finds all that is damaged",
    "NOT_FOUND": "`degrade verify` finds all that is missing",
}


class Unreachable(StoreError):
    """Nothing is known of the files: the other side does not answer, or will not."""


class _Beyond(StoreError):
    """Bytes behind the end of a file were asked for."""


def locate(where: str | os.PathLike[str], timeout: float = TIMEOUT) -> Location:
    """The place that a path or an address names.

    Raises:
        StoreError: if it is an address of another kind.

    >>> locate("pairs.zarr"), locate("s3://bucket/pairs.zarr")
    (Folder('pairs.zarr'), Remote('s3://bucket/pairs.zarr'))
    """
    text = os.fspath(where)
    scheme, found, rest = text.partition("://")
    if not found:
        return Folder(Path(text), timeout)
    if scheme not in SCHEMES:
        raise StoreError(f"{text} cannot be read: a store is a folder, or at an address of {', '.join(SCHEMES)}")
    if not rest.strip("/"):
        raise StoreError(f"{text} names no store: say where it lies, such as {scheme}://name/pairs.zarr")
    return Remote(text.rstrip("/"), timeout)


class Location:
    """Files of a store, by name; ``where`` is the folder or the address."""

    def __init__(self, where: Path | str, timeout: float = TIMEOUT) -> None:
        self.where, self.timeout = where, timeout
        self._arrays: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.where)!r})"

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        raise NotImplementedError

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        """A file of about ``size`` bytes, all of it that is there, piece by piece.

        Raises:
            FileNotFoundError: if there is none.
        """
        raise NotImplementedError

    def strays(self, known: set[str]) -> list[str]:
        """Names of files that are not ``known``, where a place can be looked through."""
        raise NotImplementedError

    def layout(self) -> Layout | None:
        """Layout of the store; None where there is no store.

        Raises:
            StoreError: if something else is there, or the root is damaged.
        """
        raise NotImplementedError

    def take(self, name: str, rows: NDArray[np.int64] | None = None, whole: bool = True) -> NDArray[Any]:
        """Rows of an array, however it is kept; all of it if none are named.

        Args:
            whole: a chunk that is missing is an error; else it stands for the fill value, as other writers mean it.

        Raises:
            StoreError: if something is missing or damaged.
            Unreachable: if there was no answer.
        """
        library = tensorstore()
        spec = {
            "driver": "zarr3",
            "kvstore": self.kvstore(f"{name}/"),
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
            "fill_missing_data_reads": not whole,
        }
        with self.explained(name):
            if name not in self._arrays:
                self._arrays[name] = self.wait(library.open(spec, context=self.context, read=True))
            array = self._arrays[name]
            return self.wait((array if rows is None else array[rows]).read())

    def digest(self, name: str, size: int, seen: Callable[[int], object]) -> tuple[int, str] | None:
        """Size and BLAKE2b of a file that should have ``size`` bytes; ``seen`` hears of every piece [byte]."""
        total, length = hashlib.blake2b(digest_size=32), 0
        try:
            for piece in self.pieces(name, size):
                total.update(piece)
                length += len(piece)
                seen(len(piece))
        except FileNotFoundError:
            return None
        return length, total.hexdigest()

    def listed(self) -> Files | None:
        """The store's list of its files: name -> size [byte], BLAKE2b; None where there is none, or it is damaged."""
        return files_of(self.read(LIST) or b"")

    def kvstore(self, path: str) -> dict[str, Any]:
        """TensorStore's word for a folder of the store."""
        raise NotImplementedError

    @cached_property
    def context(self) -> Any:
        """What the arrays of a store share: memory for shards' indices, and how often is asked again."""
        retries = {f"{kind}_request_retries": _RETRIES for kind in ("http", "s3", "gcs")}
        return tensorstore().Context({"cache_pool": {"total_bytes_limit": _CACHE}, **retries})

    def wait(self, future: Any) -> Any:
        """What TensorStore was asked for."""
        return future.result(timeout=self.timeout)

    @contextmanager
    def explained(self, name: str) -> Generator[None]:
        """Turns what TensorStore raises into one sentence.

        Raises:
            Unreachable: if there was no answer.
            StoreError: if the answer was of no use: a file is missing or damaged.
        """
        try:
            yield
        except TimeoutError:
            raise Unreachable(f"{self.where} did not answer in time ({name}): try again, or allow more time") from None
        except (ValueError, NotImplementedError) as error:
            said = re.sub(r"\s*\[\w+=.*", "", str(error).partition("\n")[0])[:300]
            if "OUT_OF_RANGE" in said:
                raise _Beyond(f"{name} of {self.where} is cut short") from None
            said += next((f"; {advice}" for sign, advice in _ADVICE.items() if sign in said), "")
            if _NO_ANSWER.search(said):
                raise Unreachable(f"{self.where} cannot be reached: {said}") from error
            raise StoreError(f"{name} of {self.where} cannot be read: {said}") from error


class Folder(Location):
    """A local folder."""

    def __init__(self, where: Path, timeout: float = TIMEOUT) -> None:
        super().__init__(where, timeout)
        self.folder = where

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        with open(self.folder / name, "rb", buffering=0) as file:
            while piece := file.read(1 << 20):
                yield piece

    def strays(self, known: set[str]) -> list[str]:
        there = (f for f in self.folder.rglob("*") if not f.is_dir() or f.is_symlink())
        moved = {name.rpartition("/")[0] for name in known}  # arrays that lie elsewhere, by a symbolic link
        return sorted({f.relative_to(self.folder).as_posix() for f in there} - known - moved)

    def layout(self) -> Layout | None:
        return read_layout(self.folder)

    def kvstore(self, path: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self.folder.absolute()}/{path}"}


class Remote(Location):
    """Files at an address. ``$AWS_ENDPOINT_URL`` names an S3 of one's own."""

    def __init__(self, where: str, timeout: float = TIMEOUT) -> None:
        super().__init__(where, timeout)
        self.address = where

    def read(self, name: str) -> bytes | None:
        return self._ask(name)

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        for start in range(0, max(size, 1), _PIECE):
            last = start + _PIECE >= size  # and whatever is there beyond
            try:
                piece = self._ask(name, slice(start or None, None if last else start + _PIECE))
            except _Beyond:
                with suppress(_Beyond):
                    yield self._ask(name, slice(start, None)) or b""
                return
            if piece is None:
                raise FileNotFoundError(f"{self.where}/{name}")
            yield piece

    def strays(self, known: set[str]) -> list[str]:
        return []

    def layout(self) -> Layout | None:
        root = self.read(ROOT)
        return None if root is None else Layout.of_root(root, self.where)

    def kvstore(self, path: str) -> dict[str, Any]:
        url = urlsplit(self.address)
        spec = tensorstore().KvStore.Spec(url._replace(path=f"{url.path}/{path}").geturl()).to_json()
        if url.scheme == "s3" and (endpoint := os.environ.get("AWS_ENDPOINT_URL")):
            spec["endpoint"] = endpoint
        return spec

    @cached_property
    def _files(self) -> Any:
        return self.wait(tensorstore().KvStore.open(self.kvstore(""), context=self.context))

    def _ask(self, name: str, part: slice = slice(None)) -> bytes | None:
        tensorstore()  # of this very process
        with self.explained(name):
            found = self.wait(self._files.read(name, byte_range=part))
        return found.value if found.state == "value" else None


@cache
def _owner() -> int:
    return os.getpid()


def tensorstore() -> Any:
    """TensorStore.

    Raises:
        StoreError: in a process that was forked from one in which it ran: its threads are not there.
    """
    import tensorstore

    if _owner() != os.getpid():
        raise StoreError(
            "this process was forked from one that had read a compressed or remote store, whose threads it lacks: "
            'start it by "spawn" (multiprocessing_context="spawn" of a DataLoader)'
        )
    return tensorstore

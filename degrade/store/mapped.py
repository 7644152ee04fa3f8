"""Rows of plain shards, read in place: all shards of a plane as one array, or each row by its position in its file.

Mapped: the shards are mapped one behind the other into one reserved range of addresses, so that a batch is a single
`numpy.take`, as fast as from a `numpy.memmap` of all rows. Positioned: ``preadv`` into the batch, neighbouring rows
at once, from files that are kept open. Warm, mapped rows come about twice as fast; but to map a shard anew for a row
costs several times as much as to read the row, so a store of more shards than may be mapped is read by position.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import count, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import StoreError
from degrade.store.layout import PlaneLayout
from degrade.store.shard import index_bytes, plain_rows, shard_key

_FIXED: Final = 0x10  #: MAP_FIXED of Linux and macOS, which `mmap` does not name
_MAY: Final = os.sysconf("SC_OPEN_MAX")  #: files that the process may have open; -1: any number
_FILES: Final = min(_MAY // 2, 512) if _MAY > 0 else 512  #: files kept open, of all planes and stores
_readers = count()


def plain_shards(folder: Path, plane: PlaneLayout, metadata: Mapping[str, Any], mapped: bool) -> PlainShards | None:
    """A reader of a plane's plain shards; None where the array's metadata, or the system, allows none.

    Args:
        folder: the array's.
        metadata: the array's zarr.json.
        mapped: whether its shards may be mapped.
    """
    per_shard = plain_rows(metadata)
    if per_shard is None or not hasattr(os, "preadv"):
        return None
    # shards follow each other at whole pages; a single one may end anywhere
    pages = metadata["shape"][0] <= per_shard or per_shard * plane.row_bytes % mmap.ALLOCATIONGRANULARITY == 0
    kind = Mapped if mapped and pages and sys.platform in ("linux", "darwin") else Positioned
    return kind(folder, plane, metadata, per_shard)


class PlainShards:
    """Plain shards of a plane; each is looked at once, when a row of it is first asked for."""

    def __init__(self, folder: Path, plane: PlaneLayout, metadata: Mapping[str, Any], per_shard: int) -> None:
        self.plane, self.per_shard = plane, per_shard
        self.total: int = metadata["shape"][0]
        shards = -(-self.total // per_shard)
        self.files = [f"{folder}/{shard_key(metadata, k)}" for k in range(shards)]
        self._known, self._plain = np.zeros(shards, np.bool_), np.zeros(shards, np.bool_)
        self._whole = False
        self._index = cache(partial(index_bytes, rows_per_shard=per_shard, row_bytes=plane.row_bytes))

    def holds(self, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which rows ``(n,)`` lie in shards that are proven plain; None for all, as soon as all shards are."""
        if self._whole:
            return None
        shards = rows // self.per_shard
        for shard in set(shards[~self._known[shards]].tolist()):
            self._plain[shard] = self._open(shard)
            self._known[shard] = True
        self._whole = bool(self._plain.all())
        return self._plain[shards]

    def gather(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copies rows that it holds, ascending, into C-contiguous ``out`` ``(n, c, h, w)``."""
        raise NotImplementedError

    def ahead(self, rows: NDArray[np.int64]) -> None:
        """Asks the system to read rows, ascending, into memory; does not wait for them."""
        if hasattr(os, "posix_fadvise"):
            for shard, runs in groupby(self._runs(rows), itemgetter(0)):
                with suppress(OSError), open(self.files[shard], "rb", buffering=0) as file:
                    for _, offset, part in runs:
                        os.posix_fadvise(file.fileno(), offset, part.stop - part.start, os.POSIX_FADV_WILLNEED)

    def _runs(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, int, slice]]:
        """Runs of neighbours: their shard, where they begin in it, and their bytes among those of all ``rows``."""
        size = self.plane.row_bytes
        shards, places = np.divmod(rows, self.per_shard)
        starts = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (places == 0))
        stops = np.append(starts[1:], len(rows))
        parts = map(slice, (starts * size).tolist(), (stops * size).tolist())
        return zip(shards[starts].tolist(), (places[starts] * size).tolist(), parts, strict=False)

    def rows_of(self, shard: int) -> int:
        """Rows that a shard holds."""
        return min(self.per_shard, self.total - shard * self.per_shard)

    def _open(self, shard: int) -> bool:
        """Whether a shard is plain: proven by its size and its own index, which says that row i lies at
        ``i * row_bytes``, and whose CRC-32C holds.
        """
        rows = self.rows_of(shard)
        index = self._index(rows)
        try:
            with open(self.files[shard], "rb", buffering=0) as file:
                room = os.fstat(file.fileno()).st_size - len(index)
                return room >= rows * self.plane.row_bytes and os.pread(file.fileno(), len(index), room) == index
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self.files[shard], error) from error


class Positioned(PlainShards):
    """Each run of neighbouring rows is one read at its position."""

    def __init__(self, folder: Path, plane: PlaneLayout, metadata: Mapping[str, Any], per_shard: int) -> None:
        super().__init__(folder, plane, metadata, per_shard)
        self._number = next(_readers)
        finalize(self, _file.cache_clear)

    def gather(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        if not len(rows):
            return
        room = out.data.cast("B")
        for shard, offset, part in self._runs(rows):
            _file(self._number, self.files[shard]).read(room[part], offset)


class _File:
    """An open file, closed when neither the cache nor a reader holds it: an evicted one may still be read from."""

    def __init__(self, path: str) -> None:
        self.path, self.number = path, -1
        try:
            self.number = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _unreadable(path, error) from error

    def read(self, room: memoryview, offset: int) -> None:
        """Fills ``room`` with what stands from ``offset`` on."""
        while len(room):
            done = os.preadv(self.number, [room], offset)
            if not done:
                raise StoreError(f"{self.path} ends at byte {offset}, in the midst of its rows: fetch it again")
            room, offset = room[done:], offset + done

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


@lru_cache(_FILES)
def _file(reader: int, path: str) -> _File:
    """A file of a reader's own: what another has open under this path may have been replaced since."""
    return _File(path)


def _unreadable(path: str, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be read: {error.strerror}")


class Mapped(PlainShards):
    """One array of all rows; a shard's pages are put in their place when a row of it is first asked for."""

    def __init__(self, folder: Path, plane: PlaneLayout, metadata: Mapping[str, Any], per_shard: int) -> None:
        super().__init__(folder, plane, metadata, per_shard)
        # pages that nothing is in yet and nobody may write to cost no memory; freeing the range unmaps all in it
        self._range = mmap.mmap(-1, self.total * plane.row_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        self._rows = np.frombuffer(self._range, plane.dtype).reshape(self.total, *plane.shape)

    def gather(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        self._rows.take(rows, axis=0, out=out, mode="clip")  # clip: else numpy fills a buffer of its own first

    def _open(self, shard: int) -> bool:
        if not super()._open(shard):
            return False
        at = self._rows.ctypes.data + shard * self.per_shard * self.plane.row_bytes
        size = self.rows_of(shard) * self.plane.row_bytes
        with open(self.files[shard], "rb", buffering=0) as file:
            got = _mmap()(at, size, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, file.fileno(), 0)
        return got == at


@cache
def _mmap() -> Any:
    """The system's mmap, which can map into a range that is reserved already."""
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ssize_t]
    return function

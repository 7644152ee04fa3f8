"""A plain shard: rows as one C block, then the index of (offset, nbytes), then the index's CRC-32C.

Zarr v3 ``sharding_indexed``: little-endian uint64 pairs, one a row; rows beyond the end of the array are marked
``(2^64 - 1, 2^64 - 1)`` and take no bytes. The same bytes as zarr-python writes with ``write_empty_chunks``. Rows of
quarantined photos are zeros, left as holes in the file where the file system can, and indexed like the others, so
that every shard can be mapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from degrade.store.layout import COLUMN_DTYPES, PLANE_DTYPES

MISSING = np.uint64(2**64 - 1)


def crc32c(data: bytes | NDArray[Any]) -> int:
    """CRC-32C (Castagnoli) of a C-contiguous block.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    return google_crc32c.value(data)


def index_bytes(rows: int, rows_per_shard: int, row_bytes: int) -> bytes:
    """Index and CRC-32C of a shard whose first ``rows`` rows lie one behind the other.

    >>> len(index_bytes(3, 4, 128))
    68
    """
    index = np.full((rows_per_shard, 2), MISSING, "<u8")
    index[:rows, 0] = np.arange(rows, dtype=np.uint64) * np.uint64(row_bytes)
    index[:rows, 1] = row_bytes
    body = index.tobytes()
    return body + crc32c(body).to_bytes(4, "little")


def shard_bytes(rows: NDArray[Any], rows_per_shard: int) -> bytes:
    """A whole shard of the rows ``(n, c, h, w)``, n up to ``rows_per_shard``."""
    block = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    return block.tobytes() + index_bytes(len(block), rows_per_shard, block[:1].nbytes)


def plain_rows(metadata: Mapping[str, Any]) -> int | None:
    """Rows of a shard if the array's zarr.json says that its shards can be mapped, else None.

    That is: one row an inner chunk, shards along rows only, little-endian, uncompressed, index at the end with its
    CRC-32C.
    """
    shape: Sequence[int] = metadata["shape"]
    grid, codecs = metadata["chunk_grid"], metadata["codecs"]
    if grid["name"] != "regular" or metadata["data_type"] not in PLANE_DTYPES or metadata.get("storage_transformers"):
        return None
    chunk: Sequence[int] = grid["configuration"]["chunk_shape"]
    if list(chunk[1:]) != list(shape[1:]) or len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return None
    inner = codecs[0]["configuration"]
    index, own = inner["index_codecs"], inner["codecs"]
    plain = (
        list(inner["chunk_shape"]) == [1, *shape[1:]]
        and inner.get("index_location", "end") == "end"
        and len(index) == 2
        and _little(index[0], 8)
        and index[1]["name"] == "crc32c"
        and len(own) == 1
        and _little(own[0], np.dtype(metadata["data_type"]).itemsize)
    )
    return chunk[0] if plain else None


def plain_array(metadata: Mapping[str, Any], read: Callable[[str], bytes | None]) -> NDArray[Any] | None:
    """A small array that is kept as plain little-endian chunks of whole rows, as columns are; None if it is not.

    Args:
        metadata: its zarr.json.
        read: gives the chunk of a name, None where there is none.
    """
    shape: Sequence[int] = metadata["shape"]
    grid, codecs = metadata["chunk_grid"], metadata["codecs"]
    if grid["name"] != "regular" or metadata["data_type"] not in COLUMN_DTYPES or metadata.get("storage_transformers"):
        return None
    size, *rest = grid["configuration"]["chunk_shape"]
    dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    if rest != list(shape[1:]) or len(codecs) != 1 or not _little(codecs[0], dtype.itemsize):
        return None
    chunks = [read(shard_key(metadata, i)) for i in range(-(-shape[0] // size))]
    whole = [c for c in chunks if c is not None and len(c) == size * math.prod(rest) * dtype.itemsize]
    if len(whole) < len(chunks):
        return None
    return np.frombuffer(b"".join(whole), dtype).reshape(-1, *rest)[: shape[0]]


def _little(codec: Mapping[str, Any], size: int) -> bool:
    return codec["name"] == "bytes" and (size == 1 or codec.get("configuration", {}).get("endian") == "little")


def shard_key(metadata: Mapping[str, Any], shard: int) -> str:
    """Path of a shard below its array's folder, as the array's zarr.json names its chunks."""
    encoding = metadata["chunk_key_encoding"]
    default = encoding["name"] == "default"
    separator = encoding.get("configuration", {}).get("separator", "/" if default else ".")
    parts = [str(shard), *["0"] * (len(metadata["shape"]) - 1)]
    return separator.join(["c", *parts] if default else parts)

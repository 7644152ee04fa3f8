"""The store's zarr.json files, written by ourselves so that their bytes never depend on a library's version.

Zarr v3 core specification; ``sharding_indexed`` with one row an inner chunk, uncompressed, index at the end. The
root's copy of all metadata is the ``consolidated_metadata`` that zarr-python and xarray read. The root seals itself:
its attribute ``seal`` is the BLAKE2b of the file with the seal's digits set to zero.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from degrade.store.disk import digest
from degrade.store.layout import OWN, Column, Layout, PlaneLayout

COLUMN_CHUNK = 65536  #: rows of a chunk of a column, or fewer if there are fewer
_BLANK = "0" * 64
_SEAL = re.compile(rb'"seal": "([0-9a-f]{64})"')
Json = dict[str, Any]


def dumps(value: object) -> bytes:
    """JSON with sorted keys: the same bytes for the same value."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _bytes_codec(dtype: str) -> Json:
    endian = {"configuration": {"endian": "little"}} if np.dtype(dtype).itemsize > 1 else {}
    return {"name": "bytes", **endian}


def _array(
    shape: tuple[int, ...], chunk: tuple[int, ...], dtype: str, fill: float | str, codec: Json, dims: tuple[str, ...],
    attributes: Json,
) -> Json:  # fmt: skip
    return {
        "attributes": attributes,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": [codec],
        "data_type": dtype,
        "dimension_names": list(dims),
        "fill_value": fill,
        "node_type": "array",
        "shape": list(shape),
        "storage_transformers": [],
        "zarr_format": 3,
    }


def sharding(plane: PlaneLayout) -> Json:
    """The one codec of a plane's array."""
    index = [_bytes_codec("uint64"), {"name": "crc32c"}]
    inner = {"chunk_shape": [1, *plane.shape], "codecs": [_bytes_codec(plane.dtype)], "index_codecs": index}
    return {"name": "sharding_indexed", "configuration": {**inner, "index_location": "end"}}


def plane_metadata(layout: Layout, plane: PlaneLayout) -> Json:
    """zarr.json of a plane."""
    shape, chunk = (layout.rows, *plane.shape), (layout.rows_per_shard, *plane.shape)
    fill = 0.0 if plane.dtype == "float32" else 0
    return _array(shape, chunk, plane.dtype, fill, sharding(plane), plane.dims, {"space": plane.space})


def column_metadata(layout: Layout, column: Column) -> Json:
    """zarr.json of a column: plain, one chunk for 65,536 rows."""
    missing = column.missing
    fill = "NaN" if isinstance(missing, float) and math.isnan(missing) else missing
    attributes: Json = {} if column.labels is None else {"labels": list(column.labels)}
    if column.unit:
        attributes["unit"] = column.unit
    shape, chunk = (layout.rows,), (min(COLUMN_CHUNK, layout.rows),)
    return _array(shape, chunk, column.dtype, fill, _bytes_codec(column.dtype), ("row",), attributes)


def table_metadata(name: str, shape: tuple[int, ...], dtype: str, attributes: Json | None = None) -> Json:
    """zarr.json of a part of the photo table: some numbers a photo, or UTF-8 bytes padded with zeros."""
    dims = ("photo_table", f"{name}_{'byte' if dtype == 'uint8' else 'entry'}")[: len(shape)]
    chunk = (min(COLUMN_CHUNK, shape[0]), *shape[1:])
    return _array(shape, chunk, dtype, 0, _bytes_codec(dtype), dims, attributes or {})


def group_metadata(attributes: Mapping[str, Any]) -> Json:
    """zarr.json of a group."""
    return {"attributes": dict(attributes), "node_type": "group", "zarr_format": 3}


def root_open(layout: Layout) -> bytes:
    """The root's zarr.json while the store is being built."""
    own = {**layout.to_json(), "complete": False}
    return dumps(group_metadata({**layout.attributes, OWN: own}))


def root_sealed(layout: Layout, members: Mapping[str, Json], manifest: str) -> bytes:
    """The root's zarr.json of a finished store; ``manifest`` is the digest of the list of files."""
    own = {**layout.to_json(), "complete": True, "manifest": manifest, "seal": _BLANK}
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(members)}
    root = dumps({**group_metadata({**layout.attributes, OWN: own}), "consolidated_metadata": consolidated})
    return root.replace(f'"seal": "{_BLANK}"'.encode(), f'"seal": "{digest(root)}"'.encode())


def lists(root: bytes, manifest: bytes) -> bool:
    """Whether a root is the one that was sealed, over this very list of files."""
    return seal_holds(root) and json.loads(root)["attributes"][OWN]["manifest"] == digest(manifest)


def seal_holds(root: bytes) -> bool:
    """Whether the root's zarr.json is the one that was sealed, to the last bit."""
    found = _SEAL.findall(root)
    blank = _SEAL.sub(f'"seal": "{_BLANK}"'.encode(), root)
    return len(found) == 1 and digest(blank) == found[0].decode()

"""Named arrays and facts in one file: a ``.npz``, or a Zarr v3 group in a folder ``.zarr``; whole, or not there.

In a ``.npz`` facts are arrays without dimensions, in Zarr they are the group's attributes and arrays name their
dimensions; other readers open both without our code.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from degrade.core.disk import whole
from degrade.core.errors import RecipeError

ARRAY_SUFFIXES: Final = (".npz", ".zarr")


def read_arrays(path: Path) -> dict[str, Any]:
    """Arrays and facts by name.

    Raises:
        RecipeError: if the name ends in neither suffix.
    """
    if _suffix(path) == ".npz":
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            return {n: a.item() if a.ndim == 0 else a for n, a in ((n, found[n]) for n in found.files)}
    import zarr

    group = zarr.open_group(str(path), mode="r", zarr_format=3)
    return dict(group.attrs) | {n: np.asarray(cast(Any, a)[...]) for n, a in group.arrays()}


def write_arrays(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    facts: Mapping[str, str | float],
    dimensions: Mapping[str, tuple[str, ...]],
) -> None:
    """Writes them under a temporary name, waits for the disk and renames; what stands there is replaced.

    Args:
        path: ends in one of the suffixes.
        arrays: by name; in Zarr a chunk is one of the first dimension where there are several, else the whole.
        facts: by name.
        dimensions: names of each array's dimensions, for Zarr.

    Raises:
        RecipeError: if the name ends in neither suffix.
    """
    suffix = _suffix(path)
    with whole(path) as temporary:
        if suffix == ".npz":
            with open(temporary, "wb") as file:
                np.savez(file, allow_pickle=False, **{**arrays, **{n: np.array(v) for n, v in facts.items()}})
        else:
            _write_zarr(temporary, arrays, facts, dimensions)


def _write_zarr(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    facts: Mapping[str, str | float],
    dimensions: Mapping[str, tuple[str, ...]],
) -> None:
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=3, attributes=dict(facts))
    for name, values in arrays.items():
        chunk = (1, *values.shape[1:]) if values.ndim > 1 else values.shape
        group.create_array(name, data=values, chunks=chunk, dimension_names=dimensions[name])
    with warnings.catch_warnings():
        # xarray opens a group silently when its metadata are consolidated; zarr warns that the standard lacks them
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path))


def _suffix(path: Path) -> str:
    if path.suffix not in ARRAY_SUFFIXES:
        raise RecipeError(f"its name must end in .npz or .zarr, got {path.name!r}")
    return path.suffix

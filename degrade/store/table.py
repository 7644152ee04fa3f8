"""What a store hands out beside its rows: the photo table, and arrays by name that are read when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.core.errors import find


@dataclass(frozen=True)
class Photos:
    """The photo table; entry i is photo i."""

    keys: tuple[str, ...]
    digests: tuple[str, ...]
    reasons: tuple[str, ...]  #: why a photo is quarantined; empty when it is not
    rows: NDArray[np.int32]  #: rows present
    white_balance: NDArray[np.float32]  #: (photos, 3) gains for R G B that make grey equal
    matrix: NDArray[np.float32]  #: (photos, 3, 3) white-balanced camera RGB to linear sRGB
    models: tuple[str, ...]  #: maker and model of the camera that took it, as the file says
    camera: NDArray[np.float32]  #: (photos, n) the sensor that patches were cut with, see `CAMERA` of
    #: `degrade.store.record`

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def quarantined(self) -> dict[str, str]:
        """Key and reason of the photos that are."""
        return {k: r for k, r in zip(self.keys, self.reasons, strict=True) if r}


class Lazy(Mapping[str, NDArray[Any]]):
    """Arrays by name, read when first asked for.

    >>> Lazy("column", ["iso", "black"], lambda name: np.zeros(3))
    Lazy(iso, black)
    """

    def __init__(self, kind: str, names: Iterable[str], load: Callable[[str], NDArray[Any]]) -> None:
        self._kind, self._names, self._load = kind, {n: n for n in names}, load
        self._have: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._have:
            self._have[name] = self._load(find(name, self._names, self._kind))
        return self._have[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Lazy({', '.join(self._names)})"

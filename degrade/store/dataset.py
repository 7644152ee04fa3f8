"""A store as a map-style data set of torch's: for those who want their own ``DataLoader``, sampler or collation.

`Loader` is faster and resumes exactly; this is for what it does not do. Worker processes may be spawned, and open the
store anew by its path, or forked: maps and reads by position hold no lock, and what does not survive a fork says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from degrade.store.batch import Batch, Maker
from degrade.store.source import Loadable


class PatchDataset(Dataset[Batch]):
    """Rows of a store; made by `PatchStore.dataset`. An item is a dictionary: planes ``(c, h, w)`` and ``row``.

    A ``DataLoader`` asks for the items of a batch at once, and they are gathered like a batch of `Loader`.
    """

    def __init__(
        self, store: Loadable, rows: NDArray[np.int64], planes: tuple[str, ...], dn: bool = False, check: bool = False
    ) -> None:
        self.store, self.rows, self.planes, self.dn, self.check = store, rows, planes, dn, check

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """The items at some places, in any order."""
        rows, at = np.unique(self.rows[np.asarray(indices, np.int64)], return_inverse=True)
        batch, _ = self._make((rows, 0))
        return [{name: tensor[i] for name, tensor in batch.items()} for i in at.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_make"}

    @cached_property
    def _make(self) -> Maker:
        return Maker(self.store, self.planes, torch.device("cpu"), self.dn, self.check)

"""Pairs: what pairs are loaded from, a store with its recipe or several as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from degrade.core.errors import RecipeError
from degrade.pairs.rendered import Draws, Rendered, Renderings
from degrade.store.dataset import PatchDataset
from degrade.store.loader import Loader
from degrade.store.loading import Loading
from degrade.store.order import Shuffling, row_numbers
from degrade.store.source import Loadable


class Pairs(Loadable):
    """Base of what pairs are loaded from: stored planes, and those that are rendered from them."""

    def rendered(self, planes: Sequence[str], draws: Draws = "recorded", seed: int = 0) -> Rendered | Renderings:
        """Planes that are not stored, as renderings of those that are.

        Raises:
            RecipeError: if one of them cannot be rendered from what is stored; says why.
        """
        raise NotImplementedError

    def loader(
        self,
        batch_size: int,
        planes: Sequence[str] | None = None,
        *,
        device: str | torch.device = "cpu",
        shuffle: Shuffling = True,
        seed: int = 0,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        drop_last: bool = False,
        pad: bool = False,
        dn: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
        threads: int = 2,
        check: bool = False,
        draws: Draws = "recorded",
    ) -> Loader:
        """Batches of tensors, see `Loader`.

        Args:
            batch_size: rows a batch, of each rank.
            planes: names, all that are stored if not given. Those of the recipe that are not stored are rendered on
                the device, see `PatchStore.rendered`.
            device: where the tensors go.
            shuffle: another full random order each epoch, from ``seed``; ``"window"``: one in which 16,384
                positions at a time lie in few runs of rows, read ahead of time, for stores larger than memory on
                disks that dislike leaps; False: ascending.
            rows: only these rows, for instance ``store.rows[:1000]``.
            drop_last: leave out a last batch that is not full on all ranks.
            pad: fill it up with the epoch's first rows.
            dn: raw numbers instead of normalised float32.
            rank: which share of the rows, of ``ranks``; that of torch.distributed if not given.
            threads: make batches ahead; 0 makes each when it is asked for.
            check: compare each row with its CRC-32C.
            draws: of planes that are rendered: `recorded`, as a build would have stored them, or `fresh`, anew each
                epoch, from ``seed``, behind the stored plane that they are rendered from.

        Raises:
            UnknownName: if there is no such plane.
            IndexError: if a row is outside the store, or absent.
            RecipeError: if a plane cannot be rendered from what is stored, or has nothing to draw anew; says why. Or
                if the device is not here, or something else makes no sense.
        """
        how = Loading(batch_size, device, shuffle, seed, drop_last, pad, dn, rank, ranks, threads, check)
        index = self.rows if rows is None else np.sort(self.checked(row_numbers(rows)))
        asked = _names(self.planes if planes is None else planes)
        stored, finish = tuple(p for p in asked if p in self.planes), None
        if len(stored) < len(asked):
            rendered = self.rendered([p for p in asked if p not in self.planes], draws)
            rendered.refuse(stored)
            stored, finish = tuple(dict.fromkeys((*stored, *rendered.reads))), rendered.finish(asked, dn)
        elif draws != "recorded":
            raise RecipeError(
                f"draws={draws!r}: the planes asked for are stored as they were drawn ({', '.join(asked)}), so draws "
                "are `recorded`; for fresh ones ask for others, or leave these out of `store:` and build again"
            )
        return Loader(self, index, stored, how, finish)

    def dataset(
        self,
        planes: Sequence[str] | None = None,
        *,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        dn: bool = False,
        check: bool = False,
    ) -> PatchDataset:
        """A map-style data set of torch's, of stored planes, for a ``DataLoader`` of one's own, see `PatchDataset`."""
        index = self.rows if rows is None else self.checked(row_numbers(rows))
        names = tuple(self.layout.plane(p).name for p in _names(self.planes if planes is None else planes))
        return PatchDataset(self, index, names, dn, check)


def _names(planes: Iterable[str]) -> tuple[str, ...]:
    if isinstance(planes, str):
        raise RecipeError(f"planes are a list of names, got {planes!r}: did you mean [{planes!r}]?")
    return tuple(planes)

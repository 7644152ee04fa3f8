"""Held: planes that are not stored, and what is stored that they can be rendered from.

A plane can be rendered from any stored plane whose path begins its own: what is stored is the picture there, exactly,
float32 or the levels of an ADC. The longest such beginning that kept the margin which the operators still to come look
beyond a patch is its root. With the pixels a root keeps what a frame knows beside them: its place on the sensor and the
noise already in it, as notes of each row, and the maps that later operators read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from degrade.recipe import maps
from degrade.recipe.errors import RecipeError, find
from degrade.recipe.frame import Frame

if TYPE_CHECKING:
    from degrade.recipe.paths import Path, Paths
    from degrade.recipe.recipe import Recipe


@dataclass(frozen=True)
class Held:
    """Some planes as renderings of stored ones.

    >>> from degrade import Recipe
    >>> pairs = Recipe.load("residual-maps")
    >>> subject = {"path": ["expose", "patches"], "dtype": "float32", "margin": "keep"}
    >>> small = pairs.changed(planes={"subject": subject, **pairs.planes}, store=("subject",))
    >>> held = Held.of(small, ["noise"])
    >>> held.roots, held.after
    ({'subject': ('expose', 'patches')}, ('cfa', 'adc', 'optics', 'noise'))
    """

    paths: Paths  #: of these planes, and of those they refer to, with just the margins they need or keep
    roots: Mapping[str, Path]  #: stored planes that they begin at
    after: tuple[str, ...]  #: operators that are applied to them
    maps: Mapping[str, tuple[str, ...]]  #: names of the maps that are read behind each root

    @classmethod
    def of(cls, recipe: Recipe, planes: Sequence[str]) -> Held:
        """How these planes are rendered from what a recipe stores.

        Raises:
            RecipeError: saying why not, if one of them cannot be.
        """
        stored: dict[Path, str] = {}
        for name in sorted(recipe.stored, key=recipe.paths.kept):  # of planes alike the one with the widest margin
            stored[recipe.planes[name].path] = name
        narrow: RecipeError | None = None
        while True:
            try:
                found = cls._from(recipe, stored, planes)
            except RecipeError as none:
                raise narrow or none from None
            need = {root: found.paths.margins.get(path, 0) for root, path in found.roots.items()}
            root = next((r for r in found.roots if need[r] > recipe.paths.kept(r)), None)
            if root is None:
                return found
            narrow = RecipeError(
                f"{listed(planes)} cannot be rendered from {root!r}: operators behind it look {need[root]} pixels "
                f"beyond a patch, it keeps {recipe.paths.kept(root)}; give it `margin: keep` in the recipe and build "
                "again"
            )
            del stored[found.roots[root]]  # a shorter beginning may have kept more

    @classmethod
    def _from(cls, recipe: Recipe, stored: Mapping[Path, str], planes: Sequence[str]) -> Held:
        """The same from the nearest of these stored planes, whatever margin they kept."""
        roots: dict[str, list[str]] = {}
        for plane in planes:
            find(plane, recipe.planes, "plane")
            for root, behind in _walk(recipe, stored, plane, recipe.planes[plane].path):
                roots.setdefault(root, []).extend(n for n in behind if n not in roots.get(root, ()))
        after = tuple(n for n in recipe.paths.behind if any(n in names for names in roots.values()))
        wanted = dict.fromkeys((*planes, *filter(None, map(recipe.paths.reference, after))))
        keep = recipe.paths.keep & set(planes)
        paths = replace(recipe.paths, planes={n: recipe.planes[n].path for n in wanted}, keep=keep)
        read = {
            r: tuple(dict.fromkeys(m for n in ns for m in maps.wanted(recipe.operators[n]))) for r, ns in roots.items()
        }
        return cls(paths, {r: recipe.planes[r].path for r in roots}, after, read)

    def drawn(self, recipe: Recipe) -> frozenset[str]:
        """The operators behind the roots that have something to draw."""
        draws = recipe.columns().values
        return frozenset(n for n in self.after if any(draw.startswith(f"{n}.") for draw in draws))


def renderable(recipe: Recipe, planes: Sequence[str]) -> tuple[str, ...]:
    """Those of some planes that can be rendered from what a recipe stores."""

    def can(plane: str) -> bool:
        try:
            return bool(Held.of(recipe, [plane]).roots)
        except RecipeError:  # the reason is told to those who ask for the plane
            return False

    return tuple(filter(can, planes))


def roots(recipe: Recipe) -> Mapping[str, tuple[str, ...]]:
    """The stored planes that others can be rendered from, each with the maps that it keeps for that."""
    kept: dict[str, tuple[str, ...]] = {}
    for plane in renderable(recipe, [p for p in recipe.planes if p not in recipe.stored]):
        for root, names in Held.of(recipe, [plane]).maps.items():
            kept[root] = tuple(dict.fromkeys((*kept.get(root, ()), *names)))
    return kept


def notes(root: str, channels: int) -> tuple[str, ...]:
    """Names of the numbers a row that a root keeps beside its pixels: its place, and the noise in it.

    >>> notes("luma", 1)
    ('luma.origin_y', 'luma.origin_x', 'luma.shot[0]', 'luma.read[0]')
    """
    lines = (f"{line}[{c}]" for line in ("shot", "read") for c in range(channels))
    return tuple(f"{root}.{name}" for name in ("origin_y", "origin_x", *lines))


def noted(root: str, frame: Frame) -> dict[str, Tensor]:
    """What `notes` names, of a root's frame; NaN where no noise is known."""
    lines = frame.noise
    if lines is None:
        lines = torch.full((len(frame), 2, frame.space.channels), float("nan"), device=frame.data.device)
    values = torch.cat((frame.origin.to(torch.float64), lines.flatten(1).to(torch.float64)), dim=1)
    return dict(zip(notes(root, frame.space.channels), values.unbind(1), strict=True))


def known(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Origin and noise of a root's rows from what was noted, (b, 2 + 2 c) in the order of `notes`."""
    lines = values[:, 2:].reshape(len(values), 2, -1).to(torch.float32)
    return values[:, :2].to(torch.int64), None if bool(lines.isnan().any()) else lines


def _walk(recipe: Recipe, stored: Mapping[Path, str], plane: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    """The roots that the end of a path needs, each with the operators between."""
    behind: list[str] = []
    while path not in stored:
        name, path = path[-1], path[:-1]
        if name == recipe.paths.crop_name:
            raise RecipeError(
                f"{plane!r} cannot be rendered from what is stored ({', '.join(recipe.stored)}): no path of these "
                f"begins its own, {' > '.join(recipe.planes[plane].path)}; store its beginning, such as "
                f"`subject: {{path: [{', '.join((*path, name))}], dtype: float32, margin: keep}}`, and build again"
            )
        behind.insert(0, name)
        asked = recipe.paths.reference(name)
        if asked is not None:
            yield from _walk(recipe, stored, plane, recipe.paths.stem(asked, name))
    yield stored[path], behind


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return " and ".join(map(repr, names))

"""Derive: planes that are not stored, and the stored ones that they can be rendered from.

A plane can be rendered from any stored plane whose path begins its own: what is stored is the picture there, exactly,
float32 or the levels of an ADC. The longest such beginning that kept the margin which the operators still to come look
beyond a patch is its root. With the pixels a root keeps what a frame knows beside them: its place on the sensor and the
noise already in it, as notes of each row, and the maps that later operators read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from degrade.core import maps
from degrade.core.errors import RecipeError, find
from degrade.core.frame import Frame
from degrade.recipe.paths import Path, Paths


@dataclass(frozen=True)
class Derivation:
    """Some planes as renderings of stored ones.

    >>> from degrade import Recipe
    >>> pairs = Recipe.load("residual-maps")
    >>> subject = {"path": ["expose", "patches"], "dtype": "float32", "margin": "keep"}
    >>> small = pairs.changed(planes={"subject": subject, **pairs.planes}, store=("subject",))
    >>> derived = Derivation.of(small.paths, small.stored, ["noise"])
    >>> derived.roots, derived.after
    ({'subject': ('expose', 'patches')}, ('cfa', 'adc', 'optics', 'noise'))
    """

    paths: Paths  #: of these planes, and of those they refer to, with just the margins they need or keep
    roots: Mapping[str, Path]  #: stored planes that they begin at
    after: tuple[str, ...]  #: operators that are applied to them
    maps: Mapping[str, tuple[str, ...]]  #: names of the maps that are read behind each root

    @classmethod
    def of(cls, paths: Paths, kept: Sequence[str], planes: Sequence[str]) -> Derivation:
        """How these planes are rendered from those that a store keeps.

        Raises:
            RecipeError: saying why not, if one of them cannot be.
        """
        stored: dict[Path, str] = {}
        for name in sorted(kept, key=paths.kept):  # of planes alike the one with the widest margin
            stored[paths.planes[name]] = name
        narrow: RecipeError | None = None
        while True:
            try:
                found = cls._from(paths, kept, stored, planes)
            except RecipeError as none:
                raise narrow or none from None
            need = {root: found.paths.margins.get(path, 0) for root, path in found.roots.items()}
            root = next((r for r in found.roots if need[r] > paths.kept(r)), None)
            if root is None:
                return found
            narrow = RecipeError(
                f"{quoted(planes)} cannot be rendered from {root!r}: operators behind it look {need[root]} pixels "
                f"beyond a patch, it keeps {paths.kept(root)}; give it `margin: keep` in the recipe and build "
                "again"
            )
            del stored[found.roots[root]]  # a shorter beginning may have kept more

    @classmethod
    def _from(cls, paths: Paths, kept: Sequence[str], stored: Mapping[Path, str], planes: Sequence[str]) -> Derivation:
        """The same from the nearest of these stored planes, whatever margin they kept."""
        roots: dict[str, list[str]] = {}
        for plane in planes:
            find(plane, paths.planes, "plane")
            for root, behind in _walk(paths, kept, stored, plane, paths.planes[plane]):
                roots.setdefault(root, []).extend(n for n in behind if n not in roots.get(root, ()))
        after = tuple(n for n in paths.behind if any(n in names for names in roots.values()))
        wanted = dict.fromkeys((*planes, *filter(None, map(paths.reference, after))))
        own = replace(paths, planes={n: paths.planes[n] for n in wanted}, keep=paths.keep & set(planes))
        read = {
            r: tuple(dict.fromkeys(m for n in ns for m in maps.wanted(paths.operators[n]))) for r, ns in roots.items()
        }
        return cls(own, {r: paths.planes[r] for r in roots}, after, read)

    def drawn(self, draws: Iterable[str]) -> frozenset[str]:
        """The operators behind the roots that have something to draw, by the names of a recipe's draws."""
        draws = tuple(draws)
        return frozenset(n for n in self.after if any(draw.startswith(f"{n}.") for draw in draws))


def renderable(paths: Paths, kept: Sequence[str], planes: Sequence[str]) -> tuple[str, ...]:
    """Those of some planes that can be rendered from those that are kept."""

    def can(plane: str) -> bool:
        try:
            return bool(Derivation.of(paths, kept, [plane]).roots)
        except RecipeError:  # the reason is told to those who ask for the plane
            return False

    return tuple(filter(can, planes))


def roots(paths: Paths, kept: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """The stored planes that others can be rendered from, each with the maps that it keeps for that."""
    found: dict[str, tuple[str, ...]] = {}
    for plane in renderable(paths, kept, [p for p in paths.planes if p not in kept]):
        for root, names in Derivation.of(paths, kept, [plane]).maps.items():
            found[root] = tuple(dict.fromkeys((*found.get(root, ()), *names)))
    return found


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


def _walk(
    paths: Paths, kept: Sequence[str], stored: Mapping[Path, str], plane: str, path: Path
) -> Iterator[tuple[str, list[str]]]:
    """The roots that the end of a path needs, each with the operators between."""
    behind: list[str] = []
    while path not in stored:
        name, path = path[-1], path[:-1]
        if name == paths.crop_name:
            raise RecipeError(
                f"{plane!r} cannot be rendered from what is stored ({', '.join(kept)}): no path of these "
                f"begins its own, {' > '.join(paths.planes[plane])}; store its beginning, such as "
                f"`subject: {{path: [{', '.join((*path, name))}], dtype: float32, margin: keep}}`, and build again"
            )
        behind.insert(0, name)
        asked = paths.reference(name)
        if asked is not None:
            yield from _walk(paths, kept, stored, plane, paths.stem(asked, name))
    yield stored[path], behind


def quoted(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return " and ".join(map(repr, names))

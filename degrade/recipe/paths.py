"""Paths: what follows from named operators and named planes before any photo is opened.

Spaces and sizes along each path, the one crop, the margin that each beginning of a path needs, the border that
operators before the crop leave invalid; and the checks that all of it fits together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

from degrade.core.errors import DegradeError, RecipeError, find, noting
from degrade.core.operator import Operator
from degrade.core.patches import Patches
from degrade.core.spec import Spec

Path = tuple[str, ...]


@dataclass(frozen=True)
class Paths:
    """Planes as sequences of operator names."""

    entry: Spec  #: what a photo is when it is read
    operators: Mapping[str, Operator]
    planes: Mapping[str, Path]
    keep: Set[str]  #: planes that keep the crop's whole margin

    @cached_property
    def crop_name(self) -> str:
        """Name of the crop that all planes share.

        Raises:
            RecipeError: if there is none.
        """
        names = (n for path in self.planes.values() for n in path if isinstance(self.operators.get(n), Patches))
        found = next(names, None)
        if found is None:
            raise RecipeError(
                "no plane passes a crop; add one, such as `patches: {op: crop, size: 128}`, to each plane"
            )
        return found

    @property
    def crop(self) -> Patches:
        """The crop that all planes share."""
        return cast(Patches, self.operators[self.crop_name])

    def before(self, plane: str) -> Path:
        """The operators of a plane that run once a photo."""
        path = self.planes[plane]
        return path[: path.index(self.crop_name)]

    @cached_property
    def behind(self) -> tuple[str, ...]:
        """The operators that run on patches, in the order in which planes first name them."""
        return tuple(dict.fromkeys(n for p, path in self.planes.items() for n in path[len(self.before(p)) + 1 :]))

    def spec(self, path: Path) -> Spec:
        """Space, size and grid after a beginning of a path."""
        if not path:
            return self.entry
        if path not in self._specs:
            before = self.spec(path[:-1])
            with noting(partial(self.whose, path[-1], path)):
                self._specs[path] = self.operators[path[-1]].plan(before)
        return self._specs[path]

    def whose(self, name: str, path: Path = ()) -> str:
        """What a bug in an operator is noted with: its name and class, and the planes that pass it, all or by ``path``.

        >>> from degrade import Recipe
        >>> Recipe.load("residual-maps").paths.whose("optics")
        "operator 'optics' (degrade.operators.optics.PsfBlur) in plane 'blur', 'noise_blur'"
        """
        kind = type(self.operators[name])
        planes = (repr(n) for n, names in self.planes.items() if name in names and names[: len(path)] == path)
        return f"operator {name!r} ({kind.__module__}.{kind.__qualname__}) in plane {', '.join(planes)}"

    @cached_property
    def _specs(self) -> dict[Path, Spec]:
        return {}

    def reference(self, name: str) -> str | None:
        """The plane whose signal an operator asks for."""
        return getattr(self.operators[name], "reference", None)

    def stem(self, plane: str, name: str) -> Path:
        """The beginning of a plane's path that ends just before an operator."""
        path = self.planes[plane]
        return path[: path.index(name)]

    @cached_property
    def margins(self) -> dict[Path, int]:
        """Valid margin [pixels] needed after each beginning of a path, from the crop on."""
        need: dict[Path, int] = {}
        before: dict[Path, int] | None = None
        while need != before:  # a reference asks another plane for as much: a few rounds settle it
            before = dict(need)
            for plane in self.planes:
                self._add_margins(plane, need)
        return need

    def kept(self, plane: str) -> int:
        """Margin [pixels] that a plane's result keeps."""
        spec = self.spec(self.planes[plane])
        if plane in self.keep and spec.whole:
            raise RecipeError(f"plane {plane!r}: its patches are pictures of their own, so there is no margin to keep")
        return round(self.crop.margin / spec.grid.scale[0]) if plane in self.keep else 0

    def _add_margins(self, plane: str, need: dict[Path, int]) -> None:
        path = self.planes[plane]
        after = need[path] = max(need.get(path, 0), self.kept(plane))
        for i in range(len(path) - 1, len(self.before(plane)), -1):
            stem = path[:i]
            with noting(partial(self.whose, path[i], path[: i + 1])):
                enter = self.operators[path[i]].enters(self.spec(stem), after)
            asked = self.reference(path[i])
            if asked is not None:
                other = self.stem(asked, path[i])
                need[other] = max(need.get(other, 0), enter)
            after = need[stem] = max(need.get(stem, 0), enter)

    def filters(self, path: Path) -> bool:
        """Whether an operator of a path looks beyond a pixel, so that noise behind it may be correlated."""
        return any(self.operators[name].needs(self.spec(path[:i]), 0) > 0 for i, name in enumerate(path))

    @cached_property
    def border(self) -> int:
        """Pixels at the photo's edge that operators before the crop leave invalid."""
        worst = 0
        for plane in self.planes:
            lost, path = 0, self.before(plane)
            for i, name in enumerate(path):
                op, spec = self.operators[name], self.spec(path[:i])
                with noting(partial(self.whose, name, path[: i + 1])):
                    lost = math.ceil((lost + op.needs(spec, 0)) / op.ratio(spec))
            worst = max(worst, lost)
        return worst

    # -- checks -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises RecipeError, saying where, unless all fits together."""
        for plane in self.planes:
            self._check_names(plane)
        for plane in self.planes:
            self._check_specs(plane)
        if len({self.spec(self.before(p)).grid for p in self.planes}) > 1:
            raise RecipeError(
                f"all planes must reach {self.crop_name} on one pixel grid: move the resampling behind it, "
                "or before it in every plane"
            )
        for plane, path in self.planes.items():
            for name in path:
                self._check_reference(plane, name)
        fine = max(n for path, n in self.margins.items() if path[-1] == self.crop_name)
        need = math.ceil(fine / self.crop.oversample)
        if need > self.crop.margin:
            raise RecipeError(
                f"{self.crop_name}: the planes look {need} pixels beyond a patch, margin is {self.crop.margin}: "
                f"set margin: {need + need % 2} or more"
            )

    def _check_names(self, plane: str) -> None:
        path = self.planes[plane]
        for name in path:
            find(name, self.operators, f"operator in plane {plane!r}:")
        twice = next((n for n in path if path.count(n) > 1), None)
        if twice is not None:
            raise RecipeError(f"plane {plane!r} passes {twice!r} twice; give the second its own name to draw anew")
        crops = [n for n in path if isinstance(self.operators[n], Patches)]
        if crops != [self.crop_name]:
            raise RecipeError(
                f"plane {plane!r} must pass exactly one crop, the same in all planes ({self.crop_name}), "
                f"it passes {', '.join(crops) or 'none'}"
            )
        for other, names in self.planes.items():
            behind = names[names.index(self.crop_name) + 1 :] if self.crop_name in names else ()
            for name in self.before(plane):
                if name in behind:
                    raise RecipeError(
                        f"{name!r} stands before {self.crop_name} in plane {plane!r} and behind it in {other!r}: "
                        "it needs two names"
                    )

    def _check_specs(self, plane: str) -> None:
        path, spec = self.planes[plane], self.entry
        for i, name in enumerate(path):
            try:
                spec = self.spec(path[: i + 1])
            except DegradeError as wrong:
                raise RecipeError(f"plane {plane!r}, operator {name!r}: {wrong}") from wrong
        if spec.varying:
            raise RecipeError(
                f"plane {plane!r}: its rows end in sizes of their own; resize them to one `size:` at last"
            )

    def _check_reference(self, plane: str, name: str) -> None:
        asked = self.reference(name)
        if asked is None:
            return
        find(asked, self.planes, f"plane in {name}.reference:")
        if name not in self.planes[asked]:
            raise RecipeError(f"{name}.reference: plane {asked!r} does not pass {name!r}")
        if self.spec(self.stem(plane, name)) != self.spec(self.stem(asked, name)):
            raise RecipeError(f"{name}.reference: planes {plane!r} and {asked!r} differ there in space, size or grid")

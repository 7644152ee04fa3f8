"""What a recipe says of a constant subject and of a sharp edge: its operators' rules along each plane's path."""

from __future__ import annotations

import numpy as np
import torch

from degrade.check.rules import At, State, of_row, predicted
from degrade.maths.types import Array
from degrade.recipe.paths import Path
from degrade.recipe.render import Rendering


class Said:
    """What a recipe says of the rows of one rendered probe.

    Args:
        rendering: the probe, drawn.
        subject: (c,) signal of the probe.
        waves: (f, 2) frequencies (y, x) that transfer is told at [cycles a pixel of the crop]; none by default.
        aperture: (f,) transfer that the probe already has.
    """

    def __init__(
        self, rendering: Rendering, subject: Array, waves: Array | None = None, aperture: Array | None = None
    ) -> None:
        self.photo, self.paths, self.subject = rendering, rendering.recipe.paths, subject
        self.waves = np.zeros((0, 2)) if waves is None else waves
        self.aperture = np.ones(len(self.waves)) if aperture is None else aperture
        self._known: dict[tuple[Path, int], State] = {}

    def plane(self, name: str, row: int) -> State:
        """What is said of a plane in the row of that place."""
        return self._after(self.paths.planes[name], row)

    def entering(self, name: str) -> State:
        """What is said of a plane where it enters the crop."""
        return self._after(self.paths.before(name), 0)

    def _after(self, path: Path, row: int) -> State:
        if (path, row) not in self._known:
            self._known[path, row] = self._step(path, row) if path else self._start()
        return self._known[path, row]

    def _start(self) -> State:
        silence = np.zeros_like(self.subject)
        return State(self.subject, silence, np.tile(self.aperture.astype(np.complex128), (len(silence), 1)))

    def _step(self, path: Path, row: int) -> State:
        name, spec, which = path[-1], self.paths.spec(path[:-1]), np.array([row])
        behind = name in self.paths.behind
        crop = self.paths.spec((*self.paths.before(next(iter(self.paths.planes))), self.paths.crop_name))
        asked = self.paths.reference(name)
        at = At(
            sensor=self.photo.sensor.map(lambda t: t[row : row + 1].cpu()),
            field=self.photo.field(which) if behind else torch.full((1, 2), float("nan")),
            spec=spec,
            pixel=spec.grid.scale[0] if behind else spec.grid.scale[0] * crop.grid.scale[0] / self._entering,
            waves=self.waves,
            reference=None if asked is None else self._after(self.paths.stem(asked, name), row),
        )
        before = self._after(path[:-1], row)
        if name == self.paths.crop_name:
            return before
        drawn = self.photo.ops[name] if behind else self.photo.recipe.operators[name].draw(self.photo.key.at(name))
        return predicted(of_row(drawn, row), before, at)

    @property
    def _entering(self) -> float:
        """Side of a pixel that enters the crop [pixels of the photo]."""
        return self.paths.spec(self.paths.before(next(iter(self.paths.planes)))).grid.scale[0]

"""What a build tells of its progress, and the bar under a notebook's cell where nobody asked for another."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any

from degrade.core.progress import Done, Progress, quiet
from degrade.pairs.task import Outcome

EVERY = 0.2  #: seconds between two pictures of a notebook's bar


def by_default() -> Progress:
    """A bar under the cell in a notebook, silence elsewhere.

    >>> by_default() is quiet
    True
    """
    ipython = sys.modules.get("IPython")
    shell: Any = ipython and ipython.get_ipython()
    return NotebookBar() if getattr(shell, "kernel", None) else quiet


def counting(progress: Progress, photos: int, done: int) -> Callable[[Outcome], None]:
    """Adds up outcomes as they come, and tells photos, rows a second and photos that were set aside.

    >>> hear = counting(lambda step: print(step.count), 9, 2)
    2 of 9 photos
    >>> hear(Outcome(photos=1))
    3 of 9 photos
    """
    heard, began = Outcome(photos=done), time.monotonic()

    def hear(outcome: Outcome) -> None:
        heard.photos += outcome.photos
        heard.rows += outcome.rows
        heard.quarantined |= outcome.quarantined
        note = f"{heard.rows / max(time.monotonic() - began, 1e-3):,.0f} rows/s"
        note += f", {len(heard.quarantined)} quarantined" if heard.quarantined else ""
        progress(Done("building", heard.photos, photos, "photos", note))

    progress(Done("building", done, photos, "photos"))
    return hear


class NotebookBar:
    """The browser's own bar, by IPython alone: rich draws none in a notebook that has no ipywidgets."""

    def __init__(self) -> None:
        self.place: Any = None
        self.drawn = 0.0

    def __call__(self, step: Done) -> None:
        now = time.monotonic()
        if self.place is not None and now - self.drawn < EVERY and step.done != step.total:
            return
        self.drawn, shown = now, {"text/plain": str(step), "text/html": as_html(step)}
        if self.place is None:
            from IPython.display import display

            self.place = display(shown, raw=True, display_id=True)
        else:
            self.place.update(shown, raw=True)


def as_html(step: Done) -> str:
    """HTML of a step.

    >>> as_html(Done("building", 3, 9))
    '<progress value="3" max="9"></progress> building: 3 of 9'
    """
    known = "" if step.total is None else f' value="{step.done}" max="{step.total}"'
    return f"<progress{known}></progress> {html.escape(str(step))}"

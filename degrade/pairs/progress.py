"""Progress of long work: a bar with rate and time left, or nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from degrade.pairs.task import Outcome


class Progress(Protocol):
    """What a build tells while it runs."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, photos: int, done: int, per_photo: int) -> None:
        """``done`` of ``photos`` are built already."""

    def seen(self, outcome: Outcome) -> None:
        """Some more photos are done."""


class _Quiet:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def start(self, photos: int, done: int, per_photo: int) -> None:
        return None

    def seen(self, outcome: Outcome) -> None:
        return None


def quiet() -> Progress:
    """Says nothing."""
    return _Quiet()


class _Bar(_Quiet):
    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("[bold]building"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("photos"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[bad]}"),
        )
        self.rows, self.bad = 0, 0

    def __enter__(self) -> Self:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def start(self, photos: int, done: int, per_photo: int) -> None:
        self.task = self.bar.add_task("build", total=photos, completed=done, rate="", bad="")

    def seen(self, outcome: Outcome) -> None:
        self.rows += outcome.rows
        self.bad += len(outcome.quarantined)
        elapsed = self.bar.tasks[self.task].elapsed or 0
        rate = f"{self.rows / elapsed:,.0f} rows/s" if elapsed else ""
        bad = f"[yellow]{self.bad} quarantined" if self.bad else ""
        self.bar.update(self.task, advance=outcome.photos, rate=rate, bad=bad)


def bar() -> Progress:
    """A bar on the terminal."""
    return _Bar()

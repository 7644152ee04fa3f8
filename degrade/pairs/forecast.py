"""What a build will take, foretold from one photo of its own folder: nothing is known of a machine until it has tried.

Rows, files and bytes follow from recipe and photos alone. Time and memory are measured: a fresh process builds two
photos of about the median size, the first to warm up (imports, what compiles), the second against the clock. Then

    T(n) = starts * start + ceil(shards / n) * photos a shard * seconds a photo

for n workers, each with a core of its own and disks that keep up, and the shards that are not built yet. One worker is
the command itself; several start when it has, so that starts is 2.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from degrade.core.errors import DegradeError, PhotoError, StoreError
from degrade.core.progress import Done, Progress, quiet
from degrade.pairs.bug import Bug
from degrade.pairs.plan import Plan, layout, plan, refuse_other
from degrade.pairs.task import Task, build_shard
from degrade.photos import Photo, path_of, read_source
from degrade.recipe.recipe import Recipe
from degrade.store.disk import explained
from degrade.store.layout import Layout
from degrade.store.metadata import COLUMN_CHUNK
from degrade.store.write import create, done_shards

PHOTOS_TRIED = 12  #: photos that are tried until two can be built


@dataclass(frozen=True)
class Measured:
    """One photo, built."""

    photo: str  #: its key
    seconds: float  #: reading, rendering and writing it, in a process that is warm
    read: float  #: of these, reading it [s], its file in the page cache
    rows: int  #: rows present
    start: float  #: until a new process is warm [s]
    memory: int  #: most that the process held [bytes]
    refused: dict[str, str]  #: reason by key of photos that were tried before and would be quarantined


@dataclass(frozen=True)
class Forecast:
    """A build before it starts, and what one photo of it took."""

    photos: int
    photo_bytes: int  #: of all photos
    duplicates: int  #: photos that are copies of others, which a build sets aside
    layout: Layout
    done: int  #: shards that are built already
    measured: Measured
    free: int | None  #: bytes on the disk of the store, where it is known

    @property
    def plane_bytes(self) -> int:
        """Bytes of all planes, their indices included."""
        whole = self.layout
        index = whole.shards * len(whole.planes) * (16 * whole.rows_per_shard + 4)
        return whole.rows * whole.row_bytes + index

    @property
    def column_bytes(self) -> int:
        """Bytes of the columns; a build needs them twice until it is finished."""
        return self._chunks * self._chunk * sum(np.dtype(c.dtype).itemsize for c in self.layout.stored_columns)

    @property
    def left(self) -> int:
        """Shards that are still to be built."""
        return self.layout.shards - self.done

    @property
    def bytes(self) -> int:
        """Most that the store takes, beyond what is built already, until it is finished."""
        return (self.plane_bytes + self.column_bytes) * self.left // self.layout.shards + self.column_bytes

    @property
    def files(self) -> int:
        """Files of the finished store less its few tables."""
        whole = self.layout
        return whole.shards * len(whole.planes) + self._chunks * len(whole.stored_columns)

    @property
    def fits(self) -> bool:
        """Whether the store has room, as far as it is known."""
        return self.free is None or self.bytes <= self.free

    def seconds(self, workers: int) -> float:
        """Time until the store is finished [s]."""
        busy = self._busy(workers)
        photos = min(math.ceil(self.left / busy) * self.layout.photos_per_shard, self.photos)
        return min(busy, 2) * self.measured.start + photos * self.measured.seconds

    def memory(self, workers: int) -> int:
        """Memory of all workers together [bytes]."""
        return self._busy(workers) * self.measured.memory

    def _busy(self, workers: int) -> int:
        """A shard is one worker's."""
        return max(1, min(workers, self.left))

    @property
    def _chunk(self) -> int:
        return min(COLUMN_CHUNK, self.layout.rows)

    @property
    def _chunks(self) -> int:
        return -(-self.layout.rows // self._chunk)


def forecast(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    progress: Progress = quiet,
) -> Forecast:
    """Foretells a build; leaves nothing behind.

    Args:
        recipe: the recipe.
        folder: the photos.
        store: where the store would go, or one that was begun, which is continued; what is built for the measurement
            then lies on the same disk meanwhile.
        progress: hears of each step.

    Raises:
        PhotoError: if none of the photos that were tried can be built.
        StoreError: if the process that built them died, or the store holds something else.
        FileNotFoundError, NotADirectoryError, PhotoError: if the folder is missing or holds no photo.

    >>> from degrade.demo import make_photo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_photo("rocket", Path(folder, "rocket.dng"))
    ...     found = forecast(Recipe.load("residual-maps"), folder)
    >>> found.layout.rows, found.measured.rows, found.fits
    (256, 256, True)
    """
    progress(Done("finding the photos"))
    whole = plan(recipe, folder)
    disk, done = None, 0
    if store is not None:
        target = Path(store).resolve()
        refuse_other(whole, target)
        disk, done = _existing(target), len(done_shards(target, whole.layout))
    progress(Done("building two photos, the first to warm up"))
    measured = _measured(whole, disk)
    copies = sum(photo.duplicate_of is not None for photo in whole.photos)
    free = None if disk is None else shutil.disk_usage(disk).free
    return Forecast(len(whole.photos), sum(p.size for p in whole.photos), copies, whole.layout, done, measured, free)


def _existing(path: Path) -> Path:
    """The nearest folder that is there."""
    return next(p for p in path.parents if p.is_dir())


def _candidates(photos: Sequence[Photo]) -> list[Photo]:
    """The photos nearest to the median size."""
    single = [photo for photo in photos if photo.duplicate_of is None]
    median = sorted(photo.size for photo in single)[len(single) // 2]
    return sorted(single, key=lambda photo: abs(photo.size - median))[:PHOTOS_TRIED]


def _measured(whole: Plan, disk: Path | None) -> Measured:
    import cloudpickle

    here = disk or Path(tempfile.gettempdir())
    with explained(here, "measuring"), tempfile.TemporaryDirectory(prefix=".degrade-plan-", dir=here) as name:
        home = Path(name)
        job = replace(whole, photos=tuple(_candidates(whole.photos)))
        (home / "job").write_bytes(cloudpickle.dumps((job, time.time())))
        # a process of its own: what this one holds would count as memory of a worker
        command = [sys.executable, "-c", f"from {__name__} import measure; measure({name!r})"]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2] or "perhaps of too little memory"
            raise StoreError(f"the process that built a photo to measure it died (status {done.returncode}): {said}")
        found: Measured | Bug | Exception = pickle.loads((home / "found").read_bytes())
    if isinstance(found, Measured):
        return found
    raise found.error() if isinstance(found, Bug) else found


# -- in the process of its own ----------------------------------------------------------------------------------------


def measure(folder: str) -> None:
    """Builds the photos of the job that lies in a folder, and leaves there what was found, or the error."""
    home = Path(folder)
    job, begun = pickle.loads((home / "job").read_bytes())
    try:
        found: Measured | Bug | Exception = _measure(job, home / "store", begun)
    except (DegradeError, OSError) as wrong:
        found = wrong
    except Exception as bug:  # noqa: BLE001  (it is raised where it arrives)
        found = Bug.of(bug)
    (home / "found").write_bytes(pickle.dumps(found))


def _measure(job: Plan, store: Path, begun: float) -> Measured:
    refused: dict[str, str] = {}
    good = _good(job, store, refused)
    first = next(good, None)
    if first is None:
        key, reason = next(iter(refused.items()))
        raise PhotoError(f"none of {len(refused)} photos that were tried can be built, such as {key}: {reason}")
    warm = time.time()
    photo, rows, seconds = next(good, None) or next(_good(replace(job, photos=(first[0],)), store, refused))
    memory = _peak()
    began = time.perf_counter()
    read_source(path_of(job.folder, photo.key), job.recipe.source)
    read = min(time.perf_counter() - began, seconds)
    return Measured(photo.key, seconds, read, rows, max(0.0, warm - begun - seconds), memory, refused)


def _good(job: Plan, store: Path, refused: dict[str, str]) -> Iterator[tuple[Photo, int, float]]:
    """Builds photos one after the other; those that have rows, how many, and in what time [s]."""
    for photo in job.photos:
        one = Plan(job.recipe, job.folder, (photo,), layout(job.recipe, (photo,)))
        create(store, one.layout)
        began = time.perf_counter()
        outcome = build_shard(Task.of(one, store, 0))
        seconds = time.perf_counter() - began
        shutil.rmtree(store)
        refused |= outcome.quarantined
        if outcome.rows:
            yield photo, outcome.rows, seconds


def _peak() -> int:
    """Most memory that this process has held [bytes]; ``ru_maxrss`` of Linux counts what its parent held, too."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

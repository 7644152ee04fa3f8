"""Running a build: shards are tasks, in this process, in local processes, or on a Dask cluster.

The one file that imports Dask, and only when more than one worker is asked for. Finished shards are never touched
again, so the same command continues after any kind of end.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from degrade.core.disk import StrPath
from degrade.core.errors import DegradeError, RecipeError, StoreError, noting
from degrade.core.progress import Progress
from degrade.pairs.bug import Bug
from degrade.pairs.plan import plan, refuse_other
from degrade.pairs.progress import by_default, counting
from degrade.pairs.store import PatchStore
from degrade.pairs.task import Outcome, Task, build_shard
from degrade.photos import Photo
from degrade.recipe.recipe import Recipe
from degrade.store.batch import named_device
from degrade.store.disk import locked, sweep
from degrade.store.finalise import finalise
from degrade.store.write import create, done_shards

if TYPE_CHECKING:
    from distributed import Client

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
WAIT = 60  #: seconds that a scheduler is given to get its first worker
WINDOW = 64  #: tasks under way beyond two a worker thread
PAUSE = 0.1  #: seconds in which finished tasks gather, and are fetched together
RETRIES = 3  #: times a task is tried again when its worker dies or the disk hiccups


@dataclass(frozen=True)
class Report:
    """How a build ended: the whole store's counts, and what this run did."""

    store: Path
    photos: int
    rows: int
    quarantined: Mapping[str, str]  #: reason by key
    warnings: Mapping[str, list[str]]  #: keys by message, of this run
    built: int  #: shards built by this run

    @property
    def exit_code(self) -> int:
        """0 all built, 2 some quarantined, 1 nothing useful."""
        return 1 if self.rows == 0 else 2 if self.quarantined else 0


def build(
    recipe: Recipe | StrPath,
    folder: StrPath,
    store: StrPath,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    client: Client | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Report:
    """Builds a store of patches from a folder of photos; the same call continues one that was interrupted.

    Args:
        recipe: a recipe, or the name or file of one.
        folder: the photos.
        store: where the store goes.
        workers: local processes, one a core by default; 1 builds in this process, without Dask.
        scheduler: address of a running Dask scheduler, ``tcp://host:8786``, instead.
        client: your own Dask client, instead.
        device: where patches are rendered, ``cpu``, ``cuda`` or ``cuda:1``: each worker's own. A GPU rounds otherwise
            in less than a hundredth of the samples, so that a store should be continued where it was begun.
        progress: hears of each step, as ``print`` or ``quiet`` do; None is a bar in a notebook, silence elsewhere.

    A bug in an operator ends the build as what it is, with notes that name operator, plane and photo.

    Raises:
        RecipeError: if the recipe is wrong, or the device is not here.
        StoreError: if the store holds something else, another build is at work, or the disk is full.
        FileNotFoundError, NotADirectoryError, PhotoError: if the folder is missing or holds no photo.

    >>> import tempfile
    >>> from degrade.demo import make_photo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_photo("rocket", Path(folder, "rocket.dng"))
    ...     report = build("residual-maps", folder, Path(folder, "pairs.zarr"), workers=1)
    >>> report.photos, report.rows, report.exit_code
    (1, 256, 0)
    """
    _refuse_bootstrap()
    if workers is not None and workers < 1:
        raise RecipeError(f"workers must be 1 or more, got {workers}")
    if client is None and scheduler is None:
        named_device(device)
    plan_ = plan(recipe if isinstance(recipe, Recipe) else Recipe.load(recipe), folder)
    target = Path(store).resolve()
    refuse_other(plan_, target)
    total = Outcome()
    with locked(target):
        create(target, plan_.layout)
        done = set(done_shards(target, plan_.layout))
        tasks = [Task.of(plan_, target, k, device) for k in range(plan_.layout.shards) if k not in done]
        try:
            before = sum(len(plan_.shard(k)) for k in done)
            hear = counting(by_default() if progress is None else progress, plan_.layout.photos, before)
            with noting(_KEPT):
                for outcome in _outcomes(tasks, workers, scheduler, client, hear):
                    total.add(outcome)
        except KeyboardInterrupt:  # which may come where nobody clears up
            sweep(target)
            raise
        finalise(target, plan_.layout)
    built = PatchStore(target)
    return Report(target, len(built.photos), len(built), built.photos.quarantined, total.warnings, len(tasks))


_KEPT = "The shards that are built are kept: once this is mended, the same build continues."
_GUARD = 'call build() under `if __name__ == "__main__":`'


def _refuse_bootstrap() -> None:
    """Ends a process that imports its parent's script again and would build there, too."""
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        # of a worker that is ours the parent tells
        raise SystemExit(
            1 if process.name.startswith("Dask") else f"build() ran while a process was starting: {_GUARD}"
        )


# -- one worker, or many ----------------------------------------------------------------------------------------------


def _outcomes(
    tasks: list[Task],
    workers: int | None,
    scheduler: str | None,
    client: Client | None,
    hear: Callable[[Outcome], object],
) -> Iterator[Outcome]:
    count = min(workers or os.cpu_count() or 1, len(tasks))
    if client is None and scheduler is None and count <= 1:
        for task in tasks:
            yield build_shard(task, hear)
        return
    if not tasks:
        return
    with _client(count, scheduler, client) as connected:
        for outcome in _submitted(connected, tasks):
            hear(outcome)
            yield outcome


@contextmanager
def _client(count: int, scheduler: str | None, client: Client | None) -> Generator[Client]:
    import dask.config
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    if client is not None:
        yield client
        return
    if scheduler is not None:
        try:
            _check_address(scheduler)
            connected = Client(scheduler, timeout="5s", set_as_default=False)
        except (OSError, ValueError) as wrong:
            raise StoreError(
                f"no Dask scheduler answers at {scheduler!r}: start one with `dask scheduler`, or check the address, "
                "such as tcp://host:8786"
            ) from wrong
        # that a connection is lost is told in our own words
        with silence_logging_cmgr(logging.CRITICAL), connected:
            try:
                connected.wait_for_workers(1, timeout=WAIT)
            except TimeoutError as wrong:
                raise StoreError(
                    f"no worker has joined {scheduler} within {WAIT} s: start some with `dask worker {scheduler}`"
                ) from wrong
            yield connected
        return
    quietly: dict[str, Any] = {"distributed.worker.daemon": True, "distributed.scheduler.allowed-failures": 2 * RETRIES}
    with dask.config.set(quietly), ExitStack() as stack:
        try:
            with _deaf_to_ctrl_c():
                cluster = stack.enter_context(
                    LocalCluster(
                        n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
                    )
                )
        except RuntimeError:
            raise StoreError(f"the local workers did not start: in a script, {_GUARD}, or use workers=1") from None
        connected = stack.enter_context(Client(cluster, set_as_default=False))
        try:
            yield connected
        finally:
            with _deaf_to_ctrl_c():  # impatience would leave workers behind, and Dask's complaints
                stack.close()


def _check_address(address: str) -> None:
    """Raises ValueError if this is no address; a client that finds it out itself would hang for long."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, place = parse_address(address)
    get_backend(scheme)
    parse_host_port(place)


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None]:
    """Threads and processes begun here never hear of Ctrl-C, which a terminal sends to all: this process tells them.

    What is begun here is begun whole: a Ctrl-C meanwhile is heard at the end.
    """
    resource_tracker.ensure_running()  # which would otherwise start within, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # an older thread, such as a progress bar's, may still catch the signal, and Python hands it to the main one
    main = threading.current_thread() is threading.main_thread()
    heard: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if main else None
    try:
        yield
    finally:
        if usual is not None:
            signal.signal(signal.SIGINT, usual)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _submitted(client: Client, tasks: list[Task]) -> Iterator[Outcome]:
    """Outcomes as they come; a bounded window of tasks is under way, so that memory does not grow with their number.

    What comes together is fetched together, and as many new tasks follow at once: a message costs as much as a task.
    """
    import cloudpickle
    from distributed import as_completed

    waiting = iter(tasks)
    packed = cloudpickle.dumps(tasks[0])
    name = tasks[0].layout.identity[:16]
    running = as_completed(loop=client.loop)

    def submit() -> None:
        # asked each time, for workers come and go
        window = WINDOW + 2 * sum(cast("dict[str, int]", client.nthreads()).values())
        if more := list(itertools.islice(waiting, window - running.count())):
            keys = [f"shard-{name}-{task.shard}" for task in more]
            shards, photos = [task.shard for task in more], [task.photos for task in more]
            run = functools.partial(_build_packed, packed)
            running.update(client.map(run, shards, photos, key=keys, retries=RETRIES, pure=False))

    try:
        submit()
        for batch in running.batches():
            time.sleep(PAUSE)
            batch += running.next_batch(block=False)
            yield from _results(client, batch)
            submit()
    finally:
        client.cancel(list(running.futures))


def _build_packed(packed: bytes, shard: int, photos: tuple[Photo, ...]) -> Outcome | Bug:
    """A task as it travels: what all have in common is one block of bytes, which the scheduler need not understand."""
    try:
        return build_shard(replace(_unpacked(packed), shard=shard, photos=photos))
    except (DegradeError, OSError):
        raise
    except Exception as bug:  # noqa: BLE001  (it is raised where it arrives)
        return Bug.of(bug)


@functools.lru_cache(4)
def _unpacked(packed: bytes) -> Task:
    """Once a worker, not once a task."""
    _keep_freed_memory()
    return pickle.loads(packed)


def _keep_freed_memory() -> None:
    """Lets this process keep what it frees, as any process of glibc's does by itself.

    Dask starts workers with a MALLOC_TRIM_THRESHOLD_ of 64 KiB: each tensor's pages would go back to the system and
    come again, cleared, which takes longer than all the rest of a build.
    """
    with suppress(OSError, AttributeError, TypeError):  # another system's library has no such function
        libc = ctypes.CDLL(None)
        for option, size in ((_M_TRIM_THRESHOLD, 64 << 20), (_M_MMAP_THRESHOLD, 32 << 20)):
            libc.mallopt(option, size)


def _results(client: Client, futures: list[Any]) -> list[Outcome]:
    from distributed import CancelledError, KilledWorker

    try:
        found = cast("list[Outcome | Bug]", client.gather(futures))
    except KilledWorker as wrong:
        raise StoreError(
            f"worker processes died again and again while building {wrong.task}, perhaps of too little memory: "
            "use fewer workers and run the same command again, it continues"
        ) from wrong
    except CancelledError as wrong:
        raise StoreError("the Dask scheduler went away: run the same command again, it continues") from wrong
    for outcome in found:
        if isinstance(outcome, Bug):
            raise outcome.error()
    return [outcome for outcome in found if isinstance(outcome, Outcome)]

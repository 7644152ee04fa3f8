"""A build on Slurm: jobs of dask-jobqueue are its workers. Run it where jobs may be submitted, in tmux or as a job.

    pip install dask-jobqueue
    python slurm.py residual-maps /shared/photos /shared/pairs.zarr --jobs 40 --queue cpu

A worker retires before its job's time is up, and another job follows; the shard that it was at is built again
elsewhere. If this process ends, run the same command again: it continues.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import timedelta

import dask.config
from dask.utils import format_time, parse_timedelta
from dask_jobqueue import SLURMCluster
from distributed import Client

from degrade import Recipe, build


def count(text: str) -> int:
    """1 or more."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text!r}")
    return int(text)


def walltime(text: str) -> timedelta:
    """As Slurm writes it."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be [days-]hours:minutes:seconds, got {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days, hours=hours, minutes=minutes, seconds=seconds)


def span(text: str) -> float:
    """Seconds of ``10m``."""
    try:
        return parse_timedelta(text)
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"must be a time such as 10m or 90s, got {text!r}") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe file, or a shipped pipeline such as residual-maps")
    parser.add_argument("photos", help="their folder, seen by every node under this name")
    parser.add_argument("store", help="where the store goes, seen by every node under this name")
    parser.add_argument("--jobs", type=count, default=10, help="at most so many at a time")
    parser.add_argument("--workers", type=count, default=8, help="worker processes of a job, one core each")
    parser.add_argument("--memory", default="16GB", help="of a job: workers times what `degrade plan` says, and a half")
    parser.add_argument("--walltime", type=walltime, default="04:00:00", help="of a job, [days-]hours:minutes:seconds")
    parser.add_argument("--margin", type=span, default="10m", help="before the end of the walltime workers retire")
    parser.add_argument("--queue", help="the partition")
    parser.add_argument("--account", help="who pays")
    parser.add_argument("--scratch", default="/tmp", help="a folder of the node's own disk, for Dask's files")
    parser.add_argument("--interface", help="the network interface that nodes share, such as ib0")
    chosen = parser.parse_args()
    lifetime = chosen.walltime.total_seconds() - chosen.margin
    if lifetime <= 0:
        parser.error(f"--walltime {chosen.walltime} leaves nothing above --margin {format_time(chosen.margin)}")
    recipe = Recipe.load(chosen.recipe)
    # a shard that a worker was at when it retired is not one that kills workers
    dask.config.set({"distributed.scheduler.allowed-failures": 10})
    with SLURMCluster(
        queue=chosen.queue,
        account=chosen.account,
        cores=chosen.workers,
        processes=chosen.workers,
        memory=chosen.memory,
        walltime=f"{chosen.walltime.days}-{timedelta(seconds=chosen.walltime.seconds)}",
        interface=chosen.interface,
        local_directory=chosen.scratch,
        # not all at the same minute, so that the file system is not left alone and then stormed
        worker_extra_args=["--lifetime", f"{lifetime:.0f}s", "--lifetime-stagger", f"{chosen.margin / 2:.0f}s"],
        scheduler_options={"dashboard_address": ":0"},
        job_script_prologue=["export OMP_NUM_THREADS=1"],
        python=sys.executable,
    ) as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=chosen.jobs)
        with Client(cluster) as client:
            print(f"{cluster.scheduler_address}; shards wait for the first job", flush=True)
            report = build(recipe, chosen.photos, chosen.store, client=client)
    print(f"{report.store}: {report.rows:,} rows of {report.photos - len(report.quarantined):,} photos")
    return report.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, RuntimeError, ValueError) as wrong:  # which say what to do; of recipe, photos and store
        sys.exit(f"error: {wrong}")

"""A build on Slurm: jobs of dask-jobqueue are its workers. Run it where jobs may be submitted, in tmux or as a job.

    pip install dask-jobqueue
    python slurm.py residual-maps /shared/photos /shared/pairs.zarr --jobs 40 --queue cpu

A worker retires before its job's time is up, and another job follows; the shard that it was at is built again
elsewhere. If this process ends, run the same command again: it continues.
"""

from __future__ import annotations

import argparse
import sys

import dask.config
from dask.utils import format_time, parse_timedelta
from dask_jobqueue import SLURMCluster
from distributed import Client

from degrade import Recipe, build


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe file, or a shipped pipeline such as residual-maps")
    parser.add_argument("photos", help="their folder, seen by every node under this name")
    parser.add_argument("store", help="where the store goes, seen by every node under this name")
    parser.add_argument("--jobs", type=int, default=10, help="at most so many at a time")
    parser.add_argument("--workers", type=int, default=8, help="worker processes of a job, one core each")
    parser.add_argument("--memory", default="16GB", help="of a job: workers times what `degrade plan` says, and a half")
    parser.add_argument("--walltime", default="04:00:00", help="of a job, hours:minutes:seconds")
    parser.add_argument("--margin", default="10m", help="time before the end of the walltime in which workers retire")
    parser.add_argument("--queue", help="the partition")
    parser.add_argument("--account", help="who pays")
    parser.add_argument("--scratch", default="/tmp", help="a folder of the node's own disk, for Dask's files")
    parser.add_argument("--interface", help="the network interface that nodes share, such as ib0")
    chosen = parser.parse_args()
    hours, minutes, seconds = (int(part) for part in chosen.walltime.split(":"))
    margin = parse_timedelta(chosen.margin)
    lifetime = 3600 * hours + 60 * minutes + seconds - margin
    if lifetime <= 0:
        parser.error(f"--walltime {chosen.walltime} leaves nothing above --margin {format_time(margin)}")
    # a shard that a worker was at when it retired is not one that kills workers
    dask.config.set({"distributed.scheduler.allowed-failures": 10})
    with SLURMCluster(
        queue=chosen.queue,
        account=chosen.account,
        cores=chosen.workers,
        processes=chosen.workers,
        memory=chosen.memory,
        walltime=chosen.walltime,
        interface=chosen.interface,
        local_directory=chosen.scratch,
        # not all at the same minute, so that the file system is not left alone and then stormed
        worker_extra_args=["--lifetime", f"{lifetime:.0f}s", "--lifetime-stagger", f"{margin / 2:.0f}s"],
        scheduler_options={"dashboard_address": ":0"},
        job_script_prologue=["export OMP_NUM_THREADS=1"],
        python=sys.executable,
    ) as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=chosen.jobs)
        with Client(cluster) as client:
            print(f"{cluster.scheduler_address}; waiting for the first job", flush=True)
            client.wait_for_workers(1)
            report = build(Recipe.load(chosen.recipe), chosen.photos, chosen.store, client=client)
    print(f"{report.store}: {report.rows:,} rows of {report.photos - len(report.quarantined):,} photos")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())

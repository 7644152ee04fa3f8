"""``degrade`` in processes of its own that start in milliseconds: forks of one that has its imports done.

A fork runs the very entry point of the installed command, leads a process group of its own, and can be killed like
any other. What must be tested from a cold start uses the fixture ``command`` instead.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

_SERVER = """
import json, os, signal, sys
import torch, rawpy, zarr, distributed
import degrade.cli, degrade.pairs.run, degrade.photos
from degrade.core.registry import load_operators
load_operators()

def run(job):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, job["out"], 577), (2, job["err"], 577)):
        file = os.open(name, flags, 0o666)
        os.dup2(file, number)
        os.close(file)
    os.environ.update(job["env"])
    sys.argv = ["degrade", *job["arguments"]]
    exec(job["before"])
    try:
        degrade.cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # less the half second in which libraries are taken down

for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        print(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        run(job)
    print(pid, flush=True)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int  #: exit status; -9 if it was killed
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one sentence after which it gave up; fails if there is more, or less."""
        assert self.code == 1, self
        assert self.err.startswith("error: "), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.out + self.err, self
        return self.err.removeprefix("error: ").strip()


class Launcher:
    """Starts commands; a context."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._numbers = folder, itertools.count()

    def __enter__(self) -> Self:
        self._server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=-1, stdout=-1, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def ask(self, job: dict[str, Any]) -> int:
        """Tells the server; its answer is a number."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, *arguments: object, before: str = "", env: dict[str, str] | None = None) -> Started:
        """Starts ``degrade`` with these arguments.

        Args:
            before: code that runs first, in the process itself.
            env: added to the environment.
        """
        out, err = (self.folder / f"{next(self._numbers)}.txt" for _ in range(2))
        out.touch()
        err.touch()
        texts = [str(a) for a in arguments]
        job = {"arguments": texts, "before": before, "env": env or {}, "out": str(out), "err": str(err)}
        return Started(self, self.ask(job), out, err)

    def __call__(self, *arguments: object, before: str = "", env: dict[str, str] | None = None) -> Done:
        """Starts ``degrade`` and waits for its end."""
        return self.start(*arguments, before=before, env=env).wait()


@dataclass
class Started:
    """A command that runs."""

    launcher: Launcher
    pid: int
    out: Path
    err: Path

    def wait(self) -> Done:
        """Waits for its end."""
        code = self.launcher.ask({"wait": self.pid})
        return Done(code, self.out.read_text("utf-8"), self.err.read_text("utf-8"))

    def signal(self, number: int) -> None:
        """Sends a signal to it alone."""
        os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Sends a signal to it and to all processes that it has started."""
        os.killpg(self.pid, number)

    @property
    def process(self) -> psutil.Process:
        """The process itself."""
        return psutil.Process(self.pid)

    def children(self) -> list[psutil.Process]:
        """All processes that it has started."""
        return self.process.children(recursive=True)


def package(folder: Path, name: str, code: str) -> None:
    """A package as it lies when it is installed: a module, and what pip notes of it."""
    info = folder / f"{name}_ops-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-ops\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text(f"[degrade.operators]\n{name} = {name}\n")
    folder.joinpath(f"{name}.py").write_text(code)

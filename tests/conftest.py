"""What all tests share: one torch thread, reproducible hypothesis, the folder of real camera files, one demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings
from launch import Launcher

torch.set_num_threads(1)  # parallelism is tasks; and results are then the same on every machine

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # a job in the background of a script ignores Ctrl-C, and so would every command that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "house", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=1000, database=None)  # --hypothesis-profile=explore
settings.load_profile("house")

ROOT = Path(__file__).parents[1]
collect_ignore = ["foreign.py"]  # to import it is to register its operator, which its tests do and undo


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real camera files; a test that asks for it is skipped where there is none."""
    named = os.environ.get("DEGRADE_SAMPLES")
    if not named:
        pytest.skip("needs real camera files: set DEGRADE_SAMPLES to their folder")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"DEGRADE_SAMPLES is {named!r}, which is not a folder")
    return folder


@pytest.fixture(scope="session")
def command() -> Path:
    """The installed command ``degrade``."""
    return Path(sys.executable).with_name("degrade")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, command: Path) -> Path:
    """The folder that ``degrade demo`` makes, made once in a run of the tests, whatever the number of workers.

    Copy it before changing anything in it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "made-once"
    with FileLock(shared / "made-once.lock"):
        if not (folder / "whole").exists():
            folder.mkdir(exist_ok=True)
            done = subprocess.run([command, "demo"], cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "whole").touch()
    return folder / "demo"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """The command, started afresh by each call, whose imports are paid for once a file."""
    with Launcher(tmp_path_factory.mktemp("out")) as launcher:
        yield launcher

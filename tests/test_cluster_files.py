"""Job files of clusters: they parse, and every option that they name is there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from degrade.cli import app
from degrade.recipe.files import shipped

FOLDER = Path(__file__).parents[1] / "pipelines" / "cluster"


def options(*command: str) -> set[str]:
    """The options that a command's help names."""
    if command[0] == "degrade":
        text = CliRunner().invoke(app, [*command[1:], "--help"], env={"COLUMNS": "200"}).output
    else:
        run = [sys.executable, "-m", *command, "--help"]
        text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", text))


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return [dict(d) for d in YAML(typ="safe", pure=True).load_all((FOLDER / "kubernetes.yaml").read_text("utf-8"))]


def containers(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [c for d in documents if "template" in d["spec"] for c in d["spec"]["template"]["spec"]["containers"]]


def test_kubernetes_says_what_degrade_and_dask_understand(documents: list[dict[str, Any]]) -> None:
    kinds = [d["kind"] for d in documents]
    assert kinds == ["PersistentVolumeClaim", "Service", "Deployment", "Deployment", "Job"]
    for container in containers(documents):
        words = [*container["command"], *container.get("args", [])]
        assert {w for w in words if w.startswith("--")} <= options(*words[:2]), words
    assert len({c["image"] for c in containers(documents)}) == 1


def test_kubernetes_parts_find_each_other(documents: list[dict[str, Any]]) -> None:
    claim, service, scheduler, worker, job = documents
    assert service["spec"]["selector"].items() <= scheduler["spec"]["template"]["metadata"]["labels"].items()
    for deployment in (scheduler, worker):
        assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for part in (worker, job):
        container = part["spec"]["template"]["spec"]["containers"][0]
        assert address in [*container["command"], *container["args"]]
        volume = part["spec"]["template"]["spec"]["volumes"][0]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/data"}]


def test_the_image_copies_what_is_there() -> None:
    copied = re.findall(r"^COPY (.+) /src/", (FOLDER / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (FOLDER.parents[1] / name).exists(), name


def test_slurm_calls_what_is_there() -> None:
    code = (FOLDER / "slurm.py").read_text("utf-8")
    tree = ast.parse(code)
    given = {str(n.value) for n in ast.walk(tree) if isinstance(n, ast.Constant) and str(n.value).startswith("--life")}
    assert given == {"--lifetime", "--lifetime-stagger"}
    assert given <= options("dask", "worker")
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "build"]
    assert [k.arg for c in calls for k in c.keywords] == ["client"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--walltime", "4h"), "--walltime: must be [days-]hours:minutes:seconds, got '4h'"),
        (("--walltime", "0-00:05:00"), "--walltime 0:05:00 leaves nothing above --margin 600.00 s"),
        (("--margin", "soon"), "--margin: must be a time such as 10m or 90s, got 'soon'"),
        (("--jobs", "0"), "--jobs: must be 1 or more, got '0'"),
        (("--walltime", "1-00:00:00"), "error: no recipe 'nothing'"),
    ],
)
def test_slurm_says_what_is_wrong_before_it_asks_for_a_job(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    (tmp_path / "dask_jobqueue.py").write_text("SLURMCluster = None\n")
    command = [sys.executable, FOLDER / "slurm.py", "nothing", "photos", "store", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_ssh_is_a_script_that_says_how_it_is_called() -> None:
    script = FOLDER / "ssh.sh"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ssh.sh HOSTS RECIPE PHOTOS STORE" in done.stdout
    assert "set -euo" not in done.stdout
    text = script.read_text("utf-8")
    worker = text[text.index("-m dask worker") : text.index("< /dev/null")]
    assert set(re.findall(r"--[a-z-]+", worker)) <= options("dask", "worker")
    assert {"--out", "--scheduler"} <= options("degrade", "build")


def test_job_files_are_no_recipes() -> None:
    assert not {"kubernetes", "cluster", "slurm"} & shipped().keys()

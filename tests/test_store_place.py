"""Stores at an address: the same rows and facts as local, one sentence for what is not there or does not answer."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import served
import stores

from degrade.core.errors import StoreError
from degrade.pairs.store import PatchStore
from degrade.store.copy import copy
from degrade.store.location import Unreachable, locate
from degrade.store.verify import verify
from degrade.store.write import create

HERE = [r for r in range(stores.LAYOUT.rows) if stores.present(r)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bucket with one store, plain and compressed."""
    folder = tmp_path_factory.mktemp("bucket")
    copy(stores.build(folder / "plain.zarr"), folder / "blosc.zarr", "blosc")
    return folder


@pytest.fixture(scope="module")
def local(folder):
    return PatchStore(folder / "plain.zarr")


@pytest.fixture(scope="module")
def server(folder):
    with served.served(folder) as (address, asked):
        yield address, asked


@pytest.fixture
def s3(folder, monkeypatch):
    """The address of an S3 over the folder's parent."""
    with served.served(folder.parent) as (address, _):
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "some",
            "AWS_SECRET_ACCESS_KEY": "body",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{folder.name}"


def same(mine: PatchStore, theirs: PatchStore) -> None:
    rows = [33, 2, 2, 14, 27, 0]
    for name in theirs.planes:
        np.testing.assert_array_equal(mine.read(name, rows), theirs.read(name, rows))
        np.testing.assert_array_equal(mine.read(name, HERE, dn=True), theirs.read(name, HERE, dn=True))
    for a, b in zip(mine.loader(6, seed=3), theirs.loader(6, seed=3), strict=True):
        for name in b:
            np.testing.assert_array_equal(a[name], b[name])
    for name in theirs.columns:
        np.testing.assert_array_equal(mine.columns[name], theirs.columns[name])
    assert mine.photos.keys == theirs.photos.keys
    assert mine.row(27).draws == theirs.row(27).draws
    assert mine.to_pandas().equals(theirs.to_pandas())


@pytest.mark.parametrize("name", ["plain.zarr", "blosc.zarr", "blosc.zarr/", "plain.zarr?key=a%20b"])
def test_over_http_everything_is_as_local(server, local, name):
    there = PatchStore(f"{server[0]}/{name}")
    same(there, local)
    assert {**there.info(), "path": 0, "bytes": 0} == {**local.info(), "path": 0, "bytes": 0}
    assert json.dumps(there.info())
    assert there.verify() == []
    same(pickle.loads(pickle.dumps(there)), local)


def test_nothing_is_asked_for_but_files_of_the_list(server, folder):
    address, asked = server
    asked.clear()
    PatchStore(f"{address}/blosc.zarr").info()
    assert 0 < len(asked) < 60
    assert all((folder / path.lstrip("/")).is_file() for path in asked)


@pytest.mark.parametrize("name", ["plain.zarr", "blosc.zarr"])
def test_over_s3_everything_is_as_local(s3, local, name):
    there = PatchStore(f"{s3}/{name}")
    same(there, local)
    assert there.verify() == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://host/pairs.zarr", "a store is a folder, or at an address of http, https, s3, gs"),
        ("s3://", "s3:// names no store: say where it lies, such as s3://name/pairs.zarr"),
        ("https:///", "https:/// names no store"),
    ],
)
def test_addresses_that_are_none(address, said):
    with pytest.raises(StoreError, match=said):
        PatchStore(address)


def test_what_is_not_there_or_no_store(server, folder, tmp_path):
    with pytest.raises(StoreError, match=r"there is no store at http://.*/none.zarr: build one, or check the path"):
        PatchStore(f"{server[0]}/none.zarr")
    with pytest.raises(StoreError, match="there is no store at http"):
        verify(f"{server[0]}/none.zarr")
    create(tmp_path / "begun.zarr", stores.LAYOUT)
    for name, text in (("text", "hello"), ("group", '{"attributes": {}}'), ("list", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text(text)
    with served.served(tmp_path) as (address, _):
        with pytest.raises(StoreError, match=r"begun.zarr is not finished: run the same build again"):
            PatchStore(f"{address}/begun.zarr")
        with pytest.raises(StoreError, match="is Zarr, but not a store of ours: name another"):
            PatchStore(f"{address}/group")
        for name in ("text", "list"):
            with pytest.raises(StoreError, match=f"{name}/zarr.json is damaged, or no metadata"):
                PatchStore(f"{address}/{name}")


def test_who_does_not_answer_is_named_in_time():
    begun = time.monotonic()
    with served.silent() as address, pytest.raises(Unreachable, match=r"did not answer in time \(zarr.json\): try"):
        PatchStore(f"{address}/pairs.zarr", timeout=0.3)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Unreachable, match=r"http://127.0.0.1:\d+/pairs.zarr cannot be reached: .*[Cc]onnect"):
        PatchStore(f"http://127.0.0.1:{port}/pairs.zarr", timeout=10)
    assert time.monotonic() - begun < 8


def test_a_server_that_goes_away_is_not_a_damaged_store(folder, tmp_path):
    with served.served(folder) as (address, _):
        store = PatchStore(f"{address}/blosc.zarr", timeout=5)
        assert len(store) == len(HERE)
    with pytest.raises(Unreachable, match="cannot be reached"):
        store.read("blur", [0, 12])
    with pytest.raises(Unreachable):
        store.verify()


def test_a_server_without_ranges_is_said(folder):
    with served.rangeless(folder) as address:
        store = PatchStore(f"{address}/blosc.zarr")
        with pytest.raises(StoreError, match="byte range .* was ignored by server; serve the folder by a server that"):
            store.read("blur", [3])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (302, "HTTP code 302.*; name the address that this one leads to"),
        (401, "cannot be reached: PERMISSION_DENIED.*; check the address, and your credentials"),
        (403, "cannot be reached: PERMISSION_DENIED.*; check the address, and your credentials"),
    ],
)
def test_a_server_that_will_not_is_told_with_what_to_do(status, said):
    with served.refusing(status) as address, pytest.raises(StoreError, match=said):
        PatchStore(f"{address}/pairs.zarr")


def test_a_missing_shard_is_an_error_and_not_zeros(folder, tmp_path):
    for name in ("plain.zarr", "blosc.zarr"):
        shutil.copytree(folder / name, tmp_path / name)
        (tmp_path / name / "blur" / "c.1.0.0.0").unlink()
        with served.served(tmp_path) as (address, _):
            for where in (tmp_path / name, f"{address}/{name}"):
                store = PatchStore(where)
                store.read("blur", [3])
                with pytest.raises(StoreError, match=r"blur of .* cannot be read: .*missing; `degrade verify` finds"):
                    store.read("blur", [12])
            rows = "rows lost: 10, 11, 12, 13, 14, 15, 16, 17, ... (10 in all)"
            lost = f"blur/c.1.0.0.0 is missing (plane 'blur', shard 1; {rows}); "
            assert verify(f"{address}/{name}") == [lost + "copy the store again"]
            assert verify(tmp_path / name) == [
                lost + ("build" if name == "plain.zarr" else "copy the store") + " again"
            ]


def test_damage_at_an_address_has_shard_and_rows(folder, tmp_path):
    shutil.copytree(folder / "plain.zarr", tmp_path / "s.zarr")
    file, size = tmp_path / "s.zarr" / "blur" / "c.2.0.0.0", stores.LAYOUT.plane("blur").row_bytes
    data = bytearray(file.read_bytes())
    data[3 * size + 5] ^= 4
    file.write_bytes(data)
    column = tmp_path / "s.zarr" / "iso" / "c.0"
    column.write_bytes(column.read_bytes()[:-1])
    with served.served(tmp_path) as (address, _):
        problems = sorted(PatchStore(f"{address}/s.zarr").verify())
    assert problems[0].startswith("blur/c.2.0.0.0 is damaged")
    assert "(plane 'blur', shard 2; rows lost: 23); copy the store again" in problems[0]
    assert problems[1].startswith("iso/c.0 has 139 bytes, 140 were written")
    assert len(problems) == 2


def test_long_files_are_fetched_in_pieces_and_cut_ones_noticed(tmp_path):
    data = np.random.default_rng(0).bytes((16 << 20) + 5)
    (tmp_path / "file").write_bytes(data)
    with served.served(tmp_path) as (address, _):
        there = locate(address)
        assert b"".join(there.pieces("file", len(data))) == data
        for cut in (len(data) - 1, (16 << 20) - 7, 8 << 20, (8 << 20) - 1, 3):
            (tmp_path / "file").write_bytes(data[:cut])
            assert b"".join(there.pieces("file", len(data))) == data[:cut]
        (tmp_path / "file").write_bytes(data)
        assert b"".join(there.pieces("file", 9 << 20)) == data  # longer than it should be
        with pytest.raises(FileNotFoundError, match="none"):
            list(there.pieces("none", 100))


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


FORK = """
import multiprocessing, sys
from degrade.pairs.store import PatchStore
from degrade.core.errors import StoreError

store = PatchStore(sys.argv[1])
def read(out):
    try:
        out.put(int(store.read("blur", [3, 12], dn=True).sum()))
    except StoreError as wrong:
        out.put(str(wrong))

if __name__ == "__main__":
    store.read("blur", [3]) if sys.argv[3] == "used" else len(store)
    context = multiprocessing.get_context(sys.argv[2])
    out = context.Queue()
    child = context.Process(target=read, args=(out,))
    child.start()
    print(out.get(timeout=60))
    child.join()
    print(child.exitcode)
"""


@pytest.mark.parametrize(
    ("name", "how", "used", "said"),
    [
        ("plain.zarr", "fork", "used", ""),
        ("blosc.zarr", "fork", "not yet", ""),
        ("blosc.zarr", "fork", "used", "this process was forked from one that had read a compressed or remote store"),
    ],
)
def test_forked_processes_read_or_say_why_not(folder, local, name, how, used, said):
    first, code = run(FORK, str(folder / name), how, used).splitlines()
    assert code == "0"
    assert first.startswith(said) if said else first == str(local.read("blur", [3, 12], dn=True).sum(dtype=np.int64))


def test_spawned_processes_open_it_themselves(folder, local):
    script = "import pickle, sys; s = pickle.load(sys.stdin.buffer); print(s.read('blur', [3], dn=True).sum())"
    store = PatchStore(folder / "blosc.zarr")
    store.read("blur", [3])
    out = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(store), capture_output=True, check=True)
    assert int(out.stdout) == local.read("blur", [3], dn=True).sum()
    loaded = run(
        "import sys; from degrade import PatchStore; s = PatchStore(sys.argv[1]); s.read('blur', [3]), s.photos;"
        "print('tensorstore' in sys.modules, 'zarr' in sys.modules)",
        str(folder / "plain.zarr"),
    )
    assert loaded.split() == ["False", "False"]

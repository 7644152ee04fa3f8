"""A web server over a folder, with byte ranges, as a bucket or a host of files has; and ones that misbehave.

Run as a script it serves a folder until its input ends, and says its address."""

from __future__ import annotations

import http.server
import os
import re
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any


class Ranges(http.server.BaseHTTPRequestHandler):
    """GET and HEAD of files, whole or in part; nothing is ever listed. ``server.asked`` keeps the paths."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def __init__(self, *args: Any, folder: Path) -> None:
        self.folder = folder
        super().__init__(*args)

    def do_GET(self) -> None:
        if self.server.gone:
            self.close_connection = True
            return
        self.server.asked.append(self.path)
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self._send(404, b"")
            return
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, path.read_bytes())
            return
        first, last = wanted.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            self._send(416, b"", f"bytes */{size}")
            return
        with open(path, "rb") as file:
            file.seek(start)
            self._send(206, file.read(stop - start), f"bytes {start}-{stop - 1}/{size}")

    do_HEAD = do_GET

    def _send(self, status: int, body: bytes, part: str = "") -> None:
        self.send_response(status)
        if part:
            self.send_header("Content-Range", part)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def running(handler: Any) -> Generator[tuple[str, list[str]]]:
    """Address of a server that answers by ``handler``, and the paths that it was asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.asked, server.gone = [], False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked
        finally:
            server.gone = True  # for connections that are kept open, too
            server.shutdown()
            thread.join()


@contextmanager
def served(folder: Path) -> Generator[tuple[str, list[str]]]:
    """Address of a server over a folder, and the paths that it was asked for."""
    with running(partial(Ranges, folder=folder)) as (address, asked):
        yield address, asked


@contextmanager
def rangeless(folder: Path) -> Generator[str]:
    """Address of a server that ignores byte ranges, as ``python -m http.server`` does."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

        def copyfile(self, source: Any, outputfile: Any) -> None:
            try:
                super().copyfile(source, outputfile)
            except OSError:  # whoever asked has heard enough
                self.close_connection = True

    with running(partial(Quiet, directory=os.fspath(folder))) as (address, _):
        yield address


@contextmanager
def refusing(status: int) -> Generator[str]:
    """Address of a server that answers everything with a status."""

    class Refusing(Ranges):
        def do_GET(self) -> None:
            self._send(status, b"")

    with running(partial(Refusing, folder=Path())) as (address, _):
        yield address


@contextmanager
def silent() -> Generator[str]:
    """Address of a server that takes calls and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


if __name__ == "__main__":
    with served(Path(sys.argv[1])) as (address, _):
        print(address, flush=True)
        sys.stdin.read()

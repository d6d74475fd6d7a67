"""A server for one folder, on loopback only: what is not plainly a file below the folder is refused.

Who may ask: this machine. A page elsewhere that a browser has open is kept out by the Host header (a name that an
attacker lets point here is not "localhost"), and by telling the browser that answers are for pages from here alone.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from flowbench.errors import ConfigError, MissingFile
from flowbench.reports.pages.index import index_page

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8008
METHODS = ("GET", "HEAD")
_BLOCK = 1 << 16
_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)  # any port: ssh forwards from others
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
_TEXTS = (".jsonl", ".txt", ".md", ".yaml", ".yml", ".csv", ".log")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


def serve(folder: str | Path, *, port: int | None = None, progress: Callable[[str], None]) -> None:
    """Serve the folder until it is interrupted (KeyboardInterrupt ends it quietly). `progress` gets the address.

    `port` None: DEFAULT_PORT or, when that is taken, any that is free. Raises MissingFile for a folder that is not
    there and ConfigError for a port that cannot be had.
    """
    with make_server(folder, port) as server:
        progress(f"http://{LOOPBACK}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def make_server(folder: str | Path, port: int | None = None) -> ThreadingHTTPServer:
    """The server of `serve`, not yet answering."""
    root = Path(folder)
    if not root.is_dir():
        raise MissingFile(f"{folder}: there is no such folder. Give the folder of a run or of an evaluation.")
    handler = partial(Handler, root=root.resolve())
    try:
        return _Server((LOOPBACK, DEFAULT_PORT if port is None else port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        if port is None:
            return _Server((LOOPBACK, 0), handler)
        why = "is in use" if error.errno == errno.EADDRINUSE else "is not yours to use"
        raise ConfigError(f"--port {port} {why}. Give another one, or none: a free one is taken.") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for files below `root`, and for `/` the folder's index."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds for which a silent connection is kept

    def __init__(self, *args: object, root: Path, **settings: object):
        self.root = root
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def parse_request(self) -> bool:
        """Refuse before anything is looked at: a foreign Host, another method."""
        if not super().parse_request():
            return False
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].strip()):
            self._refuse(HTTPStatus.FORBIDDEN, "ask for localhost")
            return False
        if self.command not in METHODS:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
            return False
        return True

    def handle(self) -> None:
        """Whatever the system says, a reader that has left or is stalled, a file that fails, ends the connection: an
        answer may have begun, and no other may follow in its body."""
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):  # what is left in the buffer has no reader
            super().finish()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        try:  # a name need not be UTF-8: as the file system has it
            path = os.fsdecode(unquote_to_bytes(urlsplit(self.path).path))
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, "not an address")
            return
        if path == "/":
            page = index_page(self.root).encode("utf-8")
            self._send(io.BytesIO(page), len(page), _KINDS[".html"], with_body=with_body)
            return
        file = find_file(self.root, path)
        try:
            content = open(file, "rb") if file is not None else None  # noqa: SIM115 - closed below
        except OSError:  # gone since, or not to be read
            content = None
        if file is None or content is None:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file here")
            return
        with content:
            self._send(content, os.fstat(content.fileno()).st_size, kind_of(file), with_body=with_body)

    def _send(self, content: BinaryIO, size: int, kind: str, *, with_body: bool) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": kind, "Content-Length": str(size), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        left = size if with_body else 0
        while left and (block := content.read(min(left, _BLOCK))):  # of a file that grows, what was announced
            self.wfile.write(block)
            left -= len(block)
        if left:  # of one that shrinks, no more is to come: only the end of the connection says so
            self.close_connection = True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """A plain-text answer, after which the connection is closed: what follows in it was not read."""
        body = f"{status.value} {status.phrase}: {why}\n".encode()
        self.close_connection = True
        self.send_response(status)
        allow = {"Allow": ", ".join(METHODS)} if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        plain = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
        for name, value in {**plain, **allow, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "flowbench"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal shows the address."""


def find_file(root: Path, path: str) -> Path | None:
    """The regular file that a decoded address names; None for one that is not there or not to be had.

    Refused are ".." in any place, hidden names, backslashes, drives and NUL, and whatever lies outside `root` once
    every link is followed. `root` is resolved already.
    """
    names = [name for name in path.split("/") if name]
    if not names or any(name.startswith(".") or set(name) & set("\\:\0") for name in names):
        return None
    try:
        file = root.joinpath(*names).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # not there, a circle of links, a name that no file system takes
        return None
    return file if file.is_relative_to(root) and file.is_file() else None


def kind_of(file: Path) -> str:
    """The Content-Type; what is not known is for saving, not for showing."""
    ending = file.suffix.lower()
    return "text/plain; charset=utf-8" if ending in _TEXTS else _KINDS.get(ending, "application/octet-stream")

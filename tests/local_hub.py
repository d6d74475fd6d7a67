"""A model hub and a plain file server on this machine, for the real client: `with serving() as hub: hub.add(...)`.

It answers as huggingface.co does: repository and tree listings, HEAD and GET of files at a revision, large files by a
redirect to another address with their SHA-256 as name, gated and unknown repositories by their error codes. It counts
the requests, and can be told to flip a byte of a file, to break off in its middle or to wait there.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    files: dict[str, bytes]
    commit: str
    large: frozenset[str]
    gated: bool = False


@dataclass
class LocalHub:
    """`requests` holds "METHOD path" of each; `flipped` and `cut` name files that go wrong.

    A file in `slow` waits in its middle, where it sets `halfway`, for `go_on`. `plain` is served below `<url>/plain/`.
    """

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    flipped: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    halfway: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def add(self, repo: str, files: Mapping[str, bytes], commit: str, large: tuple[str, ...] = ()) -> None:
        """A repository whose `main` is at `commit`; files named in `large` are stored as the hub stores large ones.

        One of a data set is named "datasets/OWNER/NAME", as in its address.
        """
        self.repositories[repo] = Repository(dict(files), commit, frozenset(large))

    @property
    def downloads(self) -> list[str]:
        """Paths of the bodies that were asked for."""
        gets = [line.removeprefix("GET ") for line in self.requests if line.startswith("GET ")]
        return [path for path in gets if path.startswith(("/cdn/", "/plain/")) or "/resolve/" in path]


@contextmanager
def serving() -> Iterator[LocalHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = LocalHub(f"http://127.0.0.1:{server.server_address[1]}")
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()


def environment(hub: LocalHub | None, home: Path, **more: str) -> dict[str, str]:
    """The environment of a user with nothing in `home` yet, whose hub is this one; no token, no proxy."""
    ours = ("HF_", "HUGGING", "FLOWBENCH_", "TRANSFORMERS_", "XDG_")
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
    clean = {name: value for name, value in clean.items() if not name.lower().endswith("_proxy")}
    return {
        **clean,
        "HF_HOME": str(home / "hf"),
        "FLOWBENCH_CACHE": str(home / "flowbench"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
        **({"HF_ENDPOINT": hub.url} if hub else {}),
        **more,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    @property
    def hub(self) -> LocalHub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[0] == "plain":
            name = path.removeprefix("/plain/")
            self._body(self.hub.plain.get(name), name)
        elif parts[0] == "cdn":
            name = "/".join(parts[3:])
            self._body(self.hub.repositories["/".join(parts[1:3])].files[name], name)
        elif parts[:2] == ["api", "models"] and len(parts) >= 6:
            self._api("/".join(parts[2:4]), parts[4], "/".join(parts[5:]))
        elif parts[:2] == ["api", "datasets"] and len(parts) >= 6:
            self._api("/".join(parts[1:4]), parts[4], "/".join(parts[5:]))
        elif parts[0] == "datasets" and len(parts) >= 6 and parts[3] == "resolve":
            self._resolve("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._error(404, "")

    def _found(self, repo: str, revision: str) -> Repository | None:
        found = self.hub.repositories.get(repo)
        if found is None:
            self._error(401, "RepoNotFound")
        elif found.gated:
            self._error(403, "GatedRepo")
        elif revision not in ("main", found.commit):
            self._error(404, "RevisionNotFound")
        else:
            return found
        return None

    def _api(self, repo: str, what: str, revision: str) -> None:
        found = self._found(repo, revision)
        if found is None:
            return
        if what == "tree":
            self._json([_tree_entry(name, data, name in found.large) for name, data in found.files.items()])
        else:
            siblings = [{"rfilename": name} for name in found.files]
            self._json({"id": repo, "modelId": repo, "sha": found.commit, "siblings": siblings})

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        found = self._found(repo, revision)
        if found is None:
            return
        if name not in found.files:
            self._error(404, "EntryNotFound", {"X-Repo-Commit": found.commit})
            return
        data = found.files[name]
        headers = {"X-Repo-Commit": found.commit, "ETag": f'"{_git_sha1(data)}"'}
        if name not in found.large:
            self._body(data, name, headers)
            return
        headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{_sha256(data)}"'}
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")  # the real one, too, keeps them on another host
        headers |= {"Location": f"{elsewhere}/cdn/{repo}/{name}", "Content-Length": "0"}
        self._head(302, headers)

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        self.wfile.write(data)

    def _error(self, code: int, name: str, headers: Mapping[str, str] | None = None) -> None:
        self._head(code, {**(headers or {}), **({"X-Error-Code": name} if name else {}), "Content-Length": "0"})

    def _head(self, code: int, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, data: bytes | None, name: str, headers: Mapping[str, str] | None = None) -> None:
        if data is None:
            self._error(404, "")
            return
        if name in self.hub.flipped:
            data = bytes([data[0] ^ 1]) + data[1:]
        self._head(200, {**(headers or {}), "Content-Length": str(len(data))})
        if self.command == "HEAD":
            return
        middle = len(data) // 2
        self.wfile.write(data[:middle])
        if name in self.hub.slow:
            self.wfile.flush()
            self.hub.halfway.set()
            self.hub.go_on.wait()
        if name in self.hub.cut:
            self.close_connection = True
            return
        with suppress(OSError):  # the client may be gone by now
            self.wfile.write(data[middle:])


def _tree_entry(name: str, data: bytes, large: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": _git_sha1(data)}
    if large:
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 134}
    return entry


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

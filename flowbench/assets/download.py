"""Files from a plain address: streamed beside their place, checked, renamed; one process at a time."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from flowbench.assets.digests import record
from flowbench.assets.manifest import AssetFile
from flowbench.assets.places import CACHE
from flowbench.errors import AssetError, RunError
from flowbench.store import locked
from flowbench.version import __version__

TIMEOUT = 20.0
"""Seconds without a byte after which a connection is given up."""
_BLOCK = 1 << 20
_BETWEEN_TRIES = 0.2

Say = Callable[[str], None]


def download(url: str, folder: Path, file: AssetFile) -> None:
    """Fetch one file into a folder and record its hash there. Raises AssetError; a file that fails leaves nothing.

    The caller holds the folder (`alone`). `url` is the address of the file's folder. Size and SHA-256 are compared with
    the manifest before the file gets its name.
    """
    address = f"{url}/{quote(file.path)}"
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with _opened(address) as response, open(temporary, "wb") as out:
            size, digest = _copy(response, out, address, file.size)
            out.flush()
            os.fsync(out.fileno())
        _compare(address, file, size, digest)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    record(folder, {file.path: {"url": address, "size": size, "sha256": digest}})


@contextmanager
def alone(folder: Path, say: Say) -> Iterator[None]:
    """Hold a folder, so that no other process fetches into it meanwhile; wait while another one does.

    Raises AssetError where the folder cannot be made, written to or locked.
    """
    with ExitStack() as stack:
        waiting = False
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except OSError as error:
                reason = f"{error.strerror or error}"
                raise AssetError(f"{folder} cannot be written to ({reason}). Name another cache ({CACHE}).") from error
            except RunError as error:
                if not isinstance(error.__context__, (BlockingIOError, PermissionError)):  # no lock is to be had here
                    raise AssetError(
                        f"{folder} is on a file system without locks. Name another cache ({CACHE})."
                    ) from error
                if not waiting:
                    say(f"waiting for another process that is filling {folder}")
                waiting = True
                time.sleep(_BETWEEN_TRIES)
        for left_behind in folder.glob(".*.tmp"):  # by a process that was killed
            left_behind.unlink(missing_ok=True)
        yield


@contextmanager
def _opened(address: str) -> Iterator[Any]:
    request = Request(address, headers={"User-Agent": f"flowbench/{__version__}", "Accept-Encoding": "identity"})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        raise AssetError(f"{address} answers {error.code} {error.reason}. Try again later.") from error
    except (OSError, http.client.HTTPException) as error:
        raise AssetError(_unreachable(address, error)) from error
    with response:
        yield response


def _copy(response: Any, out: Any, address: str, expected: int | None) -> tuple[int, str]:
    """Write the answer's body to `out`; its length and SHA-256."""
    stated = response.headers.get("Content-Length")
    total = expected or int(stated or 0)
    done, digest = 0, hashlib.sha256()
    for block in _blocks(response, address):
        out.write(block)
        digest.update(block)
        done += len(block)
        _show(done, total)
    if stated and done != int(stated):
        raise AssetError(f"{address} broke off after {done} of {stated} bytes. Try again.")
    return done, digest.hexdigest()


def _blocks(response: Any, address: str) -> Iterator[bytes]:
    """The body in pieces; an error of the network, not of the disk, becomes an AssetError."""
    while True:
        try:
            block = response.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise AssetError(_unreachable(address, error)) from error
        if not block:
            return
        yield block


def _show(done: int, total: int) -> None:
    """How far it is, on a terminal."""
    if total and sys.stderr.isatty():
        ending = "\n" if done == total else ""
        sys.stderr.write(f"\r  {done / 1e6:.0f} of {total / 1e6:.0f} MB{ending}")
        sys.stderr.flush()


def _compare(address: str, file: AssetFile, size: int, digest: str) -> None:
    if file.size is not None and size != file.size:
        raise AssetError(
            f"{address} gave {size} bytes, {file.size} are published; they were thrown away. Try again, or report it."
        )
    if not digest.startswith(file.sha256):
        raise AssetError(
            f"{address} gave a file with the SHA-256 {digest}, published is {file.sha256}; it was thrown away. "
            "Try again, or report it."
        )


def _unreachable(address: str, error: Exception) -> str:
    reason = str(getattr(error, "reason", "") or error).rstrip(".") or type(error).__name__
    return (
        f"{address} cannot be reached ({reason}). Check the network and try again; or fetch it elsewhere and give its "
        "folder as a mirror (FLOWBENCH_ASSETS, docs/weights.md)."
    )

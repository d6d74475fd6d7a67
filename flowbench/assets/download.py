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

from flowbench.assets.asset import Asset, AssetFile
from flowbench.assets.digests import record
from flowbench.assets.places import CACHE
from flowbench.assets.refusal import not_fetched
from flowbench.errors import AssetError, RunError
from flowbench.store import locked
from flowbench.version import __version__

TIMEOUT = 20.0
"""Seconds without a byte after which a connection is given up."""
PATIENCE, SLOWEST = 600.0, 50_000
"""Seconds that a file has in any case, and the bytes a second that it must come at beyond these: the total deadline."""
MOST_BYTES = 1 << 34
"""Of a file whose size is neither published nor announced."""
_BLOCK = 1 << 20
_BETWEEN_TRIES = 0.2
_THROWN_AWAY = "it was thrown away. Try again, or report it."

Say = Callable[[str], None]


def download(asset: Asset, file: AssetFile, folder: Path) -> None:
    """Fetch one file of an asset into a folder and record its hash there. Raises AssetError; a file that fails leaves
    nothing.

    The caller holds the folder (`alone`). Size and SHA-256 are compared with the manifest before the file gets its
    name.
    """
    address = f"{asset.url}/{quote(file.path)}"
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with _opened(address, asset) as response, open(temporary, "wb") as out:
            size, digest = _copy(response, out, address, asset, file)
            out.flush()
            os.fsync(out.fileno())
        if file.size is not None and size != file.size:
            raise AssetError(f"{address} gave {size} bytes, {file.size} are published; {_THROWN_AWAY}")
        if not digest.startswith(file.sha256):
            raise AssetError(
                f"{address} gave a file with the SHA-256 {digest}, published is {file.sha256}; {_THROWN_AWAY}"
            )
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
def _opened(address: str, asset: Asset) -> Iterator[Any]:
    request = Request(address, headers={"User-Agent": f"flowbench/{__version__}", "Accept-Encoding": "identity"})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        raise not_fetched(asset, f"{address} answers {error.code} {error.reason}", "try again later") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(asset, error) from error
    with response:
        yield response


def _copy(response: Any, out: Any, address: str, asset: Asset, file: AssetFile) -> tuple[int, str]:
    """Write the answer's body to `out`, and on a terminal say how far it is; its length and SHA-256."""
    stated = response.length
    total = file.size or stated or 0
    most = total or MOST_BYTES
    begun, patience = time.monotonic(), PATIENCE + most / SLOWEST
    done, digest = 0, hashlib.sha256()
    while True:
        try:
            block = response.read1(_BLOCK)  # what has come: a whole block may be hours away
        except (OSError, http.client.HTTPException) as error:  # of the network; one of the disk has its own advice
            raise _unreachable(asset, error) from error
        if not block:
            break
        if done + len(block) > most:
            whose = "published" if file.size else "announced"
            raise AssetError(f"{address} gives more than the {most} bytes that are {whose}; {_THROWN_AWAY}")
        if time.monotonic() - begun > patience:
            slow = f"{address} is too slow: {done} bytes came in {patience / 60:.0f} minutes"
            raise not_fetched(asset, slow, "try again later")
        out.write(block)
        digest.update(block)
        done += len(block)
        if total and sys.stderr.isatty():
            ending = "\n" if done == total else ""
            sys.stderr.write(f"\r  {done / 1e6:.0f} of {total / 1e6:.0f} MB{ending}")
            sys.stderr.flush()
    if stated is not None and done != stated:
        raise not_fetched(asset, f"{address} broke off after {done} of {stated} bytes", "try again")
    return done, digest.hexdigest()


def _unreachable(asset: Asset, error: Exception) -> AssetError:
    reason = str(getattr(error, "reason", "") or error).rstrip(".") or type(error).__name__
    return not_fetched(asset, f"{asset.url} cannot be reached ({reason})", "check the network")

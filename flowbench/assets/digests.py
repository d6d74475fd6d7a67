"""Hashes of weights: what is known of a file's own, where that is written down, and whether it still holds."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flowbench.errors import AssetError
from flowbench.store import file_digest, read_object, write_json

RECORD = "flowbench-assets.json"
"""Beside fetched and converted files: {file: {"url" or "made_from", "size", "sha256"}}."""

State = Literal["ok", "damaged", "missing", "unpublished"]
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")


class Check(NamedTuple):
    """What became of one file. "unpublished": there is no hash to compare its own with, which `detail` tells."""

    file: str
    state: State
    detail: str


def check_file(folder: Path, name: str, published: str = "", size: int | None = None) -> Check:
    """Compare the file with every hash that is known of it, and with its published size.

    The hashes are the manifest's (`published`, whole or its first digits), the one recorded in the folder when the file
    arrived, and the one by which the hub names the file in its cache: the SHA-256 of a large one, git's of a small one.
    """
    path = folder / name
    if not path.is_file():
        return Check(name, "missing", f"not in {folder}")
    digest = file_digest(path)
    known = list(_known(folder, name, published))
    for source, expected in known:
        own = digest
        if _GIT_SHA1.fullmatch(expected):  # as git computes it
            data = path.read_bytes()
            own = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        if not own.startswith(expected):
            return Check(name, "damaged", f"its hash is {own}, {source} is {expected}")
    if size is not None and path.stat().st_size != size:
        return Check(name, "damaged", f"it has {path.stat().st_size} bytes, published are {size}")
    if not known:
        return Check(name, "unpublished", f"SHA-256 {digest}")
    return Check(name, "ok", f"as {' and '.join(source for source, _ in known)}")


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """What flowbench wrote down about the files of a folder; {} where it wrote nothing. Raises AssetError for a record
    of another form, RunError for one that is no JSON object."""
    path = folder / RECORD
    entries = read_object(path) if path.is_file() else {}
    for file, entry in entries.items():
        if not (isinstance(entry, dict) and isinstance(entry.get("sha256"), str)):
            raise AssetError(f"{path}: no 'sha256' of '{file}' in it. Delete it and fetch the files again.")
    return entries


def record(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to the folder's record."""
    write_json(folder / RECORD, {**recorded(folder), **entries})


def entry(path: Path, **facts: str) -> dict[str, Any]:
    """A file's entry in the record: `facts`, its size in bytes and its SHA-256."""
    return {**facts, "size": path.stat().st_size, "sha256": file_digest(path)}


def sha256_of(path: Path) -> str:
    """The file's SHA-256, by which the hub's cache names a large one; of all others computed now."""
    named = hub_name(path)
    return named if _SHA256.fullmatch(named) else file_digest(path)


def _known(folder: Path, name: str, published: str) -> Iterator[tuple[str, str]]:
    """(who says so, the hash in hex) of everything that is known about a file."""
    if published:
        yield "published", published
    known = recorded(folder).get(name)
    if known:
        yield "recorded", known["sha256"]
    named = hub_name(folder / name)
    if _SHA256.fullmatch(named) or _GIT_SHA1.fullmatch(named):
        yield "named by the hub", named


def hub_name(path: Path) -> str:
    """The name of the blob that a file in the hub's cache stands for; "" for a plain file."""
    return Path(os.readlink(path)).name if path.is_symlink() else ""

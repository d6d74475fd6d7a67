"""Files of a run folder: atomic writes, append-only logs, locks, the versions in cards. Nothing is ever pickled."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowbench.errors import MissingFile, RunError
from flowbench.version import __version__

_PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "pillow")
_ESCAPED = "backslashreplace"
"""How a file name that is not UTF-8 comes into a file of ours: as JSON's own escape of what Python holds it by."""


def slug(name: str) -> str:
    """`name` as a file name that can never leave its folder: letters, digits, '.', '_' and '-'."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return safe or "unnamed"


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write to a temporary name beside `path`, then rename: a reader sees the old file or the whole new one."""
    path = Path(path)
    if path.exists() and not path.is_file():  # a rename would put a file in its place: of /dev/null, for root
        raise RunError(f"cannot write {path}: a folder or a device is there. Choose another --out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {path}: {error.strerror or error}. Free some disk or choose another --out."
        ) from error
    return path


def write_text(path: str | Path, text: str) -> Path:
    """`write_bytes`, UTF-8; half a surrogate pair is written as JSON escapes it."""
    return write_bytes(path, text.encode("utf-8", _ESCAPED))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys; NaN and infinities become null (unscored), never an invalid token and never 0."""
    return json.dumps(_finite(value), indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def write_json(path: str | Path, value: Any) -> Path:
    """Pretty JSON, written atomically."""
    return write_text(path, to_json(value, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Parse one JSON file; MissingFile when it is not there, RunError when it is damaged."""
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: there is no such file.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON ({error}). Delete it or restore it.") from error


def append_jsonl(path: str | Path, *records: Mapping[str, Any]) -> None:
    """Add a line for each record. A torn last line that a kill left behind is cut off first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{to_json(record)}\n" for record in records)
    with open(path, "ab+") as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(lines.encode("utf-8", _ESCAPED))
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """All whole lines of a log ([] when there is no file); a torn last line is dropped."""
    path = Path(path)
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"{path}, line {number}: not valid JSON ({error}). Repair or delete that line.") from error
    return records


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON-able value in its canonical form."""
    return hashlib.sha256(to_json(value).encode("utf-8", _ESCAPED)).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


@contextmanager
def locked(folder: str | Path, *, shared: bool = False) -> Iterator[Path]:
    """Hold a run folder: a second run on it is refused with the number of the process that holds it.

    The lock is an operating-system lock, so that it vanishes with its process however that ends. Processes that share
    the work of one run hold it together (`shared`), and keep out one that does not.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held for the whole block
    try:
        try:
            _lock(file, shared)
        except (BlockingIOError, PermissionError):  # held by another; Windows says EACCES
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise RunError(f"{folder} is in use by process {holder}. Wait for it, or give another --out.") from None
        except OSError as error:
            raise RunError(
                f"{folder} cannot be locked ({error.strerror}): its file system has no locks. Give an --out elsewhere."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield folder
    finally:
        file.close()


def versions() -> dict[str, str]:
    """flowbench, python and the packages on which its numbers stand -> version, or "not installed"."""
    packages = {name: package_version(name) for name in _PACKAGES}
    return {"flowbench": __version__, "python": platform.python_version(), **packages}


def package_version(package: str) -> str:
    """The installed version of a package, or "not installed"."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _lock(file: Any, shared: bool) -> None:
    if os.name == "nt":
        import msvcrt

        if shared:  # Windows' locks of this kind have no such mode
            return

        file.seek(1 << 30)  # a byte far beyond the text, so that others can still read who holds it
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value

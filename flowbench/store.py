"""Files of a run folder: atomic writes, append-only logs, seals, locks, the versions in cards. Nothing is ever pickled.

What is damaged, of the wrong type, not there or not ours to read is refused in one sentence that names the file. A
sealed file carries the SHA-256 of its own content, so that an edit or a flipped bit is noticed by whoever reads it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from flowbench.errors import MissingFile, RunError
from flowbench.version import __version__

LOCK = ".lock"
"""The file in a folder that whoever works in it has locked."""
SEAL = "sha256"
"""The key of a sealed JSON object under which the digest of all others stands."""
MOST_NESTED = 50
"""Levels of lists and objects in a JSON text: ours have five."""
_TOO_DEEP = f"its brackets are nested more than {MOST_NESTED} deep"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "pillow")
_ESCAPED = "backslashreplace"
"""How a file name that is not UTF-8 comes into a file of ours: as JSON's own escape of what Python holds it by."""


def slug(name: str) -> str:
    """`name` as a file name that can never leave its folder: letters, digits, '.', '_' and '-'."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return safe or "unnamed"


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write to a temporary name beside `path`, then rename: a reader sees the old file or the whole new one.

    Raises RunError where that cannot be.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        # a rename would put a file in its place: of /dev/null, for root
        raise RunError(f"cannot write {path}: a folder or a device is there. Choose another --out.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {_reason(error)}. Free some disk or choose another --out.") from error
    return path


def write_text(path: str | Path, text: str) -> Path:
    """`write_bytes`, UTF-8; half a surrogate pair, which no UTF-8 can hold, is written as JSON escapes it."""
    return write_bytes(path, text.encode("utf-8", _ESCAPED))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys; NaN and infinities become null (unscored), never an invalid token and never 0. Half a
    character is escaped, so that the text can be written as UTF-8 and read again as it was."""
    text = json.dumps(_finite(value), indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return _LONE_SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, with the reason, also where Python's reader would let pass what no
    JSON is (NaN, a key twice), and for brackets nested too deep to be read."""
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level = [value]
    for _ in range(MOST_NESTED):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [each for some in inner for each in some]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def write_json(path: str | Path, value: Any) -> Path:
    """Pretty JSON, written atomically."""
    return write_text(path, to_json(value, indent=2) + "\n")


def read_bytes(path: str | Path) -> bytes:
    """The file's content; MissingFile when it is not there, RunError when it cannot be read (a folder, no leave)."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: it cannot be read ({_reason(error)}). Mend that, or name another.") from None


def read_json(path: str | Path) -> Any:
    """Parse one JSON file; MissingFile when it is not there, RunError when it is damaged."""
    try:
        return parse_json(read_bytes(path))
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON ({error}). Delete it or restore it.") from error


def read_object(path: str | Path) -> dict[str, Any]:
    """`read_json` of a file that holds an object; RunError for anything else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise RunError(f"{path}: {_kind(value)} where a JSON object belongs. Delete it or restore it.")
    return value


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its seal."""
    return {**value, SEAL: digest(value)}


def is_sealed(value: Mapping[str, Any]) -> bool:
    """Whether the object is as it was when it was sealed."""
    return value.get(SEAL) == digest({key: item for key, item in value.items() if key != SEAL})


def write_sealed(path: str | Path, value: Mapping[str, Any]) -> Path:
    """`write_json` of an object with its seal."""
    return write_json(path, sealed(value))


def read_sealed(path: str | Path) -> dict[str, Any]:
    """What `write_sealed` wrote, without the seal; RunError when it is not as it was written."""
    value = read_object(path)
    check_seal(path, value)
    return {key: item for key, item in value.items() if key != SEAL}


def check_seal(path: str | Path, value: Mapping[str, Any]) -> None:
    """Raise RunError when an object read from `path` lacks its seal, or has changed since it was sealed."""
    if not is_sealed(value):
        what = "its content and its SHA-256 differ" if SEAL in value else "its SHA-256 is missing"
        raise RunError(f"{path}: damaged, or edited by hand ({what}). Restore it, or delete it and make it again.")


def append_jsonl(path: str | Path, *records: Mapping[str, Any]) -> None:
    """Add a line for each record. A torn last line that a kill left behind is cut off first."""
    path = Path(path)
    lines = "".join(f"{to_json(record)}\n" for record in records)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.write(lines.encode("utf-8", _ESCAPED))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunError(f"cannot write {path}: {_reason(error)}. Free some disk or choose another --out.") from error


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """All whole lines of a log ([] when there is no file); a torn last line is dropped. RunError, with the number of
    the line, for one that is no JSON object."""
    try:
        lines = read_bytes(path).split(b"\n")
    except MissingFile:
        return []
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = parse_json(line)
        except ValueError as error:
            raise RunError(f"{path}, line {number}: not valid JSON ({error}). Repair or delete that line.") from error
        if not isinstance(record, dict):
            raise RunError(f"{path}, line {number}: {_kind(record)} where a JSON object belongs. Delete that line.")
        records.append(record)
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


class Held:
    """A folder that this process holds (`locked`)."""

    def __init__(self, folder: Path, lock: IO[str]):
        self.folder, self._lock = folder, lock

    def check(self) -> None:
        """Raise RunError when the folder no longer stands where it was: moved, deleted, or another in its place. To
        write on would make a new one there."""
        try:
            same = os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.folder / LOCK))
        except OSError:
            same = False
        if not same:
            raise RunError(
                f"{self.folder} was moved or deleted while this process worked in it: nothing more is written. Start "
                "again where it lies now."
            )


@contextmanager
def locked(folder: str | Path, *, shared: bool = False) -> Iterator[Held]:
    """Hold a run folder: a second run on it is refused with the number of the process that holds it.

    The lock is an operating-system lock, so that it vanishes with its process however that ends. Processes that share
    the work of one run hold it together (`shared`), and keep out one that does not.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / LOCK, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115 - held for the whole block
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
        yield Held(folder, file)
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


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(token: str) -> Any:
    raise ValueError(f"{token} is no number of JSON's")


def _kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "null")


def _reason(error: Exception) -> str:
    """Why the system refused, without the path."""
    return getattr(error, "strerror", None) or str(error)

"""What a folder of pictures holds: the files that are read, in order, and those that are left out, as stderr is told.

Hidden and system files and folders never count, whatever they hold. A link to a folder is followed once, after the
folders that lie here themselves.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

from flowbench import images
from flowbench.errors import RunError
from flowbench.prompts.tables import check_name
from flowbench.terminal import say

_SYSTEM = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "thumbs.db"}
_NEWER = (".heic", ".heif", ".jxl", ".dng")
"""Endings of pictures that may be unknown to Pillow and to the standard library."""
_NAMED = 5
"""How many of those that a warning is about it names."""


class PictureFolder:
    """All that is visible below a folder. Raises RunError for one that cannot be read to its end."""

    def __init__(self, path: Path):
        self.path = path
        self._left_out: dict[str, list[Path]] = {}
        self.files = sorted(self._walk(), key=_by_number)
        """In the order of their names, numbers in them by value: 2.png comes before 10.png."""

    @cached_property
    def pictures(self) -> list[Path]:
        """The files with an ending that is read. Raises ConfigError for a name that no record could hold."""
        found: list[Path] = []
        others: list[Path] = []
        for path in self.files:
            (found if path.suffix.lower() in images.endings() else others).append(path)
        self.leave_out("their format is not read; save them as PNG", filter(_is_picture, others))
        for path in found:
            check_name(path)
        return found

    def name(self, path: Path) -> str:
        """Of a file below the folder, as records have it."""
        return path.relative_to(self.path).as_posix()

    def leave_out(self, why: str, paths: Iterable[Path]) -> None:
        """Remember them for `say_left_out`."""
        self._left_out.setdefault(why, []).extend(paths)

    def say_left_out(self) -> None:
        """A line on stderr for each reason."""
        for why, paths in self._left_out.items():
            warn_of(f"{self.path}: left out, since {why}", [self.name(path) for path in paths])

    def _walk(self) -> Iterator[Path]:
        """Every visible file. A folder that was seen, on whichever way, is not entered again."""
        seen: set[str] = set()
        links: list[str] = []
        yield from self._files_in(str(self.path), seen, links)
        own = os.path.join(os.path.realpath(self.path), "")
        for link in links:  # which grows
            real = os.path.realpath(link)
            if real in seen or own.startswith(os.path.join(real, "")):
                self.leave_out("they lead to a folder that counts already or that holds this one", [Path(link)])
            else:
                yield from self._files_in(link, seen, links)

    def _files_in(self, root: str, seen: set[str], links: list[str]) -> Iterator[Path]:
        for place, folders, names in os.walk(root, onerror=_refuse):
            real = os.path.realpath(place)
            visible = [] if real in seen else sorted(name for name in folders if not _is_hidden(name))
            links += (path for name in visible if os.path.islink(path := os.path.join(place, name)))
            folders[:] = visible  # os.walk enters no links
            for file in (Path(place, name) for name in names if real not in seen and not _is_hidden(name)):
                if os.path.isfile(file):
                    yield file
                elif os.path.islink(file) or file.suffix.lower() in images.endings():
                    self.leave_out("they are no files, or links that lead nowhere", [file])
            seen.add(real)


def warn_of(line: str, names: Sequence[str]) -> None:
    """On stderr, how many there are and the first of them; nothing where there are none."""
    if names:
        shown = ", ".join(names[:_NAMED])
        _warn(f"{line}: {len(names)} ({shown}{', ...' if len(names) > _NAMED else ''})")


@cache
def _warn(line: str) -> None:
    """Once: an evaluation may look at a folder several times."""
    say(f"warning: {line}", err=True)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM


def _refuse(error: OSError) -> None:
    raise RunError(
        f"{error.filename}: this folder cannot be read ({error.strerror}). Mend that, and try again."
    ) from error


def _is_picture(path: Path) -> bool:
    """Of a file without an ending that is read: by what its ending stands for; where that says nothing, by its
    content."""
    ending, kind = path.suffix.lower(), mimetypes.guess_type(path.name, strict=False)[0]
    if images.is_known_elsewhere(ending):
        return True
    if kind is not None or ending in _NEWER:
        return kind is None or kind.startswith("image/")
    try:
        return bool(images.read_header(path))
    except RunError:
        return False


def _by_number(path: Path) -> list[tuple[int, str]]:
    pieces = re.split(r"(\d+)", path.as_posix())
    return [(int(piece), piece) if piece.isdecimal() else (0, piece) for piece in pieces]

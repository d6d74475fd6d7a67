"""Pictures that somebody else has made: which picture was made for which prompt.

a folder in GenEval's layout   00000/metadata.jsonl with the prompt's metadata, 00000/samples/0000.png ...
a folder with a table          metadata.jsonl, .csv or .tsv beside the pictures (Hugging Face's image folders)
a folder of pictures           the prompt of a.png stands in a.txt, if there is one; or all prompts in one file
a table                        .csv, .tsv or .jsonl with a picture and a prompt in each row

A table's columns: `image` (or `file_name`, `path`), relative to the table; `prompt` (or `text`, `caption`); optional
`id`, `tag`, `seed`, and whatever else a checkable reward wants to find in the metadata (`include`, `exclude`). Rows of
one prompt are the pictures of that prompt.

Which files of a folder count: picture_files.py. What could belong to one prompt or to another is refused; pictures that
are left out are named on stderr.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from flowbench import images, store
from flowbench.benchmarks.picture_files import PictureFolder, warn_of
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.prompts.tables import Row, check_name, parse_object, read_table, read_text
from flowbench.types import Prompt, Sample

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.tsv")
_TABLE_ENDINGS = (".csv", ".tsv", ".jsonl")
_IMAGE_COLUMNS = ("image", "file_name", "path")
NO_PICTURE = "there is no picture of it"
"""Where nobody knows why not."""
_ASKED = ("tag", "include", "exclude", "text")
"""Metadata that asks for something; other columns (a width, a date) belong to the picture."""


@dataclass(frozen=True)
class ExistingPicture:
    """One picture on disk."""

    prompt: Prompt
    """Which it answers."""
    index: int
    """Which of its prompt's pictures it is."""
    path: Path
    """Where it lies."""
    name: str
    """Its path below the source, for records."""
    seed: int | None = None
    """From which it was made, where that is known."""
    not_made: str = ""
    """Why there is no such file, where it was tried."""

    @property
    def key(self) -> tuple[str, int]:
        return self.prompt.id, self.index

    def load(self) -> Sample:
        """The picture, as `images.read_picture` reads it. Raises RunError for one that was not made, and others."""
        if self.not_made:
            raise RunError(self.not_made)
        return Sample(self.prompt, images.read_picture(self.path), self.seed)


def why_not_made(path: Path) -> str:
    """What the file says that an evaluation keeps in the place of a picture that could not be made; "" without one."""
    found = store.read_json(path) if path.is_file() else {"reason": ""}
    if not isinstance(found, dict) or not isinstance(found.get("reason"), str):
        raise RunError(f"{path}: it holds no reason. Delete it, and run the stage generate again.")
    return str(found["reason"])


def read(source: str | Path, prompts: Sequence[Prompt] | None = None) -> list[ExistingPicture]:
    """All pictures of a folder or table, those of one prompt together, prompts in the order of their first picture.

    `prompts`, for a folder of pictures only: the pictures, in the order of their names, belong to these prompts in
    turn, equally many to each. Raises MissingFile, ConfigError, and RunError for a folder that cannot be read.
    """
    source = Path(source)
    check_name(source)
    if not os.path.exists(source):
        raise MissingFile(f"{source}: there is no such folder or file. Give a folder of pictures, or a .csv or .jsonl.")
    check_name(source.resolve())
    if not os.path.isdir(source):
        if prompts is not None:
            raise _says_itself(source)
        if source.suffix.lower() not in _TABLE_ENDINGS:
            some = ", ".join(_TABLE_ENDINGS)
            raise ConfigError(f"{source}: cannot read '{source.suffix}'. Give a folder, or a table ({some}).")
        pictures = _together(_from_rows(source, read_table(source)))
        if not pictures:
            raise ConfigError(f"{source}: the table has no rows. Write one for each picture.")
        return pictures
    folder = PictureFolder(source)
    pictures = _together(_in_folder(folder, prompts))
    folder.say_left_out()
    return pictures or _refuse_empty(source)


def read_unasked(source: str | Path) -> list[ExistingPicture]:
    """Every picture below a folder, in the order of their names, whatever was asked for: reference pictures. Of a
    table, and a folder that holds one, those that it names. Raises as `read` does."""
    source = Path(source)
    if not os.path.isdir(source) or any(os.path.isfile(source / name) for name in TABLES):
        return read(source)
    folder = PictureFolder(source)
    pictures = [
        ExistingPicture(Prompt(name, ""), 0, path, name) for path in folder.pictures for name in [folder.name(path)]
    ]
    folder.say_left_out()
    return pictures or _refuse_empty(source)


def _refuse_empty(source: Path) -> NoReturn:
    some = ", ".join(images.endings())
    raise ConfigError(f"{source}: no pictures are here ({some}). Give the folder that holds them.")


def pictures_digest(pictures: Sequence[ExistingPicture]) -> str:
    """Twelve hex digits of the SHA-256 over all pictures: contents, names, and which prompt each belongs to. Raises
    RunError for a file that has gone, or may not be read."""
    try:
        rows = [[each.prompt.id, each.index, each.seed, each.name, picture_sha256(each.path)] for each in pictures]
    except OSError as error:
        raise RunError(f"{error.filename}: this picture cannot be read ({error.strerror}). Mend that first.") from error
    return store.digest(rows)[:12]


def picture_sha256(path: Path) -> str:
    """Of a picture's file; it is read once, unless it has changed since."""
    now = path.stat()
    return _sha256(path, now.st_ino, now.st_size, now.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _sha256(path: Path, *state: int) -> str:
    return store.file_digest(path)


def headers(pictures: Sequence[ExistingPicture]) -> Iterator[images.Header]:
    """Of those that can be read; the others are unscored later, with the reason."""
    for each in pictures:
        with suppress(RunError):
            yield images.read_header(each.path)


def damage(picture: ExistingPicture) -> str:
    """Why its file is no picture that can be read, as far as its header shows; "" when it is one."""
    try:
        images.read_header(picture.path)
    except RunError as error:
        return str(error)
    return ""


def common_size(sizes: Iterable[tuple[int, int]]) -> int | str:
    """The side of square pictures of one size, in pixels; else their sizes in words."""
    sizes = set(sizes)
    if len(sizes) != 1:
        some = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)[:3])
        return f"{len(sizes)} sizes: {some} ... ({store.digest(sorted(sizes))[:8]})"
    ((width, height),) = sizes
    return width if width == height else f"{width} x {height}"


def _says_itself(source: Path) -> ConfigError:
    return ConfigError(f"{source} says itself which picture has which prompt: leave out --prompts.")


def _in_folder(folder: PictureFolder, prompts: Sequence[Prompt] | None) -> Iterator[ExistingPicture]:
    """By the layout that the folder has. Raises ConfigError where another folder is meant."""
    here = folder.path
    tables = [here / name for name in TABLES if os.path.isfile(here / name)]
    described = {path.parent for path in folder.files if path.name == "metadata.jsonl"}
    is_geneval = any(place.parent == here and os.path.isdir(place / "samples") for place in described)
    if prompts is not None and (tables or is_geneval):
        raise _says_itself(here)
    if is_geneval:
        return _from_geneval(folder, described)
    if tables:
        return _from_its_table(folder, tables)
    if here.resolve().name == "samples" and os.path.isfile(here.resolve().parent / "metadata.jsonl"):
        raise _another_level(here, [here.resolve().parents[1]])
    below = [path.parent for path in folder.files if path.name in TABLES]
    if below:
        raise _another_level(here, [place.parent if os.path.isdir(place / "samples") else place for place in below])
    if prompts is not None:
        return _dealt(folder, prompts)
    return _from_pictures(folder)


def _another_level(here: Path, places: Sequence[Path]) -> ConfigError:
    some = list(dict.fromkeys(map(str, places)))
    return ConfigError(
        f"{here}: which pictures have which prompts is written at another level. Give the folder "
        f"{' or '.join(some[:5])}{' ...' if len(some) > 5 else ''}."
    )


def _from_geneval(folder: PictureFolder, described: set[Path]) -> Iterator[ExistingPicture]:
    """What GenEval's own evaluation takes: NNNN.png in samples/ of a folder whose name is a number."""
    described = {place for place in described if place.parent == folder.path and place.name.isdigit()}
    drawn: dict[Path, list[Path]] = {}
    for path in folder.pictures:
        place = path.parent.parent
        is_sample = path.parent.name == "samples" and place.parent == folder.path and place.name.isdigit()
        if is_sample and re.fullmatch(r"\d+\.png", path.name):
            drawn.setdefault(place, []).append(path)
        elif path.name != "grid.png" or place != folder.path:  # of which its generation writes one beside samples/
            folder.leave_out("GenEval takes only NNNN.png in samples/ of a numbered folder", [path])
    for place in sorted(described ^ drawn.keys()):
        what = "no pictures in samples/ (NNNN.png)" if place in described else "pictures and no metadata.jsonl"
        raise ConfigError(f"{place}: it holds {what}. Finish the generation, or remove the folder.")
    for place in sorted(described):
        file = place / "metadata.jsonl"
        values = parse_object(read_text(file).strip(), f"{file}, line 1")
        row = Row(str(file), values, tuple(values))
        if not row.text("prompt"):
            raise ConfigError(f"{file}: no text under 'prompt'. Write GenEval's metadata into it.")
        row.check_lists("include", "exclude")
        prompt = Prompt(place.name, values["prompt"], row.label("tag"), values)
        for path in drawn[place]:
            yield ExistingPicture(prompt, 0, path, folder.name(path))


def _from_pictures(folder: PictureFolder) -> Iterator[ExistingPicture]:
    without: list[str] = []
    for path in folder.pictures:
        words = path.with_suffix(".txt")
        text = read_text(words).strip() if os.path.isfile(words) else ""
        name = folder.name(path)
        without += [name] * (not text)
        yield ExistingPicture(Prompt(_identifier(text) if text else name, text), 0, path, name)
    if len(without) < len(folder.pictures):
        described = {path.with_suffix("") for path in folder.pictures}
        lost = [path for path in folder.files if path.suffix == ".txt" and path.with_suffix("") not in described]
        warn_of(f"{folder.path}: texts without a picture", [folder.name(path) for path in lost])
        warn_of(f"{folder.path}: pictures without a prompt, which others have in a .txt", without)
    tables = [path for path in folder.files if path.suffix.lower() in _TABLE_ENDINGS]
    warn_of(f"{folder.path}: tables that are not read; give one as SOURCE", [folder.name(path) for path in tables])


def _dealt(folder: PictureFolder, prompts: Sequence[Prompt]) -> Iterator[ExistingPicture]:
    """To each prompt in turn equally many pictures of the folder or, where names begin anew in each of its folders, of
    each of those. Raises ConfigError where both could be meant."""
    paths = folder.pictures
    each, left = divmod(len(paths), len(prompts))
    if left or not each:
        raise ConfigError(
            f"{folder.path} holds {len(paths)} pictures, which cannot be dealt to {len(prompts)} prompts evenly. "
            "Write a table of pictures and prompts instead (.csv with the columns image, prompt)."
        )
    places: dict[Path, list[Path]] = {}
    for path in paths:
        places.setdefault(path.parent, []).append(path)
    begin_anew = len({path.name for path in paths}) < len(paths)
    hold_all = len(places) > 1 and not any(len(some) % len(prompts) for some in places.values())
    hold_one = len(places) % len(prompts) == 0 and len(set(map(len, places.values()))) == 1
    part_none = hold_one or not any(len(some) % each for some in places.values())
    parts = [paths]
    if len(prompts) > 1 and (begin_anew or hold_all):
        if not begin_anew or (hold_one if hold_all else not part_none):
            raise ConfigError(
                f"{folder.path}: its folders {', '.join(folder.name(place) for place in list(places)[:3])} ... could "
                f"each hold pictures of all {len(prompts)} prompts, or of some. Write a table of pictures and prompts "
                "instead (.csv with the columns image, prompt)."
            )
        parts = list(places.values()) if hold_all else parts
    for part in parts:
        for place, path in enumerate(part):
            prompt = prompts[place // (len(part) // len(prompts))]
            yield ExistingPicture(prompt, 0, path, folder.name(path))


def _from_its_table(folder: PictureFolder, tables: Sequence[Path]) -> Iterator[ExistingPicture]:
    if len(tables) > 1:
        raise ConfigError(f"{tables[0]} and {tables[1].name} could each be the table. Remove one, or give one of them.")
    rows = read_table(tables[0])
    if os.path.isdir(folder.path / "samples") and not any(set(_IMAGE_COLUMNS) & set(row.columns) for row in rows):
        raise _another_level(folder.path, [folder.path.resolve().parent])  # that of one prompt in GenEval's layout
    found = list(_from_rows(tables[0], rows))
    named = {os.path.realpath(each.path) for each in found}
    rest = (path for path in folder.pictures if os.path.realpath(path) not in named)
    folder.leave_out(f"{tables[0].name} does not name them", rest)
    return iter(found)


def _from_rows(table: Path, rows: Sequence[Row]) -> Iterator[ExistingPicture]:
    times: Counter[str] = Counter()
    without: list[str] = []
    for row in rows:
        given = {column: text.strip() for column in _IMAGE_COLUMNS if (text := row.text(column))}
        if len(set(given.values())) > 1:
            raise ConfigError(f"{row.where}: {' and '.join(given)} name two pictures. Keep the column that is meant.")
        image = next(iter(given.values()), "")
        if not image and not set(_IMAGE_COLUMNS) & set(row.columns):
            there = ", ".join(row.columns) or "none"
            raise ConfigError(
                f"{row.where}: no column 'image' (there are: {there}). Name the one that holds the pictures so; cells "
                "are separated by commas, in a .tsv by tabs."
            )
        if not image:
            raise ConfigError(f"{row.where}: no picture under 'image'. Give each row the path of one.")
        path = table.parent / image
        if not os.path.isfile(path):
            raise MissingFile(f"{row.where}: there is no picture {path}. Paths are relative to the table.")
        prompt = _prompt(row, image)
        times[os.path.realpath(path)] += 1
        without += [row.where.removeprefix(f"{table}, ")] * (not prompt.text)
        yield ExistingPicture(prompt, 0, path, image, row.whole_number("seed"))
    warn_of(f"{table}: pictures that stand in several rows", [path for path, count in times.items() if count > 1])
    warn_of(f"{table}: rows without a prompt", without)


def _prompt(row: Row, image: str) -> Prompt:
    """Of a row; a picture without a prompt has one of its own, which is empty."""
    column, text = row.prompt()
    row.check_lists("include", "exclude")
    metadata = {key: value for key, value in row.values.items() if key not in (*_IMAGE_COLUMNS, "id", "seed", column)}
    asked = {key: value for key, value in metadata.items() if key in _ASKED}
    identifier = row.label("id") or (_identifier(text, asked) if text else image)
    return Prompt(identifier, text, row.label("tag"), metadata)


def _identifier(text: str, asked: Mapping[str, Any] | None = None) -> str:
    """Twelve hex digits; prompts of one text that ask for other things are two prompts."""
    words = text if not asked else f"{text}\n{store.to_json(asked)}"
    return hashlib.sha256(words.encode("utf-8")).hexdigest()[:12]


def _asks(prompt: Prompt) -> list[Any]:
    return [prompt.text, prompt.tag, *(prompt.metadata.get(key) for key in _ASKED)]


def _together(found: Iterator[ExistingPicture]) -> list[ExistingPicture]:
    """The pictures of a prompt side by side and numbered, with the prompt as its first picture has it."""
    groups: dict[str, list[ExistingPicture]] = {}
    for each in found:
        group = groups.setdefault(each.prompt.id, [])
        first = group[0].prompt if group else each.prompt
        if _asks(first) != _asks(each.prompt):
            raise ConfigError(
                f"the id '{first.id}' stands for two prompts, '{first.text}' and '{each.prompt.text}' ({each.name}). "
                "Give each prompt an id of its own, or leave the ids out."
            )
        group.append(replace(each, prompt=first, index=len(group)))
    return [each for group in groups.values() for each in group]

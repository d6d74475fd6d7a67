"""Pictures that somebody else has made: which picture was made for which prompt.

a folder in GenEval's layout   00000/metadata.jsonl with the prompt's metadata, 00000/samples/*.png
a folder with a table          metadata.jsonl or metadata.csv beside the pictures (Hugging Face's image folders)
a folder of pictures           the prompt of a.png stands in a.txt, if there is one; or all prompts in one file
a table                        .csv or .jsonl with a picture and a prompt in each row

A table's columns: `image` (or `file_name`, `path`), relative to the table; `prompt` (or `text`); optional `id`, `tag`,
`seed`, and whatever else a checkable reward wants to find in the metadata (`include`, `exclude`). Rows of one prompt
are the pictures of that prompt.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.types import Prompt, Sample

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TABLES = ("metadata.jsonl", "metadata.csv")
_IMAGE_COLUMNS = ("image", "file_name", "path")
_PROMPT_COLUMNS = ("prompt", "text")
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
    missing: str = ""
    """Why it is not there, where it is not and somebody knows."""

    @property
    def key(self) -> tuple[str, int]:
        return self.prompt.id, self.index

    def load(self) -> Sample:
        """The picture as RGB (transparency is dropped, of an animation the first frame is taken).

        Raises RunError for one that is missing, for a file that is no picture, and for one of 16 or 32 bits a
        channel, which PIL would clip.
        """
        from PIL import Image, ImageOps

        if self.missing:
            raise RunError(self.missing)
        try:
            with Image.open(self.path) as image:
                mode, turned = image.mode, ImageOps.exif_transpose(image)
                rgb = turned.convert("RGB")
        except Exception as error:  # PIL raises a dozen kinds for damaged files
            raise RunError(f"{self.path}: not a readable picture ({error}). Mend or remove it.") from error
        if mode.startswith(("I", "F")):
            raise RunError(f"{self.path}: it has more than 8 bits a channel ({mode}). Save it as an 8-bit picture.")
        return Sample(self.prompt, rgb, self.seed)


def read(source: str | Path, prompts: Sequence[Prompt] | None = None) -> list[ExistingPicture]:
    """All pictures of a folder or table, those of one prompt together, prompts in the order of their first picture.

    `prompts`, for a folder of pictures only: the pictures, in the order of their names, belong to these prompts in
    turn, equally many to each. Raises MissingFile and ConfigError.
    """
    source = Path(source)
    if not source.exists():
        raise MissingFile(f"{source}: there is no such folder or file. Give a folder of pictures, or a .csv or .jsonl.")
    table = source if source.is_file() else next((source / name for name in TABLES if (source / name).is_file()), None)
    if prompts is not None:
        if table is not None or _is_geneval(source):
            raise ConfigError(f"{source} says itself which picture has which prompt: leave out --prompts.")
        found = _dealt(source, prompts)
    elif table is not None:
        found = _from_table(table)
    else:
        found = _from_geneval(source) if _is_geneval(source) else _from_pictures(source)
    pictures = _together(found)
    if not pictures:
        raise ConfigError(f"{source}: no pictures are here ({', '.join(ENDINGS)}). Give the folder that holds them.")
    return pictures


def pictures_digest(pictures: Sequence[ExistingPicture]) -> str:
    """Twelve hex digits of the SHA-256 over all pictures: contents, names, and which prompt each belongs to."""
    rows = [[each.prompt.id, each.index, each.seed, each.name, store.file_digest(each.path)] for each in pictures]
    return store.digest(rows)[:12]


def common_size(pictures: Sequence[ExistingPicture]) -> int | str:
    """The side of square pictures of one size, in pixels; else their sizes in words."""
    from PIL import Image

    sizes = set()
    for each in pictures:
        try:
            with Image.open(each.path) as image:
                sizes.add(image.size)
        except OSError:
            continue  # it is unscored later, with the reason
    if len(sizes) != 1:
        some = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)[:3])
        return f"{len(sizes)} sizes: {some} ... ({store.digest(sorted(sizes))[:8]})"
    ((width, height),) = sizes
    return width if width == height else f"{width} x {height}"


def _is_geneval(folder: Path) -> bool:
    return any(folder.glob("*/samples/")) and any(folder.glob("*/metadata.jsonl"))


def _from_geneval(folder: Path) -> Iterator[ExistingPicture]:
    described = {path.parent for path in folder.glob("*/metadata.jsonl")}
    drawn = {path for path in folder.glob("*/") if _pictures(path / "samples")}
    for place in sorted(described ^ drawn):
        what = "no pictures in samples/" if place in described else "pictures and no metadata.jsonl"
        raise ConfigError(f"{place}: it holds {what}. Finish the generation, or remove the folder.")
    for place in sorted(described):
        metadata = _parsed(_text(place / "metadata.jsonl").strip(), place / "metadata.jsonl", 1)
        if not isinstance(metadata.get("prompt"), str):
            raise ConfigError(f"{place / 'metadata.jsonl'}: no text under 'prompt'. Write GenEval's metadata into it.")
        prompt = Prompt(place.name, metadata["prompt"], metadata.get("tag"), metadata)
        for path in _pictures(place / "samples"):
            yield ExistingPicture(prompt, 0, path, path.relative_to(folder).as_posix())


def _from_pictures(folder: Path) -> Iterator[ExistingPicture]:
    for path in _pictures(folder):
        words = path.with_suffix(".txt")
        text = _text(words).strip() if words.is_file() else ""
        name = path.relative_to(folder).as_posix()
        yield ExistingPicture(Prompt(_identifier(text) if text else name, text), 0, path, name)


def _dealt(folder: Path, prompts: Sequence[Prompt]) -> Iterator[ExistingPicture]:
    paths = _pictures(folder)
    each, left = divmod(len(paths), len(prompts))
    if left or not each:
        raise ConfigError(
            f"{folder} holds {len(paths)} pictures, which cannot be dealt to {len(prompts)} prompts evenly. "
            "Write a table of pictures and prompts instead (.csv with the columns image, prompt)."
        )
    for place, path in enumerate(paths):
        yield ExistingPicture(prompts[place // each], 0, path, path.relative_to(folder).as_posix())


def _from_table(table: Path) -> Iterator[ExistingPicture]:
    for number, row in _rows(table):
        image = _first(row, _IMAGE_COLUMNS)
        if image is None:
            raise ConfigError(f"{table}, row {number}: no picture under 'image'. Give each row the path of one.")
        path = table.parent / image
        if not path.is_file():
            raise MissingFile(f"{table}, row {number}: there is no picture {path}. Paths are relative to the table.")
        try:
            seed = None if row.get("seed") is None else int(row["seed"])
        except (TypeError, ValueError):
            raise ConfigError(f"{table}, row {number}: the seed is {row['seed']!r}. Give a whole number.") from None
        yield ExistingPicture(_prompt(row), 0, path, image, seed)


def _prompt(row: Mapping[str, Any]) -> Prompt:
    text = _first(row, _PROMPT_COLUMNS) or ""
    tag = row.get("tag")
    column = next((column for column in _PROMPT_COLUMNS if row.get(column)), "")
    metadata = {key: value for key, value in row.items() if key not in (*_IMAGE_COLUMNS, "id", "seed", column)}
    given = row.get("id")
    asked = {key: value for key, value in metadata.items() if key in _ASKED}
    identifier = str(given) if given is not None else _identifier(text, asked)
    return Prompt(identifier, text, None if tag is None else str(tag), metadata)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if table.suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError(f"{table}: cannot read '{table.suffix}'. Give a folder, or a table (.csv, .jsonl).")
    text = _text(table)
    if table.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, _parsed(line, table, number)
    else:
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
            yield number, {key: value.strip() for key, value in row.items() if isinstance(value, str) and value.strip()}


def _text(path: Path) -> str:
    """The file's text, line breaks as they are."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from error


def _parsed(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{path}, line {number}: not valid JSON ({error}). Mend it.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}, line {number}: not a JSON object. Write one object a line.")
    return value


def _first(row: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    return next((str(row[column]).strip() for column in columns if row.get(column)), None)


def _pictures(folder: Path) -> list[Path]:
    """In the order of their names, numbers in them by value: 2.png comes before 10.png."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())

    def by_number(path: Path) -> list[tuple[int, str]]:
        pieces = re.split(r"(\d+)", path.as_posix())
        return [(int(piece), piece) if piece.isdecimal() else (0, piece) for piece in pieces]

    return sorted(found, key=by_number)


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

"""Pictures to learn from, in a table of one's own: which of two was preferred for a prompt, or one picture of it.

.csv .tsv .jsonl    `chosen` and `rejected`, or `image` (or `picture`, `file_name`, `path`): paths relative to the table
.parquet            the same, or the pictures themselves: bytes, or {bytes, path} as Hugging Face's `datasets` writes

and the prompt, in `prompt` (or `text`, `caption`). The folder that `flowbench export --format datasets` writes holds
such a table. How strictly the text formats are read: tables.py. Everything is looked at here, down to the header of
every picture: a file that is read once can be learned from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import images, store
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.prompts.tables import Row, check_name, read_table
from flowbench.types import Prompt

if TYPE_CHECKING:
    from PIL import Image

    from flowbench.config import TrainConfig

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
PAIR = ("chosen", "rejected")
PICTURE = ("image", "picture", "file_name", "path")
"""Columns any of which may hold the only picture of a row."""


@dataclass(frozen=True)
class Picture:
    """One picture of a table, known to be one as far as its header says."""

    name: str
    """how to speak of it: its path, or its row and column"""
    sha256: str
    """of its file's bytes"""
    path: Path | None
    content: bytes | None = None
    """the file's bytes, where the table holds them: then there is no path"""

    def load(self) -> Image.Image:
        """As `images.read_picture` reads it. Raises RunError for one that turns out to be damaged."""
        return images.read_picture(self.path or self.name, self.content)


@dataclass(frozen=True)
class Example:
    """One row: a prompt, its picture and, in a table of pairs, the one that lost against it."""

    prompt: Prompt
    chosen: Picture
    rejected: Picture | None = None

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The chosen one first."""
        return (self.chosen,) if self.rejected is None else (self.chosen, self.rejected)


@dataclass(frozen=True)
class Examples:
    """A whole table."""

    rows: Sequence[Example]
    """one or more, all pairs or all single pictures"""
    digest: str
    """twelve hex digits of the SHA-256 over all prompts and pictures"""

    @property
    def are_pairs(self) -> bool:
        return self.rows[0].rejected is not None

    @property
    def prompts(self) -> list[Prompt]:
        """Those of the rows, each once."""
        return list({row.prompt.id: row.prompt for row in self.rows}.values())


def examples_of(config: TrainConfig) -> Examples:
    """What a run with `data` learns from. Raises as `read_examples` does, and ConfigError where its objective needs
    pairs and the rows are none."""
    examples = read_examples(str(config.data))
    if config.objective.learns_from_files == "pairs" and not examples.are_pairs:
        raise ConfigError(
            f"data file {config.data}: its rows hold one picture each, and objective {config.objective.name} learns "
            f"from pairs. Give the columns {' and '.join(PAIR)}, or take --objective sft."
        )
    return examples


def read_examples(path: str | Path) -> Examples:
    """All rows of a table. Raises MissingFile when it is not there, and ConfigError, with file and row, for whatever
    could not be learned from: a missing column, prompt or picture, a pair of one picture with itself."""
    path = Path(path)
    check_name(path)
    if not os.path.isfile(path):
        raise MissingFile(f"data file {path}: there is no such file. Check the path.")
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"data file {path}: cannot read '{path.suffix}'. Use {', '.join(ENDINGS)}.")
    try:
        table = _parquet(path) if path.suffix.lower() == ".parquet" else read_table(path)
        if not table:
            raise ConfigError(f"{path}: it holds no rows. Write one for each pair, or for each picture.")
        first = _columns(table[0])
        rows = [_example(row, first, path.parent) for row in table]
    except (ConfigError, MissingFile) as error:
        raise type(error)(f"data file {error}") from error
    seen = [[each.prompt.text, *(picture.sha256 for picture in each.pictures)] for each in rows]
    return Examples(rows, store.digest(seen)[:12])


def _columns(row: Row) -> tuple[str, ...]:
    """Those that hold the pictures. Raises ConfigError where none does, and where two readings are possible."""
    pair = [column for column in PAIR if column in row.columns]
    single = [column for column in PICTURE if column in row.columns]
    there = ", ".join(column for column in row.columns if column) or "none"
    if pair and any(column in single for column in ("image", "picture")):
        raise ConfigError(f"{row.where}: {pair[0]} and {single[0]} could each be the picture. Keep what is meant.")
    if len(pair) == 1:
        lacks = next(column for column in PAIR if column not in pair)
        raise ConfigError(f"{row.where}: no column '{lacks}' (there are: {there}). A pair has {' and '.join(PAIR)}.")
    if not pair and not single:
        raise ConfigError(
            f"{row.where}: no column 'chosen' and none 'image' (there are: {there}). Name the pictures {PAIR[0]} and "
            f"{PAIR[1]} where one of two was preferred, or image where there is one."
        )
    return tuple(pair or single)


def _example(row: Row, columns: Sequence[str], folder: Path) -> Example:
    _, text = row.prompt()
    if not text:
        raise ConfigError(f"{row.where}: its prompt is empty. Write one, or remove the row.")
    prompt = Prompt(hashlib.sha256(text.encode("utf-8")).hexdigest()[:12], text, row.label("tag"), {"prompt": text})
    if tuple(columns) == PAIR:
        chosen, rejected = (_picture(row, side, folder) for side in PAIR)
        if chosen.sha256 == rejected.sha256:
            raise ConfigError(f"{row.where}: chosen and rejected are one picture. A pair is of two: remove the row.")
        return Example(prompt, chosen, rejected)
    given = [each for each in columns if row.values.get(each) is not None]
    if len({str(row.values[each]) for each in given}) > 1:
        raise ConfigError(f"{row.where}: {' and '.join(given)} name two pictures. Keep the column that is meant.")
    return Example(prompt, _picture(row, given[0] if given else columns[0], folder))


def _picture(row: Row, column: str, folder: Path) -> Picture:
    """Raises ConfigError for a cell without a picture, MissingFile for a path at which there is none."""
    value = row.values.get(column)
    where = f"{row.where}: '{column}'"
    if isinstance(value, Mapping) and set(value) <= {"bytes", "path"}:
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        _check_header(where, f"{row.where}, {column}", value)
        return Picture(f"{row.where}, {column}", hashlib.sha256(value).hexdigest(), None, value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ConfigError(f"{row.where}: no picture under '{column}'. Give the path of one, or remove the row.")
    if not isinstance(value, str):
        raise ConfigError(f"{where} is no path of a picture. Give one, as text.")
    check_name(value)
    path = folder / value.strip()
    if not os.path.isfile(path):
        raise MissingFile(f"{row.where}: there is no picture {path}. Paths are relative to the table.")
    _check_header(where, path, None)
    try:
        return Picture(str(path), store.file_digest(path), path)
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read ({error.strerror}). Mend that.") from error


def _check_header(where: str, path: str | Path, content: bytes | None) -> None:
    try:
        images.read_header(path, content)
    except RunError as error:
        raise ConfigError(f"{where}: {error}") from error


def _parquet(path: Path) -> list[Row]:
    """The rows of a parquet table, numbered from 1. Raises ConfigError without pyarrow, and for a file that is none."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(
            f'{path}: a .parquet needs the package pyarrow. Run: pip install "flowbench-t2i[export]".'
        ) from None
    try:
        columns = tuple(parquet.read_schema(path).names)
        table = parquet.read_table(path, columns=[name for name in columns if name in _READ])
        return [Row(f"{path}, row {number}", values, columns) for number, values in enumerate(_values(table), start=1)]
    except (ArrowException, OSError, ValueError, KeyError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(f"{path}: no readable parquet file ({why}). Write it again.") from error


def _values(table: Any) -> Iterator[dict[str, Any]]:
    """A row at a time: a whole column of pictures would be in memory twice."""
    for batch in table.to_batches():
        for place in range(batch.num_rows):
            row = {name: batch.column(name)[place].as_py() for name in batch.schema.names}
            yield {name: value for name, value in row.items() if value is not None}


_READ = {"prompt", "text", "caption", "tag", *PAIR, *PICTURE}
"""What a parquet table may hold beside them is not read."""

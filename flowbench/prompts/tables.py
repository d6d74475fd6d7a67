"""The one reader of tables from outside: prompt files, and tables of pictures.

.csv    RFC 4180: commas; a cell that holds a comma, a quotation mark or a line break stands in quotation marks, whole,
        with marks inside it doubled. Anything else could be read in two ways, and is refused
.tsv    tabs; a cell that begins with a quotation mark is quoted as in .csv (pandas writes it so), and marks further in
        are characters like any other, since no tab of a text can be taken for the end of a cell
.jsonl  an object of JSON a line
.txt    one prompt a line

What is not there is left out of a row or None: an empty cell, null, and NaN, which pandas writes for it. A row that
has more or fewer cells than the header is refused, and whatever JSON alone takes: a key that stands twice, Infinity,
half of a surrogate pair, nesting without end.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench.errors import ConfigError

ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")
PROMPT_COLUMNS = ("prompt", "text", "caption")
"""Which may hold the prompt. `text` beside `prompt` is no second one: it is what the ocr reward looks for."""
_DEEPEST = 64
"""Lists and objects within one another."""
_QUOTED = r'"[^"]*(?:""[^"]*)*"'
_CELLS = {
    ",": re.compile(rf'({_QUOTED}|[^",\n]*)(,|\n|\Z)'),
    "\t": re.compile(rf'({_QUOTED}|(?!")[^\t\n]*)(\t|\n|\Z)'),
}
"""By delimiter: a cell, and what ends it."""
_WAY_OUT = 'Write such a cell as spreadsheets do, in quotation marks, those inside doubled: "a sign ""OPEN"", red"'
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?")
_BITS = 64


@dataclass(frozen=True)
class Row:
    """One row of a table, and how to speak of it."""

    where: str
    """The file, and which row of it (the header is row 1), or which line."""
    values: dict[str, Any]
    """By column or key: of .csv and .tsv the text of the cells that hold some, without white space at its ends; of
    .jsonl what JSON says."""
    columns: tuple[str, ...]
    """Those that the table has, empty in this row or not."""

    def prompt(self) -> tuple[str, str]:
        """(column, text) of the prompt, white space at its ends removed; the text is "" where the cell is empty.

        Raises ConfigError where no column is known to hold it, and where two could.
        """
        found = [column for column in PROMPT_COLUMNS if column in self.columns]
        if found[:2] == ["prompt", "text"]:
            found.remove("text")
        if len(found) != 1:
            there = ", ".join(column for column in self.columns if column) or "none"
            problem = f"{' and '.join(found)} could each be the prompt" if found else "no column 'prompt'"
            raise ConfigError(f"{self.where}: {problem} (there are: {there}). Give it one column, named 'prompt'.")
        return found[0], (self.text(found[0]) or "").strip()

    def text(self, column: str) -> str | None:
        """Raises ConfigError for a value that is no text."""
        value = self.values.get(column)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self.where}: '{column}' is {_shown(value)}. Give text.")
        return value

    def label(self, column: str) -> str | None:
        """Text or a whole number, as text. Raises ConfigError for another value."""
        value = self.values.get(column)
        if isinstance(value, str) or value is None:
            return value if value is None or value.strip() else None
        number = _whole(value)
        if number is None:
            raise ConfigError(f"{self.where}: '{column}' is {_shown(value)}. Give text or a whole number.")
        return str(number)

    def whole_number(self, column: str) -> int | None:
        """`1.0` is one too: pandas writes it where others of the column are missing. Raises ConfigError."""
        value = self.values.get(column)
        if value is None:
            return None
        number = _whole(value)
        if number is None or number.bit_length() > _BITS:
            raise ConfigError(f"{self.where}: the {column} is {_shown(value)}. Give a whole number of at most 64 bits.")
        return number

    def check_lists(self, *columns: str) -> None:
        """Raise ConfigError where one of these is there and no list: a cell of text cannot hold one."""
        for column in columns:
            value = self.values.get(column)
            if value is not None and not isinstance(value, list):
                raise ConfigError(
                    f"{self.where}: '{column}' is {_shown(value)}. Give a list of objects, in a .jsonl file."
                )


def read_table(path: str | Path) -> list[Row]:
    """All rows that hold something. Raises ConfigError, with the row and the way out, for what is not to be read."""
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"{path}: cannot read '{path.suffix}'. Use {', '.join(ENDINGS)}.")
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    if ending in (".csv", ".tsv"):
        return list(_rows(path, text, "," if ending == ".csv" else "\t"))
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            values = {"prompt": line.strip()} if ending == ".txt" else parse_object(line, where)
            rows.append(Row(where, values, tuple(values)))
    return rows


def read_text(path: Path) -> str:
    """The file's text, line breaks as they are, without the byte-order mark that spreadsheets write. Raises
    ConfigError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read ({error.strerror}). Mend that, or give another file.") from error
    if "\0" in text:
        raise ConfigError(f"{path}: it holds NUL characters, as text in UTF-16 does. Save it as UTF-8.")
    return text


def parse_object(text: str, where: str) -> dict[str, Any]:
    """An object of JSON, NaN as None, a float that is a whole number as it is. Raises ConfigError, which begins with
    `where`."""
    try:
        value = json.loads(text, parse_constant=_constant, parse_float=_finite, object_pairs_hook=_object)
        _check_plain(value)
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: a character is half of a surrogate pair. Write the whole character.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid JSON ({error}). Mend it.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: not a JSON object. Write one object a line.")
    return value


def check_name(path: str | Path) -> None:
    """Raise ConfigError for a path whose name is not UTF-8: no record and no card could hold it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{ascii(os.fsencode(path))[1:]}: the name is not UTF-8. Rename it.") from None


def _rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    header: list[str] | None = None
    for number, cells in enumerate(_split(path, text, delimiter), start=1):
        cells = [cell.strip() for cell in cells]
        where = f"{path}, row {number}"
        if not any(cells):
            continue
        if header is None:
            header = cells
            repeated = [name for name, count in Counter(filter(None, header)).items() if count > 1]
            if repeated:
                raise ConfigError(f"{where}: the column '{repeated[0]}' stands there twice. Rename or remove one.")
            continue
        if len(cells) != len(header):
            raise ConfigError(
                f"{where}: it has {len(cells)} cells, the header has {len(header)}. A cell with a "
                f"{'comma' if delimiter == ',' else 'tab'} stands in quotation marks; an empty cell is one, too."
            )
        values = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
        if "" in values and header.count("") > 1:
            raise ConfigError(f"{where}: {_shown(values[''])} stands below no name. Name the column, or remove it.")
        yield Row(where, values, tuple(header))


def _split(path: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    """The cells of each row; one empty cell for an empty line. The standard library's reader does not say whether a
    cell was quoted, so that `"OPEN" on a door` becomes `OPEN on a door` there."""
    pattern, place, number = _CELLS[delimiter], 0, 1
    cells: list[str] = []
    while place < len(text) or cells:
        found = pattern.match(text, place)
        if found is None:
            raise ConfigError(f"{path}, row {number}: {_fault(text, place)}. {_WAY_OUT}.")
        cell, end = found.groups()
        cells.append(cell[1:-1].replace('""', '"') if cell.startswith('"') else cell)
        place = found.end()
        if end != delimiter:
            yield cells
            cells, number = [], number + 1


def _fault(text: str, place: int) -> str:
    """What is wrong with the quotation marks of the cell that begins here."""
    shown = _shown(text[place:].split("\n", 1)[0])
    if not text.startswith('"', place):
        return f"a quotation mark in a cell that is not quoted, {shown}"
    if re.compile(_QUOTED).match(text, place):
        return f"a cell goes on behind its closing quotation mark, {shown}"
    return f"a quotation mark is never closed, {shown}"


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {_shown(name)} stands twice in one object")
    return found


def _check_plain(value: Any, depth: int = 0) -> None:
    """Raise UnicodeEncodeError for half of a surrogate pair, ValueError for nesting without end."""
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            name.encode("utf-8")
            _check_plain(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check_plain(each, depth + 1)


def _whole(value: Any) -> int | None:
    """The whole number that a value is, or that its text says; None for another."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."

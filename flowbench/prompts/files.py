"""Prompts from a file of one's own.

.txt    one prompt a line; empty lines are skipped
.csv    a header with a `prompt` column; optional `id` and `tag`
.tsv    the same with tabs, where a quotation mark is a character like any other
.jsonl  objects with `prompt` (or `text`); optional `id` and `tag`; GenEval's lines are read as they are

The whole JSON object becomes the metadata, so that a checkable reward finds `include` and `exclude` where GenEval
puts them. A prompt without an `id` gets one from its text: it keeps it when lines are added or moved.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import ConfigError, MissingFile
from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt


def looks_like_file(name: str) -> bool:
    """Whether a name is meant as a path: a known ending, or a folder in it."""
    return Path(name).suffix.lower() in _READERS or "/" in name or "\\" in name


def file_set(path: Path) -> PromptSet:
    """The file as a prompt set without splits. Its version is its content. Raises MissingFile and ConfigError."""
    prompts = read(path)
    version = store.file_digest(path)[:10]
    return PromptSet(name=path.stem, vocabulary="", version=version, load=lambda split: list(prompts))


def read(path: Path) -> list[Prompt]:
    """All prompts of the file. Raises MissingFile when it is not there, ConfigError when it holds no prompts."""
    if not path.is_file():
        raise MissingFile(f"prompt file {path}: there is no such file. Check the path.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"prompt file {path}: cannot read '{path.suffix}'. Use .txt, .csv, .tsv or .jsonl.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompt file {path}: not UTF-8 text ({error}). Save it as UTF-8.") from error
    prompts = _with_ids(reader(text, path))
    if not prompts:
        raise ConfigError(f"prompt file {path}: it holds no prompts. Write at least one.")
    return prompts


def _lines(text: str, path: Path) -> Iterator[dict[str, Any]]:
    """One prompt a line: its text, or (.jsonl) an object of JSON."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if path.suffix.lower() != ".jsonl":
            yield {"prompt": line.strip()}
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"prompt file {path}, line {number}: not valid JSON ({error}). Mend it.") from error
        words = (value.get("prompt") or value.get("text")) if isinstance(value, dict) else None
        if not isinstance(words, str) or not words.strip():
            raise ConfigError(f"prompt file {path}, line {number}: no text under 'prompt' or 'text'. Add one.")
        rest = value if value.get("prompt") else {key: each for key, each in value.items() if key != "text"}
        yield {**rest, "prompt": words.strip()}  # `text` beside a prompt is what the ocr reward looks for


def _rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == ".tsv":
        reader = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    if columns and "prompt" not in columns:
        raise ConfigError(f"prompt file {path}: no column 'prompt' (there are: {', '.join(columns)}). Rename one.")
    for row in reader:
        if (row.get("prompt") or "").strip():
            # The key None holds what stands beyond the last column; an empty cell says nothing.
            yield {key: value.strip() for key, value in row.items() if isinstance(value, str) and value.strip()}


_READERS: dict[str, Callable[[str, Path], Iterator[dict[str, Any]]]] = {
    ".txt": _lines,
    ".csv": _rows,
    ".tsv": _rows,
    ".jsonl": _lines,
}


def _with_ids(rows: Iterator[dict[str, Any]]) -> list[Prompt]:
    """Prompts with ids: their own, or a hash of the text; one that stands twice gets '-2', '-3' ... behind it."""
    prompts = []
    times: Counter[str] = Counter()
    for row in rows:
        identifier = row.get("id")
        if identifier is None:
            identifier = hashlib.sha256(row["prompt"].encode("utf-8")).hexdigest()[:12]
            times[identifier] += 1
            identifier += f"-{times[identifier]}" if times[identifier] > 1 else ""
        tag = row.get("tag")
        metadata = {key: value for key, value in row.items() if key != "id"}
        prompts.append(Prompt(str(identifier), row["prompt"], None if tag is None else str(tag), metadata))
    return prompts

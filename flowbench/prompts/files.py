"""Prompts from a file of one's own.

.txt    one prompt a line; empty lines are skipped
.csv    a header with a `prompt` column (or `text`, or `caption`); optional `id` and `tag`
.tsv    the same with tabs
.jsonl  objects with the same keys; GenEval's lines are read as they are

The whole row becomes the metadata, so that a checkable reward finds `include` and `exclude` where GenEval puts them. A
prompt without an `id` gets one from its text: it keeps it when lines are added or moved. How strictly the formats are
read: tables.py.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from flowbench import store
from flowbench.errors import ConfigError, MissingFile
from flowbench.prompts.prompt_set import PromptSet
from flowbench.prompts.tables import ENDINGS, Row, check_name, read_table
from flowbench.types import Prompt


def looks_like_file(name: str) -> bool:
    """Whether a name is meant as a path: a known ending, or a folder in it."""
    return Path(name).suffix.lower() in ENDINGS or "/" in name or "\\" in name


def file_set(path: Path) -> PromptSet:
    """The file as a prompt set without splits. Its version is its content. Raises MissingFile and ConfigError."""
    prompts = read(path)
    version = store.file_digest(path)[:10]
    return PromptSet(name=path.stem, vocabulary="", version=version, load=lambda split: list(prompts))


def read(path: Path) -> list[Prompt]:
    """All prompts of the file. Raises MissingFile when it is not there, ConfigError when it holds no prompts, or
    something that cannot be read in one way only."""
    check_name(path)
    if not os.path.isfile(path):
        raise MissingFile(f"prompt file {path}: there is no such file. Check the path.")
    try:
        prompts = _with_ids(read_table(path))
    except ConfigError as error:
        raise ConfigError(f"prompt file {error}") from error
    if not prompts:
        raise ConfigError(f"prompt file {path}: it holds no prompts. Write at least one.")
    return prompts


def _with_ids(rows: Iterable[Row]) -> list[Prompt]:
    """Prompts with ids: their own, or a hash of the text; one that stands twice gets '-2', '-3' ... behind it."""
    prompts = []
    times: Counter[str] = Counter()
    for row in rows:
        column, text = row.prompt()
        if not text:
            raise ConfigError(f"{row.where}: its prompt is empty. Write one, or remove the row.")
        row.check_lists("include", "exclude")
        identifier = row.label("id")
        if identifier is None:
            identifier = hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
            times[identifier] += 1
            identifier += f"-{times[identifier]}" if times[identifier] > 1 else ""
        metadata = {key: value for key, value in row.values.items() if key not in ("id", column)}
        prompts.append(Prompt(identifier, text, row.label("tag"), {**metadata, "prompt": text}))
    return prompts

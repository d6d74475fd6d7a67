"""Prompt sets whose texts belong to others: fetched from their home on first use, checked, never shipped.

The files, their homes and licences stand in flowbench/assets/prompt_files.py. At every use a file is compared with the
hash that is known of it (published, the hub's, or the one recorded when it came), then the number of prompts with the
published one. Prompts keep their published order and lose white space at their ends. Whether a set has a protocol of
its own is said by the suites; `dpg` and the sets after it here come as prompts only.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from flowbench.assets import Asset
from flowbench.errors import AssetError, ConfigError
from flowbench.prompts.prompt_set import PromptSet
from flowbench.types import Prompt

Row = dict[str, Any]
"""`prompt`; optional `id` (else its place, from 00000) and `tag`; all else, but the id, becomes metadata."""
Read = Callable[[Mapping[str, str]], Iterator[Row]]
"""What the files of a split hold, by path -> its rows. Raises KeyError, ValueError for another format."""

_OWN_FILE = "let a file of your own stand in the set's place (in train and eval: --prompts FILE)"
"""The way out, in words that hold for every command."""


@dataclass(frozen=True)
class Part:
    """One split: the number of its prompts (None: not published; a SHA-256 stands for it), and its file (all files of
    the asset where there is none)."""

    count: int | None
    file: str = ""


def load(name: str, asset: Asset, read: Read, part: Part) -> list[Prompt]:
    """The prompts of one split, fetched now where they are not here.

    Raises AssetError when a file is not to be had or not what it was, ConfigError when it holds something else.
    """
    files = (part.file,) if part.file else asset.published
    contents = _contents(asset.name, files)
    try:
        rows = [{**row, "prompt": row["prompt"].strip()} for row in read(contents)]
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ConfigError(
            f"prompt set '{name}': {', '.join(files)} is not in the published format ({type(error).__name__}: "
            f"{error}). Instead, {_OWN_FILE}."
        ) from error
    rows = [row for row in rows if row["prompt"]]
    if part.count is not None and len(rows) != part.count:
        raise ConfigError(
            f"prompt set '{name}' has {len(rows)} prompts in {', '.join(files)}, published are {part.count}. "
            f"`flowbench assets pull --again {asset.name}` fetches them anew; or {_OWN_FILE}."
        )
    prompts = []
    for number, row in enumerate(rows):
        metadata = {key: value for key, value in row.items() if key != "id"}
        prompts.append(Prompt(row.get("id", f"{number:05d}"), row["prompt"], row.get("tag"), metadata))
    return prompts


def _contents(asset: str, files: tuple[str, ...]) -> dict[str, str]:
    """File -> its text, once every hash that is known of it holds."""
    from flowbench import assets

    try:
        folder = assets.folder(asset)
        wrong = [check for check in assets.verify(asset) if check.state not in ("ok", "unpublished")]
    except AssetError as error:
        raise AssetError(f"{str(error).rstrip('.')}; or {_OWN_FILE}.") from error
    if wrong:
        raise AssetError(
            f"{folder}/{wrong[0].file} is {wrong[0].state}: {wrong[0].detail}. `flowbench assets pull --again {asset}` "
            f"fetches it anew; or {_OWN_FILE}."
        )
    contents = {}
    for file in files:
        try:
            contents[file] = (folder / file).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{folder / file}: not UTF-8 text ({error}). Instead, {_OWN_FILE}.") from error
    return contents


def _prompt_set(name: str, read: Read, about: str, **parts: Part) -> PromptSet:
    """The set of the asset `prompts-NAME`. Its version is its home's commit."""
    from flowbench.assets import find

    asset = find(f"prompts-{name.replace('_', '-')}")
    commit = re.search(r"[0-9a-f]{40}", f"{asset.revision} {asset.url}")
    assert commit, f"{asset.name} is not pinned"

    def load_split(split: str) -> list[Prompt]:
        if split not in parts:
            raise ConfigError(f"prompt set '{name}' has no split '{split}'. Choose one of {', '.join(parts)}.")
        return load(name, asset, read, parts[split])

    return PromptSet(name, "", commit[0][:10], load_split, tuple(parts), about, asset.name)


def _only(contents: Mapping[str, str]) -> str:
    (text,) = contents.values()
    return text


def _lines(contents: Mapping[str, str]) -> Iterator[Row]:
    """One prompt a line."""
    for line in _only(contents).split("\n"):
        yield {"prompt": line}


def _table(contents: Mapping[str, str], *, tabs: bool = False) -> csv.DictReader[str]:
    """The rows of the only file; between tabs, quotation marks are characters like any other."""
    if tabs:
        return csv.DictReader(io.StringIO(_only(contents)), delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.DictReader(io.StringIO(_only(contents), newline=""))


def _columns(*, tabs: bool = False, **columns: str) -> Read:
    """A table, of whose columns some are taken: `prompt="Text"` takes "Text" as the prompt."""

    def read(contents: Mapping[str, str]) -> Iterator[Row]:
        for row in _table(contents, tabs=tabs):
            yield {key: row[column].strip() for key, column in columns.items()}

    return read


def _file_by_tag(contents: Mapping[str, str]) -> Iterator[Row]:
    """Each file holds the texts of one tag, a JSON list or one a line; ids as HPD's benchmark numbers its pictures."""
    for path, text in contents.items():
        tag = PurePosixPath(path).stem.removesuffix("_val")
        texts = json.loads(text) if path.endswith(".json") else filter(str.strip, text.split("\n"))
        for number, each in enumerate(texts):
            yield {"id": f"{tag}-{number:05d}", "prompt": each, "tag": tag}


def _dpg(contents: Mapping[str, str]) -> Iterator[Row]:
    """One line a question; the lines of a prompt share its `item_id` and its text."""
    seen: dict[str, Row] = {}
    for row in _table(contents):
        first = seen.setdefault(row["item_id"], {"id": row["item_id"], "prompt": row["text"], "questions": []})
        first["questions"].append(row["question_natural_language"])
    yield from seen.values()


def _genai_bench(contents: Mapping[str, str]) -> Iterator[Row]:
    """{number: {"prompt"}} and {skill: numbers}; a prompt is basic or advanced, seven are neither."""
    prompts = json.loads(contents["genai_image.json"])
    skills = {skill: set(numbers) for skill, numbers in json.loads(contents["genai_skills.json"]).items()}
    for key, row in prompts.items():
        named = [skill for skill, numbers in skills.items() if int(key) in numbers]
        tag = next((level for level in ("advanced", "basic") if level in named), None)
        own = [skill for skill in named if skill not in ("advanced", "basic", "all")]
        yield {"id": key, "prompt": row["prompt"], "skills": own, **({"tag": tag} if tag else {})}


def _geneval2(contents: Mapping[str, str]) -> Iterator[Row]:
    for line in filter(str.strip, _only(contents).split("\n")):
        row = json.loads(line)
        yield {**row, "tag": f"atoms_{row['atom_count']}"}


def _unigenbench(contents: Mapping[str, str]) -> Iterator[Row]:
    for row in _table(contents):
        column = next((name for name in row if name and name.startswith("sub_dims")), "")
        about = json.loads(row[column])
        metadata = {"test_points": about["Testpoints"], "descriptions": about["Testpoint Description"]}
        yield {"id": row["index"], "prompt": row["prompt_en"], "tag": about["Primary Categories"], **metadata}


DRAWBENCH = _prompt_set(
    "drawbench",
    _columns(prompt="Prompts", tag="Category"),
    "DrawBench, by Google for Imagen; tags: its 11 categories",
    test=Part(200),
)
PARTIPROMPTS = _prompt_set(
    "partiprompts",
    _columns(tabs=True, prompt="Prompt", tag="Category", challenge="Challenge"),
    "PartiPrompts (P2), by Google; tags: its 12 categories",
    test=Part(1632),
)
HPDV2 = _prompt_set("hpdv2", _file_by_tag, "the benchmark of HPS v2; tags: its four styles", test=Part(3200))
PICKSCORE = _prompt_set(
    "pickscore",
    _lines,
    "Pick-a-Pic captions as Flow-GRPO trains and tests on them; some are explicit",
    train=Part(None, "train.txt"),
    test=Part(2048, "test.txt"),
)
OCR_FLOWGRPO = _prompt_set(
    "ocr_flowgrpo",
    _lines,
    "scenes with text to be rendered, by Flow-GRPO",
    train=Part(None, "train.txt"),
    test=Part(1018, "test.txt"),
)
DPG = _prompt_set("dpg", _dpg, "DPG-Bench, long prompts; prompts only", test=Part(1065))
T2I_COMPBENCH = _prompt_set(
    "t2i_compbench",
    _file_by_tag,
    "T2I-CompBench++, validation; tags: its 8 categories; prompts only",
    test=Part(2400),
)
GENAI_BENCH = _prompt_set(
    "genai_bench", _genai_bench, "GenAI-Bench; tags: basic and advanced; prompts only", test=Part(1600)
)
GENEVAL2 = _prompt_set(
    "geneval2", _geneval2, "GenEval 2, non-commercial; tags: number of atoms; prompts only", test=Part(800)
)
UNIGENBENCH = _prompt_set(
    "unigenbench", _unigenbench, "UniGenBench, short and English; tags: its 5 themes; prompts only", test=Part(600)
)

"""The prompt sets by name, and how a name or a file becomes one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.prompts import files
from flowbench.prompts.prompt_set import PromptSet
from flowbench.registry import Registry
from flowbench.types import Prompt

prompt_sets = Registry("prompt set", "flowbench.prompts")
prompt_sets.add("shapes", "flowbench.prompts.shapes:SHAPES")
prompt_sets.add("shapes_unseen", "flowbench.prompts.shapes_unseen:SHAPES_UNSEEN")
prompt_sets.add("letters", "flowbench.prompts.letters:LETTERS")
prompt_sets.add("geneval", "flowbench.prompts.geneval:GENEVAL")
prompt_sets.add("geneval_unseen", "flowbench.prompts.geneval_unseen:GENEVAL_UNSEEN")
prompt_sets.add("ocr", "flowbench.prompts.ocr:OCR")
for _name in (
    "drawbench", "partiprompts", "hpdv2", "pickscore", "ocr_flowgrpo",
    "dpg", "t2i_compbench", "genai_bench", "geneval2", "unigenbench",
):  # fmt: skip
    prompt_sets.add(_name, f"flowbench.prompts.fetched:{_name.upper()}")


def find(name_or_file: str | Path) -> PromptSet:
    """The registered set of that name, or the file of that path (.txt, .csv, .tsv, .jsonl) as a set.

    Raises UnknownName for a name that is neither, MissingFile for a path that is not there.
    """
    name = str(name_or_file)
    if name not in prompt_sets and files.looks_like_file(name):
        return files.file_set(Path(name))
    found: PromptSet = prompt_sets.get(name)
    return found


def load(name_or_file: str | Path, split: str) -> list[Prompt]:
    """The prompts of one split ("train", "dev", "test"); a file has no splits and gives all its prompts for each."""
    prompt_set = find(name_or_file)
    prompts = list(prompt_set.load(split))
    if not prompts:
        raise ConfigError(f"prompt set '{prompt_set.name}', split '{split}', holds no prompts. Choose another split.")
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise ConfigError(
                f"prompt set '{prompt_set.name}', split '{split}', holds the id '{prompt.id}' twice. Rename one."
            )
        seen.add(prompt.id)
    return prompts


def prompts_digest(prompts: Iterable[Prompt]) -> str:
    """SHA-256 (hex) over id, text, tag and metadata of each prompt, in order: equal digests, equal prompts.

    Raises ConfigError for metadata that is not plain data.
    """
    rows = [[prompt.id, prompt.text, prompt.tag, prompt.metadata] for prompt in prompts]
    try:
        return store.digest(rows)
    except TypeError as error:
        raise ConfigError(
            f"metadata of prompts is not plain data: {error}. Use text, numbers, lists and dictionaries only."
        ) from None

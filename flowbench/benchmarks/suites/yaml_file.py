"""A suite of one's own in a YAML file: the fields of `Suite`, checked; no code is loaded.

prompt_set: mine.txt        # a registered set, or a file beside this one (.txt, .csv, .jsonl)
reference: photos           # for fid, kid and cmmd: a folder beside this file, or any path
steps: 28
guidance: 4.5
images_per_prompt: 2
scorers: [pickscore, ocr]
options: {ocr: {variant: exact}}
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from flowbench.benchmarks.suite import Suite
from flowbench.errors import ConfigError, MissingFile
from flowbench.registry import did_you_mean
from flowbench.yaml_text import parse_yaml

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "int": ((int,), "a whole number"),
    "int | None": ((int, type(None)), "a whole number"),
    "float": ((int, float), "a number"),
    "Method": ((str,), "text"),
    "Solver": ((str,), "text"),
    "Overall": ((str,), "text"),
    "tuple[str, ...]": ((list,), "a list of names"),
    "Mapping[str, Mapping[str, Any]]": ((dict,), "a mapping from scorers to their options"),
}
_NOT_FOR_FILES = ("own", "every_part")
_NEEDED = ("prompt_set", "steps", "guidance")


def read(path: Path) -> Suite:
    """The file as a suite; its name is the file's unless it says one. Raises MissingFile and ConfigError."""
    import yaml

    if not os.path.isfile(path):
        raise MissingFile(f"suite file {path}: there is no such file. Check the path.")
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"suite file {path}: not valid YAML ({error}). Mend it.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"suite file {path}: not a mapping. Write lines such as `steps: 28`.")
    _check(path, values)
    if os.path.isfile(path.parent / values["prompt_set"]):
        values["prompt_set"] = str(path.parent / values["prompt_set"])
    if values.get("reference"):
        values["reference"] = str(path.parent / values["reference"])
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Suite(**{"name": path.stem, **values, **lists})


def _check(path: Path, values: dict[str, Any]) -> None:
    """Raise ConfigError for what is no field of a suite, or of another type; 28.0 becomes the whole number 28."""
    kinds = {each.name: str(each.type) for each in fields(Suite) if each.name not in _NOT_FOR_FILES}
    for key, value in values.items():
        if key not in kinds:
            known = ", ".join(kinds)
            guess = did_you_mean(str(key), kinds)
            raise ConfigError(f"suite file {path}: unknown key '{key}'.{guess} Known: {known}.")
        types, words = _KINDS[kinds[key]]
        if int in types and isinstance(value, float) and value.is_integer():
            values[key] = value = int(value)
        if not isinstance(value, types) or isinstance(value, bool):
            raise ConfigError(f"suite file {path}: {key} is {value!r}. Give {words}.")
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise ConfigError(f"suite file {path}: {key} is {value!r}. Give {words}.")
        if isinstance(value, dict) and not all(isinstance(each, dict) for each in value.values()):
            raise ConfigError(f"suite file {path}: {key} is {value!r}. Give {words}.")
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise ConfigError(f"suite file {path}: no '{missing[0]}'. A suite needs {', '.join(_NEEDED)}.")

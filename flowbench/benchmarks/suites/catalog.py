"""The suites by name: the shipped ones, a plugin's, or a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.suites.yaml_file import read
from flowbench.registry import Registry

registry = Registry("suite", "flowbench.suites")
registry.add("shapes", "flowbench.benchmarks.suites.shapes:SHAPES")
registry.add("shapes_dev", "flowbench.benchmarks.suites.shapes:SHAPES_DEV")
registry.add("shapes_unseen", "flowbench.benchmarks.suites.shapes:SHAPES_UNSEEN")
registry.add("letters", "flowbench.benchmarks.suites.letters:LETTERS")
registry.add("letters_dev", "flowbench.benchmarks.suites.letters:LETTERS_DEV")
registry.add("geneval", "flowbench.benchmarks.suites.geneval:GENEVAL")
registry.add("geneval_unseen", "flowbench.benchmarks.suites.geneval:GENEVAL_UNSEEN")
registry.add("drawbench", "flowbench.benchmarks.suites.drawbench:DRAWBENCH")
registry.add("partiprompts", "flowbench.benchmarks.suites.partiprompts:PARTIPROMPTS")
registry.add("ocr", "flowbench.benchmarks.suites.ocr:OCR")
registry.add("pickscore", "flowbench.benchmarks.suites.pickscore:PICKSCORE")
registry.add("hpdv2", "flowbench.benchmarks.suites.hpdv2:HPDV2")


def register(name: str, **fields: Any) -> Suite:
    """Make a suite of your own: `register("mine", prompt_set="mine.txt", steps=28, guidance=4.5, scorers=("jpeg",))`.

    Raises NameTaken when another suite has the name. Packages may also name a Suite under the entry-point group
    `flowbench.suites`.
    """
    suite = Suite(name=name, **fields)
    registry.add(name, suite)
    return suite


def find(name: str | Path | Suite) -> Suite:
    """The suite of that name or YAML file (a Suite is passed on). Raises UnknownName, MissingFile, ConfigError."""
    if isinstance(name, Suite):
        return name
    if str(name) not in registry and Path(name).suffix.lower() in (".yaml", ".yml"):
        return read(Path(name))
    found: Suite = registry.get(str(name))
    return found

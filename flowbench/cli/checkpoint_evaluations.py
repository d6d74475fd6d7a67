"""Which evaluation is of which checkpoint: by the adapter's digest, which stands in its card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench import checkpoints, store
from flowbench.cli.dev_evaluation import suite_of
from flowbench.errors import ConfigError, FlowbenchError, MissingFile
from flowbench.layout import RunFolder

if TYPE_CHECKING:
    from flowbench.evals import Results
    from flowbench.reports.diagnosis import Course

_NUMBER = re.compile(r"[0-9]+")


def courses_of(folder: Path, elsewhere: Sequence[str], suite: str | None) -> list[Course]:
    """The evaluations of a run's checkpoints, or of a folder of adapters, by settings.

    They are looked for in the run (those made during training too) and in the folders `elsewhere`. Raises MissingFile
    when there are no checkpoints, ConfigError when no two are evaluated alike.
    """
    from flowbench.reports.diagnosis import courses

    if not folder.is_dir():
        raise MissingFile(f"{folder}: there is no such folder. Name a run, or a folder of adapters.")
    adapters = dict(_adapters(folder))
    if not adapters:
        raise MissingFile(
            f"{folder}: it holds neither checkpoints of a run nor folders with adapters. Name a run, or a folder whose "
            "folders are adapters with their training step in the name, as checkpoint-200."
        )
    found = list(_evaluations(folder, elsewhere, suite))
    made = courses(found, _steps(folder, adapters))
    if not made:
        several = f"{len(found)} evaluation{'s' if len(found) != 1 else ''}"
        raise ConfigError(
            f"{folder}: {several} found, and no two of them are of different checkpoints (or of one and the model it "
            f"began from) under the same settings. Make them: {_command(folder, adapters, suite)}"
        )
    return made


def _adapters(folder: Path) -> Iterator[tuple[int, Path]]:
    """(training steps, folder) of each checkpoint of a run or, of somebody else's folder, of each adapter in it by the
    last number in its name. Raises ConfigError for two of one step."""
    from flowbench.models.adapter_files import is_adapter

    run = RunFolder(folder)
    if run.is_training:
        yield from ((int(path.name.removeprefix("step-")), path) for path in reversed(checkpoints.every(run)))
        return
    seen: dict[int, Path] = {}
    for path in sorted(each for each in folder.iterdir() if each.is_dir() and is_adapter(each)):
        numbers = _NUMBER.findall(path.name)
        if not numbers:
            continue
        step = int(numbers[-1])
        if step in seen:
            raise ConfigError(f"{folder}: {seen[step].name} and {path.name} are both of step {step}. Rename one.")
        seen[step] = path
        yield step, path


def _steps(folder: Path, adapters: dict[int, Path]) -> dict[str, int]:
    """Adapter's digest -> training steps. What the run began from is step 0: the model, or `adapter.start`."""
    from flowbench.models.adapter_files import adapter_digest, read

    start = ""
    with suppress(FlowbenchError):  # none of ours
        start = store.read_object(RunFolder(folder).card)["must_agree"].get("start", "")
    return {start or "none": 0, **{adapter_digest(read(path)[0]): step for step, path in sorted(adapters.items())}}


def _evaluations(folder: Path, elsewhere: Sequence[str], suite: str | None) -> Iterator[Results]:
    from flowbench.evals import find_results

    for place in (folder, RunFolder(folder).dev.path):
        with suppress(MissingFile):
            yield from find_results(place, suite)
    for name in elsewhere:
        yield from find_results(name, suite)


def _command(folder: Path, adapters: dict[int, Path], suite: str | None) -> str:
    from flowbench.run_config import read_run_config

    if suite is None and RunFolder(folder).is_training:
        own = suite_of(read_run_config(RunFolder(folder).config, any_objective=True).prompts.name, "dev")
        suite = own.name if own else None
    first = next(iter(adapters.values()))
    return f"flowbench eval --ckpt {first} --suite {suite or 'NAME'}, and so on for {len(adapters)} checkpoints."

"""Which evaluation is of which checkpoint: by the adapter's digest, which stands in its card."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench import checkpoints
from flowbench.cli.dev_evaluation import suite_of
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.layout import EvaluationFolder, RunFolder

if TYPE_CHECKING:
    from flowbench.evals import Results
    from flowbench.reports.diagnosis import Found

_NUMBER = re.compile(r"[0-9]+")
INNER = "lora"
"""Where the published code of Flow-GRPO puts the adapter of a checkpoint."""


def courses_of(folder: Path, elsewhere: Sequence[str], suite: str | None) -> Found:
    """The evaluations of a run's checkpoints, or of a folder of adapters, by settings.

    They are looked for in the run (those made during training too) and in the folders `elsewhere`. Raises MissingFile
    when there are no checkpoints, RunError for a run whose card is missing or damaged, ConfigError when no two are
    evaluated alike.
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
    start, weights = _began_from(folder)
    found = courses(_evaluations(folder, elsewhere, suite), {start: 0, **_steps(adapters)}, weights)
    if not found.courses:
        reasons = "; ".join(f"{count} {why}" for why, count in found.left_out.items()) or "there is none"
        raise ConfigError(
            f"{folder}: no two evaluations are of different checkpoints (or of one and the model it began from) under "
            f"the same settings ({reasons}). Make them: {_command(folder, adapters, suite)}"
        )
    return found


def _adapters(folder: Path) -> Iterator[tuple[int, Path]]:
    """(training steps, folder) of each checkpoint of a run or, of somebody else's folder, of each adapter in it by the
    last number in its name. Raises ConfigError for two of one step."""
    from flowbench.models.adapter_files import is_adapter

    run = RunFolder(folder)
    if own := checkpoints.every(run):
        yield from ((int(path.name.removeprefix("step-")), path) for path in reversed(own))
        return
    seen: dict[int, Path] = {}
    for path in sorted(each for each in folder.iterdir() if each.is_dir()):
        adapter = next((each for each in (path, path / INNER) if is_adapter(each)), None)
        numbers = _NUMBER.findall(path.name)
        if adapter is None or not numbers:
            continue
        step = int(numbers[-1])
        if step in seen:
            raise ConfigError(f"{folder}: {seen[step].name} and {path.name} are both of step {step}. Rename one.")
        seen[step] = path
        yield step, adapter
    if not seen and run.checkpoints.is_dir():  # of somebody else's run
        yield from _adapters(run.checkpoints)


def _began_from(folder: Path) -> tuple[str, str | None]:
    """(digest of the adapter that is step 0, weights of the base model as far as they are known). Of a run both stand
    in its card; of somebody else's adapters the bare model, whichever it is."""
    from flowbench.trainer.run_card import read_card

    if not _is_ours(folder):
        return "none", None
    card = read_card(folder)
    if card is None:
        raise RunError(f"{RunFolder(folder).card} is missing: nobody knows what the run began from. Restore it.")
    return card["must_agree"].get("start") or "none", card["must_agree"]["weights"]


def _is_ours(folder: Path) -> bool:
    """Whether the checkpoints are of a run of flowbench; others have a config.yaml, too."""
    return bool(checkpoints.every(RunFolder(folder)))


def _steps(adapters: dict[int, Path]) -> dict[str, int]:
    """Adapter's digest -> training steps; of equal ones the first."""
    from flowbench.models.adapter_files import adapter_digest, read

    return {adapter_digest(read(path)[0]): step for step, path in sorted(adapters.items(), reverse=True)}


def _evaluations(folder: Path, elsewhere: Sequence[str], suite: str | None) -> list[Results]:
    """Each once, the oldest first."""
    from flowbench.evals import find_results

    found: dict[Path, Results] = {}
    for place in (folder, RunFolder(folder).dev.path):
        with suppress(MissingFile):
            found |= {each.folder.resolve(): each for each in find_results(place, suite)}
    for name in elsewhere:
        found |= {each.folder.resolve(): each for each in find_results(name, suite)}
    return sorted(found.values(), key=lambda each: EvaluationFolder(each.folder).summary.stat().st_mtime)


def _command(folder: Path, adapters: dict[int, Path], suite: str | None) -> str:
    from flowbench.run_config import read_run_config

    config = None
    if _is_ours(folder):
        config = read_run_config(RunFolder(folder).config, any_objective=True)
        own = suite_of(config.prompts.name, "dev") if suite is None else None
        suite = suite or (own.name if own else None)
    base = (config.adapter.start or config.model.name) if config is not None else "BASE"
    first, *others = adapters.values()
    commands = [
        shlex.join(["flowbench", "eval", "--ckpt", str(each), "--suite", suite or "NAME", "--out", str(folder)])
        for each in (base, first)
    ]
    last = f", and so on for {len(others)} more" if others else ""
    return f"{', then '.join(commands)}{last}."

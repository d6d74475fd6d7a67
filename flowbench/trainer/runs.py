"""The run folder of a training run: claiming it, refusing foreign ones, writing what belongs into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowbench import checkpoints
from flowbench.checkpoints import steps_of
from flowbench.config import TrainConfig
from flowbench.errors import FlowbenchError, RunError
from flowbench.layout import CARD, CONFIG, RunFolder
from flowbench.run_config import read_run_config, sealed_text
from flowbench.store import Held, locked, write_bytes, write_sealed, write_text
from flowbench.trainer.run_card import FREE, check_card


@contextmanager
def claimed(folder: Path, config: TrainConfig, *, resume: bool) -> Iterator[Held]:
    """Hold the folder's lock. A new run writes its config; a resumed one must have the same, `out` and `steps` aside.

    Raises RunError for a folder that holds a run already, another run's settings, or somebody else's files.
    """
    check_folder(folder, config, resume=resume)  # before the lock, which writes into the folder
    with locked(folder) as held:
        check_folder(folder, config, resume=resume)  # another run may have begun and ended in between
        write_text(folder / CONFIG, sealed_text(config))
        yield held


def check_folder(folder: Path, config: TrainConfig, *, resume: bool) -> None:
    """Raise RunError as `claimed` does, and touch nothing. A run that failed before its first step may begin again."""
    path = folder / CONFIG
    begun = _begun(folder)
    if not begun and folder.is_dir() and not all(map(_ours, folder.iterdir())):
        raise RunError(f"{folder} holds files but no training run. Give another --out.")
    if begun and not resume:
        raise RunError(
            f"{folder} already holds a run. Go on: flowbench train --resume {folder}; or give another --out."
        )
    if begun:
        before = read_run_config(path)
        _check_same(folder, before, config)
        run = RunFolder(folder)
        logged = max(steps_of(run.log), default=0)
        if logged > before.save_every and not checkpoints.every(run) and not run.latest.exists():
            raise RunError(
                f"{run.checkpoints}: no checkpoint is here, and {run.log} tells of {logged} steps. Restore the "
                f"checkpoints; to begin again at step 1, delete {run.log.name}."
            )


def keep_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card of a run that begins; that of a resumed one must agree with what stands there (RunError)."""
    if _begun(folder):
        check_card(folder, card)
    else:
        write_sealed(folder / CARD, card)


def stored_config(folder: str | Path, *, any_objective: bool = False) -> TrainConfig:
    """The configuration with which a run was started; its `out` is where the folder stands now.

    `any_objective`: the plugin of its objective need not be here, for who does not train.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise RunError(f"{folder} holds no training run (there is no {CONFIG}). Give the folder of a run.")
    return read_run_config(path, any_objective=any_objective).model_copy(update={"out": str(folder)})


def write_grid(folder: Path, step: int, sheet: bytes, texts: Sequence[str]) -> None:
    """A grid of progress pictures, and beside it the prompts: four pictures each, in reading order."""
    write_bytes(RunFolder(folder).grid(step), sheet)
    write_text(RunFolder(folder).samples / "prompts.txt", "".join(f"{text}\n" for text in texts))


def _begun(folder: Path) -> bool:
    run = RunFolder(folder)
    return run.is_training and (run.log.is_file() or run.checkpoints.is_dir())


def _ours(path: Path) -> bool:
    """Whether a run that ended before its first step has left this behind: hidden files (the lock, and what a kill in
    the middle of a write leaves), curves, first looks and evaluations, or a config.yaml exactly as we write it, so that
    nobody's notes are lost.
    """
    if path.name == CONFIG:
        try:
            return bool(read_run_config(path))
        except FlowbenchError:
            return False
    run = RunFolder(path.parent)
    return path.name.startswith(".") or path.name in (run.tensorboard.name, run.monitor.name, run.dev.path.name, CARD)


def _check_same(folder: Path, stored: TrainConfig, config: TrainConfig) -> None:
    before, now = (_leaves(each.model_dump(exclude=set(FREE))) for each in (stored, config))
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise RunError(
                f"{folder} was started with {key} = {before.get(key)}, not {now.get(key)}. "
                "Resume with its own settings, or give another --out."
            )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return leaves

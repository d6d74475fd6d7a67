"""The run folder of a training run: claiming it, refusing foreign ones, writing what belongs into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowbench.config import TrainConfig, load_config, to_yaml
from flowbench.errors import ConfigError, FlowbenchError, RunError
from flowbench.layout import CARD, CONFIG, RunFolder
from flowbench.store import locked, write_bytes, write_json, write_text
from flowbench.trainer.run_card import check_card


@contextmanager
def claimed(folder: Path, config: TrainConfig, *, resume: bool) -> Iterator[Path]:
    """Hold the folder's lock. A new run writes its config; a resumed one must have the same, `out` and `steps` aside.

    Raises RunError for a folder that holds a run already, another run's settings, or somebody else's files.
    """
    check_folder(folder, config, resume=resume)  # before the lock, which writes into the folder
    with locked(folder):
        check_folder(folder, config, resume=resume)  # another run may have begun and ended in between
        write_text(folder / CONFIG, to_yaml(config))
        yield folder


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
        _check_same(path, config)


def keep_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card of a run that begins; that of a resumed one must agree with what stands there (RunError)."""
    if _begun(folder):
        check_card(folder, card)
    else:
        write_json(folder / CARD, card)


def stored_config(folder: str | Path, *, any_objective: bool = False) -> TrainConfig:
    """The configuration with which a run was started; its `out` is where the folder stands now.

    `any_objective`: the plugin of its objective need not be here, for who does not train.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise RunError(f"{folder} holds no training run (there is no {CONFIG}). Give the folder of a run.")
    try:
        return load_config(path, any_objective=any_objective).model_copy(update={"out": str(folder)})
    except (ConfigError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not the configuration of a flowbench run: {error}") from None


def write_grid(folder: Path, step: int, sheet: bytes, texts: Sequence[str]) -> None:
    """A grid of progress pictures, and beside it the prompts: four pictures each, in reading order."""
    write_bytes(RunFolder(folder).grid(step), sheet)
    write_text(RunFolder(folder).samples / "prompts.txt", "".join(f"{text}\n" for text in texts))


def _begun(folder: Path) -> bool:
    run = RunFolder(folder)
    return run.is_training and (run.log.is_file() or run.checkpoints.is_dir())


def _ours(path: Path) -> bool:
    """Whether a run that ended before its first step has left this behind: hidden files (the lock, and what a kill in
    the middle of a write leaves), the curves, or a config.yaml exactly as we write it, so that nobody's notes are lost.
    """
    if path.name == CONFIG:
        return _is_our_config(path)
    return path.name.startswith(".") or path.name in (RunFolder(path.parent).tensorboard.name, CARD)


def _is_our_config(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8") == to_yaml(load_config(path))
    except (FlowbenchError, UnicodeDecodeError):
        return False


def _check_same(path: Path, config: TrainConfig) -> None:
    free = {"out": "", "steps": 1, "save_every": 1, "sample_every": 1, "keep": 1}
    before = _leaves(load_config(path).model_copy(update=free).model_dump())
    now = _leaves(config.model_copy(update=free).model_dump())
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise RunError(
                f"{path.parent} was started with {key} = {before.get(key)}, not {now.get(key)}. "
                "Resume with its own settings, or give another --out."
            )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return leaves

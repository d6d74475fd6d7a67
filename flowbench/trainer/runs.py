"""The run folder of a training run: claiming it, refusing foreign ones, writing what belongs into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowbench.config import TrainConfig, load_config, to_yaml
from flowbench.errors import RunError
from flowbench.store import locked, write_bytes, write_text

CONFIG = "config.yaml"


@contextmanager
def claimed(folder: Path, config: TrainConfig, *, resume: bool) -> Iterator[Path]:
    """Hold the folder's lock. A new run writes its config; a resumed one must have the same, `out` and `steps` aside.

    Raises RunError for a folder that holds a run already, another run's settings, or somebody else's files.
    """
    path = folder / CONFIG
    begun = path.is_file() and ((folder / "log.jsonl").is_file() or (folder / "checkpoints").is_dir())
    if not begun and folder.is_dir() and not all(map(_ours, folder.iterdir())):
        raise RunError(f"{folder} holds files but no training run. Give another --out.")
    with locked(folder):
        if begun and not resume:
            raise RunError(
                f"{folder} already holds a run. Go on: flowbench train --resume {folder}; or give another --out."
            )
        if begun:  # a run that failed before its first step holds nothing worth keeping
            _check_same(path, config)
        write_text(path, to_yaml(config))
        yield folder


def stored_config(folder: str | Path) -> TrainConfig:
    """The configuration with which a run was started; its `out` is where the folder stands now."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise RunError(f"{folder} holds no training run (there is no {CONFIG}). Give the folder of a run.")
    return load_config(path).model_copy(update={"out": str(folder)})


def write_grid(folder: Path, step: int, sheet: bytes, texts: Sequence[str]) -> None:
    """A grid of progress pictures, and beside it the prompts: four pictures each, in reading order."""
    write_bytes(folder / "samples" / f"step-{step:06d}.png", sheet)
    write_text(folder / "samples" / "prompts.txt", "".join(f"{text}\n" for text in texts))


def _ours(path: Path) -> bool:
    """Whether a run that ended before its first step has left this behind: hidden files (the lock, and what a kill in
    the middle of a write leaves), the curves, or a config.yaml exactly as we write it, so that nobody's notes are lost.
    """
    if path.name == CONFIG:
        return path.read_text(encoding="utf-8") == to_yaml(load_config(path))
    return path.name.startswith(".") or path.name == "tensorboard"


def _check_same(path: Path, config: TrainConfig) -> None:
    free = {"out": "", "steps": 1, "save_every": 1, "sample_every": 1, "keep": 1}
    before = load_config(path).model_copy(update=free).model_dump()
    now = config.model_copy(update=free).model_dump()
    for section in before:
        if before[section] != now[section]:
            raise RunError(
                f"{path.parent} was started with {section} = {before[section]}, not {now[section]}. "
                "Resume with its own settings, or give another --out."
            )

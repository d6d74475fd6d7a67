"""Which checkpoint of a run is taken, and whether it is whole: for those who resume, and for those who evaluate.

checkpoints/step-000200/trainer.json   Header, sealed: the SHA-256 of every other file of the checkpoint, and of the log
                                       up to its step
checkpoints/latest                     the name of the newest one, written last
checkpoints/best                       the one that `keep_best` or a rollback has chosen, which evaluations then take

A file that is not listed there is no part of it, and may be read in the place of one that is: hidden files and a
README.md aside, a checkpoint that holds one is not whole.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import FlowbenchError, MissingFile, RunError
from flowbench.layout import RunFolder
from flowbench.schema import from_plain

HEADER = "trainer.json"
_NAME = re.compile(r"step-([0-9]{6,})")
_NOT_OURS = "README.md"
"""What people add to a checkpoint that they publish."""


@dataclass(frozen=True)
class Header:
    """trainer.json: what a checkpoint is of."""

    step: int
    """Training steps done."""
    updates: int
    """Optimizer steps done."""
    run: str
    """`run_identity` of its run: those of another do not continue it."""
    files: Mapping[str, str]
    """Name -> SHA-256 of every other file."""
    log_bytes: int
    """How long log.jsonl was."""
    log_sha256: str
    """Of those bytes."""


def write_header(folder: Path, log: Path, *, step: int, updates: int, run: str) -> None:
    """The last file of a checkpoint, over all that are in the folder and over the run's log."""
    files = {path.name: store.file_digest(path) for path in sorted(folder.iterdir())}
    logged = log.read_bytes() if log.is_file() else b""
    header = Header(step, updates, run, files, len(logged), hashlib.sha256(logged).hexdigest())
    store.write_sealed(folder / HEADER, asdict(header))


def read_header(folder: Path, files: Iterable[str] | None = None) -> Header:
    """The header of a whole checkpoint. Raises RunError, naming what is wrong, for one that is damaged.

    `files`: only these are read, and may be missing; all of them without it.
    """
    path = folder / HEADER
    try:
        tree = store.read_object(path)
    except MissingFile:
        raise RunError(f"{path}: it is missing, and the hashes of the checkpoint with it. Restore it.") from None
    if set(tree) == {"step", "updates"}:
        raise RunError(
            f"{path} was written by an earlier flowbench, without hashes. Start a new run; to use its adapter as it "
            f"is, copy the folder without {HEADER}."
        )
    store.check_seal(path, tree)
    try:
        header = from_plain(Header, {key: value for key, value in tree.items() if key != store.SEAL})
    except ValueError as error:
        raise RunError(f"{path} is no header of a checkpoint: {error}. Restore it.") from None
    for file in sorted(folder.iterdir()):
        if file.name not in {*header.files, HEADER, _NOT_OURS} and not file.name.startswith("."):
            raise RunError(f"{file}: it is no file of this checkpoint. Take it away.")
    for name in header.files:
        if files is None or name in files:
            _check_file(folder / name, header.files[name])
    return header


def named(run: RunFolder) -> Path | None:
    """The checkpoint that `best` names where it is there, else `latest`'s; None when the run has none yet. Raises
    RunError, with the newest that is whole, when it names none, or `latest` itself is gone."""
    folder, wrong = _pointed(run, run.best if run.best.exists() else run.latest)
    if wrong:
        raise RunError(f"{wrong} {_way_out(run)}")
    return folder


def of_evaluation(run: RunFolder, files: Iterable[str]) -> Path | None:
    """The checkpoint that an evaluation of the run means: `named`. None when there is none yet.

    No other is taken in its place, since its numbers would go by another's name: RunError for one that is damaged.
    `files`: those that will be read.
    """
    folder = named(run)
    if folder is not None:
        try:
            read_header(folder, files)
        except FlowbenchError as error:
            raise RunError(f"{folder} is not whole. {error} {_way_out(run, but=folder)}") from None
    return folder


def newest_whole(run: RunFolder, identity: str) -> tuple[tuple[Path, Header] | None, list[str]]:
    """The checkpoint to resume, and what has to be said of it: `latest`'s, or the newest that is whole when that one is
    damaged or nobody knows which it is. None when there is none yet.

    Raises RunError when there are some and none is whole, or the whole ones are another run's (`run_identity`).
    """
    first, pointer = _pointed(run, run.latest)
    if first is None and not pointer:
        return None, []
    found = [*filter(None, [first]), *(folder for folder in every(run) if folder != first)]
    wrong = [pointer] if pointer else []
    for folder in found:
        try:
            header = read_header(folder)
            if folder.name != run.checkpoint(header.step).name:
                raise RunError(f"{folder}: it holds step {header.step}.")
            if header.run != identity:
                raise RunError(f"{folder}: it is a checkpoint of another run.")
        except FlowbenchError as error:
            wrong.append(str(error))
            continue
        taken = [f"going on from {folder.name}, the newest checkpoint that is whole."] if wrong else []
        return (folder, header), [*wrong, *taken]
    raise RunError(
        f"{run.path}: no checkpoint is whole. {' '.join(wrong)} Restore one, or start a new run with another --out."
    )


def lost_log(run: RunFolder, header: Header) -> str:
    """What has happened to the log of the steps before a checkpoint, in a sentence; "" when it is as it was then."""
    logged = store.read_bytes(run.log) if run.log.is_file() else b""
    if hashlib.sha256(logged[: header.log_bytes]).hexdigest() == header.log_sha256:
        return ""
    steps = Counter(steps_of(run.log))
    missing = [step for step in range(1, header.step + 1) if step not in steps]
    if missing:
        return f"{run.log}: {len(missing)} of {header.step} lines are lost, the first of step {missing[0]}."
    twice = next((step for step in range(1, header.step + 1) if steps[step] > 1), None)
    return f"{run.log}: {'its lines were changed' if twice is None else f'step {twice} stands there twice'}."


def read_log(log: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, [] when there is none. Raises RunError for one without a training step."""
    records = store.read_jsonl(log)
    for number, record in enumerate(records, start=1):
        if type(record.get("step")) is not int:
            raise RunError(f"{log}, line {number}: its 'step' is no whole number. Repair or delete that line.")
    return records


def steps_of(log: Path) -> list[int]:
    """The training step of each line of a run's log. Raises RunError as `read_log` does."""
    return [record["step"] for record in read_log(log)]


def every(run: RunFolder) -> list[Path]:
    """All checkpoints of a run, whole or not, the newest first."""
    found = run.checkpoints.iterdir() if run.checkpoints.is_dir() else ()
    steps = {int(name[1]): path for path in found if (name := _NAME.fullmatch(path.name)) and path.is_dir()}
    return [steps[step] for step in sorted(steps, reverse=True)]


def _check_file(path: Path, sha256: str) -> None:
    try:
        found = store.file_digest(path)
    except FileNotFoundError:
        raise RunError(f"{path}: it is missing. Restore it.") from None
    except OSError as error:
        raise RunError(f"{path}: it cannot be read ({error.strerror or error}). Mend that.") from None
    if found != sha256:
        raise RunError(f"{path}: damaged (its SHA-256 is not the one in {HEADER}). Restore it.")


def _pointed(run: RunFolder, pointer: Path) -> tuple[Path | None, str]:
    """(the checkpoint that `latest` or `best` names, ""); (None, what is wrong with it); (None, "") before the first
    one."""
    try:
        text = store.read_bytes(pointer).decode("utf-8", "replace").strip()
    except MissingFile:
        return None, f"{pointer} is missing." if every(run) else ""
    except RunError as error:
        return None, str(error)
    if _NAME.fullmatch(text) and (run.checkpoints / text).is_dir():
        return run.checkpoints / text, ""
    return None, f"{pointer} names {text[:60] or 'nothing'}, which is not there."


def _way_out(run: RunFolder, *, but: Path | None = None) -> str:
    """What somebody can do who wants to evaluate a run."""
    for folder in every(run):
        try:
            if folder != but:
                read_header(folder)
                return f"The newest checkpoint that is whole is {folder}: name it, or go on with the run (--resume)."
        except FlowbenchError:
            continue
    return "No other checkpoint is whole: restore one."

"""Checkpoints of a run: what is exported (the averaged adapter) and what resuming needs (everything else).

checkpoints/step-000200/    adapter files (diffusers and PEFT read them), trainer.safetensors and, written last,
                            trainer.json with the SHA-256 of the others (flowbench/checkpoints.py)
checkpoints/latest          the name of the newest checkpoint, written after it
checkpoints/best            the name of the one that `keep_best` or a rollback has chosen
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from flowbench import checkpoints
from flowbench.errors import RunError
from flowbench.layout import RunFolder
from flowbench.store import write_text
from flowbench.tensors import load_tensors, save_tensors, sort_header
from flowbench.trainer.learner import AVERAGE, Learner
from flowbench.trainer.policy import Policy

STATE = "trainer.safetensors"


@dataclass(frozen=True)
class Restored:
    """What a run goes on from."""

    step: int
    """training steps done"""
    said: Sequence[str]
    """what has to be said: which checkpoint is damaged, and what is wrong with the log of the steps before it"""
    tensors: Mapping[str, torch.Tensor]
    """the whole state of the checkpoint"""


NOTHING = Restored(0, (), {})
"""Where a run begins."""


def save(
    run: Path,
    step: int,
    policy: Policy,
    *,
    keep: int,
    identity: str,
    is_best: bool = False,
    spared: Sequence[int] = (),
    more: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """Write the checkpoint after `step` training steps, point `latest` at it, and `best` when it `is_best`; delete all
    but the newest `keep`, and for each number in `spared` the newest of at most that many steps.

    `identity`: the run's (`run_identity`). `more`: what else a resumed run must know. Raises NotFinite, and writes
    nothing, when the policy or its optimizer holds a number that is not.
    """
    folder, learner = RunFolder(run).checkpoint(step), policy.learner
    state = learner.state()
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with learner.using(AVERAGE):
        policy.model.save_adapter(temporary)
    for path in temporary.glob("*.safetensors"):
        sort_header(path)
    save_tensors(temporary / STATE, {**state, **(more or {})})
    checkpoints.write_header(temporary, RunFolder(run).log, step=step, updates=learner.updates, run=identity)
    shutil.rmtree(folder, ignore_errors=True)  # the same step saved twice holds the same numbers
    os.replace(temporary, folder)
    write_text(RunFolder(run).latest, folder.name + "\n")
    if is_best:
        point_at_best(run, step)
    kept = {folder, *(next(_until(run, most), None) for most in spared)}
    for old in checkpoints.every(RunFolder(run))[keep:]:
        if old not in kept:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def point_at_best(run: Path, step: int) -> None:
    """Make the checkpoint after `step` training steps, where there is one, that which evaluations take."""
    folder = RunFolder(run).checkpoint(step)
    if folder.is_dir():
        write_text(RunFolder(run).best, folder.name + "\n")


def roll_back(run: Path, step: int) -> str:
    """Make the newest whole checkpoint of at most that many training steps the one that evaluations take; returns its
    name.

    Raises RunError where there is none.
    """
    found = next((each for each in _until(run, step) if _is_whole(each)), None)
    if found is None:
        raise RunError(
            f"{run}: no whole checkpoint is from before the alarm (after step {step} nothing was amiss yet), so that "
            f"there is nothing to go back to but the base. Look at {RunFolder(run).monitor}, and begin a new run."
        )
    write_text(RunFolder(run).best, found.name + "\n")
    return found.name


def _until(run: Path, step: int) -> Iterator[Path]:
    """The checkpoints of at most that many training steps, the newest first."""
    return (each for each in checkpoints.every(RunFolder(run)) if int(each.name.removeprefix("step-")) <= step)


def _is_whole(folder: Path) -> bool:
    try:
        checkpoints.read_header(folder)
    except RunError:
        return False
    return True


def restore(run: RunFolder, learner: Learner, identity: str) -> Restored:
    """Load the state of the checkpoint to go on from into the learner.

    Raises RunError when there are checkpoints and none is whole.
    """
    found, said = checkpoints.newest_whole(run, identity)
    if found is not None:
        folder, header = found
        tensors, _ = load_tensors(folder / STATE)
        learner.restore(tensors, header.updates)
        lost = checkpoints.lost_log(run, header)
        said += [f"{lost} The run goes on; they are not made again."] if lost else []
        return Restored(header.step, said, tensors)
    begins_again = f"{run.path} has no checkpoint yet: it begins again at step 1."
    return Restored(0, [begins_again] if run.log.is_file() else [], {})

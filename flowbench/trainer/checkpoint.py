"""Checkpoints of a run: what is exported (the averaged adapter) and what resuming needs (everything else).

checkpoints/step-000200/    adapter files (diffusers and PEFT read them), trainer.safetensors, trainer.json
checkpoints/latest          the name of the newest whole checkpoint, written last
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from flowbench.errors import RunError
from flowbench.layout import RunFolder
from flowbench.store import read_json, write_json, write_text
from flowbench.tensors import load_tensors, save_tensors, sort_header
from flowbench.trainer.learner import AVERAGE, Learner
from flowbench.trainer.policy import Policy

STATE = "trainer.safetensors"
HEADER = "trainer.json"


def save(run: Path, step: int, policy: Policy, *, keep: int) -> Path:
    """Write the checkpoint after `step` training steps, point `latest` at it, delete all but the newest `keep`.

    Raises NotFinite, and writes nothing, when the policy or its optimizer holds a number that is not.
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
    save_tensors(temporary / STATE, state)
    write_json(temporary / HEADER, {"step": step, "updates": learner.updates})
    shutil.rmtree(folder, ignore_errors=True)  # the same step saved twice holds the same numbers
    os.replace(temporary, folder)
    write_text(RunFolder(run).latest, folder.name + "\n")
    for old in sorted(folder.parent.glob("step-*"))[:-keep]:
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def latest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None when there is none yet."""
    pointer = RunFolder(run).latest
    if not pointer.is_file():
        return None
    folder = pointer.parent / pointer.read_text(encoding="utf-8").strip()
    if not (folder / HEADER).is_file():
        raise RunError(f"{pointer} names {folder.name}, which is not there. Write a whole checkpoint's name into it.")
    return folder


def restore(folder: Path, learner: Learner) -> int:
    """Load the learner's state; returns the number of training steps done."""
    header = read_json(folder / HEADER)
    tensors, _ = load_tensors(folder / STATE)
    learner.restore(tensors, int(header["updates"]))
    return int(header["step"])

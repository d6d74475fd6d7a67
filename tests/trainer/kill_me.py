"""Run in a process of its own: train, and be killed at chosen places. `python kill_me.py PIPELINE FOLDER`.

Each run is a fork of one process that has imported everything and loaded the model once, but started no threads and
trained nothing.
FOLDER/<place>/run is what a kill (or a signal) at that place and a resume in yet another process left behind;
FOLDER/statuses.json holds how each process ended: [of the interrupted one, of the resumed one].
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import diffusers  # noqa: F401 - imported once, before the forks
import peft  # noqa: F401
import tiny_runs
import torch.utils.tensorboard  # noqa: F401
from diffusers import StableDiffusion3Pipeline  # noqa: F401

from flowbench import store
from flowbench.models import load_model
from flowbench.models.sd3 import SD3Model
from flowbench.trainer import checkpoint, interrupt, rollout, tracking, training
from flowbench.trainer.learner import Learner

STEPS = 5  # checkpoints after steps 2, 4 and 5


def on_call(owner: Any, name: str, number: int, act: Callable[..., None]) -> None:
    """Let `act` run just before the `number`-th call (from 1) of owner.name, with that call's arguments."""
    original, calls = getattr(owner, name), iter(range(1, 1_000_000))

    def watched(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            act(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, watched)


def kill(*args: Any, **kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tear(path: Path, record: Any) -> None:
    """Half a log line, as a kill in the middle of the write leaves it."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(store.to_json(record)[:40])
    kill()


def send(number: int, *, after: float = 0.0) -> Callable[..., None]:
    def act(*args: Any, **kwargs: Any) -> None:
        time.sleep(after)
        os.kill(os.getpid(), number)

    return act


# sample_bundle runs 4 times a step; apply twice a step; save_tensors once a checkpoint
PLACES: dict[str, Callable[[], None]] = {
    "before any step": lambda: on_call(training, "check_policy", 1, kill),
    "in the first rollout": lambda: on_call(rollout, "sample_bundle", 3, kill),
    "in the rollout of step 4": lambda: on_call(rollout, "sample_bundle", 15, kill),
    "between two updates of step 4": lambda: on_call(Learner, "apply", 8, kill),
    "in the log line of step 4": lambda: on_call(tracking, "append_jsonl", 4, tear),
    "after a log line, before its checkpoint": lambda: on_call(checkpoint, "save", 2, kill),
    "between the files of a checkpoint": lambda: on_call(checkpoint, "save_tensors", 2, kill),
    "inside the first file of a checkpoint": lambda: on_call(SD3Model, "save_adapter", 2, half_an_adapter),
    "before a checkpoint is renamed": lambda: on_call(checkpoint.checkpoints, "write_header", 2, kill),
    "after the rename, before latest": lambda: on_call(checkpoint, "write_text", 2, kill),
    "while an old checkpoint is deleted": lambda: on_call(checkpoint.shutil, "rmtree", 5, half_deleted),
    "in the last step": lambda: on_call(Learner, "apply", 10, kill),
    "SIGTERM": lambda: on_call(rollout, "sample_bundle", 11, send(signal.SIGTERM)),
    "SIGINT": lambda: on_call(rollout, "sample_bundle", 11, send(signal.SIGINT)),
    "two SIGINTs": lambda: [
        on_call(rollout, "sample_bundle", 11, send(signal.SIGINT)),
        on_call(rollout, "sample_bundle", 12, send(signal.SIGINT, after=1.5 * interrupt.DOUBLED)),
    ],
}


def half_an_adapter(model: Any, folder: Path) -> None:
    (Path(folder) / "pytorch_lora_weights.safetensors").write_bytes(b"\x00" * 100)
    kill()


def half_deleted(folder: Path, **options: Any) -> None:
    assert folder.name == "step-000002", f"not the deletion of the old checkpoint: {folder}"
    (folder / "trainer.json").unlink()
    kill()


def run(pipeline: Path, out: Path, *, resume: bool, prepare: Callable[[], Any] | None = None) -> int:
    """Train in a fork; returns its status: an exit code, or minus the signal that ended it.

    Three denoising steps and three prompts, since thirty-one runs pay for what a step and a start cost.
    """
    child = os.fork()
    if child == 0:
        try:
            if prepare is not None:
                prepare()
            settings = {"prompts__name": str(out.parents[1] / "prompts.jsonl"), "rollout__steps": 3}
            training.train(tiny_runs.config(pipeline, out, steps=STEPS, keep=1, **settings), resume=resume)
            os._exit(0)
        except SystemExit as end:
            os._exit(int(end.code or 0))
        except KeyboardInterrupt:
            os._exit(99)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def warm_up(pipeline: Path) -> None:
    """What every run would import and compile again, once; collections of garbage then leave it alone in each fork."""
    load_model(str(pipeline), device="cpu")
    gc.freeze()


def main(pipeline: Path, folder: Path) -> None:
    lines = [{"id": each.id, "prompt": each.text, "tag": each.tag} for each in tiny_runs.PROMPTS]
    (folder / "prompts.jsonl").write_text("".join(store.to_json(line) + "\n" for line in lines))
    warm_up(pipeline)
    statuses = {"uninterrupted": [run(pipeline, folder / "uninterrupted" / "run", resume=False)]}
    for place, prepare in PLACES.items():
        out = folder / place / "run"
        first = run(pipeline, out, resume=False, prepare=prepare)
        if out.exists():
            shutil.copytree(out, folder / place / "left")
        statuses[place] = [first, run(pipeline, out, resume=True)]
    store.write_json(folder / "statuses.json", statuses)
    print(json.dumps(statuses))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

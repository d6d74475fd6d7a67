"""Short training runs on a tiny pipeline, and what to look at afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

from flowbench import Sample, Score, rewards
from flowbench.config import TrainConfig, load_config
from flowbench.models import load_model
from flowbench.models.base import FlowModel
from flowbench.objective_config import config_of
from flowbench.trainer import objectives, rollout
from flowbench.trainer.groups import Group, GroupSampler
from flowbench.trainer.learner import Learner
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.types import Prompt

PROMPTS = [Prompt(f"p{number}", text, tag) for number, (text, tag) in enumerate([
    ("a photo of a star", "single_object"),
    ("a photo of two hearts", "counting"),
    ("a photo of a red cross", "colors"),
])]  # fmt: skip


@rewards.register("tests_brightness")
def brightness():
    """The mean of all pixels, in [0, 1]."""

    def score(samples: Sequence[Sample]) -> list[Score]:
        return [Score(float(numpy.asarray(sample.image).mean()) / 255, {"shade": 1.0}) for sample in samples]

    return score


def config(pipeline: Path, out: Path | str = "unused", **changes: Any) -> TrainConfig:
    """Four groups of four, four denoising steps, two updates; `changes` with __ for the dots."""
    tree = {
        "model": {"name": str(pipeline), "device": "cpu"},
        "adapter": {"rank": 4, "alpha": 8},
        "reward": {"name": "tests_brightness"},
        "rollout": {"groups": 4, "group_size": 4, "micro_batch": 4, "steps": 4, "guidance": 1.0},
        "objective": {"clip_range": 1e-2},
        "optimizer": {"lr": 1e-3, "updates": 2, "ema_every": 1},
        "steps": 3, "save_every": 2, "sample_every": 50, "out": str(out),
    }  # fmt: skip
    return load_config(tree, [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()])


@contextmanager
def power_cut(monkeypatch: Any, after: int) -> Iterator[None]:
    """Inside, a run fails in its rollout, before the bundle that comes after so many."""
    original, calls = rollout.sample_bundle, iter(range(1000))

    def failing(*args: Any, **options: Any) -> Any:
        if next(calls) == after:
            raise RuntimeError("power cut")
        return original(*args, **options)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="power cut"):
        patched.setattr(rollout, "sample_bundle", failing)
        yield


VARIANTS: dict[str, dict[str, Any]] = {
    "tempflow": {"rollout__branches": 2, "rollout__window": 2, "rollout__window_range": 2},
    "mixgrpo": {
        "rollout__window": 1, "rollout__window_range": 3, "rollout__window_schedule": "progressive",
        "rollout__window_every": 1,
    },
    "dance": {"rollout__kind": "dance", "rollout__noise_level": 0.3},
}  # fmt: skip
"""Rollouts of flow_grpo that go by a name of their own."""


def with_objective(name: str, pipeline: Path, out: Path | str = "unused", **changes: Any) -> TrainConfig:
    """The same with that objective (or variant of flow_grpo) under its own settings, and a rollout that suits it."""
    name, more = ("flow_grpo", VARIANTS[name]) if name in VARIANTS else (name, {})
    rollout = {f"rollout__{key}": value for key, value in config_of(name).default_rollout.items()}
    return config(pipeline, out, objective={"name": name}, **(rollout | more | changes))


def model(settings: TrainConfig, *, moved: float = 0.0) -> FlowModel:
    """The configured model with its adapter; `moved` gives B matrices of that size."""
    import torch

    loaded = load_model(settings.model.name, device="cpu", dtype=settings.model.dtype)
    loaded.add_adapter(settings.adapter.rank, settings.adapter.alpha, seed=3, targets=settings.adapter.targets)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in loaded.adapter_parameters().items():
            if moved and "lora_B" in name:
                parameter.copy_(moved * torch.randn(parameter.shape, generator=generator))
    return loaded


def policy(settings: TrainConfig, *, moved: float = 0.0) -> Policy:
    """The same as a policy under training, with the shadows that the objective asks for."""
    tuned = model(settings, moved=moved)
    learner = Learner(tuned.adapter_parameters(), settings.optimizer, objective(settings).shadows())
    return Policy(tuned, learner, settings.rollout.guidance)


def objective(settings: TrainConfig) -> Objective:
    return objectives.build(settings.objective, settings.rollout)


def groups(settings: TrainConfig, step: int = 0) -> list[Group]:
    return GroupSampler(PROMPTS, settings.rollout, None, settings.seed).at(step)


def log_without_timing(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "timing"} for record in records]


def adapter_bytes(run: Path) -> bytes:
    """The exported weights of the newest checkpoint."""
    newest = (run / "checkpoints" / "latest").read_text().strip()
    return (run / "checkpoints" / newest / "pytorch_lora_weights.safetensors").read_bytes()


def trainer_state(run: Path) -> bytes:
    newest = (run / "checkpoints" / "latest").read_text().strip()
    return (run / "checkpoints" / newest / "trainer.safetensors").read_bytes()

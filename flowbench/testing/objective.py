"""The promises of an objective, checked on tiny runs of the built-in model: `check_objective`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import checkpoints, prompts, store
from flowbench.config import TrainConfig, load_config
from flowbench.layout import RunFolder
from flowbench.objective_config import config_of

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-3
"""Largest difference between micro-batches, as a share of the largest gradient."""


def check_objective(name: str, *, model: str = "shapes", settings: dict[str, Any] | None = None) -> None:
    """Check a registered objective; AssertionError lists every promise that it breaks.

    `model`: what `flowbench train --model` takes. `settings`: of the objective, in place of its defaults. In a test of
    yours: `check_objective("mine")`, some ten seconds.

    figures      it logs what it declares, no more and no less
    micro-batch  pictures one by one teach what they teach together
    unscored     pictures without a score take no part, as if they were not there
    resume       a run that was ended and taken up again gives the numbers of one that was not, to the byte

    What holds before the first update, its own `check`, is part of every run. Raises what training raises.
    """
    checks: dict[str, Callable[[TrainConfig], str]] = {
        "figures": _figures, "micro-batch": _micro_batch, "unscored": _unscored, "resume": _resume
    }  # fmt: skip
    config = _tiny(name, model, settings or {})
    failures = [f"{label}: {said}" for label, check in checks.items() if (said := check(config))]
    if failures:
        raise AssertionError("\n".join([f"objective '{name}' breaks {len(failures)} of its promises", *failures]))


def _tiny(name: str, model: str, settings: dict[str, Any]) -> TrainConfig:
    """Four groups of four pictures, two updates; the rollout that the objective asks for."""
    rollout = {"groups": 4, "group_size": 4, "micro_batch": 4, "steps": 4, "guidance": 1.0}
    tree = {
        "model": {"name": model, "device": "cpu"},
        "adapter": {"rank": 4, "alpha": 8},
        "prompts": {"name": "shapes"},
        "reward": {"name": "jpeg"},
        "rollout": rollout | dict(config_of(name).default_rollout),
        "objective": {"name": name, **settings},
        "optimizer": {"lr": 1e-3, "updates": 2},
        "steps": 3, "save_every": 1, "sample_every": 50, "out": "unused",
    }  # fmt: skip
    return load_config(tree)


@dataclass(frozen=True)
class _Learned:
    """One step, before its update."""

    gradients: dict[str, Tensor]
    figures: dict[str, float]
    declared: list[str]


def _learn(config: TrainConfig, rewards: Tensor, members: range = range(4)) -> _Learned:
    """From pictures of a policy that has moved, the rows of these members alone."""
    import torch

    from flowbench.trainer import objectives, scoring
    from flowbench.trainer.first_policy import first_policy, policy_of
    from flowbench.trainer.groups import GroupSampler
    from flowbench.trainer.processes import Processes
    from flowbench.trainer.rollout import collect
    from flowbench.trainer.update import Sums, accumulate

    objective = objectives.build(config.objective, config.rollout)
    policy = policy_of(config, first_policy(config, None, "cpu"), objective)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.model.adapter_parameters().items():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    groups = GroupSampler(prompts.load("shapes", "train"), config.rollout, None, config.seed).at(0)
    rollout = collect(policy, objective, groups, lambda samples: Future())
    kept = [each for each in rollout.trajectories if each.places[0].member in members]
    sums = Sums(["loss", "count", *objective.sums])
    count = accumulate(policy, objective, scoring.to_bundles(objective, rollout.groups, kept, rewards), sums)
    gradients = {
        name: parameter.grad.double() / count
        for name, parameter in policy.model.adapter_parameters().items()
        if parameter.grad is not None
    }
    figures = objective.logged(sums.totals(Processes("cpu")))
    return _Learned(gradients, dict(figures), [each.name for each in objective.figures])


def _rewards() -> Tensor:
    import torch

    rows = [[0.1, 0.9, 0.4, 0.2], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0], [0.3, 0.6, 0.2, 0.8]]
    return torch.tensor(rows, dtype=torch.float64)


def _figures(config: TrainConfig) -> str:
    found = _learn(config, _rewards())
    logged, declared = set(found.figures), set(found.declared)
    if logged == declared:
        return ""
    return f"it logs {', '.join(sorted(logged)) or 'nothing'} and declares {', '.join(sorted(declared)) or 'nothing'}"


def _micro_batch(config: TrainConfig) -> str:
    one = config.model_copy(update={"rollout": config.rollout.model_copy(update={"micro_batch": 1})})
    return _difference(_learn(config, _rewards()), _learn(one, _rewards()), "pictures one by one")


def _unscored(config: TrainConfig) -> str:
    holes = _rewards()
    holes[:, 3] = math.nan
    one = config.model_copy(update={"rollout": config.rollout.model_copy(update={"micro_batch": 1})})
    return _difference(_learn(one, holes), _learn(one, holes, range(3)), "the same without the unscored pictures")


def _difference(whole: _Learned, other: _Learned, what: str) -> str:
    if whole.gradients.keys() != other.gradients.keys():
        return f"{what} move other parameters"
    largest = max((float(each.abs().max()) for each in whole.gradients.values()), default=0.0)
    if not largest > 0:
        return "it moves nothing, or by NaN"
    apart = max(float((whole.gradients[name] - other.gradients[name]).abs().max()) for name in whole.gradients)
    return (
        "" if apart <= TOLERANCE * largest else f"{what} give another gradient, by {apart / largest:.2g} of the largest"
    )


def _resume(config: TrainConfig) -> str:
    from flowbench.trainer import train

    def run(place: Path, steps: int, *, resume: bool = False) -> Path:
        return train(config.model_copy(update={"out": str(place), "steps": steps}), resume=resume)

    with tempfile.TemporaryDirectory() as folder:
        # lr is constant here, so that fewer steps are the same steps
        whole = _left(run(Path(folder) / "whole", 3))
        run(Path(folder) / "parts", 2)
        parts = _left(run(Path(folder) / "parts", 3, resume=True))
    different = [name for name in whole if whole[name] != parts[name]]
    return f"taken up again it gives another {different[0]}" if different else ""


def _left(run: Path) -> dict[str, Any]:
    """What a run leaves that must be equal."""
    lines = store.read_jsonl(RunFolder(run).log)
    newest = checkpoints.every(RunFolder(run))[0]
    return {
        "log": [{key: value for key, value in line.items() if key != "timing"} for line in lines],
        **{path.name: path.read_bytes() for path in sorted(newest.glob("*.safetensors"))},
    }

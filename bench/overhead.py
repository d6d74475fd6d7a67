"""What the trainer costs on top of the model calls that it cannot avoid.

    python bench/overhead.py --model shapes

Two ratios, each of medians over rounds in which the trainer and the bare calls take turns:
rollout  `collect` (without rewards, which run beside it) / text encoding, velocity forwards, VAE decoding
update   `update` / velocity forward and backward per replayed step, reference forwards if there is KL, optimizer steps
The bare calls have the same batch shapes (one row where a group shares its latent), on random inputs.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import torch

from flowbench import prompts
from flowbench.config import TrainConfig, load_config
from flowbench.models import load_model
from flowbench.models.base import FlowModel
from flowbench.store import write_text
from flowbench.trainer import objectives, scoring
from flowbench.trainer.groups import Group, GroupSampler
from flowbench.trainer.learner import Learner
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.trajectory import Bundle, Trajectory
from flowbench.trainer.update import update

TARGETS = {"rollout": 1.05, "update": 1.25}


@dataclass
class Subject:
    """A model under training and one training step's groups."""

    config: TrainConfig
    """the recipe"""
    policy: Policy
    """with a fresh adapter"""
    objective: Objective
    """the recipe's"""
    groups: list[Group]
    """of the first step"""
    processes: Processes
    """this one"""

    @property
    def model(self) -> FlowModel:
        return self.policy.model

    def collect(self) -> list[Trajectory]:
        """The trainer's rollout."""
        return collect(self.policy, self.objective, self.groups, lambda samples: Future()).trajectories

    def bare_rollout(self) -> None:
        """The model calls of a rollout."""
        rollout, size = self.config.rollout, self.config.rollout.micro_batch
        x = self.model.noise(range(size))
        with torch.no_grad(), self.model.adapter_frozen():
            conditions = self.model.encode([group.prompt.text for group in self.groups])
            sigmas = self.model.sigmas(rollout.steps).tolist()[:-1]
            for group in self.groups:
                shared = self.objective.noisy_steps(group)[0] + 1 if group.same_latent else 0
                for _ in range(group.size // size):
                    for index, sigma in enumerate(sigmas):
                        rows = 1 if index < shared else size
                        self.model.velocity(x[:rows], sigma, conditions[:1].repeat(rows), guidance=rollout.guidance)
                    self.model.decode_pixels(x)

    def bundles(self, trajectories: list[Trajectory]) -> list[Bundle]:
        """With random rewards: no group is flat, so every one is replayed."""
        rewards = torch.rand(len(self.groups), self.config.rollout.group_size, dtype=torch.float64)
        return scoring.to_bundles(self.objective, trajectories, rewards)

    def update(self, bundles: list[Bundle]) -> None:
        """The trainer's update."""
        update(self.policy, self.objective, bundles, 1e-6, self.processes)

    def bare_update(self, bundles: list[Bundle]) -> None:
        """The model calls of an update, and its optimizer steps."""
        rollout, size = self.config.rollout, self.config.rollout.micro_batch
        x, slope = self.model.noise(range(size)), self.model.noise(range(size))
        share = len(bundles) // self.config.optimizer.updates
        optimizer = self.policy.learner.optimizer
        for start in range(0, len(bundles), share):
            trajectories = [each.trajectory for bundle in bundles[start : start + share] for each in bundle]
            for trajectory in trajectories:
                for moment in trajectory.transitions:
                    rows = len(moment.x)
                    given = (x[:rows], moment.sigma, trajectory.condition.repeat(rows))
                    self.model.velocity(*given, guidance=rollout.guidance).backward(slope[:rows])
                    if self.objective.settings.kl_weight:
                        with torch.no_grad(), self.model.adapter_disabled():
                            self.model.velocity(*given, guidance=rollout.guidance)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def prepare(model_name: str, config: TrainConfig, device: str) -> Subject:
    """Load the model with a fresh adapter and draw the first step's groups."""
    model = load_model(model_name, device=device, dtype=config.model.dtype)
    model.add_adapter(config.adapter.rank, config.adapter.alpha, targets=config.adapter.targets)
    learner = Learner(model.adapter_parameters(), config.optimizer)
    training = prompts.load(config.prompts.name, "train")
    sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
    for group in learner.optimizer.param_groups:
        group["lr"] = 1e-6
    objective = objectives.build(config.objective, config.rollout)
    policy = Policy(model, learner, config.rollout.guidance)
    return Subject(config, policy, objective, sampler.at(0), Processes(str(model.device)))


def measure(subject: Subject, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> seconds of (the trainer, the bare calls); the two alternate, and so does which comes first."""
    bundles = subject.bundles(subject.collect())
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "rollout": (subject.collect, subject.bare_rollout),
        "update": (lambda: subject.update(bundles), lambda: subject.bare_update(bundles)),
    }
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    for turn in range(rounds + 1):
        for name, pair in pairs.items():
            for which in (0, 1) if turn % 2 else (1, 0):
                taken = clock(pair[which], subject.model.device)
                if turn:  # the first round only warms up
                    seconds[name][which].append(taken)
    return seconds


def clock(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, the GPU's included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def row(name: str, ours: list[float], bare: list[float]) -> str:
    """Medians, their ratio, and between what the ratios of single rounds lie (their quartiles)."""
    a, b = statistics.median(ours), statistics.median(bare)
    low, _, high = statistics.quantiles([x / y for x, y in zip(ours, bare, strict=True)], n=4)
    return f"| {name} | {a:.3f} | {b:.3f} | {a / b:.3f} | {low:.2f} to {high:.2f} | {TARGETS[name]} |"


def report(seconds: dict[str, tuple[list[float], list[float]]], subject: Subject, rounds: int) -> str:
    """The table, with what it takes to repeat it."""
    rollout = subject.config.rollout
    device = torch.cuda.get_device_name() if subject.model.device.type == "cuda" else "CPU"
    threads = f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in os.environ else ""
    lines = [
        "# What the trainer costs beside the model",
        "",
        "Medians in seconds; how they are taken: bench/overhead.py.",
        "",
        "| part | trainer | unavoidable calls | ratio | single rounds, middle half | target at most |",
        "|---|---|---|---|---|---|",
        *(row(name, ours, bare) for name, (ours, bare) in seconds.items()),
        "",
        f"- Command: `{threads}python {' '.join(sys.argv)}`",
        f"- Model {subject.model.name}: {rollout.groups} groups of {rollout.group_size} in micro-batches of "
        f"{rollout.micro_batch}, {rollout.steps} steps, guidance {rollout.guidance:g}, {rollout.kind}, "
        f"{len(subject.groups[0].stochastic)} trained steps; {rounds} rounds",
        f"- Machine: {platform.machine()} {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--model", "model_name", default="shapes", show_default=True, help="Model name or folder.")
@click.option("--recipe", default="shapes-geneval", show_default=True, help="Whose batch shapes are measured.")
@click.option("--rounds", default=40, show_default=True, help="Measured rounds; one more warms up.")
@click.option("--device", default="auto", show_default=True)
@click.option("--out", default="docs/results/overhead.md", show_default=True, help="Where the table goes.")
@click.argument("overrides", nargs=-1)
def main(model_name: str, recipe: str, rounds: int, device: str, out: str, overrides: tuple[str, ...]) -> None:
    """Print and write the two ratios. OVERRIDES: settings of the recipe, such as rollout.groups=2."""
    subject = prepare(model_name, load_config(recipe, overrides), device)
    text = report(measure(subject, rounds), subject, rounds)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    main()

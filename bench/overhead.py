"""What the trainer costs on top of the model calls that it cannot avoid.

    python bench/overhead.py --model shapes

Two ratios, each of medians over rounds in which the trainer and the bare calls take turns:
rollout  `collect` (without rewards, which run beside it) / text encoding, velocity forwards, VAE decoding
update   `update` / velocity forward and backward per replayed step, reference forwards if there is KL, optimizer steps
The bare calls have the same batch shapes (one row for all who share a latent), on random inputs; a text is encoded
once, and where `rollout.keep_graph` holds, the graph of a rollout's stochastic calls is kept for the update.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import click
import torch

from flowbench import prompts
from flowbench.config import TrainConfig, load_config
from flowbench.errors import ConfigError, FlowbenchError
from flowbench.models import load_model
from flowbench.models.base import Condition, FlowModel
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
from flowbench.types import Sample, Score

TARGETS = {"rollout": 1.05, "update": 1.25}
LEARNING_RATE = 1e-6
"""So small that the model stays what it is over all rounds."""


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
    kept: list[torch.Tensor] = field(default_factory=list)
    """velocities of the bare calls, with their graphs (`rollout.keep_graph`)"""

    @property
    def model(self) -> FlowModel:
        return self.policy.model

    @cached_property
    def sigmas(self) -> list[float]:
        """Noise levels before the steps of a rollout."""
        return list(self.model.sigmas(self.config.rollout.steps).tolist()[:-1])

    @cached_property
    def latents(self) -> torch.Tensor:
        """What the bare calls are of: as many as any of them needs."""
        return self.model.noise(range(self.config.rollout.bundle * self.config.rollout.group_size))

    @property
    def kept_groups(self) -> int:
        """Of how many first groups the stochastic steps keep their graph."""
        return self.config.rollout.groups // self.config.optimizer.updates if self.config.rollout.keep_graph else 0

    def collect(self) -> list[Trajectory]:
        """The trainer's rollout."""
        submit: Callable[[list[Sample]], Future[list[Score]]] = lambda samples: Future()  # noqa: E731
        return collect(self.policy, self.objective, self.groups, submit, kept_groups=self.kept_groups).trajectories

    def bundles(self, trajectories: list[Trajectory]) -> list[Bundle]:
        """With random rewards: no group is flat, so every one is replayed."""
        rewards = torch.rand(len(self.groups), self.config.rollout.group_size, dtype=torch.float64)
        return scoring.to_bundles(self.objective, self.groups, trajectories, rewards)

    def update(self, bundles: list[Bundle]) -> None:
        """The trainer's update."""
        update(self.policy, self.objective, bundles, LEARNING_RATE, self.processes)

    def bare_rollout(self) -> None:
        """The model calls of a rollout."""
        self.kept.clear()
        with torch.no_grad(), self.model.adapter_frozen():
            conditions = self.policy.encode([group.prompt.text for group in self.groups])
            for first in range(0, len(self.groups), self.config.rollout.bundle):
                self._bare_bundle(self.groups[first : first + self.config.rollout.bundle], conditions[first:])

    def _bare_bundle(self, groups: list[Group], conditions: Condition) -> None:
        """A latent is denoised once as long as pictures share it, then each micro-batch, all pictures in one call."""
        rollout, starts, noisy = self.config.rollout, list[int](), set[int]()
        shared: dict[tuple[int, int], int] = {}  # (row, latent) -> the step at which the last picture parts from it
        places = [(row, group, member) for row, group in enumerate(groups) for member in range(group.size)]
        for row, group, member in places:
            steps = group.noisy_steps_of(member, self.objective.noisy_steps(group))
            noisy |= set(steps)
            starts.append(steps[0] + 1 if group.shares_latents else 0)
            if group.shares_latents:
                key = (row, group.latent_of(member))
                shared[key] = max(shared.get(key, 0), steps[0])
        keeps = noisy if groups[0].index < self.kept_groups else set()
        for first in range(0, len(shared), rollout.micro_batch):
            part = list(shared.items())[first : first + rollout.micro_batch]
            for index in range(max(last for _, last in part) + 1):
                self._call([row for (row, _), last in part if last >= index], index, conditions, keeps)
        for first in range(0, len(places), rollout.micro_batch):
            some = range(first, first + rollout.micro_batch)
            for index in range(len(self.sigmas)):
                self._call([places[at][0] for at in some if starts[at] <= index], index, conditions, keeps)
            self.model.decode_pixels(self.latents[: len(some)])

    def _call(self, rows: list[int], index: int, conditions: Condition, keeps: set[int]) -> None:
        if rows:
            with torch.set_grad_enabled(index in keeps):
                v = self.policy.velocity(self.latents[: len(rows)], self.sigmas[index], conditions[rows])
            if index in keeps:
                self.kept.append(v)

    def bare_update(self, bundles: list[Bundle]) -> None:
        """The model calls of an update, and its optimizer steps."""
        share = len(bundles) // self.config.optimizer.updates
        for start in range(0, len(bundles), share):
            for velocity in self.kept if start == 0 else ():
                velocity.backward(torch.ones_like(velocity))
            for moment in (moment for bundle in bundles[start : start + share] for moment in bundle.moments):
                given = (moment.transition.x, moment.transition.sigma, moment.transition.condition)
                if moment.transition.velocity is None:
                    velocity = self.policy.velocity(*given)
                    velocity.backward(torch.ones_like(velocity))
                if self.objective.settings.kl_weight:
                    with self.policy.reference():
                        self.policy.velocity(*given)
            self.policy.learner.optimizer.step()
            self.policy.learner.optimizer.zero_grad(set_to_none=True)


def prepare(model_name: str, config: TrainConfig, device: str) -> Subject:
    """Load the model with a fresh adapter and draw the first step's groups."""
    model, adapter = load_model(model_name, device=device, dtype=config.model.dtype), config.adapter
    model.add_adapter(adapter.rank, adapter.alpha, targets=adapter.targets)
    objective = objectives.build(config.objective, config.rollout)
    learner = Learner(model.adapter_parameters(), config.optimizer, objective.shadows())
    training = prompts.load(config.prompts.name, "train")
    sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
    for group in learner.optimizer.param_groups:  # of the bare steps; the trainer's set it themselves
        group["lr"] = LEARNING_RATE
    policy = Policy(model, learner, config.rollout.guidance, reference_guidance=adapter.reference_guidance)
    return Subject(config, policy, objective, sampler.at(0), Processes(str(model.device)))


def trainer_seconds(subject: Subject) -> dict[str, float]:
    """Of a rollout and an update by the trainer; turning the rewards into what is learned is not counted."""
    device, trajectories = subject.model.device, list[Trajectory]()
    rollout = clock(lambda: trajectories.extend(subject.collect()), device)
    bundles = subject.bundles(trajectories)
    return {"rollout": rollout, "update": clock(lambda: subject.update(bundles), device)}


def bare_seconds(subject: Subject, bundles: list[Bundle]) -> dict[str, float]:
    """Of their model calls."""
    device = subject.model.device
    rollout = clock(subject.bare_rollout, device)
    return {"rollout": rollout, "update": clock(lambda: subject.bare_update(bundles), device)}


def measure(subject: Subject, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> seconds of (the trainer, the bare calls); the two alternate, and so does which comes first."""
    bundles = subject.bundles(subject.collect())
    sides = (lambda: trainer_seconds(subject), lambda: bare_seconds(subject, bundles))
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in TARGETS}
    for turn in range(rounds + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            taken = sides[which]()
            for name, value in taken.items() if turn else ():  # the first round only warms up
                seconds[name][which].append(value)
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
    keeps = ", graphs kept" if rollout.keep_graph else ""
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
        f"{rollout.noisy_count} trained steps, bundles of {rollout.bundle}{keeps}; {rounds} rounds",
        f"- Machine: {platform.machine()} {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--model", "model_name", default="shapes", show_default=True, help="Model name or folder.")
@click.option("--recipe", default="shapes-flow_grpo", show_default=True, help="Whose batch shapes are measured.")
@click.option("--rounds", default=40, show_default=True, help="Measured rounds; one more warms up.")
@click.option("--device", default="auto", show_default=True)
@click.option("--out", default="docs/results/overhead.md", show_default=True, help="Where the table goes.")
@click.argument("overrides", nargs=-1)
def main(model_name: str, recipe: str, rounds: int, device: str, out: str, overrides: tuple[str, ...]) -> None:
    """Print and write the two ratios. OVERRIDES: settings of the recipe, such as rollout.groups=2."""
    subject = prepare(model_name, load_config(recipe, overrides), device)
    if "transitions" not in subject.objective.stores or subject.config.rollout.solver != "euler":
        raise ConfigError("this knows the calls of objectives that learn from stochastic steps, by Euler's rule.")
    text = report(measure(subject, rounds), subject, rounds)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    try:
        main()
    except FlowbenchError as error:
        sys.exit(f"error: {error}")

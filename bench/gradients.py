"""What an objective's gradient is worth: `python bench/gradients.py shapes-flow_grpo shapes-epg --start RUN`.

For each recipe: the gradients of `--steps` training steps, with no update between them; how far those of the even and
of the odd steps agree (cosine); then steps along their sum, and what each changes of the reward on training prompts
that gave none of the gradients, each once, without guidance and from the same noise before and after. A recipe
followed by settings, all joined by commas, is a variant: shapes-epg,objective.kl_weight=0. A start is an adapter; the
reference stays the base.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from flowbench import prompts, rewards, store
from flowbench.config import TrainConfig, load_config
from flowbench.errors import ConfigError, FlowbenchError
from flowbench.trainer import objectives, scoring
from flowbench.trainer.first_policy import first_policy, policy_of
from flowbench.trainer.groups import Group, GroupSampler
from flowbench.trainer.policy import Policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.start import read_start
from flowbench.trainer.update import TERMS, Sums, accumulate
from flowbench.types import Prompt

LENGTHS = (0.1, 0.2, 0.4, 0.8)
"""Of the steps: Euclidean, over all adapter parameters."""
BATCH = 64


@dataclass
class Subject:
    """A recipe, ready to sample and to learn."""

    config: TrainConfig
    policy: Policy
    objective: objectives.Objective
    sampler: GroupSampler
    reward: rewards.Reward

    def groups(self, step: int) -> list[Group]:
        return list(self.sampler.at(step))

    def others(self, steps: int, number: int) -> list[Prompt]:
        """The first prompts, each once, that the sampler draws after these steps and has not drawn in them. The tags
        are drawn with the recipe's weights, as far as they have so many prompts."""
        learned = {group.prompt.text for step in range(steps) for group in self.groups(step)}
        held: dict[str, Prompt] = {}
        for step in range(steps, steps + number):
            held |= {each.prompt.text: each.prompt for each in self.groups(step) if each.prompt.text not in learned}
            if len(held) >= number:
                return list(held.values())[:number]
        raise ConfigError(f"there are not {number} training prompts beside those of {steps} steps: lower --held.")


@dataclass(frozen=True)
class Gradient:
    """Of several training steps."""

    total: list[torch.Tensor]
    cosine: float
    """of the even steps' sum and the odd ones'"""
    rollout: float
    """CPU seconds of a training step, rewards included"""
    update: float


@dataclass(frozen=True)
class Moved:
    """What one step along a gradient does."""

    length: float
    kl: float
    """mean((v - v_start)^2) at the noisier half of the rollout's levels"""
    reward: float
    change: float
    error: float
    """standard error of the change, over pairs of pictures"""


def prepare(spec: str, start: str | None) -> Subject:
    """From a recipe's name and settings, joined by commas."""
    recipe, *settings = spec.split(",")
    config = load_config(recipe, [*settings, *([f"adapter.start={start}"] if start else []), "model.device=cpu"])
    model = first_policy(config, read_start(config, resume=False), "cpu")
    objective = objectives.build(config.objective, config.rollout)
    policy = policy_of(config, model, objective)
    training = prompts.load(config.prompts.name, "train")
    sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
    reward = rewards.build(config.reward.name, vocabulary=model.vocabulary, options=config.reward.options)
    return Subject(config, policy, objective, sampler, reward)


def gradient(subject: Subject, steps: int) -> Gradient:
    """The sum over `steps` training steps, the weights as they are."""
    config, spent = subject.config, [0.0, 0.0]
    parameters = list(subject.policy.learner.parameters.values())
    halves = [[torch.zeros_like(each) for each in parameters] for _ in range(2)]
    kept = config.rollout.groups if config.rollout.keep_graph else 0
    with scoring.RewardThread(subject.reward) as scorer:
        for step in range(steps):
            groups, began = subject.groups(step), time.process_time()
            rollout = collect(subject.policy, subject.objective, groups, scorer.submit, kept_groups=kept)
            scored = scoring.gather(rollout, config.rollout, Processes("cpu"))
            sampled = time.process_time()
            bundles = scoring.to_bundles(subject.objective, groups, rollout.trajectories, scored.rewards)
            accumulate(subject.policy, subject.objective, bundles, Sums([*TERMS, *subject.objective.sums]))
            spent = [spent[0] + sampled - began, spent[1] + time.process_time() - sampled]
            for half, parameter in zip(halves[step % 2], parameters, strict=True):
                if parameter.grad is not None:
                    half += parameter.grad
                parameter.grad = None
    even, odd = (torch.cat([each.flatten() for each in half]) for half in halves)
    total = [left + right for left, right in zip(*halves, strict=True)]
    cosine = float(torch.nn.functional.cosine_similarity(even, odd, dim=0))
    return Gradient(total, cosine, spent[0] / steps, spent[1] / steps)


@torch.no_grad()
def along(subject: Subject, found: Gradient, held: Sequence[Prompt]) -> Iterator[Moved]:
    """A step of each length, from where the adapter is; it is put back."""
    parameters = list(subject.policy.learner.parameters.values())
    start = [each.detach().clone() for each in parameters]
    norm = torch.cat([each.flatten() for each in found.total]).norm()
    velocities, before = _velocities(subject, held), _rewards(subject, held)
    for length in LENGTHS:
        for parameter, origin, direction in zip(parameters, start, found.total, strict=True):
            parameter.copy_(origin - length * direction / norm)
        pairs = zip(_velocities(subject, held), velocities, strict=True)
        kl = torch.stack([(now - then).square().mean() for now, then in pairs]).mean()
        rewarded = _rewards(subject, held)
        change = rewarded - before
        error = float(change.std() / len(change) ** 0.5)
        yield Moved(length, float(kl), float(rewarded.mean()), float(change.mean()), error)
    for parameter, origin in zip(parameters, start, strict=True):
        parameter.copy_(origin)


def _velocities(subject: Subject, held: Sequence[Prompt]) -> list[torch.Tensor]:
    """On noise, at the noisier half of the rollout's levels: of as many prompts as fit into one call."""
    model, steps = subject.policy.model, subject.config.rollout.steps
    condition = model.encode([prompt.text for prompt in held[:BATCH]])
    noise = model.noise(range(len(condition)))
    return [model.velocity(noise, sigma, condition) for sigma in model.sigmas(steps).tolist()[: max(1, steps // 2)]]


def _rewards(subject: Subject, held: Sequence[Prompt]) -> torch.Tensor:
    """One picture of each prompt, the same noise in every call."""
    model, steps = subject.policy.model, subject.config.rollout.steps
    seeds = [10_000 + number for number in range(len(held))]
    samples = model.generate(held, seeds, steps=steps, guidance=1.0, batch_size=BATCH)
    return torch.tensor([score.value for score in subject.reward(samples)], dtype=torch.float64)


@click.command(help=__doc__)
@click.argument("specs", nargs=-1, required=True, metavar="RECIPE[,SETTING=VALUE]...")
@click.option("--start", help="A run, a checkpoint or an adapter; default: the base.")
@click.option("--steps", default=12, show_default=True, help="Training steps whose gradients are added up.")
@click.option("--held", default=512, show_default=True, help="Pictures by which the reward is measured.")
@click.option("--threads", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the table there, too.")
def main(specs: tuple[str, ...], start: str | None, steps: int, held: int, threads: int, out: Path | None) -> None:
    torch.set_num_threads(threads)
    lines = [
        "| recipe | cosine | rollout, CPU s | update, CPU s | length | KL | reward | change |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    click.echo("\n".join(lines))
    measured: list[Prompt] = []
    for spec in specs:
        subject = prepare(spec, start)
        measured = measured or subject.others(steps, held)  # of the first recipe, for all
        found = gradient(subject, steps)
        of_recipe = f"| {spec} | {found.cosine:+.3f} | {found.rollout:.2f} | {found.update:.2f} |"
        for moved in along(subject, found, measured):
            change = f"{moved.change:+.3f} ± {moved.error:.3f}"
            lines.append(f"{of_recipe} {moved.length:g} | {moved.kl:.4f} | {moved.reward:.3f} | {change} |")
            click.echo(lines[-1])
    if out is not None:
        store.write_text(out, "\n".join([*lines, "", f"`python {' '.join(sys.argv)}`", ""]))


if __name__ == "__main__":
    try:
        main()
    except FlowbenchError as error:
        sys.exit(f"error: {error}")

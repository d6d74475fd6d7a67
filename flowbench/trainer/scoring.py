"""Rewards of a rollout: scored beside the sampling, gathered over the processes, turned into what is learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from flowbench.config import RewardConfig, RolloutConfig
from flowbench.errors import RewardError
from flowbench.rewards.base import Reward
from flowbench.trainer.groups import Group
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import Rollout
from flowbench.trainer.trajectory import Bundle, Moment, Place, Slice, Trajectory
from flowbench.types import Sample, Score


class RewardThread:
    """Scores groups in the order in which they come, in one thread beside the sampling."""

    def __init__(self, reward: Reward):
        self._reward = reward
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reward")

    def submit(self, samples: list[Sample]) -> Future[list[Score]]:
        return self._thread.submit(self._reward, samples)

    def __enter__(self) -> RewardThread:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let go of thread and reward; after Ctrl-C without waiting, for the reward may be what hangs."""
        self._thread.shutdown(wait=kind is None or not issubclass(kind, KeyboardInterrupt), cancel_futures=True)
        self._reward.close()


@dataclass(frozen=True)
class StepRewards:
    """All rewards of a training step, (groups, group size) float64, NaN = unscored, and this process's own scores."""

    rewards: torch.Tensor
    scores: list[list[Score]]


def gather(rollout: Rollout, config: RolloutConfig, processes: Processes) -> StepRewards:
    """Wait for this process's scores, and put the values of all processes together."""
    scores = [future.result() for future in rollout.scores]
    values = torch.zeros(config.groups, config.group_size, dtype=torch.float64)
    unscored = torch.zeros_like(values)
    for group, of_group in zip(rollout.groups, scores, strict=True):
        row = torch.tensor([score.value for score in of_group], dtype=torch.float64)
        unscored[group.index] = row.isnan().double()
        values[group.index] = row.nan_to_num()
    processes.sum([values, unscored])
    return StepRewards(values.masked_fill(unscored > 0, math.nan), scores)


def refuse_unscored(scored: StepRewards, config: RewardConfig, in_a_row: int, patience: int) -> None:
    """Raise RewardError with the first reason when more than `max_error_rate` of a step's pictures are unscored, or
    when all of them are: under `on_error: raise` at once, under `skip` in the last of `patience` such steps in a row.

    in_a_row: the steps up to this one of which not one picture was scored.
    """
    unscored = scored.rewards.isnan()
    rate = float(unscored.double().mean())
    if rate <= config.max_error_rate and in_a_row < (patience if config.on_error == "skip" else 1):
        return
    notes = [score.note.rstrip(".") for scores in scored.scores for score in scores if not score.is_scored]
    many = f"not one picture of {'this step' if in_a_row == 1 else f'the last {in_a_row} steps'} was scored"
    if rate < 1:
        many = f"{int(unscored.sum())} of {unscored.numel()} pictures of this step are unscored"
    advice = "" if config.on_error == "skip" else "for one that fails now and then set `reward.on_error=skip`, and "
    raise RewardError(
        f"{many}: {notes[0] if notes else 'another process has the reason'}. Choose a reward that fits the prompts; "
        f"{advice}raise `reward.max_error_rate` where it is set."
    )


def to_bundles(
    objective: Objective, groups: Sequence[Group], trajectories: Sequence[Trajectory], rewards: torch.Tensor
) -> list[Bundle]:
    """What the pictures of this process's `groups` teach, bundle by bundle.

    rewards: (all groups of the step, group size), over which the signal is computed.
    """
    signal = _signal(objective, groups, rewards)
    scored = ~rewards.isnan()

    def at(places: Sequence[Place], values: torch.Tensor) -> torch.Tensor:
        return torch.stack([values[group.index, member] for group, member in places])

    found: dict[int, list[Trajectory]] = {}
    for each in trajectories:
        found.setdefault(each.places[0].group.index // objective.rollout.bundle, []).append(each)
    return [
        Bundle(
            tuple(group for group in groups if group.index // objective.rollout.bundle == number),
            tuple(Slice(each, at(each.places, signal), at(each.places, scored)) for each in some),
            tuple(
                Moment(moment, at(moment.places, signal), at(moment.places, scored))
                for each in some
                for moment in each.transitions
            ),
        )
        for number, some in found.items()
    ]


def _signal(objective: Objective, groups: Sequence[Group], rewards: torch.Tensor) -> torch.Tensor:
    """(groups, group size): compared are the members of a set."""
    ids = _sets(groups[0], rewards)
    return objective.signal(rewards.flatten(), ids.flatten()).view_as(rewards)


def _sets(group: Group, rewards: torch.Tensor) -> torch.Tensor:
    """(groups, group size) int64: which set of compared members each is in, a group or a part of one; all groups are
    made alike."""
    of_one = torch.tensor([group.set_of(member) for member in range(group.size)])
    return torch.arange(len(rewards))[:, None] * (int(of_one.max()) + 1) + of_one


def figures(scored: StepRewards, group: Group, processes: Processes) -> dict[str, float]:
    """What is logged of the rewards: mean, spread within groups, share of flat groups, share unscored, parts.

    group: one of the step's; of groups that are made of sets (`rollout.branches`), these count as groups.
    """
    rewards, ids = scored.rewards, _sets(group, scored.rewards)
    sets = [rewards[ids == number] for number in ids.unique()]
    groups = [some[~some.isnan()] for some in sets if not some.isnan().all()]
    spreads = [float(group.std(correction=0)) for group in groups]
    flat = sum(bool(group.max() == group.min()) for group in groups)
    line = {
        "reward/mean": float(rewards.nanmean()),
        "reward/group_std": sum(spreads) / len(spreads) if spreads else math.nan,
        "reward/flat_groups": flat / len(groups) if groups else math.nan,
        "reward/unscored": float(rewards.isnan().double().mean()),
    }
    return _part_means(scored.scores, processes) | line  # a part called "mean" must not hide the reward's mean


def _part_means(scores: Sequence[Sequence[Score]], processes: Processes) -> dict[str, float]:
    """Mean of every named part over the scored pictures of all processes that have it."""
    mine = [score.parts for group in scores for score in group if score.is_scored]
    names = processes.union({name for parts in mine for name in parts})
    totals = torch.zeros(2, len(names), dtype=torch.float64)
    for parts in mine:
        for column, name in enumerate(names):
            if not math.isnan(parts.get(name, math.nan)):
                totals[:, column] += torch.tensor([parts[name], 1.0], dtype=torch.float64)
    if names:
        processes.sum([totals])
    return {f"reward/{name}": float(totals[0, column] / totals[1, column]) for column, name in enumerate(names)}

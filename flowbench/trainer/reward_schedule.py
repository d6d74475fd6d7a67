"""Weights of rewards that change during a run: at a step, or once a reward has reached a level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch

from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean
from flowbench.reward_config import RewardStage
from flowbench.rewards import Reward, registry
from flowbench.rewards.combine import WeightedSum

WINDOW = 10
"""Training steps of which the mean must reach a level: single steps waver with their prompts."""
STAGE, RECENT = "schedule/stage", "schedule/recent"


def check_parts(stages: Sequence[RewardStage]) -> None:
    """Raise ConfigError for a stage that waits for a part which no card names, or for more than the reward's card says
    that there is: it would never come."""
    for number, stage in enumerate(stages, start=1):
        name, _, part = (stage.when or "").partition("/")
        card = registry.card(name) if name else None
        if card is None:
            continue
        if not part and stage.reaches is not None and card.high is not None and stage.reaches > card.high:
            raise ConfigError(
                f"stage {number} of reward.schedule waits until {name} reaches {stage.reaches:g}, and its highest is "
                f"{card.high:g}. Name a level that it can reach."
            )
        if part and card.parts and part not in card.parts:
            raise ConfigError(
                f"stage {number} of reward.schedule waits for '{stage.when}', and {name} has no such part."
                f"{did_you_mean(part, card.parts)} Known: {', '.join(card.parts)}."
            )


class RewardSchedule:
    """Which stage of `reward.schedule` holds; they come one after the other, and none is skipped.

    All it knows is in `state()`, so that a resumed run goes on in the same stage.
    """

    def __init__(self, reward: Reward | None, stages: Sequence[RewardStage]):
        self._reward = reward
        self._stages = tuple(stages)
        self._begun = 0
        self._recent: list[float] = []
        """what the next stage waits for, in the last steps of which it is known"""

    def begin(self, step: int) -> list[str]:
        """Before training step `step` (0-based): stages that begin with it take hold; returns what to say of them."""
        said = []
        while self._begun < len(self._stages) and self._is_due(self._stages[self._begun], step + 1):
            weights = self._stages[self._begun].weights
            self._take_hold(weights)
            shown = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
            self._begun, self._recent = self._begun + 1, []
            said.append(f"from step {step + 1} on stage {self._begun} of reward.schedule holds: {shown}")
        return said

    def note(self, figures: Mapping[str, float]) -> dict[str, float]:
        """After a training step: its figures, for the stage that waits for a level; returns what is logged."""
        if not self._stages:
            return {}
        waiting = self._stages[self._begun] if self._begun < len(self._stages) else None
        if waiting is not None and waiting.when is not None:
            value = figures.get(f"reward/{waiting.when}", math.nan)
            self._recent = [*self._recent, *([] if math.isnan(value) else [value])][-WINDOW:]
        return {"reward/stage": float(self._begun)}

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint; nothing without stages."""
        if not self._stages:
            return {}
        recent = torch.tensor(self._recent, dtype=torch.float64)
        return {STAGE: torch.tensor(self._begun), RECENT: recent}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """From a checkpoint of the same run."""
        if STAGE in tensors:
            self._begun, self._recent = int(tensors[STAGE]), tensors[RECENT].tolist()
            for stage in self._stages[: self._begun]:
                self._take_hold(stage.weights)

    def _is_due(self, stage: RewardStage, step: int) -> bool:
        if stage.step is not None:
            return step >= stage.step
        assert stage.reaches is not None
        return len(self._recent) == WINDOW and fmean(self._recent) >= stage.reaches

    def _take_hold(self, weights: Mapping[str, float]) -> None:
        assert isinstance(self._reward, WeightedSum), "reward_config refuses a schedule of one reward"
        self._reward.weights |= weights

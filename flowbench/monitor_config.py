"""The settings of the watch against reward hacking."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from flowbench import bounds
from flowbench.objective_config import Frozen
from flowbench.reward_config import Text


class MonitorConfig(Frozen):
    """What the averaged policy is asked for now and then, and what happens when it has become unlike the base."""

    every: int | None = Field(None, ge=1, le=bounds.STEPS)
    """Training steps between two looks; null: none."""
    prompts: int = Field(16, ge=2, le=bounds.AT_ONCE)
    """Of the dev split, always the same ones."""
    pictures: int = Field(8, ge=2, le=bounds.AT_ONCE)
    """For each of them, from always the same seeds."""
    held_out: list[Text] = Field(default_factory=list)
    """Rewards, or parts of one (`geneval/exclusive`), that score the pictures and are not trained on."""
    gold: Text | None = None
    """A reward, or a part of one, that the trained reward stands for: the two must not part."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Of these rewards, by name, as `reward.options` has those of the trained ones."""
    on_alarm: Literal["warn", "stop", "rollback"] = "warn"
    """`stop`: the run ends with a checkpoint; `rollback`: it ends, and stands for its best checkpoint from before."""

    @property
    def named(self) -> list[str]:
        """The rewards that look on, as the settings name them."""
        return [*self.held_out, *([] if self.gold is None else [self.gold])]

    @model_validator(mode="after")
    def _looks(self) -> MonitorConfig:
        given = {"held_out": self.held_out, "gold": self.gold, "options": self.options}
        what = next((name for name, value in given.items() if value), None)
        if self.every is None and what is not None:
            raise ValueError(f"{what} has no effect: every is null, so that nothing is looked at")
        if len(set(self.named)) < len(self.named):
            raise ValueError(f"{', '.join(self.named)}: name each of held_out and gold once")
        if self.on_alarm != "warn" and self.every is None:
            raise ValueError(f"on_alarm {self.on_alarm} has no effect: every is null, so that nothing is looked at")
        return self

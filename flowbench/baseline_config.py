"""The settings of what Flow-GRPO's paper compares itself with: sft, rwr and dpo, offline or online, and from files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flowbench import bounds
from flowbench.forward_config import LevelsConfig


class BaselineConfig(LevelsConfig):
    """Whose pictures are learned from."""

    refresh_every: int | None = Field(None, ge=1, le=bounds.STEPS)
    """Training steps after which the copy that samples takes the live weights (online); null: never (offline)."""

    def misfit_of_data(self) -> str:
        if self.refresh_every is not None:
            return "objective.refresh_every has no effect with data, for nothing is sampled: set it to null"
        return super().misfit_of_data()


class SFTConfig(BaselineConfig):
    """Supervised fine-tuning on the best picture of a group."""

    learns_from_files = "pictures"

    name: Literal["sft"] = "sft"
    kl_weight: float = Field(0.0, ge=0, le=bounds.NUMBER)
    """Weight of mean((v - v_ref)^2); 0: no KL term."""


class RWRConfig(BaselineConfig):
    """Reward-weighted regression."""

    name: Literal["rwr"] = "rwr"
    temperature: float = Field(1.0, gt=0, le=bounds.NUMBER)
    """Of the softmax over a group's rewards, in units of the reward: the lower, the more the best one counts."""
    kl_weight: float = Field(0.0, ge=0, le=bounds.NUMBER)
    """Weight of mean((v - v_ref)^2); 0: no KL term."""


class DPOConfig(BaselineConfig):
    """Diffusion-DPO on the best and the worst picture of a group."""

    learns_from_files = "pairs"

    name: Literal["dpo"] = "dpo"
    beta: float = Field(2000.0, gt=0, le=bounds.NUMBER)
    """How soon a pair that is in order already pulls less; published: 2,000 (SD 1.5) and 5,000 (SDXL)."""

"""The settings of the objectives that learn on the forward process, from final latents that are noised anew.

What they share stands in LevelsConfig and ForwardConfig; what they do, in trainer/objectives, in the file of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from flowbench import bounds
from flowbench.objective_config import ObjectiveConfig, ObjectiveSettings


class LevelsConfig(ObjectiveSettings):
    """Where noise levels come from."""

    times: Literal["grid", "uniform", "logit_normal"] = "grid"
    """Where noise levels come from: the sampler's own schedule, or places on it that are uniform or logit-normal."""
    levels: int = Field(4, ge=1, le=bounds.DENOISING_STEPS)
    """Noise levels per picture and training step, each with a noise of its own."""
    first_levels: int | None = Field(None, ge=1, le=bounds.DENOISING_STEPS)
    """They come from this many first, noisiest levels of the sampler's schedule; null: from all."""

    def misfit(self, rollout: Mapping[str, Any]) -> str:
        if self.first_levels is not None and self.first_levels > rollout["steps"]:
            return f"objective.first_levels {self.first_levels} is above rollout.steps {rollout['steps']}"
        return super().misfit(rollout)


class ForwardConfig(LevelsConfig, ObjectiveConfig):
    """The behaviour copy, and the penalties on the velocity."""

    kl_weight: float = Field(0.0, ge=0, le=bounds.NUMBER)
    """Weight of mean((v - v_ref)^2); 0: no KL term."""
    behaviour_weight: float = Field(0.0, ge=0, le=bounds.NUMBER)
    """Weight of mean((v - v_old)^2), the distance to the behaviour copy; 0: no such term."""
    behaviour_rate: float = Field(0.001, ge=0, le=1)
    """The behaviour copy's decay after training step n, from 0, is min(this x (n - warmup), behaviour_decay)."""
    behaviour_decay: float = Field(0.5, ge=0, lt=1)
    """The largest decay of the behaviour copy; 0: it is the live policy."""
    behaviour_warmup: int = Field(0, ge=0, le=bounds.STEPS)
    """Training steps during which the behaviour copy is the live policy."""

    @model_validator(mode="after")
    def _behaviour_has_an_effect(self) -> ForwardConfig:
        if (self.behaviour_rate == 0) != (self.behaviour_decay == 0):
            raise ValueError("behaviour_rate and behaviour_decay: one of them is 0, so that the other has no effect")
        for name in ("behaviour_warmup", "behaviour_weight"):
            if self.behaviour_decay == 0 and getattr(self, name) > 0:
                raise ValueError(
                    f"{name} has no effect with behaviour_decay 0, where the behaviour copy is the live policy: set "
                    f"{name} to 0"
                )
        return self


class NFTConfig(ForwardConfig):
    """DiffusionNFT: implicit positive and negative policies around the behaviour copy."""

    name: Literal["nft"] = "nft"
    beta: float = Field(1.0, gt=0, le=bounds.NUMBER)
    """How far the implicit positive and negative policies stand from the behaviour copy."""
    loss_scale: float = Field(5.0, gt=0, le=bounds.NUMBER)
    """The loss is multiplied by this; published: the largest advantage. It weighs the loss against the KL term."""
    kl_weight: float = Field(1e-4, ge=0, le=bounds.NUMBER)


class ELBOConfig(ForwardConfig):
    """Policy gradients on the adaptive likelihood bound: what epg, pepg and par share."""

    advantage_scale: Literal["group", "batch", "none"] = "none"
    advantage_weight: float = Field(0.1, gt=0, le=bounds.NUMBER)
    """Advantages are multiplied by this; published: beta / alpha = 1e-4 / 1e-3."""
    ratio: bool = True
    """Weigh each picture by e^d, the ratio of the policy to the copy that sampled it; false: some published runs."""
    kl_weight: float = Field(1e-4, ge=0, le=bounds.NUMBER)


class EPGConfig(ELBOConfig):
    """The exact policy gradient."""

    name: Literal["epg"] = "epg"


class PEPGConfig(ELBOConfig):
    """Its proximal form."""

    name: Literal["pepg"] = "pepg"


class PARConfig(ELBOConfig):
    """Regression of the log-ratio on the advantage."""

    name: Literal["par"] = "par"


class AWMConfig(ForwardConfig):
    """Advantage weighted matching."""

    name: Literal["awm"] = "awm"
    weighting: Literal["uniform", "t", "t2", "huber", "ghuber"] = "ghuber"
    """How a flow-matching error becomes a log-probability."""
    clip_range: float = Field(1.0, gt=0, le=bounds.NUMBER)
    """The ratio is clipped to 1 +- this."""
    advantage_max: float = Field(1.0, gt=0, le=bounds.NUMBER)
    """Advantages are scaled so that `advantage_clip` becomes this."""
    off_policy: bool = False
    """The behaviour copy samples the pictures and gives the ratio's denominator; false: the live policy does."""
    levels: int = Field(6, ge=1, le=bounds.DENOISING_STEPS)
    kl_weight: float = Field(3e-3, ge=0, le=bounds.NUMBER)
    behaviour_weight: float = Field(1.0, ge=0, le=bounds.NUMBER)
    behaviour_decay: float = Field(0.3, ge=0, lt=1)

    @model_validator(mode="after")
    def _behaviour_is_used(self) -> AWMConfig:
        if not self.off_policy and self.behaviour_weight == 0 and self.behaviour_decay > 0:
            raise ValueError(
                "behaviour_rate and behaviour_decay have no effect with off_policy false and behaviour_weight 0, where "
                "there is no behaviour copy: set them to 0, too"
            )
        return self


class RAMConfig(ForwardConfig):
    """Reinforce adjoint matching."""

    name: Literal["ram"] = "ram"
    multiplier: float = Field(1.0, gt=0, le=bounds.NUMBER)
    """How far an advantage of 1 moves the target from the base's velocity: the inverse of the weight of the KL."""

    def uses_reference(self) -> bool:
        return True


class DGPOConfig(ForwardConfig):
    """Direct group preference optimisation."""

    name: Literal["dgpo"] = "dgpo"
    advantage_scale: Literal["group", "batch", "none"] = "group"
    beta: float = Field(100.0, gt=0, le=bounds.NUMBER)
    """How soon a group that is in order already pulls less; published: 10 to 100, above 2000 against the behaviour."""
    against: Literal["reference", "behaviour"] = "reference"
    """What the policy's preference is measured against."""
    clip_range: float | None = Field(1e-3, gt=0, le=bounds.NUMBER)
    """A picture whose ratio e^(d_old - d) has left 1 +- this on its own side is learned no further; null: never."""
    kl_weight: float = Field(1e-3, ge=0, le=bounds.NUMBER)
    behaviour_decay: float = Field(0.3, ge=0, lt=1)

    def uses_reference(self) -> bool:
        return self.against == "reference" or super().uses_reference()

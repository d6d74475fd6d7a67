"""Reinforce adjoint matching (RAM, arXiv 2605.10759): regression on the base's velocity, corrected by the reward."""

from __future__ import annotations

from torch import Tensor

from flowbench.forward_config import RAMConfig
from flowbench.sampling.steps import in_float64, per_sample_mean
from flowbench.trainer.objectives.forward import REFERENCE, ForwardObjective, Noised
from flowbench.trainer.objectives.matching import column
from flowbench.trainer.policy import Policy


def ram_loss(
    v: Tensor, v_old: Tensor, v_ref: Tensor, x0: Tensor, noise: Tensor, advantages: Tensor, *, multiplier: float
) -> Tensor:
    """mean((v - target)^2) with target = v_ref + multiplier A ((noise - x0) - v_old), per sample: (B,) float64.

    Equation 17, which leaves out the correction for the path's cost: the base's velocity, moved along what is left
    between the picture and the policy, as far as the picture was better than its group's mean. Where advantages are 0
    the policy is drawn back to the base; `multiplier` is the inverse of the weight of the KL to it. Gradient flows to v
    only. v, v_old, v_ref, x0, noise: (B, ...); advantages: (B,).

    The paper has the policy itself for v_old; the published code has the copy that samples, as here. The two are one in
    the first update after the copy has caught up.
    """
    v, v_old, v_ref, x0, noise = (in_float64(each) for each in (v, v_old, v_ref, x0, noise))
    target = v_ref + multiplier * column(advantages, v) * ((noise - x0) - v_old)
    return per_sample_mean((v - target.detach()) ** 2)


class RAM(ForwardObjective):
    """ram_loss on advantages. The base stands in its target, so that it needs no KL term."""

    config = RAMConfig

    settings: RAMConfig

    def compared(self, policy: Policy) -> set[str]:
        return super().compared(policy) | {REFERENCE}

    def loss(self, at: Noised, v: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        multiplier = self.settings.multiplier
        return ram_loss(v, at.old, at.reference, at.x0, at.noise, signal, multiplier=multiplier), {}

"""DiffusionNFT (arXiv 2509.16117): learning on the forward process, from final latents and their rewards alone.

A picture x0 is noised anew, x_t = (1 - t) x0 + t noise, and the velocity there is drawn towards x0 as far as the
picture was better than its group's mean, and pushed away as far as it was worse. No log-prob and no recorded step is
needed, so any sampler may make the pictures; ours makes them by the ODE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from flowbench.forward_config import NFTConfig
from flowbench.sampling.steps import in_float64, per_sample_mean
from flowbench.trainer.learner import BEHAVIOUR, Shadow
from flowbench.trainer.objectives.base import Comparison, Figure, Objective, Term
from flowbench.trainer.objectives.kl import velocity_kl
from flowbench.trainer.objectives.levels import noise_levels
from flowbench.trainer.objectives.matching import column, normalised_error
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Slice, Trajectory


def nft_loss(
    v: Tensor, v_old: Tensor, x_t: Tensor, x0: Tensor, t: Tensor | float, weight: Tensor, *, beta: float = 1.0
) -> Tensor:
    """[weight mean((x0+ - x0)^2) / w+ + (1 - weight) mean((x0- - x0)^2) / w-] / beta per sample: (B,) float64.

    v+ = beta v + (1 - beta) v_old and v- = (1 + beta) v_old - beta v are the implicit positive and negative policies
    (theorem 3.2), x0+- = x_t - t v+- what they take the picture to be, and w+- = mean|x0+- - x0|, at least 1e-5 and
    without gradient, the self-normalisation of section 3.3. Means are over a sample's elements.

    v (with gradient), v_old (none is taken), x_t, x0: (B, ...); t: a number or (B,), in (0, 1]; weight: (B,) in [0, 1],
    1/2 for a picture at its group's mean. The published total is 5 times this; against its KL of 1e-4 that matters.
    """
    v, v_old, x_t, x0 = (in_float64(each) for each in (v, v_old.detach(), x_t, x0))
    t, weight = column(t, v), weight.to(v)
    positive = normalised_error(x_t - t * (beta * v + (1 - beta) * v_old), x0)
    negative = normalised_error(x_t - t * ((1 + beta) * v_old - beta * v), x0)
    return (weight * positive + (1 - weight) * negative) / beta


class NFT(Objective):
    """loss = loss_scale x nft_loss + kl_weight x mean((v - v_ref)^2), at `levels` noise levels of each scored member.

    The behaviour copy samples the rollouts and is v_old; after training step n (from 0) it follows the live weights
    with decay min(behaviour_rate x n, behaviour_decay). The noise levels of a picture are those of the sampler's own
    schedule (the `first_levels` of them) in an order of its own, without repetition as long as there are no fewer than
    `levels`.

    Where this departs from the published code: pictures come from Euler's ODE steps (there DPM2); an
    unscored picture takes no part.
    """

    config = NFTConfig
    samples_with = BEHAVIOUR
    sums = ("drift", "kl", "learned")
    figures = (
        Figure(
            "policy/drift", "mean((v - v_old)^2): how far the policy is from the copy that samples",
            shown="drift {:.2g}",
        ),
        Figure("policy/kl", "KL to the reference: mean((v - v_ref)^2)", direction="lower", shown="kl {:.2g}"),
    )  # fmt: skip

    settings: NFTConfig

    def shadows(self) -> dict[str, Shadow]:
        settings = self.settings
        rate, most, warmup = settings.behaviour_rate, settings.behaviour_decay, settings.behaviour_warmup
        return {BEHAVIOUR: Shadow(lambda step: min(rate * max(0, step - warmup), most))}

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        """The weight of the positive part: 1/2 + advantage / (2 advantage_clip), in [0, 1] (section 3.3)."""
        return 0.5 + super().signal(rewards, group_ids) / (2 * self.settings.advantage_clip)

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        for each in bundle:
            if each.count == 0:
                yield Term(torch.zeros(len(each.signal)), count=0)
            else:
                yield from (self._term(policy, each, turn) for turn in range(self.settings.levels))

    def check(self, policy: Policy, bundle: Bundle) -> Iterator[Comparison]:
        """With and without gradient the velocity must be the same."""
        for each in bundle:
            for turn in range(self.settings.levels):
                x_t, t = self._noised(policy, each.trajectory, turn)
                condition = each.trajectory.condition
                with torch.no_grad(), policy.model.adapter_frozen():
                    sampled = policy.velocity(x_t, t, condition)
                with policy.reference():
                    reference = policy.velocity(x_t, t, condition)
                v = policy.velocity(x_t, t, condition)
                yield Comparison((v.detach() - sampled).abs(), v, reference, per_sample_mean(v**2))

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        learned = totals["learned"] or math.nan
        return {"policy/drift": totals["drift"] / learned, "policy/kl": totals["kl"] / learned}

    def _term(self, policy: Policy, each: Slice, turn: int) -> Term:
        x_t, t = self._noised(policy, each.trajectory, turn)
        condition = each.trajectory.condition
        with policy.using(BEHAVIOUR):
            v_old = policy.velocity(x_t, t, condition)
        v_ref = None
        if self.settings.kl_weight > 0:
            with policy.reference():
                v_ref = policy.velocity(x_t, t, condition)
        v = policy.velocity(x_t, t, condition)
        x0, weight = _final_latents(each.trajectory), each.signal.to(v.device)
        loss = self.settings.loss_scale * nft_loss(v, v_old, x_t, x0, t, weight, beta=self.settings.beta)
        scored = each.scored.to(loss.device)
        drift = velocity_kl(v, v_old)
        if self.settings.behaviour_weight > 0:
            loss = loss + self.settings.behaviour_weight * drift
        figures: dict[str, Tensor | float] = {"drift": _sum(drift.detach(), scored), "kl": math.nan}
        if v_ref is not None:
            kl = velocity_kl(v, v_ref)
            loss = loss + self.settings.kl_weight * kl
            figures["kl"] = _sum(kl.detach(), scored)
        return Term(torch.where(scored, loss, 0.0), {**figures, "learned": each.count}, each.count)

    def _noised(self, policy: Policy, trajectory: Trajectory, turn: int) -> tuple[Tensor, Tensor]:
        """x_t (B, C, h, w) and t (B,) of each member's `turn`-th noise level."""
        group, x0 = trajectory.group, _final_latents(trajectory)
        settings = self.settings
        sigmas = policy.model.sigmas(self.rollout.steps)[: (settings.first_levels or self.rollout.steps) + 1]
        levels = [
            noise_levels(sigmas, settings.levels, times=settings.times, seed=group.draw("times", member))
            for member in trajectory.members
        ]
        t = torch.stack([each[turn] for each in levels]).to(x0.device)
        noise = policy.model.noise([group.draw("forward noise", member, turn) for member in trajectory.members])
        column = t.reshape(-1, 1, 1, 1)
        return (1 - column) * x0 + column * noise, t


def _final_latents(trajectory: Trajectory) -> Tensor:
    if trajectory.latents is None:
        raise RuntimeError("the rollout has kept no final latents, which this objective stores")
    return trajectory.latents


def _sum(values: Tensor, scored: Tensor) -> Tensor:
    return torch.where(scored, values, 0.0).sum()

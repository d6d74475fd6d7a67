"""DiffusionNFT (arXiv 2509.16117): learning on the forward process, from final latents and their rewards alone.

A picture x0 is noised anew, x_t = (1 - t) x0 + t noise, and the velocity there is drawn towards x0 as far as the
picture was better than its group's mean, and pushed away as far as it was worse. No log-prob and no recorded step is
needed, so any sampler may make the pictures; ours makes them by the ODE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy
import torch
from torch import Tensor

from flowbench.objective_config import NFTConfig
from flowbench.sampling.steps import in_float64, per_sample_mean
from flowbench.trainer.learner import BEHAVIOUR, Shadow
from flowbench.trainer.objectives.base import Comparison, Figure, Objective, Term
from flowbench.trainer.objectives.kl import velocity_kl
from flowbench.trainer.policy import Policy
from flowbench.trainer.trajectory import Bundle, Slice, Trajectory

SMALLEST_ERROR = 1e-5
"""Errors are divided by their own size, but by no less than this."""


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
    t = torch.as_tensor(t, dtype=v.dtype, device=v.device).reshape(-1, *[1] * (v.ndim - 1))
    weight = weight.to(v)
    positive = _normalised_error(x_t - t * (beta * v + (1 - beta) * v_old), x0)
    negative = _normalised_error(x_t - t * ((1 + beta) * v_old - beta * v), x0)
    return (weight * positive + (1 - weight) * negative) / beta


def _normalised_error(guess: Tensor, x0: Tensor) -> Tensor:
    """mean((guess - x0)^2) / mean|guess - x0| per sample, no gradient through the divisor."""
    difference = guess - x0
    size = per_sample_mean(difference.detach().abs()).clamp(min=SMALLEST_ERROR)
    return per_sample_mean(difference**2) / size


class NFT(Objective):
    """loss = loss_scale x nft_loss + kl_weight x mean((v - v_ref)^2), at `times` noise levels of each scored member.

    The behaviour copy samples the rollouts and is v_old; after training step n (from 0) it follows the live weights
    with decay min(behaviour_rate x n, behaviour_decay). The noise levels of a picture are those of the sampler's own
    schedule (the `first_levels` of them) in an order of its own, without repetition as long as there are no fewer than
    `times`.

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
        rate, most = self.settings.behaviour_rate, self.settings.behaviour_decay
        return {BEHAVIOUR: Shadow(lambda step: min(rate * step, most))}

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        """The weight of the positive part: 1/2 + advantage / (2 advantage_clip), in [0, 1] (section 3.3)."""
        return 0.5 + super().signal(rewards, group_ids) / (2 * self.settings.advantage_clip)

    def terms(self, policy: Policy, bundle: Bundle) -> Iterator[Term]:
        for each in bundle:
            if each.count == 0:
                yield Term(torch.zeros(len(each.signal)), count=0)
            else:
                yield from (self._term(policy, each, turn) for turn in range(self.settings.times))

    def check(self, policy: Policy, bundle: Bundle) -> Iterator[Comparison]:
        """With and without gradient the velocity must be the same."""
        for each in bundle:
            for turn in range(self.settings.times):
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
        figures: dict[str, Tensor | float] = {"drift": _sum(velocity_kl(v.detach(), v_old), scored), "kl": math.nan}
        if v_ref is not None:
            kl = velocity_kl(v, v_ref)
            loss = loss + self.settings.kl_weight * kl
            figures["kl"] = _sum(kl.detach(), scored)
        return Term(torch.where(scored, loss, 0.0), {**figures, "learned": each.count}, each.count)

    def _noised(self, policy: Policy, trajectory: Trajectory, turn: int) -> tuple[Tensor, Tensor]:
        """x_t (B, C, h, w) and t (B,) of each member's `turn`-th noise level."""
        x0 = _final_latents(trajectory)
        levels = policy.model.sigmas(self.rollout.steps)[:-1][: self.settings.first_levels]
        orders = [numpy.random.default_rng(seed).permutation(len(levels)) for seed in trajectory.draws("times")]
        t = torch.stack([levels[order[turn % len(levels)]] for order in orders]).to(x0.device)
        noise = policy.model.noise(trajectory.draws("forward noise", turn))
        column = t.reshape(-1, 1, 1, 1)
        return (1 - column) * x0 + column * noise, t


def _final_latents(trajectory: Trajectory) -> Tensor:
    if trajectory.latents is None:
        raise RuntimeError("the rollout has kept no final latents, which this objective stores")
    return trajectory.latents


def _sum(values: Tensor, scored: Tensor) -> Tensor:
    return torch.where(scored, values, 0.0).sum()

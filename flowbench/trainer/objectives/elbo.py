"""ELBO policy gradients (Choi et al., arXiv 2602.04663): an adaptive likelihood bound, and three losses on it.

The bound of a picture x0 at one noise level, L = -mean((x0_hat - x0)^2) / w, stands for its log-probability; d is how
far it has risen above that of the copy that samples. The paper's finding is that the estimator matters and the loss
does not: epg, pepg and par agree at d = 0, and the gradients of pepg and par are equal everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from flowbench.errors import UnknownName
from flowbench.forward_config import ELBOConfig, EPGConfig, PARConfig, PEPGConfig
from flowbench.registry import did_you_mean
from flowbench.sampling.steps import in_float64
from flowbench.trainer.objectives.base import Figure
from flowbench.trainer.objectives.forward import ForwardObjective, Noised
from flowbench.trainer.objectives.matching import column, normalised_error

KINDS = ("epg", "pepg", "par")


def elbo(v: Tensor, x_t: Tensor, x0: Tensor, t: Tensor | float) -> Tensor:
    """-mean((x0_hat - x0)^2) / w per sample, x0_hat = x_t - t v: (B,) float64, at most 0. Gradient flows to v.

    w = mean|x0_hat - x0|, at least 1e-5 and without gradient, makes the bound as large as the error itself at every
    noise level (`elbo: adaptive` of the published code). v, x_t, x0: (B, ...); t: a number or (B,), in (0, 1].
    """
    v, x_t, x0 = (in_float64(each) for each in (v, x_t, x0))
    return -normalised_error(x_t - column(t, v) * v, x0)


def elbo_loss(kind: str, elbo: Tensor, elbo_old: Tensor, advantages: Tensor, *, ratio: bool = True) -> Tensor:
    """The loss of one of KINDS per sample: (B,) float64, gradient to `elbo` only.

    With L = elbo, d = L - elbo_old without gradient and A = advantages:

    epg    -e^d A L                    the exact policy gradient
    pepg   -e^d (A - d) L              its proximal form: -d holds the policy where it sampled
    par    e^d (A - (L - L_old))^2/2   regression of the log-ratio on the advantage

    elbo, elbo_old, advantages: (B,), the bounds at the same noise. ratio: False leaves e^d out, as some published runs
    do (`epg_noratio`, `pepg_noratio`). Raises UnknownName for another kind.
    """
    if kind not in KINDS:
        raise UnknownName(f"unknown ELBO loss '{kind}'.{did_you_mean(kind, KINDS)} Known: {', '.join(KINDS)}.")
    elbo, elbo_old, advantages = (in_float64(each) for each in (elbo, elbo_old.detach(), advantages.detach()))
    rise = elbo - elbo_old
    d = rise.detach()
    importance = d.exp() if ratio else torch.ones_like(d)
    if kind == "par":
        return importance * (advantages - rise) ** 2 / 2
    aim = advantages - d if kind == "pepg" else advantages
    return -importance * aim * elbo


class ELBOObjective(ForwardObjective):
    """elbo_loss of one kind, on advantages times `advantage_weight`: published, .1 (reward - mean of its group).

    Where this departs from the published code: an unscored picture takes no part. Its DPM2 is solver dpmpp_2m.
    """

    kind: ClassVar[str]
    sums = (*ForwardObjective.sums, "ratio")
    figures = (
        *ForwardObjective.figures,
        Figure(
            "policy/ratio_mean", "mean of e^d, the likelihood of a picture over that under the copy that sampled it",
            healthy=(0.8, 1.25), shown="ratio {:.4f}",
        ),
    )  # fmt: skip

    settings: ELBOConfig

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        return self.settings.advantage_weight * super().signal(rewards, group_ids)

    def loss(self, at: Noised, v: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        now, old = (elbo(velocity, at.x_t, at.x0, at.t) for velocity in (v, at.old))
        return elbo_loss(self.kind, now, old, signal, ratio=self.settings.ratio), {"ratio": (now.detach() - old).exp()}

    def logged(self, totals: Mapping[str, float]) -> dict[str, float]:
        ratio = totals["ratio"] / (totals["learned"] or math.nan)
        return {**super().logged(totals), "policy/ratio_mean": ratio}


class EPG(ELBOObjective):
    """The exact policy gradient."""

    config, kind = EPGConfig, "epg"


class PEPG(ELBOObjective):
    """The proximal policy gradient."""

    config, kind = PEPGConfig, "pepg"


class PAR(ELBOObjective):
    """Regression of the log-ratio on the advantage, whose gradient is pepg's."""

    config, kind = PARConfig, "par"

"""DiffusionNFT (arXiv 2509.16117): learning on the forward process, from final latents and their rewards alone.

A picture x0 is noised anew, x_t = (1 - t) x0 + t noise, and the velocity there is drawn towards x0 as far as the
picture was better than its group's mean, and pushed away as far as it was worse. No log-prob and no recorded step is
needed, so any sampler may make the pictures; ours makes them by the ODE.
"""

from __future__ import annotations

from torch import Tensor

from flowbench.forward_config import NFTConfig
from flowbench.sampling.steps import in_float64
from flowbench.trainer.objectives.forward import ForwardObjective, Noised
from flowbench.trainer.objectives.matching import column, normalised_error


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


class NFT(ForwardObjective):
    """loss_scale x nft_loss, whose weight is 1/2 + advantage / (2 advantage_clip).

    Where this departs from the published code: an unscored picture takes no part. Its DPM2 is solver dpmpp_2m.
    """

    config = NFTConfig

    settings: NFTConfig

    def signal(self, rewards: Tensor, group_ids: Tensor) -> Tensor:
        """The weight of the positive part, in [0, 1] (section 3.3)."""
        return 0.5 + super().signal(rewards, group_ids) / (2 * self.settings.advantage_clip)

    def loss(self, at: Noised, v: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = nft_loss(v, at.old, at.x_t, at.x0, at.t, signal, beta=self.settings.beta)
        return self.settings.loss_scale * loss, {}

"""Advantage weighted matching (AWM, arXiv 2509.25050): the clipped policy loss on a log-prob of the forward process.

How well a velocity explains a picture that was noised anew stands in for the picture's log-probability; its ratio to
the value under the weights that sampled is raised or lowered by the advantage, as in PPO, within a clip so wide that it
only stops what has run away.
"""

from __future__ import annotations

from torch import Tensor

from flowbench.errors import UnknownName
from flowbench.registry import did_you_mean
from flowbench.sampling.steps import in_float64
from flowbench.trainer.objectives.matching import flow_error

WEIGHTINGS = ("uniform", "t", "t2", "huber", "ghuber")
SMALLEST = 1e-10
"""Added to the error below a root, whose slope at 0 has no bound."""


def surrogate_log_prob(
    v: Tensor, x0: Tensor, noise: Tensor, t: Tensor | float, *, weighting: str = "ghuber", power: float = 0.25
) -> Tensor:
    """How well v explains x0 at noise level t: (B,) float64, at most 0, gradient to v.

    With e = mean((v - (noise - x0))^2), as `weighting` in the published code (scxue/advantage_weighted_matching):

    uniform   -e
    t, t2     -t e, -t^2 e
    huber     -t ((e + 1e-10)^(1/2) - 1e-5)
    ghuber    -t ((e + 1e-10)^power - 1e-10^power) / power, whose power .25 the published runs take

    v, x0, noise: (B, ...); t: a number or (B,), in (0, 1]. Raises UnknownName for another weighting.
    """
    error = flow_error(v, x0, noise)
    level = in_float64(t).to(error.device) if isinstance(t, Tensor) else t
    if weighting == "uniform":
        return -error
    if weighting == "t":
        return -level * error
    if weighting == "t2":
        return -(level**2) * error
    if weighting == "huber":
        return -level * _root(error, 0.5)
    if weighting == "ghuber":
        return -level * _root(error, power) / power
    guess = did_you_mean(weighting, WEIGHTINGS)
    raise UnknownName(f"unknown weighting '{weighting}'.{guess} Known: {', '.join(WEIGHTINGS)}.")


def _root(error: Tensor, power: float) -> Tensor:
    """error^power, but 0 with a finite slope where the error is 0."""
    return (error + SMALLEST) ** power - SMALLEST**power

"""KL to the reference policy at one step, in three forms. All are (B,) float64 and exactly 0 for equal policies.

path         mean((mean - mean_ref)^2) / (2 std^2): the KL of the two Gaussian steps, per latent element (Flow-GRPO,
             arXiv 2505.05470); its weights there are .004 (GenEval, OCR) and .001 (PickScore)
path_no_dt   the same over 2 s^2, where std = s * sqrt(-dt): what the published code computes since it dropped dt, with
             weights .04 (GenEval, OCR) and .01 (PickScore). For step kind `flow` only
velocity     mean((v - v_ref)^2): the author's later preference. It has no noise level, so it serves every step kind
"""

from __future__ import annotations

from torch import Tensor

from flowbench.errors import ConfigError, UnknownName
from flowbench.registry import did_you_mean
from flowbench.sampling.steps import Step, per_sample_mean, std_without_dt

KL_FORMS = ("path", "path_no_dt", "velocity")


def kl_penalty(
    form: str,
    taken: Step,
    reference: Step,
    v: Tensor,
    v_ref: Tensor,
    *,
    kind: str,
    sigma: float | Tensor,
    sigma_next: float | Tensor,
) -> Tensor:
    """The KL of `form` per sample: (B,) float64, gradient to v. No gradient flows to the reference.

    taken, reference: `sampling.step` of the policy's v and of the reference's v_ref, same x, sigmas, kind and noise
    level, with std > 0 for the path forms. Raises as `check_kl_form` does.
    """
    check_kl_form(form, kind)
    if form == "velocity":
        return velocity_kl(v, v_ref)
    std = taken.std if form == "path" else std_without_dt(taken.std, sigma, sigma_next)
    return path_kl(taken.mean, reference.mean, std)


def path_kl(mean: Tensor, mean_ref: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std) || N(mean_ref, std)), a mean over elements. mean, mean_ref: (B, ...); std > 0: (B, 1, ..., 1)."""
    return per_sample_mean(((mean - mean_ref.detach()) / std) ** 2) / 2


def velocity_kl(v: Tensor, v_ref: Tensor) -> Tensor:
    """mean((v - v_ref)^2) per sample. v, v_ref: (B, ...)."""
    return per_sample_mean((v - v_ref.detach()) ** 2)


def check_kl_form(form: str, kind: str) -> None:
    """Refuse an unknown form (UnknownName) and one that the step kind does not have (ConfigError)."""
    if form not in KL_FORMS:
        raise UnknownName(f"unknown KL form '{form}'.{did_you_mean(form, KL_FORMS)} Known: {', '.join(KL_FORMS)}.")
    if form == "path_no_dt" and kind != "flow":
        raise ConfigError(f"KL form 'path_no_dt' exists for step kind 'flow' only, not '{kind}': use path or velocity.")
    if form == "path" and kind == "ode":
        raise ConfigError("KL form 'path' needs a step with noise, and kind 'ode' has none: use velocity.")

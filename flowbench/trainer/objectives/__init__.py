"""Loss terms, as pure functions of tensors: per-sample vectors, summed and divided by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "KL_FORMS": "flowbench.trainer.objectives.kl",
    "PolicyLoss": "flowbench.trainer.objectives.flow_grpo",
    "check_kl_form": "flowbench.trainer.objectives.kl",
    "kl_penalty": "flowbench.trainer.objectives.kl",
    "policy_loss": "flowbench.trainer.objectives.flow_grpo",
}
__all__ = ["KL_FORMS", "PolicyLoss", "check_kl_form", "kl_penalty", "policy_loss"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.trainer.objectives.flow_grpo import PolicyLoss, policy_loss
    from flowbench.trainer.objectives.kl import KL_FORMS, check_kl_form, kl_penalty

"""Objectives: what is learned from a rollout, and by which loss. One file each, chosen by `objective.name`.

Add one of ours: a settings class and its card in flowbench/objective_config.py, a file here with a pure loss and a
subclass of `Objective`, a row in OBJECTIVES, a recipe `shapes-NAME`, a section in docs/objectives.md. Tests loop over
OBJECTIVES: with its row it is signed up for the contract tests.

Add one of your own, in a --plugin file or a package (entry-point group `flowbench.objectives`, naming the class):

    @register("mine", config=MyConfig, card=ObjectiveCard("What it learns, in a line."))
    class Mine(Objective): ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowbench.errors import ConfigError
from flowbench.lazy import lazy_exports
from flowbench.objective_config import ObjectiveCard, ObjectiveConfig, ObjectiveSettings, objective_configs
from flowbench.registry import Registry

if TYPE_CHECKING:
    from flowbench.config import RolloutConfig
    from flowbench.trainer.objectives.base import Comparison, Figure, Objective, Term
    from flowbench.trainer.objectives.dppo import keeps
    from flowbench.trainer.objectives.flow_grpo import policy_loss
    from flowbench.trainer.objectives.grpo_guard import guarded_ratio
    from flowbench.trainer.objectives.kl import KL_FORMS, check_kl_form, kl_penalty
    from flowbench.trainer.objectives.nft import nft_loss
    from flowbench.trainer.objectives.replayed import PolicyLoss

OBJECTIVES = {
    "flow_grpo": "flowbench.trainer.objectives.flow_grpo:FlowGRPO",
    "grpo_guard": "flowbench.trainer.objectives.grpo_guard:GRPOGuard",
    "dppo": "flowbench.trainer.objectives.dppo:DPPO",
    "nft": "flowbench.trainer.objectives.nft:NFT",
    "awm": "flowbench.trainer.objectives.awm:AWM",
    "epg": "flowbench.trainer.objectives.elbo:EPG",
    "pepg": "flowbench.trainer.objectives.elbo:PEPG",
    "par": "flowbench.trainer.objectives.elbo:PAR",
    "ram": "flowbench.trainer.objectives.ram:RAM",
    "dgpo": "flowbench.trainer.objectives.dgpo:DGPO",
    "sft": "flowbench.trainer.objectives.sft:SFT",
    "rwr": "flowbench.trainer.objectives.rwr:RWR",
    "dpo": "flowbench.trainer.objectives.dpo:DPO",
}
_LAZY = {
    "Comparison": "flowbench.trainer.objectives.base",
    "Figure": "flowbench.trainer.objectives.base",
    "KL_FORMS": "flowbench.trainer.objectives.kl",
    "Objective": "flowbench.trainer.objectives.base",
    "PolicyLoss": "flowbench.trainer.objectives.replayed",
    "Term": "flowbench.trainer.objectives.base",
    "check_kl_form": "flowbench.trainer.objectives.kl",
    "guarded_ratio": "flowbench.trainer.objectives.grpo_guard",
    "keeps": "flowbench.trainer.objectives.dppo",
    "kl_penalty": "flowbench.trainer.objectives.kl",
    "nft_loss": "flowbench.trainer.objectives.nft",
    "policy_loss": "flowbench.trainer.objectives.flow_grpo",
}
__all__ = [  # noqa: RUF022 - as Python sorts
    "Comparison",
    "Figure",
    "KL_FORMS",
    "OBJECTIVES",
    "Objective",
    "ObjectiveCard",
    "ObjectiveConfig",
    "ObjectiveSettings",
    "PolicyLoss",
    "Term",
    "build",
    "check_kl_form",
    "guarded_ratio",
    "keeps",
    "kl_penalty",
    "nft_loss",
    "policy_loss",
    "register",
    "registry",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

registry = Registry("objective", "flowbench.objectives")
for _name, _target in OBJECTIVES.items():
    registry.add(_name, _target)


def register(
    name: str, *, config: type[ObjectiveSettings], card: ObjectiveCard | None = None
) -> Callable[[type[Objective]], type[Objective]]:
    """Decorate an Objective class; `config` holds its settings. Raises NameTaken when another one has the name."""

    def decorate(target: type[Objective]) -> type[Objective]:
        target.config = config
        for table in (objective_configs, registry):
            table.add(name, target, card=card)
        return target

    return decorate


def build(settings: ObjectiveSettings, rollout: RolloutConfig) -> Objective:
    """The objective that `settings.name` names. Raises UnknownName, ConfigError for one whose shadows do not fit."""
    from flowbench.trainer.learner import AVERAGE, LIVE, START
    from flowbench.trainer.objectives.forward import REFERENCE

    found: Any = registry.get(settings.name)
    objective: Objective = found(settings, rollout)
    shadows = objective.shadows()
    if reserved := {LIVE, AVERAGE, START, REFERENCE, "adam"} & shadows.keys():
        raise ConfigError(f"objective '{settings.name}' calls a shadow '{min(reserved)}', which is taken. Rename it.")
    if objective.samples_with not in {LIVE, AVERAGE, *shadows}:
        raise ConfigError(f"objective '{settings.name}' samples with '{objective.samples_with}', no shadow of its own.")
    if rollout.keep_graph and objective.samples_with != LIVE:
        raise ConfigError(
            f"objective '{settings.name}' samples with '{objective.samples_with}', whose graph teaches the policy "
            "nothing: set rollout.keep_graph to false."
        )
    return objective

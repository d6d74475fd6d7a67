"""Algorithms that are an objective under certain settings and a rollout of a certain kind: names for recipes.

`--objective NAME` takes the model's recipe for it or, where there is none, puts these settings in the place of the
recipe's own. The run's configuration then says what they are: `objective.name: flow_grpo` and its rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowbench.errors import UnknownName
from flowbench.objective_config import ObjectiveCard, objective_configs
from flowbench.registry import did_you_mean


@dataclass(frozen=True)
class ObjectivePreset:
    """The published settings; what they leave out has its default, and stays as it is where no objective chooses it
    (`ObjectiveConfig.default_rollout`)."""

    card: ObjectiveCard
    objective: Mapping[str, Any]
    rollout: Mapping[str, Any]


PRESETS = {
    "dance_grpo": ObjectivePreset(
        ObjectiveCard(
            "DanceGRPO: flow_grpo on part of the steps, of a constant noise level, a group from one latent.",
            "arXiv 2505.07818",
            "a rollout of kind dance",
            recipe="dance",
        ),
        {"name": "flow_grpo", "advantage_scale": "group"},
        {"kind": "dance", "noise_level": 0.3, "same_latent": True, "steps": 16, "window": 9, "window_range": 15},
    ),
    "mixgrpo": ObjectivePreset(
        ObjectiveCard(
            "MixGRPO: flow_grpo on a window that moves over the steps as training goes on, the ODE outside it.",
            "arXiv 2507.21802",
            "a rollout with noise (flow, cps, dance) and a window that moves",
            licence="its public code is under a custom licence: this is written from the paper",
        ),
        {"name": "flow_grpo", "advantage_scale": "group"},
        {
            "kind": "flow",
            "noise_level": 0.7,
            "steps": 25,
            "window": 4,
            "window_schedule": "progressive",
            "solver": "dpmpp_2m",
        },
    ),
    "tempflow": ObjectivePreset(
        ObjectiveCard(
            "TempFlow-GRPO: flow_grpo on pictures that part at one step each, which their rewards then judge alone.",
            "arXiv 2508.04324",
            "a rollout with noise (flow, cps, dance) and branches",
        ),
        {"name": "flow_grpo", "advantage_scale": "group", "step_weight": "std"},
        {"kind": "flow", "noise_level": 0.7, "window": 2, "window_range": 5, "branches": 4},
    ),
}


def recipe_end(name: str) -> str:
    """How the names of the recipes of an objective or a preset end: `guard` for grpo_guard, as in shapes-guard."""
    if name in PRESETS:
        return PRESETS[name].card.recipe or name
    card = objective_configs.card(name) if name in objective_configs else None
    return (card.recipe if card is not None else "") or name


def preset_of(name: str) -> ObjectivePreset | None:
    """None for an objective. Raises UnknownName for what is neither, but close to the name of a preset."""
    if name not in PRESETS and name not in objective_configs and (close := did_you_mean(name, PRESETS)):
        raise UnknownName(f"unknown objective '{name}'.{close} `flowbench list objectives` shows all.")
    return PRESETS.get(name)

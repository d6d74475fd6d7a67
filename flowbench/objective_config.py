"""The settings of every objective, one class each, found by `objective.name` without importing torch.

An objective of a package or a plugin file brings its own: `trainer.objectives.register(name, config=..., card=...)`.
What the settings do stands in trainer/objectives, in the file of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from flowbench import bounds
from flowbench.errors import ConfigError, UnknownName
from flowbench.registry import Registry

DEFAULT = "flow_grpo"
NOISY_KINDS = ("flow", "cps", "dance")
"""Rollouts some of whose steps draw noise; kind `ode` draws none."""


class Frozen(BaseModel):
    """A part of the configuration: no unknown key, no change, no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`yes` is true in YAML, and would be 1."""
        kind = cls.model_fields[str(info.field_name)].annotation
        kinds = {kind, *get_args(kind), *(each for pair in get_args(kind) for each in get_args(pair))}
        given = value if isinstance(value, list) else [value]
        if kinds & {int, float} and bool not in kinds and any(isinstance(each, bool) for each in given):
            raise ValueError("it is true or false, where a number belongs")
        return value


@dataclass(frozen=True)
class ObjectiveCard:
    """What a reader must know of an objective before choosing it."""

    summary: str
    source: str = ""
    needs: str = ""
    """what it asks of rollout and rewards"""
    licence: str = ""
    """of the public code, where it matters; "" where it does not"""
    recipe: str = ""
    """the end of its recipes' names, `guard` of shapes-guard; "": its own name"""


class ObjectiveSettings(Frozen):
    """What the settings of all objectives have: a name, and what they ask of the rest of the configuration."""

    default_rollout: ClassVar[Mapping[str, Any]] = {
        "kind": "ode", "noise_level": None, "same_latent": False, "window": None, "window_range": None,
        "window_schedule": "random", "window_stride": None, "window_every": None, "window_end": None,
        "branches": None, "keep_graph": False,
    }  # fmt: skip
    """Settings of `rollout` that `--objective NAME` puts in the place of a recipe's own, where no recipe fits."""

    learns_from_files: ClassVar[Literal["", "pictures", "pairs"]] = ""
    """What the rows of a data file must hold: one picture (the chosen one of a pair will do), or a pair; "": it cannot
    learn from files, since it needs rewards of the model's own pictures."""

    name: str

    def rollout_kinds(self) -> tuple[str, ...]:
        """The kinds of rollout that it can learn from under these settings."""
        return ("ode",)

    def uses_reference(self) -> bool:
        """Whether the loss depends on the reference policy under these settings; without a `kl_weight` it may."""
        return self.model_dump().get("kl_weight") != 0

    def misfit(self, rollout: Mapping[str, Any]) -> str:
        """Why these settings do not fit those of the rollout; "" when they do."""
        kinds = self.rollout_kinds()
        if rollout["kind"] in kinds:
            return ""
        return (
            f"objective {self.name} under these settings learns from rollout.kind {' or '.join(kinds)}, "
            f"not from {rollout['kind']}"
        )

    def misfit_of_data(self) -> str:
        """Why these settings do not fit a run that learns from a data file; "" when they do."""
        if self.learns_from_files:
            return ""
        able = " or ".join(name for name in BUILT_IN if config_of(name).learns_from_files)
        return (
            f"objective {self.name} cannot learn from a file of pictures (--data), it needs rewards of the model's "
            f"own: take --objective {able}"
        )


class ObjectiveConfig(ObjectiveSettings):
    """Of an objective whose signal is the advantage of a picture over its group."""

    advantage_scale: Literal["group", "batch", "none"] = "batch"
    """Divide centred rewards by their group's standard deviation, by that of all rewards of the step, or not."""
    advantage_clip: float = Field(5.0, gt=0, le=bounds.NUMBER)
    """Advantages are clipped to 0 +- this."""


class AnyObjectiveConfig(ObjectiveSettings):
    """Of an objective whose plugin is not here: for who reads another part of a run's configuration."""

    model_config = ConfigDict(extra="allow")

    def misfit(self, rollout: Mapping[str, Any]) -> str:
        return ""

    def misfit_of_data(self) -> str:
        return ""


class TrajectoryConfig(ObjectiveConfig):
    """What all have that learn from the stochastic steps of the rollout and their probabilities."""

    default_rollout = {"kind": "flow", "noise_level": 0.7, "solver": "euler"}

    step_weight: Literal["none", "std", "inverse_dt"] = "none"
    """How much each step's loss counts: alike, by its std over the mean std (TempFlow-GRPO), or by 1 / -dt (GRPO-Guard;
    as published, not normalised)."""
    kl: Literal["path", "path_no_dt", "velocity"] = "path"
    """Distance to the reference policy."""
    kl_weight: float = Field(0.0, ge=0, le=bounds.NUMBER)
    """beta; 0: no KL term (and no reference forward pass)."""

    def rollout_kinds(self) -> tuple[str, ...]:
        return ("flow",) if self.kl == "path_no_dt" else NOISY_KINDS


class FlowGRPOConfig(TrajectoryConfig):
    """The clipped policy objective and its regularisation."""

    name: Literal["flow_grpo"] = "flow_grpo"
    clip_range: float = Field(1e-4, gt=0, le=bounds.NUMBER)
    """The ratio is clipped to 1 +- this; tiny because log-probs are means over latent elements."""


class GRPOGuardConfig(TrajectoryConfig):
    """The clipped policy objective with a centred ratio, and the balance of its steps."""

    name: Literal["grpo_guard"] = "grpo_guard"
    step_weight: Literal["none", "std", "inverse_dt"] = "inverse_dt"
    clip_range: float = Field(2e-6, gt=0, le=bounds.NUMBER)
    """The guarded ratio is clipped to 1 +- this: smaller than flow_grpo's, since its logarithm is times the std."""


class DPPOConfig(TrajectoryConfig):
    """The unclipped policy objective, without the steps that have moved too far."""

    name: Literal["dppo"] = "dppo"
    threshold: float = Field(1e-5, gt=0, le=bounds.NUMBER)
    """Steps whose KL to the policy that took them, per latent element, is this or more are left out where the update
    would push them further."""


_NOISE = "a rollout with noise (flow, cps, dance)"
_FORWARD = "an ODE rollout of any solver; no log-prob of steps, no recorded steps"
_TABLE: dict[str, tuple[type[ObjectiveSettings] | str, ObjectiveCard]] = {
    "flow_grpo": (
        FlowGRPOConfig,
        ObjectiveCard(
            "The clipped policy gradient on the stochastic steps of the rollout.",
            "arXiv 2505.05470",
            _NOISE,
        ),
    ),
    "grpo_guard": (
        GRPOGuardConfig,
        ObjectiveCard(
            "GRPO-Guard: flow_grpo with a ratio that is centred and of one scale on every step, and balanced steps.",
            "arXiv 2510.22319",
            _NOISE,
            recipe="guard",
        ),
    ),
    "dppo": (
        DPPOConfig,
        ObjectiveCard(
            "Flow-DPPO: the policy gradient without clipping; steps that have moved too far are left out.",
            "arXiv 2606.11025",
            f"{_NOISE}; optimizer.updates above 1, for in the first nothing has moved yet",
        ),
    ),
    "nft": (
        "flowbench.forward_config:NFTConfig",
        ObjectiveCard(
            "DiffusionNFT: pictures above their group's mean draw the velocity to them, those below push it away.",
            "arXiv 2509.16117",
            _FORWARD,
        ),
    ),
    "awm": (
        "flowbench.forward_config:AWMConfig",
        ObjectiveCard(
            "Advantage weighted matching: the clipped policy loss on how well a picture is explained.",
            "arXiv 2509.25050",
            _FORWARD,
        ),
    ),
    "epg": (
        "flowbench.forward_config:EPGConfig",
        ObjectiveCard("The policy gradient on an adaptive likelihood bound.", "arXiv 2602.04663", _FORWARD),
    ),
    "pepg": (
        "flowbench.forward_config:PEPGConfig",
        ObjectiveCard("The proximal policy gradient on an adaptive likelihood bound.", "arXiv 2602.04663", _FORWARD),
    ),
    "par": (
        "flowbench.forward_config:PARConfig",
        ObjectiveCard(
            "Regression of a likelihood bound's rise on the advantage; its gradient is that of pepg.",
            "arXiv 2602.04663",
            _FORWARD,
        ),
    ),
    "ram": (
        "flowbench.forward_config:RAMConfig",
        ObjectiveCard(
            "Reinforce adjoint matching: regression on the base's velocity, corrected by the reward.",
            "arXiv 2605.10759",
            _FORWARD,
        ),
    ),
    "dgpo": (
        "flowbench.forward_config:DGPOConfig",
        ObjectiveCard(
            "Direct group preference optimisation: the better half of a group against its worse half.",
            "arXiv 2510.08425",
            _FORWARD,
        ),
    ),
    "sft": (
        "flowbench.baseline_config:SFTConfig",
        ObjectiveCard(
            "Supervised fine-tuning on the best picture of each group, offline or online, or on a file of pictures.",
            "arXiv 2505.05470",
            f"{_FORWARD}; or a data file of pictures",
        ),
    ),
    "rwr": (
        "flowbench.baseline_config:RWRConfig",
        ObjectiveCard(
            "Reward-weighted regression: all pictures of a group, weighted by a softmax over their rewards.",
            "arXiv 2505.05470, 2302.12192",
            _FORWARD,
        ),
    ),
    "dpo": (
        "flowbench.baseline_config:DPOConfig",
        ObjectiveCard(
            "Diffusion-DPO: the best picture of each group against its worst, offline or online, or a file of pairs.",
            "arXiv 2311.12908",
            f"{_FORWARD}; or a data file of pairs",
        ),
    ),
}
BUILT_IN = tuple(_TABLE)
objective_configs = Registry("objective", "flowbench.objectives")
"""Name -> settings class; of a plugin, the Objective class, whose `config` it is."""
for _name, (_target, _card) in _TABLE.items():
    objective_configs.add(_name, _target, card=_card, line=_card.summary)


def config_of(name: str) -> type[ObjectiveSettings]:
    """The settings class of an objective. Raises UnknownName; ConfigError for a plugin that brings none."""
    try:
        found = objective_configs.get(name)
    except UnknownName as error:
        raise UnknownName(f"{error} One of a plugin file needs --plugin FILE.") from None
    kind = found if isinstance(found, type) and issubclass(found, ObjectiveSettings) else getattr(found, "config", None)
    if not (isinstance(kind, type) and issubclass(kind, ObjectiveSettings)):
        raise ConfigError(f"objective '{name}' brings no settings: its class needs `config`, an ObjectiveConfig.")
    return kind

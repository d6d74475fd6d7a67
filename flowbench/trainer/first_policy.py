"""The policy with which training begins: a model with its adapter, its optimizer and its shadows."""

from __future__ import annotations

import torch

from flowbench.config import TrainConfig
from flowbench.errors import ConfigError
from flowbench.models import load_model
from flowbench.models.adapter_files import trained_tokens
from flowbench.models.base import FlowModel
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.learner import START, Learner, Shadow
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.start import Start, begin


def first_policy(config: TrainConfig, start: Start | None, device: str) -> FlowModel:
    """The model with the adapter with which training begins: `start`, or a fresh one."""
    settings, adapter = config.model, config.adapter
    tokens = settings.max_sequence_length
    if tokens is None and start is not None:
        tokens = trained_tokens(start.folder)
    model = load_model(settings.name, device=device, dtype=settings.dtype, max_sequence_length=tokens)
    if model.device.type == "cuda" and settings.dtype != "float32":
        # TF32: of the policy's products only the adapter's are in float32. Those of rewards in this process are
        # rounded, too, so that their scores are not shared (rewards/cache.py).
        torch.set_float32_matmul_precision("high")
    if settings.compile:
        model.compile()
    if adapter.reference_guidance is not None and model.effective_guidance(adapter.reference_guidance) == 1.0:
        raise ConfigError(
            f"adapter.reference_guidance {adapter.reference_guidance:g} is none for {model.name} (guidance of the kind "
            f"{model.guidance_kind}). Give one above 1 to a model that has it, or null."
        )
    model.add_adapter(adapter.rank, adapter.alpha, seed=draw_seed(config.seed, "adapter"), targets=adapter.targets)
    if start is not None:
        begin(model, start, adapter)
    return model


def policy_of(config: TrainConfig, model: FlowModel, objective: Objective) -> Policy:
    """The model with its adapter as the objective trains it: optimizer, shadows, guidance."""
    learner = Learner(model.adapter_parameters(), config.optimizer, shadows_of(config, objective))
    return Policy(model, learner, config.rollout.guidance, reference_guidance=config.adapter.reference_guidance)


def shadows_of(config: TrainConfig, objective: Objective) -> dict[str, Shadow]:
    """Those that the objective asks for, and the run's start, where it is the reference."""
    fixed = {START: Shadow(lambda step: 1.0)} if config.adapter.reference == "start" else {}
    return objective.shadows() | fixed

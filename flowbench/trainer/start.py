"""The adapter that a run begins from, `adapter.start`: read before the model is, and once only.

A run that goes on has its live weights, and where they are the reference those of the start, in its checkpoints: the
folder may then be gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from flowbench import checkpoints
from flowbench.config import AdapterConfig, TrainConfig
from flowbench.errors import ConfigError, FlowbenchError, ModelError
from flowbench.layout import RunFolder
from flowbench.models import lora
from flowbench.models.adapter_config import scalings
from flowbench.models.adapter_files import adapter_digest, read
from flowbench.models.base import FlowModel
from flowbench.models.load import check_base, find_adapter


@dataclass(frozen=True)
class Start:
    """An adapter whose layers all have the rank and the scaling that the settings name."""

    folder: Path
    """where it was found"""
    tensors: Mapping[str, torch.Tensor]
    """float32, by short name"""
    digest: str
    """of its values: what an evaluation's card says of the same adapter"""


def read_start(config: TrainConfig, *, resume: bool) -> Start | None:
    """None for a run that begins with a fresh adapter, and for one that goes on from a checkpoint.

    Raises ConfigError for what is no adapter, and for one of another rank or alpha than the settings name.
    """
    if config.adapter.start is None or (resume and checkpoints.every(RunFolder(Path(config.out)))):
        return None
    try:
        folder = find_adapter(config.adapter.start)
        tensors, held = read(folder)
    except FlowbenchError as error:
        raise ConfigError(f"adapter.start: {error}") from error
    modules = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    _check_scale(config.adapter, set(scalings(held, modules).values()))
    return Start(folder, tensors, adapter_digest(tensors))


def begin(model: FlowModel, start: Start, adapter: AdapterConfig) -> None:
    """Put the adapter into the model's own parameters. Raises ModelError when it was made for other layers, or trained
    on other weights of the base model."""
    check_base(start.folder, model)
    own = model.adapter_parameters()
    strange = sorted(own.keys() ^ start.tensors.keys())
    if strange:
        where = "is not in it" if strange[0] in own else "carries none then"
        raise ModelError(
            f"{start.folder}: its layers are not those of adapter.targets {adapter.targets} in '{model.name}' "
            f"({strange[0]} {where}). Set adapter.targets to what it was trained with."
        )
    lora.set_parameters(model.transformer, start.tensors, str(start.folder))


def _check_scale(adapter: AdapterConfig, found: set[tuple[int, float]]) -> None:
    """Raise ConfigError unless all layers have the rank and the scaling (alpha / rank) of the settings."""
    name, wanted = adapter.start, (adapter.rank, adapter.alpha / adapter.rank)
    if len(found) != 1:
        what = "its layers have several ranks or scalings" if found else "it has no layers"
        raise ConfigError(f"adapter.start {name}: {what}. Give an adapter of one rank and alpha.")
    ((rank, scaling),) = found
    if rank != wanted[0] or not math.isclose(scaling, wanted[1], rel_tol=1e-9):
        alpha = f"{scaling * rank:.12g}"
        raise ConfigError(
            f"adapter.start {name}: it has rank {rank} and alpha {alpha}, the settings say rank {adapter.rank} and "
            f"alpha {adapter.alpha:g}. Add adapter.rank={rank} adapter.alpha={alpha}."
        )

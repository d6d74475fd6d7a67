"""Adapters on disk. Written: the diffusers layout. Read: that, or a plain PEFT folder. Safetensors and JSON only.

| file | content |
|---|---|
| pytorch_lora_weights.safetensors | diffusers: 'transformer.<module>.lora_A.weight' ...; metadata: rank, alpha, base |
| adapter_model.safetensors | PEFT: 'base_model.model.<module>.lora_A.weight' ... |
| adapter_config.json | PEFT's configuration: base model, rank, alpha, targets |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from flowbench.errors import ModelError
from flowbench.store import read_json, write_bytes, write_json

CONFIG = "adapter_config.json"
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"
PEFT_WEIGHTS = "adapter_model.safetensors"
FILES = (CONFIG, DIFFUSERS_WEIGHTS, PEFT_WEIGHTS)

_METADATA_KEY = "lora_adapter_metadata"  # diffusers.loaders.lora_base.LORA_ADAPTER_METADATA_KEY
_BASE_KEY = "flowbench_base"  # not in adapter_config.json: older PEFT refuses keys that it does not know
_KEYS = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora")
_REFUSED = ("use_dora", "modules_to_save", "layers_to_transform", "lora_bias", "target_parameters")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter's weights."""
    return (folder / DIFFUSERS_WEIGHTS).is_file() or (folder / PEFT_WEIGHTS).is_file()


def write(
    folder: Path, tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any], *, base: str, identity: str
) -> Path:
    """Write both files. The metadata carries rank and alpha: without it diffusers takes alpha = rank."""
    from safetensors.torch import save

    packed = json.dumps({f"transformer.{key}": config[key] for key in _KEYS})
    metadata = {"format": "pt", _METADATA_KEY: packed, _BASE_KEY: identity}
    content = {f"transformer.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    write_bytes(folder / DIFFUSERS_WEIGHTS, save(content, metadata=metadata))
    fixed = {"peft_type": "LORA", "task_type": None, "bias": "none", "lora_dropout": 0.0}
    write_json(folder / CONFIG, {**fixed, **config, "base_model_name_or_path": base})
    return folder


def read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors by short name, PEFT configuration). Raises ModelError when it is no plain LoRA of the transformer."""
    from safetensors import SafetensorError, safe_open

    path = folder / (DIFFUSERS_WEIGHTS if (folder / DIFFUSERS_WEIGHTS).is_file() else PEFT_WEIGHTS)
    if not path.is_file():
        raise ModelError(f"{folder}: no adapter here. Give a folder that holds {DIFFUSERS_WEIGHTS} or {PEFT_WEIGHTS}.")
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 - not a dict
                if not key.endswith((".lora_A.weight", ".lora_B.weight")) or key.startswith("text_encoder"):
                    raise ModelError(
                        f"{path}: tensor '{key}' is not a plain LoRA weight of the transformer. Give such an adapter."
                    )
                short = key.removeprefix("base_model.model.").removeprefix("transformer.")
                tensors[short] = file.get_tensor(key)
    except SafetensorError as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}). Copy or download it again.") from error
    return tensors, _config(folder, metadata, tensors)


def base_model(folder: Path) -> str | None:
    """The base model that adapter_config.json names, if any."""
    path = folder / CONFIG
    return read_json(path).get("base_model_name_or_path") if path.is_file() else None


def base_identity(folder: Path) -> str | None:
    """The `FlowModel.base_identity` on which it was trained; None for an adapter of other origin."""
    from safetensors import SafetensorError, safe_open

    path = folder / DIFFUSERS_WEIGHTS
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(_BASE_KEY)
    except SafetensorError:
        return None  # `read` says what is wrong with the file


def _config(folder: Path, metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    if (folder / CONFIG).is_file():
        found = read_json(folder / CONFIG)
    elif _METADATA_KEY in metadata:
        packed = json.loads(metadata[_METADATA_KEY])
        found = {key.removeprefix("transformer."): value for key, value in packed.items()}
    else:
        found = _guess(folder, tensors)
    refused = [key for key in _REFUSED if found.get(key)]
    if found.get("peft_type", "LORA") != "LORA" or refused or found.get("bias", "none") != "none":
        reason = ", ".join(refused) or f"peft_type {found.get('peft_type')}, bias {found.get('bias')}"
        raise ModelError(f"{folder}: an adapter with {reason} is not supported. Give a plain LoRA.")
    return {key: found[key] for key in _KEYS if found.get(key) is not None}


def _guess(folder: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Without any configuration: the rank from the shapes, and alpha = rank, as diffusers does."""
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name}
    if len(ranks) != 1:
        raise ModelError(f"{folder}: no {CONFIG}, and the ranks differ ({sorted(ranks)}). Add the {CONFIG}.")
    rank = ranks.pop()
    modules = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    return {"r": rank, "lora_alpha": rank, "target_modules": modules}

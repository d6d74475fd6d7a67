"""Adapters on disk. Written: the diffusers layout. Read: that, or a plain PEFT folder. Safetensors and JSON only.

| file | content |
|---|---|
| pytorch_lora_weights.safetensors | diffusers: 'transformer.<module>.lora_A.weight' ...; metadata: rank, alpha, base |
| adapter_model.safetensors | PEFT: 'base_model.model.<module>.lora_A.weight' ... |
| adapter_config.json | PEFT's configuration: base model, rank, alpha, targets |

A folder may hold all three, and a rank or an alpha may stand in two of them: what they say must be the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from flowbench.bounds import TOKENS
from flowbench.errors import ModelError
from flowbench.models.adapter_config import read_config, scalings
from flowbench.store import read_json, write_bytes, write_json

CONFIG = "adapter_config.json"
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"
PEFT_WEIGHTS = "adapter_model.safetensors"
FILES = (CONFIG, DIFFUSERS_WEIGHTS, PEFT_WEIGHTS)

_METADATA_KEY = "lora_adapter_metadata"  # diffusers.loaders.lora_base.LORA_ADAPTER_METADATA_KEY
_BASE_KEY = "flowbench_base"  # not in adapter_config.json: older PEFT refuses keys that it does not know
_TOKENS_KEY = "flowbench_max_sequence_length"
_PREFIX = "transformer."

Tensors = dict[str, torch.Tensor]


def adapter_digest(parameters: Mapping[str, torch.Tensor]) -> str:
    """ "none", or twelve hex digits of the SHA-256 over the adapter's names, shapes and float32 values."""
    if not parameters:
        return "none"
    total = hashlib.sha256()
    for name in sorted(parameters):
        values = parameters[name].detach().float().cpu().contiguous().numpy()
        total.update(f"{name}{values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()[:12]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter's weights."""
    return (folder / DIFFUSERS_WEIGHTS).is_file() or (folder / PEFT_WEIGHTS).is_file()


def write(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    *,
    base: str,
    identity: str,
    tokens: int | None = None,
) -> Path:
    """Write both files. The metadata carries rank and alpha: without it diffusers takes alpha = rank.

    tokens: per prompt, where it was trained with another number than its base has; None: with that.
    """
    from safetensors.torch import save

    packed = json.dumps({f"{_PREFIX}{key}": value for key, value in config.items()})
    metadata = {"format": "pt", _METADATA_KEY: packed, _BASE_KEY: identity}
    metadata |= {} if tokens is None else {_TOKENS_KEY: str(tokens)}
    content = {f"{_PREFIX}{name}": tensor.contiguous() for name, tensor in tensors.items()}
    write_bytes(folder / DIFFUSERS_WEIGHTS, save(content, metadata=metadata))
    fixed = {"peft_type": "LORA", "task_type": None, "bias": "none", "lora_dropout": 0.0}
    write_json(folder / CONFIG, {**fixed, **config, "base_model_name_or_path": base})
    return folder


def read(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """(float32 tensors by short name, the configuration's deciding fields: adapter_config.DECIDING).

    Raises ModelError when it is no plain LoRA of the transformer, when a tensor holds a number that is not finite, and
    when two files of the folder say different things.
    """
    paths = [folder / name for name in (DIFFUSERS_WEIGHTS, PEFT_WEIGHTS) if (folder / name).is_file()]
    if not paths:
        raise ModelError(f"{folder}: no adapter here. Give a folder that holds {DIFFUSERS_WEIGHTS} or {PEFT_WEIGHTS}.")
    path, (tensors, metadata) = paths[0], _weights(paths[0])
    for other in paths[1:]:
        name = _difference(tensors, _weights(other)[0])
        if name is not None:
            raise ModelError(f"{path} and {other.name} hold different adapters ({name}). Remove the one that is wrong.")
    configs = {}
    if (folder / CONFIG).is_file():
        configs[str(folder / CONFIG)] = read_config(read_json(folder / CONFIG), str(folder / CONFIG))
    if _METADATA_KEY in metadata:
        configs[f"{path} (its metadata)"] = _packed(metadata[_METADATA_KEY], f"{path} (its metadata)")
    if not configs:
        configs[str(path)] = _guess(folder, tensors)
    _refuse_contradictions(configs, tensors, path)
    return tensors, next(iter(configs.values()))


def base_model(folder: Path) -> tuple[str, str]:
    """(base model, its revision) that adapter_config.json names, "" where it says nothing."""
    path = folder / CONFIG
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, Mapping):
        raise ModelError(f"{path}: not a JSON object. Give the configuration that PEFT or diffusers has written.")
    name, revision = (found.get(key) or "" for key in ("base_model_name_or_path", "revision"))
    if not (isinstance(name, str) and isinstance(revision, str)):
        raise ModelError(f"{path}: base_model_name_or_path and revision must be texts, or null. Mend it.")
    return name, revision


def base_identity(folder: Path) -> str | None:
    """The `FlowModel.base_identity` on which it was trained; None for an adapter of other origin."""
    path = folder / DIFFUSERS_WEIGHTS
    return _open(path)[1].get(_BASE_KEY) if path.is_file() else None


def trained_tokens(folder: Path) -> int | None:
    """Tokens per prompt that it was trained with; None: the number of its base, or nothing is known."""
    path = folder / DIFFUSERS_WEIGHTS
    said = _open(path)[1].get(_TOKENS_KEY) if path.is_file() else None
    if said is not None and not (said.isascii() and said.isdecimal() and int(said) <= TOKENS):
        raise ModelError(f"{path}: {_TOKENS_KEY} is '{said}', no number of tokens. Copy or download the file again.")
    return None if said is None else int(said)


def _open(path: Path) -> tuple[Tensors, dict[str, str]]:
    """All tensors of a safetensors file, and its metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}). Copy or download it again.") from error


def _weights(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors in float32 by short name, each known to be a finite LoRA weight, and the file's metadata."""
    tensors = {}
    held, metadata = _open(path)
    for key, tensor in held.items():
        short = key.removeprefix("base_model.model.").removeprefix(_PREFIX)
        is_lora = key.endswith((".lora_A.weight", ".lora_B.weight")) and tensor.ndim >= 2 and tensor.is_floating_point()
        if not is_lora or key.startswith("text_encoder"):
            raise ModelError(
                f"{path}: tensor '{key}' is not a plain LoRA weight of the transformer. Give such an adapter."
            )
        if short in tensors:
            raise ModelError(f"{path}: it holds '{short}' under two names ('{key}' is one). Give one of each.")
        tensors[short] = tensor.float()
        if not tensors[short].isfinite().all():
            raise ModelError(f"{path}: tensor '{key}' is not finite (NaN or infinite). Give a sound adapter.")
    return tensors, metadata


def _difference(one: Tensors, other: Tensors) -> str | None:
    """The first name under which they do not hold the same."""
    names = sorted({*one, *other})
    return next((n for n in names if n not in one or n not in other or not torch.equal(one[n], other[n])), None)


def _packed(text: str, source: str) -> dict[str, Any]:
    """The configuration in the metadata of diffusers' file, each of whose keys begins with the part it is of."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source}: not valid JSON ({error}). Copy or download the file again.") from error
    if isinstance(found, Mapping):
        found = {key.removeprefix(_PREFIX): value for key, value in found.items()}
    return read_config(found, source)


def _refuse_contradictions(configs: Mapping[str, Mapping[str, Any]], tensors: Tensors, path: Path) -> None:
    """Raise ModelError where the configurations (by their source) or the tensors disagree about a rank or a scaling."""
    modules = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    (first, said), *others = ((source, scalings(config, modules)) for source, config in configs.items())
    for source, also in others:
        for module in modules:
            if said[module] != also[module]:
                (rank, scaling), (other_rank, other_scaling) = said[module], also[module]
                raise ModelError(
                    f"{first} gives {module} rank {rank} and alpha / rank {scaling:g}, {source} rank {other_rank} and "
                    f"{other_scaling:g}. Remove or mend the one that is wrong."
                )
    for name, tensor in tensors.items():
        module, _, matrix = name.rpartition(".lora_")
        rank = tensor.shape[0 if matrix.startswith("A") else 1]
        if rank != said[module][0]:
            raise ModelError(f"{path}: {name} has rank {rank}, {first} says {said[module][0]}. Mend the rank there.")


def _guess(folder: Path, tensors: Tensors) -> dict[str, Any]:
    """Without any configuration: the rank from the shapes, and alpha = rank, as diffusers does."""
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name}
    if len(ranks) != 1:
        raise ModelError(f"{folder}: no {CONFIG}, and the ranks differ ({sorted(ranks)}). Add the {CONFIG}.")
    rank = ranks.pop()
    modules = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    return {"r": rank, "lora_alpha": rank, "target_modules": modules}

"""Tensors in files: safetensors, written atomically, with a small JSON header. Optimizers included; no pickle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from flowbench.errors import MissingFile, RunError
from flowbench.store import write_bytes

ALIGNED = 64
"""bytes: torch's own memory begins at a multiple of them"""


def save_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str] | None = None
) -> Path:
    """Write named tensors and a header of strings as one safetensors file: equal content gives equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_bytes(path, _sorted_header(to_bytes(plain, metadata=dict(header or {}))))


def sort_header(path: str | Path) -> Path:
    """Rewrite a safetensors file so that equal content gives equal bytes: the library orders its metadata at random."""
    return write_bytes(path, _sorted_header(Path(path).read_bytes()))


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote: (tensors on the CPU, header). Raises MissingFile, RunError when it is damaged."""
    if not Path(path).is_file():
        raise MissingFile(f"{path}: there is no such file.")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise RunError(f"{path}: damaged ({error}). Delete it and take an older one.") from error


def adam_state(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """The state of an Adam-like optimizer as flat tensors `<name>/<entry>`; `names` in the order of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{name}/{entry}": torch.as_tensor(value)
        for name, parameter in zip(names, parameters, strict=True)
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def restore_adam_state(
    optimizer: torch.optim.Optimizer, names: Iterable[str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Inverse of `adam_state`, onto the devices of the parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, parameter in zip(names, parameters, strict=True):
        state: dict[str, Any] = {}
        for key, value in tensors.items():
            if key.rpartition("/")[0] == name:
                entry = key.rpartition("/")[2]
                state[entry] = value.clone() if entry == "step" else value.to(parameter.device, copy=True)
        if state:
            optimizer.state[parameter] = state


def _sorted_header(data: bytes) -> bytes:
    """safetensors: 8 bytes of little-endian header length, the header (JSON, padded with spaces to 8), the data."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def align(module: torch.nn.Module) -> None:
    """Copy weights that are mapped from a file to where torch's own memory begins.

    Mapped, they may start at any address, and on a CPU a product of one row rounds by it. transformers maps a file in a
    process that is alone and reads it in one beside others, so that the last bits would hang on their number.
    """
    for parameter in module.parameters():
        if parameter.data_ptr() % ALIGNED:
            parameter.data = parameter.data.clone()

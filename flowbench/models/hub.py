"""Files from the model hub, through its local cache. Never pickles, never code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowbench.errors import ModelError
from flowbench.models.families import INDEX
from flowbench.models.settings import FILE

_NEVER = ["*.bin", "*.ckpt", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.onnx*", "*.py", "*.fp16*"]


def fetch(repository: str, patterns: Sequence[str]) -> Path:
    """Local folder with the files of `repository` that match. HF_HUB_OFFLINE: from the cache alone, at once.

    The whole-snapshot call is used even for single files: without a network it gives up at once, while the call for
    one file tries again for 23 seconds.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns), ignore_patterns=_NEVER))
    except Exception as error:  # the hub client raises its own, its HTTP library's and the system's errors
        raise ModelError(f"'{repository}' cannot be had from the model hub: {_reason(error)}") from error


def component_patterns(index: Mapping[str, Any]) -> list[str]:
    """Download patterns for the components that a model_index.json names."""
    filled = [name for name, value in index.items() if isinstance(value, list) and value and value[0] is not None]
    return [INDEX, FILE, *(f"{name}/*" for name in filled)]


def _reason(error: Exception) -> str:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return "it is gated. Accept its licence on its hub page, then run `hf auth login`."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository (or it is private). Check the spelling, or run `hf auth login`."
    if isinstance(error, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not in the cache. Unset it, or give a local folder."
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "no connection, and it is not in the cache. Check the network, or give a local folder."
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {reason}. Try again, or give a local folder."

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
        reason, way_out = _reason(error)
        raise ModelError(f"'{repository}' is not in this machine's cache, and {reason}: {way_out}.") from error


def component_patterns(index: Mapping[str, Any]) -> list[str]:
    """Download patterns for the components that a model_index.json names."""
    filled = [name for name, value in index.items() if isinstance(value, list) and value and value[0] is not None]
    return [INDEX, FILE, *(f"{name}/*" for name in filled)]


def _reason(error: Exception) -> tuple[str, str]:
    """Why it cannot be had from the model hub, and what to do: parts of one sentence."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return "it is gated", "accept its licence on its hub page, then run `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such repository, or it is private", "check the spelling, or run `hf auth login`"
    if isinstance(error, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids to fetch it from the model hub", "unset it, or give a local folder"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "there is no connection to the model hub", "check the network, or give a local folder"
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return f"fetching it failed ({type(error).__name__}: {reason})", "try again, or give a local folder"

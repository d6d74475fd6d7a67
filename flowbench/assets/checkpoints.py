"""The one place where a checkpoint of somebody else is read: tensors and plain containers, never code.

Of a pickle, `torch.load(weights_only=True)` builds tensors, numbers, strings and containers and refuses all else.
Checkpoints by mmengine carry their training log beside the weights, as objects of classes that need not be installed
here: `stubs` names such classes, and inert stand-ins are built in their stead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowbench.errors import AssetError, MissingFile

MMENGINE_STUBS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.Config",
    "mmengine.config.config.ConfigDict",
    "builtins.getattr",  # by which a log buffer's methods are pickled
    "numpy.core.multiarray._reconstruct",  # numpy 1 wrote these names, numpy 2 those with _core
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
)
"""What checkpoints by mmengine and mmdet hold beside tensors: log buffers, configurations, and numpy inside them."""

_ZIP = b"PK\x03\x04"
_GLOBAL = re.compile(r"(?:GLOBAL|unrecognized function) (?:<\S+ \S+ )?([\w.]+)")


def read_checkpoint(path: str | Path, *, stubs: Sequence[str] = ()) -> dict[str, Any]:
    """What a .safetensors or PyTorch file holds, on the CPU; weights are mapped from the file where it allows that.

    `stubs`: full names of classes and functions that the pickle may mention ("package.module.Name", see
    MMENGINE_STUBS); each is replaced by a class of ours that takes any arguments and state and keeps nothing, so that
    no code of theirs is imported or run. Raises MissingFile, and AssetError for a file that is no checkpoint, that
    wants to build anything else, or that holds no dict.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: there is no such file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            held = load_file(path)
        else:
            held = _pickled(path, stubs)
    except PermissionError:  # has its own advice
        raise
    except Exception as error:  # a damaged file makes the readers raise anything
        raise AssetError(_refusal(path, error)) from error
    if not isinstance(held, dict):
        raise AssetError(f"{path}: it holds a {type(held).__name__}, not a dict of tensors. Give another file.")
    return held


def _pickled(path: Path, stubs: Sequence[str]) -> Any:
    import torch
    from torch import serialization

    with open(path, "rb") as file:
        zipped = file.read(4) == _ZIP  # files from before torch 1.6 are not, and cannot be mapped
    before = serialization.get_safe_globals()  # torch has `safe_globals` for what follows from 2.5 on
    serialization.add_safe_globals([_stub(name) for name in stubs])
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


def _stub(name: str) -> type:
    """A class that the unpickler takes for `name`: called, built or given a state, it keeps nothing."""
    module, _, qualified = name.rpartition(".")
    members = {
        "__module__": module,
        "__qualname__": qualified,
        "__new__": lambda cls, *args, **kwargs: object.__new__(cls),
        "__init__": lambda self, *args, **kwargs: None,
        "__setstate__": lambda self, state: None,
        "__repr__": lambda self: f"<stub of {name}>",
    }
    return type(qualified, (), members)


def _refusal(path: Path, error: Exception) -> str:
    found = _GLOBAL.search(str(error))
    if found:
        return (
            f"{path} is refused: it wants to build or run {found[1]}, and only tensors and plain containers are read "
            "from a checkpoint. Get it from its publisher."
        )
    reason = " ".join(str(error).split())[:120].rstrip(".") or type(error).__name__
    return f"{path}: it is not a checkpoint, or it is damaged ({reason}). Fetch it again."

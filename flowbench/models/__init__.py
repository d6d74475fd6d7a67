"""Text-to-image flow models behind one seam: encode, sigmas, noise, velocity, decode, adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_LAZY = {
    "Condition": "flowbench.models.base:Condition",
    "FlowModel": "flowbench.models.base:FlowModel",
    "ModelSettings": "flowbench.models.settings:ModelSettings",
    "load_model": "flowbench.models.load:load_model",
}
__all__ = ["Condition", "FlowModel", "ModelSettings", "load_model"]

if TYPE_CHECKING:
    from flowbench.models.base import Condition, FlowModel
    from flowbench.models.load import load_model
    from flowbench.models.settings import ModelSettings


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.models' has no attribute '{name}'")
    import importlib

    module, _, attribute = _LAZY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__

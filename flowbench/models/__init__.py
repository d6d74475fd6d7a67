"""Text-to-image flow models behind one seam: encode, sigmas, velocity, latents to pictures and back, adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "Condition": "flowbench.models.base",
    "FlowModel": "flowbench.models.base",
    "ModelSettings": "flowbench.models.settings",
    "load_model": "flowbench.models.load",
}
__all__ = ["Condition", "FlowModel", "ModelSettings", "load_model"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.models.base import Condition, FlowModel
    from flowbench.models.load import load_model
    from flowbench.models.settings import ModelSettings

"""flowbench: train, evaluate and rank text-to-image flow models with reward plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "Detection": "flowbench.types:Detection",
    "FlowbenchError": "flowbench.errors:FlowbenchError",
    "Prompt": "flowbench.types:Prompt",
    "Sample": "flowbench.types:Sample",
    "Score": "flowbench.types:Score",
    "evaluate": "flowbench.benchmarks:evaluate",
    "load_model": "flowbench.models:load_model",
    "train": "flowbench.trainer:train",
}
_PARTS = ("assets", "benchmarks", "evals", "metrics", "models", "prompts", "rewards", "sampling", "testing", "trainer")
__all__ = ["Detection", "FlowbenchError", "Prompt", "Sample", "Score", "__version__", "evaluate", "load_model", "train"]

if TYPE_CHECKING:
    from flowbench.benchmarks import evaluate
    from flowbench.errors import FlowbenchError
    from flowbench.models import load_model
    from flowbench.trainer import train
    from flowbench.types import Detection, Prompt, Sample, Score


def __getattr__(name: str) -> Any:
    import importlib

    if name in _PARTS:
        return importlib.import_module(f"flowbench.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench' has no attribute '{name}'")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__

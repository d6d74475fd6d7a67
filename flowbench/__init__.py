"""flowbench: train, evaluate and rank text-to-image flow models with reward plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports
from flowbench.version import __version__

_LAZY = {
    "Detection": "flowbench.types",
    "FlowbenchError": "flowbench.errors",
    "Prompt": "flowbench.types",
    "Sample": "flowbench.types",
    "Score": "flowbench.types",
    "evaluate": "flowbench.benchmarks.runner",
    "load_model": "flowbench.models.load",
    "train": "flowbench.trainer.training",
}
_PARTS = (
    "assets", "benchmarks", "evals", "metrics", "models", "prompts", "reports", "rewards", "sampling", "stats",
    "testing", "trainer",
)  # fmt: skip
__all__ = ["Detection", "FlowbenchError", "Prompt", "Sample", "Score", "__version__", "evaluate", "load_model", "train"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY, _PARTS)

if TYPE_CHECKING:
    from flowbench.benchmarks.runner import evaluate
    from flowbench.errors import FlowbenchError
    from flowbench.models.load import load_model
    from flowbench.trainer.training import train
    from flowbench.types import Detection, Prompt, Sample, Score

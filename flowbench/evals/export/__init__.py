"""A finished evaluation in the formats of other programs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Placed": "flowbench.evals.export.geneval",
    "export_datasets": "flowbench.evals.export.datasets",
    "export_geneval": "flowbench.evals.export.geneval",
    "export_jsonl": "flowbench.evals.export.samples",
    "export_model_card": "flowbench.evals.export.model_card",
    "export_parquet": "flowbench.evals.export.samples",
}
__all__ = [
    "Placed",
    "export_datasets",
    "export_geneval",
    "export_jsonl",
    "export_model_card",
    "export_parquet",
]

if TYPE_CHECKING:
    from flowbench.evals.export.datasets import export_datasets
    from flowbench.evals.export.geneval import Placed, export_geneval
    from flowbench.evals.export.model_card import export_model_card
    from flowbench.evals.export.samples import export_jsonl, export_parquet


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.evals.export' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

"""A finished evaluation in the formats of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "Placed": "flowbench.reports.export.geneval",
    "export_datasets": "flowbench.reports.export.datasets",
    "export_geneval": "flowbench.reports.export.geneval",
    "export_jsonl": "flowbench.reports.export.samples",
    "export_model_card": "flowbench.reports.export.model_card",
    "export_parquet": "flowbench.reports.export.samples",
}
__all__ = [
    "Placed",
    "export_datasets",
    "export_geneval",
    "export_jsonl",
    "export_model_card",
    "export_parquet",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.reports.export.datasets import export_datasets
    from flowbench.reports.export.geneval import Placed, export_geneval
    from flowbench.reports.export.model_card import export_model_card
    from flowbench.reports.export.samples import export_jsonl, export_parquet

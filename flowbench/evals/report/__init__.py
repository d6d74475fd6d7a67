"""Reports and galleries: one HTML file each, with nothing to load from elsewhere, and a server for one folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_LAZY = {
    "serve": "flowbench.evals.report.server",
    "training_report": "flowbench.evals.report.training",
    "write_comparison": "flowbench.evals.report.gallery",
    "write_gallery": "flowbench.evals.report.gallery",
}
__all__ = ["serve", "training_report", "write_comparison", "write_gallery"]

if TYPE_CHECKING:
    from flowbench.evals.report.gallery import write_comparison, write_gallery
    from flowbench.evals.report.server import serve
    from flowbench.evals.report.training import training_report


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flowbench.evals.report' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

"""What people read: tables, galleries, training reports, exports. A page is one file that loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "serve": "flowbench.reports.pages.server",
    "training_report": "flowbench.reports.training.report",
    "write_comparison": "flowbench.reports.gallery.gallery",
    "write_gallery": "flowbench.reports.gallery.gallery",
}
__all__ = ["serve", "training_report", "write_comparison", "write_gallery"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.reports.gallery.gallery import write_comparison, write_gallery
    from flowbench.reports.pages.server import serve
    from flowbench.reports.training.report import training_report

"""What a reward of your own should pass before anybody trains on it: `check_reward`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "check_reward": "flowbench.testing.check",
    "sample_pictures": "flowbench.testing.samples",
}
__all__ = ["check_reward", "sample_pictures"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.testing.check import check_reward
    from flowbench.testing.samples import sample_pictures

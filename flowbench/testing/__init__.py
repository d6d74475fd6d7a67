"""What a reward or an objective of your own should pass before anybody trains with it: `check_reward`,
`check_objective`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "check_objective": "flowbench.testing.objective",
    "check_reward": "flowbench.testing.check",
    "sample_pictures": "flowbench.testing.samples",
}
__all__ = ["check_objective", "check_reward", "sample_pictures"]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.testing.check import check_reward
    from flowbench.testing.objective import check_objective
    from flowbench.testing.samples import sample_pictures

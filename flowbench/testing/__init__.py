"""What a reward of your own should pass before anybody trains on it: `check_reward`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["check_reward", "sample_pictures"]

if TYPE_CHECKING:
    from flowbench.testing.check import check_reward
    from flowbench.testing.samples import sample_pictures


def __getattr__(name: str) -> Any:
    if name == "check_reward":
        from flowbench.testing.check import check_reward

        return check_reward
    if name == "sample_pictures":
        from flowbench.testing.samples import sample_pictures

        return sample_pictures
    raise AttributeError(f"module 'flowbench.testing' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__

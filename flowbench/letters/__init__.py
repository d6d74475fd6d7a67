"""The second built-in world: signs with one to four capital letters, a renderer, an exact reader."""

from __future__ import annotations

NAME = "letters"
"""Of the model that `flowbench.pretrain` makes for this world."""

__all__ = ["NAME"]

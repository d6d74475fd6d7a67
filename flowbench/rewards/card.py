"""What a reader must know of a reward before comparing two of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Card:
    """The facts of one reward, printed beside its numbers.

    `low` and `high` bound the value in `unit` (None: no bound); `direction` says which end is better. `rl_scale` is the
    factor that published training code puts on the value (1/26 for PickScore, for example); the reported value is
    never scaled by it. `needs` names the weights to download. `reference` is a published number to check against.
    """

    name: str
    summary: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    direction: Literal["higher", "lower"] = "higher"
    source: str = ""
    licence: str = ""
    rl_scale: float = 1.0
    needs: tuple[str, ...] = ()
    reference: str = ""

"""What a reader must know of a reward or metric before comparing two of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Terms = Literal["permissive", "non-commercial", "copyleft", "unknown"]


@dataclass(frozen=True)
class Card:
    """The facts of one reward or metric, printed beside its numbers.

    `low` and `high` bound the value in `unit` (None: no bound); `direction` says which end is better ("none": neither,
    it only describes). `rl_scale` and `rl_shift` are the affine map that published training code puts on the value,
    value x scale + shift (1/26 for PickScore, for example); the reported value is never changed by it. `backbone`,
    `revision` and `preprocessing` say what looks at the picture and how it is brought into shape: another one gives
    other numbers. `version` changes with every change of code that moves a number: scores of two versions are not
    compared. `needs` names the weights to fetch (`flowbench assets list`). `cached`: whether its scores go into the
    score cache (None: those of a reward that needs weights do); False suits one that looks at more of a sample than its
    picture and its prompt's text, tag and metadata, True a slow one without weights. `licence` is that of code and
    weights, `terms` what it asks of a user: a scorer whose terms are not permissive runs only after `--accept-licence`.
    `reference` is a published number to check against.
    """

    name: str
    summary: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    direction: Literal["higher", "lower", "none"] = "higher"
    source: str = ""
    licence: str = ""
    terms: Terms = "permissive"
    rl_scale: float = 1.0
    rl_shift: float = 0.0
    backbone: str = ""
    revision: str = ""
    preprocessing: str = ""
    version: str = "1"
    needs: tuple[str, ...] = ()
    cached: bool | None = None
    reference: str = ""

    def for_training(self, value: float) -> float:
        """The value as published training code uses it."""
        return value * self.rl_scale + self.rl_shift

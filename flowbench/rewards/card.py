"""What a reader must know of a reward or metric before comparing two of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, get_args

from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean

Terms = Literal["permissive", "non-commercial", "copyleft", "unknown"]
Direction = Literal["higher", "lower", "none"]
"""Which end is better ("none": neither, it only describes)."""


@dataclass(frozen=True)
class Part:
    """What a named part of a score is. One that no card names has no unit and no direction."""

    unit: str = ""
    direction: Direction = "none"


@dataclass(frozen=True)
class Card:
    """The facts of one reward or metric, printed beside its numbers."""

    name: str
    """Under which it is registered."""
    summary: str = ""
    """What it says of a picture, in one sentence."""
    unit: str = ""
    """Of the value."""
    low: float | None = None
    """The lowest value, in `unit`; None: no bound."""
    high: float | None = None
    """The highest."""
    direction: Direction = "higher"
    """Which end of the value is better."""
    source: str = ""
    """Where it was published."""
    licence: str = ""
    """Of code and weights."""
    terms: Terms = "permissive"
    """What the licence asks of a user: a scorer whose terms are not permissive runs only after `--accept-licence`."""
    rl_scale: float = 1.0
    """With `rl_shift`, the affine map that published training code puts on the value, value x scale + shift (1/26 for
    PickScore, for example); the reported value is never changed by it."""
    rl_shift: float = 0.0
    """See `rl_scale`."""
    backbone: str = ""
    """What looks at the picture: another network gives other numbers."""
    revision: str = ""
    """Which weights it has."""
    preprocessing: str = ""
    """How the picture is brought into shape."""
    version: str = "1"
    """Changes with every change of code that moves a number: scores of two versions are not compared."""
    needs: tuple[str, ...] = ()
    """The weights to fetch (`flowbench assets list`)."""
    cached: bool | None = None
    """Whether its scores go into the score cache. None: those of a reward that needs weights do; False suits one that
    looks at more of a sample than its picture and its prompt's text, tag and metadata, True a slow one without weights.
    """
    reference: str = ""
    """A published number to check against."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """The named parts of its scores."""
    gold: str = ""
    """The reward that this one stands for: the watch of a run that trains on it holds the two against each other."""

    def __post_init__(self) -> None:
        """Raises ConfigError for what no card can say: an unknown direction or kind of terms, numbers that are none."""
        said = [("direction", self.direction, get_args(Direction)), ("terms", self.terms, get_args(Terms))]
        said += [
            (f"direction of the part '{name}'", each.direction, get_args(Direction))
            for name, each in self.parts.items()
        ]
        for what, word, known in said:
            if word not in known:
                raise ConfigError(
                    f"the card of '{self.name}': its {what} is {word!r}.{did_you_mean(str(word), known)} Known: "
                    f"{', '.join(known)}."
                )
        for what in ("low", "high", "rl_scale", "rl_shift"):
            number = getattr(self, what)
            if number is not None and not (isinstance(number, Real) and math.isfinite(number)):
                raise ConfigError(f"the card of '{self.name}': its {what} is {number!r}. Give a finite number.")

    def for_training(self, value: float) -> float:
        """The value as published training code uses it."""
        return value * self.rl_scale + self.rl_shift

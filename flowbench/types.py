"""The words every other module speaks: prompts, pictures made for them, detections on them, scores given to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from PIL import Image


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt set.

    `id` is unique within its set and stable between versions; `metadata` is what a checkable reward needs
    (for GenEval: `include` and `exclude` clauses).
    """

    id: str
    text: str
    tag: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Sample:
    """One picture (PIL, RGB) made for one prompt from one seed."""

    prompt: Prompt
    image: Image.Image
    seed: int | None = None


@dataclass(frozen=True)
class Score:
    """What a reward says of one sample. Unscored is NaN with a reason in `note`, never 0.

    `details` is what a reader may want to see and no mean is taken of (boxes, the text that was read): JSON types only.
    """

    value: float
    parts: dict[str, float] = field(default_factory=dict)
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def unscored(cls, reason: str) -> Score:
        """A score that counts nowhere: `reason` says why, in words a user can act on."""
        return cls(math.nan, {}, reason)

    @property
    def is_scored(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Detection:
    """One object found on a picture."""

    label: str
    """Its class, in the words of the detector's vocabulary."""
    score: float
    """The confidence, in [0, 1]."""
    box: tuple[float, float, float, float]
    """(x0, y0, x1, y1) in pixels."""
    mask: numpy.ndarray | None = None
    """(H, W) bool: its pixels."""
    color: str | None = None
    """Its colour, where the detector names colours."""


RewardFunction = Callable[[Sequence[Sample]], list[Score]]

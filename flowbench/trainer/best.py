"""The best evaluation of a run so far: whose checkpoint is kept, and when no better one is waited for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

STEP, VALUE, WORSE, RECORDS = "best/step", "best/value", "best/worse", "best/records"


@dataclass
class Best:
    """By one figure of the evaluations, of which more is better. `state()` is all that a resumed run must know."""

    metric: str | None
    """`keep_best`; None: nothing is compared"""
    patience: int | None = None
    """evaluations in a row without a better one, after which the run has seen enough; None: it never has"""
    step: int = 0
    """training steps after which it was; 0: there was none yet"""
    value: float = math.nan
    worse: int = 0
    """evaluations since then"""
    records: list[int] = field(default_factory=list)
    """training steps after every evaluation that was the best until then"""

    def note(self, step: int, value: float) -> bool:
        """After an evaluation: whether it is the best. One whose figure is not known (NaN) counts as no better."""
        if self.metric is None:
            return False
        if value > self.value or (self.step == 0 and not math.isnan(value)):
            self.step, self.value, self.worse = step, value, 0
            self.records.append(step)
            return True
        self.worse += 1
        return False

    def until(self, step: int) -> int:
        """Training steps after which the best evaluation up to a step was; 0: there was none."""
        return max((each for each in self.records if each <= step), default=0)

    @property
    def is_enough(self) -> bool:
        """Whether no better evaluation is to be waited for."""
        return self.patience is not None and self.worse >= self.patience

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        if self.metric is None:
            return {}
        value = torch.tensor(self.value, dtype=torch.float64)
        records = torch.tensor(self.records, dtype=torch.int64)
        return {STEP: torch.tensor(self.step), VALUE: value, WORSE: torch.tensor(self.worse), RECORDS: records}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """From a checkpoint of the same run."""
        if STEP in tensors:
            self.step, self.value, self.worse = int(tensors[STEP]), float(tensors[VALUE]), int(tensors[WORSE])
            self.records = tensors[RECORDS].tolist()

"""How an evaluation runs, none of which changes a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flowbench.errors import ConfigError

STAGES = ("generate", "score", "summarise")
Progress = Callable[[str, int, int], None]
"""progress(stage, done, total), with stage "generate" or the name of a scorer."""


@dataclass(frozen=True)
class Share:
    """The `index`-th of `count` equal shares of the work; batches are dealt out in turn."""

    index: int = 0
    count: int = 1

    def has(self, batch: int) -> bool:
        """Whether the batch of that number belongs to this share."""
        return batch % self.count == self.index


WHOLE = Share()


@dataclass(frozen=True)
class Execution:
    """Which stages, what share of them, the time limit for one call of a reward in seconds, and who is told."""

    stages: Sequence[str] = STAGES
    part: Share = WHOLE
    timeout: float | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage not in STAGES:
                raise ConfigError(f"there is no stage '{stage}'. Use some of: {', '.join(STAGES)}.")
        if self.part.count > 1 and (len(self.stages) != 1 or "summarise" in self.stages):
            raise ConfigError("a share of an evaluation is one stage at a time: generate, then score. Name the stage.")

    @property
    def share(self) -> str:
        """The share's name in files; "" for the whole."""
        return f"{self.part.index}-of-{self.part.count}" if self.part.count > 1 else ""

    def told(self, stage: str, done: int, total: int) -> None:
        """Tell whoever listens."""
        if self.progress is not None:
            self.progress(stage, done, total)

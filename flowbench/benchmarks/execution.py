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


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


WHOLE = Share()


@dataclass(frozen=True)
class Execution:
    """Which stages, what share of them, the time limit for one call of a reward in seconds, and where progress goes."""

    stages: Sequence[str] = STAGES
    share: Share = WHOLE
    timeout: float | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage not in STAGES:
                raise ConfigError(f"there is no stage '{stage}'. Use some of: {', '.join(STAGES)}.")
        if self.share.count > 1 and (len(self.stages) != 1 or "summarise" in self.stages):
            raise ConfigError("a share of an evaluation is one stage at a time: generate, then score. Name the stage.")

    @property
    def share_name(self) -> str:
        """The share's name in files; "" for the whole."""
        return f"{self.share.index}-of-{self.share.count}" if self.share.count > 1 else ""

"""What a suite is: a prompt set and the protocol under which its numbers may be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowbench.errors import ConfigError

PROTOCOL = ("images_per_prompt", "steps", "guidance")
"""The settings of a suite that one evaluation may change; each stands in its card."""


@dataclass(frozen=True)
class Suite:
    """A prompt set's split, how pictures are made for it, who scores them and which number is the headline.

    `scorers` names rewards and metrics, each with its `options`; none leaves a suite that only makes pictures. A metric
    of the suite is the name of a scorer (its value) or, for the first scorer, of a part of its Score ("official");
    parts of the others are "<scorer>/<part>". Without `metrics` it is the value of each scorer, and the first of them
    is the headline. `resolution` is the published one, in pixels (None: the model's own). `unseen` names the tags whose
    prompts stand in the training split too: on them a model is tested on unseen seeds only, and every table says so.
    `overall` says what a metric's overall number is: the unweighted mean of the "tags" (GenEval's rule), or the mean
    over all "pictures". `source` names where the protocol was published, `about` what a reader must know of its
    numbers. `vocabulary`: of prompts whose file does not say it. `own`: the suite as it was before `with_scorers`.
    Change `version` whenever a change here could change a number.
    """

    name: str
    prompt_set: str
    steps: int
    guidance: float
    split: str = "test"
    images_per_prompt: int = 4
    resolution: int | None = None
    scorers: tuple[str, ...] = ("geneval",)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    headline: str = ""
    also_show: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    overall: str = "tags"
    source: str = ""
    about: str = ""
    version: str = "1"
    vocabulary: str = ""
    own: Suite | None = None

    def __post_init__(self) -> None:
        filled: dict[str, Any] = {"scorers": tuple(self.scorers), "metrics": tuple(self.metrics) or tuple(self.scorers)}
        filled["headline"] = self.headline or next(iter(filled["metrics"]), "")
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        for name in (self.headline, *self.also_show):
            if name and name not in self.metrics:
                raise ConfigError(f"suite '{self.name}' shows '{name}' but measures only {', '.join(self.metrics)}.")
        for name in self.options:
            if name not in self.scorers:
                raise ConfigError(f"suite '{self.name}' has options for '{name}', which is none of its scorers.")
        if self.overall not in ("tags", "pictures"):
            raise ConfigError(f"suite '{self.name}': overall is '{self.overall}'. Use 'tags' or 'pictures'.")
        if self.steps < 1 or self.images_per_prompt < 1:
            raise ConfigError(f"suite '{self.name}': steps and images_per_prompt must be 1 or more.")
        if not 0 <= self.guidance < math.inf:
            raise ConfigError(f"suite '{self.name}': guidance {self.guidance} is no number from 0 on. 1 is none.")

    def scorer_of(self, metric: str) -> str:
        """The scorer that a metric of this suite comes from; "" when it has none."""
        named = [name for name in self.scorers if metric == name or metric.startswith(f"{name}/")]
        return max(named, key=len, default=next(iter(self.scorers), ""))

    def with_protocol(self, **settings: float | None) -> Suite:
        """The suite under other settings (`steps`, `guidance`, `images_per_prompt`); None keeps the suite's own."""
        foreign = sorted(set(settings) - set(PROTOCOL))
        if foreign:
            raise ConfigError(f"an evaluation has no setting '{foreign[0]}'. Known: {', '.join(PROTOCOL)}.")
        return replace(self, **{key: value for key, value in settings.items() if value is not None})  # type: ignore[arg-type]

    def with_prompts(self, file: str | Path) -> Suite:
        """The suite on the prompts of a file in place of its own: another prompt set, hence never compared with it."""
        from flowbench import prompts

        vocabulary = self.vocabulary or prompts.find(self.prompt_set).vocabulary
        return replace(self, prompt_set=str(file), unseen=(), vocabulary=vocabulary)

    def with_scorers(self, scorers: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None) -> Suite:
        """The suite with other scorers: what it shows of those that it keeps, and the value of each new one."""
        kept = [metric for metric in self.metrics if self.scorer_of(metric) in scorers]
        if self.scorers[:1] != tuple(scorers)[:1]:  # plain names of parts belong to the first scorer
            kept = [metric for metric in kept if metric in scorers or "/" in metric]
        metrics = (*kept, *(name for name in scorers if name not in self.scorers and name not in kept))
        chosen = {**self.options, **(options or {})}
        return replace(
            self,
            scorers=tuple(scorers),
            options={name: value for name, value in chosen.items() if name in scorers},
            metrics=metrics,
            headline=self.headline if self.headline in metrics else "",
            also_show=tuple(name for name in self.also_show if name in metrics),
            own=self.own or self,
        )

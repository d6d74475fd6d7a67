"""What a suite is: a prompt set and the protocol under which its numbers may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from flowbench import bounds
from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean
from flowbench.solver_names import SOLVERS, Solver
from flowbench.stats.methods import DEFAULT, METHODS, Method

PROTOCOL = ("images_per_prompt", "steps", "guidance", "solver", "interval")
"""The settings of a suite that one evaluation may change; each stands in its card."""
REAL_WORLD = "coco80"
"""The vocabulary of prompts of which nobody says it."""
_NAMED: Mapping[str, tuple[str, ...]] = {"overall": ("tags", "pictures"), "interval": METHODS, "solver": SOLVERS}
"""Fields that are one of a few names."""


@dataclass(frozen=True)
class Suite:
    """A prompt set's split, how pictures are made for it, who scores them and which number is the headline.

    A metric of the suite is the name of a scorer (its value) or, for the first scorer, of a part of its Score
    ("official"); parts of the others are "<scorer>/<part>".
    """

    name: str
    """Under which it is registered."""
    prompt_set: str
    """A registered set or a file; "": the prompts that come with the pictures (`suites.existing_pictures`)."""
    steps: int
    """Denoising steps: intervals of the solver."""
    guidance: float
    """1 is none."""
    split: str = "test"
    """Of the prompt set."""
    images_per_prompt: int = 4
    """Pictures for each prompt."""
    resolution: int | None = None
    """The published one, in pixels; None: the model's own."""
    solver: Solver = "euler"
    """Of the ODE; `heun` calls the model twice in a step."""
    scorers: tuple[str, ...] = ("geneval",)
    """Rewards and metrics; none leaves a suite that only makes pictures."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of each scorer."""
    metrics: tuple[str, ...] = ()
    """What is measured; without any it is the value of each scorer."""
    headline: str = ""
    """The metric to look at first; the first one unless another is named."""
    also_show: tuple[str, ...] = ()
    """Metrics beside it in every table."""
    unseen: tuple[str, ...] = ()
    """Tags whose prompts stand in the training split too: on them a model is tested on unseen seeds only, and every
    table says so."""
    overall: Literal["tags", "pictures"] = "tags"
    """What a metric's overall number is: the unweighted mean of the "tags" (GenEval's rule), or the mean over all
    "pictures"."""
    interval: Method = DEFAULT
    """How the bounds of its numbers are found. Changes no mean and no test."""
    reference: str = ""
    """The pictures that metrics of sets (`fid`) compare with: a folder or a table, as `existing.read` takes it."""
    source: str = ""
    """Where the protocol was published."""
    about: str = ""
    """What a reader must know of its numbers."""
    version: str = "1"
    """Changes whenever a change here could change a number."""
    vocabulary: str = ""
    """Of prompts whose file does not say it."""
    every_part: bool = False
    """Measure every part that a scorer gives, beside `metrics`."""
    own: Suite | None = None
    """The suite as it was before `with_scorers`."""

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
        for field_name, known in _NAMED.items():
            value = getattr(self, field_name)
            if value not in known:
                guess = did_you_mean(str(value), known)
                raise ConfigError(
                    f"suite '{self.name}': {field_name} is '{value}'.{guess} Use one of: {', '.join(known)}."
                )
        most = {"steps": bounds.DENOISING_STEPS, "images_per_prompt": bounds.AT_ONCE, "guidance": bounds.GUIDANCE}
        for what, limit in most.items():
            value, least = getattr(self, what), 0 if what == "guidance" else 1
            if not least <= value <= limit:  # NaN is not
                raise ConfigError(f"suite '{self.name}': {what} is {value}. Give a number from {least} to {limit:g}.")

    def scorer_of(self, metric: str) -> str:
        """The scorer that a metric of this suite comes from; "" when it has none."""
        named = [name for name in self.scorers if metric == name or metric.startswith(f"{name}/")]
        return max(named, key=len, default=next(iter(self.scorers), ""))

    def with_protocol(self, **settings: float | str | None) -> Suite:
        """The suite under other settings (those of PROTOCOL); None keeps the suite's own."""
        foreign = sorted(set(settings) - set(PROTOCOL))
        if foreign:
            raise ConfigError(f"an evaluation has no setting '{foreign[0]}'. Known: {', '.join(PROTOCOL)}.")
        return replace(self, **{key: value for key, value in settings.items() if value is not None})  # type: ignore[arg-type]

    def with_prompts(self, file: str | Path) -> Suite:
        """The suite on the prompts of a file in place of its own: another prompt set, never compared with it."""
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

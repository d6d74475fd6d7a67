"""What a suite is: a prompt set and the protocol under which its numbers may be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowbench.errors import ConfigError
from flowbench.registry import Registry

PROTOCOL = ("images_per_prompt", "steps", "guidance")
"""The settings of a suite that one evaluation may change; each stands in its card."""


@dataclass(frozen=True)
class Suite:
    """A prompt set's split, how pictures are made for it, who scores them and which number is the headline.

    A metric is the name of a part of the reward's Score, or "value" for the score itself. `unseen` names the tags whose
    prompts stand in the training split too: on them a model is tested on unseen seeds only, and every table says so.
    Change `version` whenever a change here could change a number.
    """

    name: str
    prompt_set: str
    steps: int
    guidance: float
    split: str = "test"
    images_per_prompt: int = 4
    reward: str | Mapping[str, float] = "geneval"
    reward_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("value",)
    headline: str = "value"
    also_show: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    version: str = "1"

    def __post_init__(self) -> None:
        for name in (self.headline, *self.also_show):
            if name not in self.metrics:
                raise ConfigError(f"suite '{self.name}' shows '{name}' but measures only {', '.join(self.metrics)}.")
        if self.steps < 1 or self.images_per_prompt < 1:
            raise ConfigError(f"suite '{self.name}': steps and images_per_prompt must be 1 or more.")
        if not 0 <= self.guidance < math.inf:
            raise ConfigError(f"suite '{self.name}': guidance {self.guidance} is no number from 0 on. 1 is none.")

    def with_protocol(self, **settings: float | None) -> Suite:
        """The suite under other settings (`steps`, `guidance`, `images_per_prompt`); None keeps the suite's own."""
        foreign = sorted(set(settings) - set(PROTOCOL))
        if foreign:
            raise ConfigError(f"an evaluation has no setting '{foreign[0]}'. Known: {', '.join(PROTOCOL)}.")
        return replace(self, **{key: value for key, value in settings.items() if value is not None})  # type: ignore[arg-type]


suites = Registry("suite", "flowbench.suites")
suites.add("shapes", "flowbench.benchmarks.shapes:SHAPES")
suites.add("shapes_dev", "flowbench.benchmarks.shapes:SHAPES_DEV")


def register(name: str, **fields: Any) -> Suite:
    """Make a suite of your own: `register("mine", prompt_set="mine.txt", steps=28, guidance=4.5, reward="jpeg")`.

    Raises NameTaken when another suite has the name. Packages may also name a Suite under the entry-point group
    `flowbench.suites`.
    """
    suite = Suite(name=name, **fields)
    suites.add(name, suite)
    return suite


def find(name: str | Suite) -> Suite:
    """The suite of that name (a Suite is passed on). Raises UnknownName."""
    if isinstance(name, Suite):
        return name
    found: Suite = suites.get(name)
    return found

"""One built metric: groups the samples as its level asks, calls its function, gives a failure its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowbench.errors import ConfigError, FlowbenchError, RewardError, in_words
from flowbench.metrics.catalog import Level, registry
from flowbench.rewards.base import OnError, checked, settings_of
from flowbench.rewards.card import Card
from flowbench.rewards.licences import require_accepted
from flowbench.types import Sample, Score

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Measured:
    """A score and what it is of: a picture (`index`, its place among the samples), a prompt, or the set (neither)."""

    score: Score
    prompt_id: str | None = None
    index: int | None = None


class Metric:
    """A metric ready to measure: `metric(samples, reference) -> list[Measured]`.

    One entry for each picture, in order (level "picture"); one for each prompt, in order of first appearance
    ("prompt"); or one ("set"; where it `compares`, it needs `reference`: without it, ConfigError). An exception inside
    the metric's function becomes a RewardError (`on_error="raise"`) or an unscored entry with the reason ("skip",
    picture by picture where there is one score for each). A function that breaks the contract always raises.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], *, card: Card, level: Level, compares: bool = True,
        on_error: OnError = "raise",
    ):  # fmt: skip
        self.name = name
        self.card = card
        self.level = level
        self.compares = compares
        self._function = function
        self._on_error = on_error

    def __call__(self, samples: Sequence[Sample], reference: Sequence[Image.Image] | None = None) -> list[Measured]:
        if self.level == "picture":
            scores = self._pictures(samples)
            return [
                Measured(score, sample.prompt.id, index)
                for index, (sample, score) in enumerate(zip(samples, scores, strict=True))
            ]
        if self.level == "prompt":
            groups: dict[str, list[Sample]] = {}
            for sample in samples:
                groups.setdefault(sample.prompt.id, []).append(sample)
            return [Measured(self._one(group), prompt_id) for prompt_id, group in groups.items()]
        if not self.compares:
            return [Measured(self._one(samples))]
        if reference is None:
            raise ConfigError(
                f"metric '{self.name}' compares with reference pictures, and there are none. Give a folder of them: "
                "--reference FOLDER."
            )
        return [Measured(self._one(samples, reference))]

    def _one(self, *arguments: Any) -> Score:
        """The one score of a prompt or a set."""
        score, reason = self._called(*arguments)
        return Score.unscored(reason) if reason else checked(score, "metric", self.name)

    def _pictures(self, samples: Sequence[Sample]) -> list[Score]:
        """One score for each picture; after a failure (`on_error="skip"`) each is measured alone."""
        if not samples:
            return []
        scores, reason = self._called(samples)
        if reason and len(samples) == 1:
            return [Score.unscored(reason)]
        if reason:
            return [score for sample in samples for score in self._pictures([sample])]
        if not isinstance(scores, Sequence) or len(scores) != len(samples):
            got = f"{len(scores)} scores" if isinstance(scores, Sequence) else type(scores).__name__
            raise RewardError(
                f"metric '{self.name}' got {len(samples)} samples and returned {got}. Return a list with one Score for "
                "each sample, in the same order, or register it with another level."
            )
        return [checked(score, "metric", self.name) for score in scores]

    def _called(self, *arguments: Any) -> tuple[Any, str]:
        """What the function returns, or None and the reason why it does not (`on_error="skip"`)."""
        try:
            return self._function(*(list(each) for each in arguments)), ""
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # the user's own
                raise
            reason = f"metric '{self.name}' failed: {in_words(error)}"
            if self._on_error == "skip":
                return None, reason
            raise RewardError(
                f"{reason.rstrip('.')}. Mend the cause, or set `on_error: skip` to leave such samples unscored."
            ) from error


def check(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise what `build` would about the name and the options (UnknownName, ConfigError), and build nothing."""
    settings_of(name, registry.get(name), None, options or {}, kind="metric")


def build(name: str, *, options: Mapping[str, Any] | None = None, on_error: OnError = "raise") -> Metric:
    """Build one registered metric.

    Raises UnknownName, ConfigError (bad options), LicenceError (terms to accept first) or RewardError (all else).
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is '{on_error}'. Use 'raise' or 'skip'.")
    factory = registry.get(name)
    card = registry.card(name) or Card(name, (inspect.getdoc(factory) or "").partition("\n")[0], direction="none")
    require_accepted(card)
    settings = settings_of(name, factory, None, options or {}, kind="metric")
    try:
        function = factory(**settings)
    except BaseException as error:
        if isinstance(error, (FlowbenchError, KeyboardInterrupt)):
            raise
        raise RewardError(f"metric '{name}' cannot be built: {in_words(error)}. Check its options.") from error
    if not callable(function):
        raise RewardError(
            f"metric '{name}' was built into a {type(function).__name__}, which cannot be called. "
            "A metric is a factory that returns the function which measures samples."
        )
    level: Level = getattr(factory, "level", "picture")
    compares = getattr(factory, "compares", True)
    return Metric(name, function, card=card, level=level, compares=compares, on_error=on_error)

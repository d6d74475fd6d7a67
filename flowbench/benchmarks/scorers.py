"""Who scores: a reward or a metric by name, with its options, before and after it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flowbench import assets, store
from flowbench.errors import ConfigError, UnknownName
from flowbench.registry import Registry

if TYPE_CHECKING:
    from flowbench.rewards import Card

Kind = Literal["reward", "metric"]
Level = Literal["picture", "prompt", "set"]


@dataclass(frozen=True)
class Scorer:
    """A reward or metric with its options. `vocabulary` names the objects that the prompts speak of."""

    name: str
    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: str = ""

    @property
    def level(self) -> Level:
        """What one of its scores is of."""
        level: Level = (
            getattr(self._registry.get(self.name), "level", "picture") if self.kind == "metric" else "picture"
        )
        return level

    @property
    def card(self) -> Card | None:
        """Its card, if it has one."""
        card: Card | None = self._registry.card(self.name)
        return card

    def check(self) -> None:
        """Raise what is wrong with its name and options (UnknownName, ConfigError); nothing is built or fetched."""
        from flowbench import metrics, rewards

        if self.kind == "metric":
            metrics.check(self.name, self.options)
        else:
            rewards.check(self.name, {self.name: self.options})

    def prepare(self) -> None:
        """Make sure that it can be built: licence, device, weights (fetched now where they are not here).

        Raises LicenceError, ConfigError or AssetError, before anything has worked for hours.
        """
        from flowbench.rewards.licences import require_accepted
        from flowbench.rewards.networks import place

        if self.card is not None:
            require_accepted(self.card)
        place(self.options.get("device", "auto"), self.options.get("dtype", "float32"))
        for need in self._needs():
            assets.folder(need)

    def identity(self) -> dict[str, Any]:
        """What decides its numbers: name, options, version, vocabulary, packages, a plugin's code, the weights' hashes.

        Fetches weights that are not here. Raises AssetError.
        """
        from flowbench import rewards

        described = rewards.describe(self.name, self.options, vocabulary=self.vocabulary, table=self._registry)
        return described | {"weights": assets.identities(self._needs())}

    def build(self, timeout: float | None = None) -> Any:
        """The Reward or Metric itself; what it cannot score is unscored, with the reason."""
        from flowbench import metrics, rewards

        if self.kind == "metric":
            return metrics.build(self.name, options=self.options, on_error="skip")
        return rewards.build(
            self.name,
            vocabulary=self.vocabulary,
            options={self.name: self.options},
            on_error="skip",
            timeout=timeout,
        )

    def _needs(self) -> tuple[str, ...]:
        from flowbench import rewards

        if self.kind == "reward":
            return rewards.needed_weights(self.name, self.options, self.vocabulary)
        return self.card.needs if self.card is not None else ()

    @property
    def _registry(self) -> Registry:
        from flowbench import metrics, rewards

        return metrics.registry if self.kind == "metric" else rewards.registry


def find(name: str, options: Mapping[str, Any] | None = None, vocabulary: str = "") -> Scorer:
    """The reward of that name, else the metric. Raises UnknownName (both are listed), ConfigError for its options."""
    from flowbench import metrics, rewards
    from flowbench.registry import did_you_mean

    known = {"reward": rewards.registry, "metric": metrics.registry}
    kind = next((kind for kind, registry in known.items() if name in registry), None)
    if kind is None:
        names = sorted({*rewards.registry.names(), *metrics.registry.names()})
        raise UnknownName(f"unknown reward or metric '{name}'.{did_you_mean(name, names)} Known: {', '.join(names)}.")
    scorer = Scorer(name, kind, dict(options or {}), vocabulary)  # type: ignore[arg-type]
    scorer.check()
    return scorer


def refuse_sets(scorers: Mapping[str, Scorer]) -> None:
    """A suite has no reference pictures: raise ConfigError for a metric that compares with some."""
    for name, scorer in scorers.items():
        if scorer.level == "set":
            raise ConfigError(
                f"metric '{name}' compares with reference pictures, which a suite has not. Measure the finished "
                f"pictures with it: `flowbench score EVALUATION/images --metric {name} --reference FOLDER`."
            )


def file_name(identity: Mapping[str, Any]) -> str:
    """The file of its scores below an evaluation's `scores/`: other options, weights or code, another file."""
    return f"{store.slug(str(identity['reward']))}-{store.digest(identity)[:10]}.jsonl"

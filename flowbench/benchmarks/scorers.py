"""Who scores: a reward or a metric by name, with its options, before and after it is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flowbench import assets, store
from flowbench.benchmarks import existing
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.errors import ConfigError, UnknownName
from flowbench.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from flowbench.evals.evaluation import Level
    from flowbench.rewards import Card, Part

Kind = Literal["reward", "metric"]


@dataclass(frozen=True)
class Scorer:
    """A reward or metric with its options."""

    name: str
    """Under which it is registered."""
    kind: Kind
    """In which registry."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Those that were chosen; the others have their defaults."""
    vocabulary: str = ""
    """Which names the objects have that the prompts speak of."""
    reference: str = ""
    """Where the pictures lie that a metric of sets compares with."""

    @property
    def level(self) -> Level:
        """What one of its scores is of."""
        level: Level = getattr(self.registry.get(self.name), "level", "picture") if self.kind == "metric" else "picture"
        return level

    @property
    def compares(self) -> bool:
        """Whether it compares with reference pictures: metrics of sets do, but for those that say they do not."""
        return self.level == "set" and getattr(self.registry.get(self.name), "compares", True)

    @property
    def card(self) -> Card:
        """Its card; without one, that of a reward (higher is better) or of a metric (neither end is)."""
        from flowbench.rewards import Card

        found: Card | None = self.registry.card(self.name)
        return found or Card(self.name, direction="higher" if self.kind == "reward" else "none")

    @property
    def registry(self) -> Registry:
        """The table that knows it."""
        from flowbench import metrics, rewards

        return metrics.registry if self.kind == "metric" else rewards.registry

    def part(self, name: str) -> Part:
        """What its card says of a part; of one that no card names, nothing."""
        from flowbench.rewards import Part

        return self.card.parts.get(name, Part())

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

        require_accepted(self.card)
        place(self.options.get("device", "auto"), self.options.get("dtype", "float32"))
        for need in self._needs():
            assets.folder(need)

    def identity(self) -> dict[str, Any]:
        """What decides its numbers: name, options, version, vocabulary, packages, a plugin's code, the weights' hashes,
        and that of the pictures that it compares with.

        Fetches weights that are not here. Raises AssetError.
        """
        from flowbench import rewards

        described = rewards.describe(self.name, self.options, vocabulary=self.vocabulary, table=self.registry)
        compared = {"reference": existing.pictures_digest(self.read_reference())} if self.compares else {}
        return described | {"weights": assets.identities(self._needs())} | compared

    def check_reference(self) -> None:
        """Raise what is wrong with the reference pictures of a metric that compares with some."""
        if self.compares:
            self.read_reference()

    def read_reference(self) -> list[ExistingPicture]:
        """The pictures that it compares with; [] for one that compares with none. Raises ConfigError when it does and
        none are named."""
        if not self.compares:
            return []
        if not self.reference:
            raise ConfigError(
                f"metric '{self.name}' compares with reference pictures, and none are named. Give them: --reference "
                "FOLDER, or `reference` in the suite."
            )
        return existing.read_unasked(self.reference)

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

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The options that it has."""
        return inspect.signature(self.registry.get(self.name)).parameters

    def _needs(self) -> tuple[str, ...]:
        from flowbench import rewards

        if self.kind == "reward":
            return rewards.needed_weights(self.name, self.options, self.vocabulary)
        return self.card.needs


def find(name: str, options: Mapping[str, Any] | None = None, *, vocabulary: str = "", reference: str = "") -> Scorer:
    """The reward or metric of that name. Raises UnknownName (both are listed), ConfigError where it is a reward and a
    metric: whose numbers stand under it no table could tell."""
    from flowbench import metrics, rewards

    known: dict[Kind, Registry] = {"reward": rewards.registry, "metric": metrics.registry}
    kinds = [kind for kind, registry in known.items() if name in registry]
    if len(kinds) > 1:
        raise ConfigError(f"'{name}' is a reward and a metric, which no table could tell apart. Rename one.")
    if not kinds:
        names = sorted({*rewards.registry.names(), *metrics.registry.names()})
        raise UnknownName(f"unknown reward or metric '{name}'.{did_you_mean(name, names)} Known: {', '.join(names)}.")
    return Scorer(name, kinds[0], dict(options or {}), vocabulary, reference)


def stem_of(identity: Mapping[str, Any]) -> str:
    """The file of its scores, without an ending: other options, weights or code, another file."""
    return f"{store.slug(str(identity['reward']))}-{store.digest(identity)[:10]}"

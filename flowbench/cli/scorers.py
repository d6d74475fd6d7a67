"""What `eval` and `score` share: scorers by name, and their options from the command line."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowbench.errors import ConfigError

if TYPE_CHECKING:
    from flowbench.benchmarks.scorers import Scorer


def split_names(words: Sequence[str]) -> list[str]:
    """`a,b` and `c` -> a, b, c, each once, in order."""
    return list(dict.fromkeys(name.strip() for word in words for name in word.split(",") if name.strip()))


def options_of(
    scorers: Mapping[str, Scorer], arguments: Sequence[str], flags: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Options by scorer: its own, `flags` (device, dtype) where it takes them, then NAME.OPTION=VALUE.

    Raises ConfigError for an argument that is none, and for a name that is not in use.
    """
    import yaml

    given = {flag: value for flag, value in flags.items() if value is not None}
    options = {
        name: {**scorer.options, **{flag: given[flag] for flag in given if flag in _parameters(scorer)}}
        for name, scorer in scorers.items()
    }
    for argument in arguments:
        key, separator, value = argument.partition("=")
        name, dot, option = key.rpartition(".")  # a reward may have a dot in its name, an option has none
        if not separator or not dot:
            raise ConfigError(f"'{argument}': write NAME.OPTION=VALUE, for example geneval.extra_price=0.4.")
        if name not in options:
            raise ConfigError(f"'{argument}': '{name}' is not in use. In use: {', '.join(options)}.")
        try:
            options[name][option] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"'{argument}': '{value}' is not a YAML value.") from None
    return options


def _parameters(scorer: Scorer) -> Mapping[str, inspect.Parameter]:
    from flowbench import metrics, rewards

    registry = metrics.registry if scorer.kind == "metric" else rewards.registry
    return inspect.signature(registry.get(scorer.name)).parameters

"""What `eval` and `score` share: scorers by name, their options from the command line, what they compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from flowbench.errors import ConfigError
from flowbench.stats.methods import DEFAULT, METHODS

if TYPE_CHECKING:
    from flowbench.benchmarks import Suite
    from flowbench.benchmarks.scorers import Scorer


def reference_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--reference FOLDER`."""
    return click.option(
        "--reference", metavar="FOLDER", help="The pictures that fid, kid and cmmd compare with: a folder or a table."
    )(command)


def interval_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--interval METHOD`; None where it is not given."""
    return click.option(
        "--interval", type=click.Choice(METHODS), help=f"How the 95 % intervals are found. Default: {DEFAULT}."
    )(command)


def split_names(words: Sequence[str]) -> list[str]:
    """`a,b` and `c` -> a, b, c, each once, in order. Raises ConfigError for words without a name."""
    names = list(dict.fromkeys(name.strip() for word in words for name in word.split(",") if name.strip()))
    if words and not names:
        raise ConfigError(f"'{words[0]}' names nothing: write a name, or several with commas between them.")
    return names


def with_reference(suite: Suite, reference: str | None) -> Suite:
    """The suite with these reference pictures, if some are given. Raises ConfigError where they are needed and none are
    named, and where nobody looks at them."""
    from flowbench.benchmarks.scorers import find

    suite = suite if reference is None else replace(suite, reference=reference)
    comparing = [scorer for scorer in map(find, suite.scorers) if scorer.compares]
    if reference is not None and not comparing:
        raise ConfigError("--reference has no use here: only fid, kid and cmmd compare with other pictures.")
    for scorer in comparing:
        replace(scorer, reference=suite.reference).check_reference()
    return suite


def options_of(
    scorers: Mapping[str, Scorer], arguments: Sequence[str], flags: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Options by scorer: its own, `flags` (device, dtype) where it takes them, then NAME.OPTION=VALUE.

    Raises ConfigError for an argument that is none, and for a name that is not in use.
    """
    import yaml

    from flowbench.yaml_text import parse_yaml

    given = {flag: value for flag, value in flags.items() if value is not None}
    options = {
        name: {**scorer.options, **{flag: value for flag, value in given.items() if flag in scorer.parameters()}}
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
            options[name][option] = parse_yaml(value)
        except yaml.YAMLError:
            raise ConfigError(f"'{argument}': '{value}' is not a YAML value.") from None
    return options

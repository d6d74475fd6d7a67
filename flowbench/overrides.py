"""`a.b=c` of a command line, put into a configuration's tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from flowbench.errors import ConfigError
from flowbench.yaml_text import parse_yaml


def set_override(tree: dict[str, Any], override: str) -> None:
    """Put the value (YAML) where its dotted key says, into mappings of its own. Raises ConfigError."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override '{override}': write key=value, for example optimizer.lr=1e-4.")
    try:
        read = parse_yaml(value)
    except yaml.YAMLError:
        raise ConfigError(f"override '{override}': '{value}' is not a YAML value.") from None
    *parents, last = _split(key.strip(), whole=isinstance(read, Mapping))
    node = tree
    for parent in parents:
        child = node.get(parent)
        node[parent] = node = dict(child) if isinstance(child, Mapping) else {}
    node[last] = read


def _split(key: str, *, whole: bool) -> list[str]:
    """The parts of a dotted key. A reward may have a dot in its name (hpsv2.1), an option has none; `whole`: the value
    holds all options of a reward."""
    if key.startswith("reward.name."):
        return ["reward", "name", key.removeprefix("reward.name.")]
    if key.startswith("reward.options.") and whole:
        return ["reward", "options", key.removeprefix("reward.options.")]
    if key.startswith("reward.options.") and key.count(".") > 2:
        name, _, option = key.removeprefix("reward.options.").rpartition(".")
        return ["reward", "options", name, option]
    return key.split(".")

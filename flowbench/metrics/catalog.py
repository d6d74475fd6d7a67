"""The table of metrics: the built-in ones by lazy name, plugins by decorator or entry point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from flowbench.errors import ConfigError
from flowbench.registry import Registry, did_you_mean
from flowbench.rewards.card import Card

Level = Literal["picture", "prompt", "set"]
"""What one number is of: a picture, the pictures of one prompt, or all pictures beside reference pictures."""

registry = Registry("metric", "flowbench.metrics")

registry.add("clip_diversity", "flowbench.metrics.diversity:clip_diversity")
registry.add("cmmd", "flowbench.metrics.cmmd:cmmd")
registry.add("color_entropy", "flowbench.metrics.picture_statistics:color_entropy")
registry.add("edge_density", "flowbench.metrics.picture_statistics:edge_density")
registry.add("fid", "flowbench.metrics.fid:fid")
registry.add("grid_energy", "flowbench.metrics.grid:grid_energy")
registry.add("kid", "flowbench.metrics.kid:kid")
registry.add("lpips_diversity", "flowbench.metrics.lpips_diversity:lpips_diversity")
registry.add("saturation", "flowbench.metrics.picture_statistics:saturation")
registry.add("vendi", "flowbench.metrics.diversity:vendi")


def register(name: str, *, card: Card | None = None, level: Level = "picture") -> Callable[[Any], Any]:
    """Decorate a metric factory.

    Raises NameTaken when another factory holds `name`, ConfigError for an unknown level.
    """
    if level not in get_args(Level):
        known = get_args(Level)
        raise ConfigError(
            f"metric '{name}' has the level '{level}'.{did_you_mean(level, known)} Levels: {', '.join(known)}."
        )

    def decorate(factory: Any) -> Any:
        factory.level = level
        return registry.register(name, card=card)(factory)

    return decorate

"""The table of metrics: the built-in ones by lazy name, plugins by decorator or entry point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from flowbench.errors import ConfigError
from flowbench.registry import Registry, did_you_mean
from flowbench.rewards.card import Card

Level = Literal["picture", "prompt", "set"]
"""What one number is of: a picture, the pictures of one prompt, or all pictures."""

registry = Registry("metric", "flowbench.metrics", factories=True, cards=Card)

# The lines are level and card, for `flowbench list`, which imports no metric that has one.
registry.add(
    "clip_diversity", "flowbench.metrics.diversity:clip_diversity",
    line="per prompt: How much a prompt's pictures differ in CLIP's eyes.",
)  # fmt: skip
registry.add(
    "cmmd", "flowbench.metrics.cmmd:cmmd",
    line="per set: How far the pictures, as a set, are from the reference pictures in CLIP's space, for "
    "smaller sets than FID's.",
)  # fmt: skip
registry.add(
    "color_entropy", "flowbench.metrics.picture_statistics:color_entropy",
    line="per picture: How many colours the picture spreads over: 0 is one flat colour.",
)  # fmt: skip
registry.add(
    "edge_density", "flowbench.metrics.picture_statistics:edge_density",
    line="per picture: How much of the picture is edge: higher is busier.",
)  # fmt: skip
registry.add(
    "fid", "flowbench.metrics.fid:fid",
    line="per set: How far the pictures, as a set, are from the reference pictures: 0 is the same distribution.",
)  # fmt: skip
registry.add(
    "grid_energy", "flowbench.metrics.grid:grid_energy",
    line="per picture: How much of the fine structure repeats as a lattice: an alarm for grid artefacts.",
)  # fmt: skip
registry.add(
    "kid", "flowbench.metrics.kid:kid",
    line="per set: How far the pictures, as a set, are from the reference pictures, for smaller sets than FID's.",
)  # fmt: skip
registry.add(
    "layout_diversity", "flowbench.metrics.world_diversity:layout_diversity",
    line="per prompt: How far the objects asked for lie from their mean place: 0 is one layout in every picture.",
)  # fmt: skip
registry.add(
    "lpips_diversity", "flowbench.metrics.lpips_diversity:lpips_diversity",
    line="per prompt: How much a prompt's pictures differ in structure and texture.",
)  # fmt: skip
registry.add(
    "object_color_entropy", "flowbench.metrics.world_diversity:object_color_entropy",
    line="per set: How many colours the objects have whose colour the prompt leaves open: 0 is one colour.",
)  # fmt: skip
registry.add(
    "palette_entropy", "flowbench.metrics.placement:palette_entropy",
    line="per set: How many colours the pictures have, each by the mean colour of what is on it: 0 is one colour.",
)  # fmt: skip
registry.add(
    "placement_diversity", "flowbench.metrics.placement:placement_diversity",
    line="per prompt: How little the places overlap where a prompt's pictures have something: 0 is one place.",
)  # fmt: skip
registry.add(
    "saturation", "flowbench.metrics.picture_statistics:saturation",
    line="per picture: How far the colours are from grey.",
)  # fmt: skip
registry.add(
    "vendi", "flowbench.metrics.diversity:vendi",
    line="per prompt: How many different pictures a prompt has in effect: 1 to their number.",
)  # fmt: skip


def register(
    name: str, *, card: Card | None = None, level: Level = "picture", compares: bool = True
) -> Callable[[Any], Any]:
    """Decorate a metric factory. `compares`, at level "set": whether its function also gets reference pictures.

    Raises NameTaken when another factory holds `name`, ConfigError for an unknown level and for what can be no name,
    card or factory.
    """
    if level not in get_args(Level):
        known = get_args(Level)
        raise ConfigError(
            f"metric '{name}' has the level '{level}'.{did_you_mean(level, known)} Levels: {', '.join(known)}."
        )

    def decorate(factory: Any) -> Any:
        registry.register(name, card=card)(factory)
        factory.level = level
        factory.compares = compares
        return factory

    return decorate

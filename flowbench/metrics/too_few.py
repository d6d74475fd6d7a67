"""When there are too few pictures for a number: the reason, in words a user can act on."""

from __future__ import annotations

from collections.abc import Sized

from flowbench.errors import ConfigError
from flowbench.types import Score


def too_few_of_prompt(name: str, samples: Sized) -> Score | None:
    """Unscored, where a prompt has no two pictures to compare; None where it has."""
    if len(samples) >= 2:
        return None
    return Score.unscored(
        f"{name} compares the pictures of one prompt and this one has {len(samples)}. Make 2 or more for each prompt."
    )


def too_few_in_set(name: str, samples: Sized, reference: Sized, needed: int, option: str) -> Score | None:
    """Unscored, where either side has fewer than `needed` pictures; `option` is the one that lowers the number."""
    if min(len(samples), len(reference)) >= needed:
        return None
    return Score.unscored(
        f"{name} needs {needed} pictures and {needed} reference pictures, and got {len(samples)} and {len(reference)}. "
        f"Give more, or lower its option {option}."
    )


def at_least(name: str, option: str, value: int, lowest: int) -> None:
    """Refuse an option below its lowest sensible value. Raises ConfigError."""
    if value < lowest:
        raise ConfigError(f"metric '{name}': {option} is {value}. Give {lowest} or more.")


def sizes(samples: Sized, reference: Sized) -> dict[str, int]:
    """The details that belong to every comparison with reference pictures."""
    return {"pictures": len(samples), "reference": len(reference)}

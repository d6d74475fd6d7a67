"""The shipped recipes by name. Imports nothing heavy, so that a list of them need not build the configuration."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))

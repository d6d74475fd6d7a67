"""The built-in world: a grammar of prompts, a renderer, an exact detector, and a tiny pipeline that draws it."""

from __future__ import annotations

from pathlib import Path

NAME = "shapes"
"""Under which `load_model` knows the model of this world."""
WEIGHTS = Path(__file__).parent / "weights"
"""The shipped diffusers pipeline folder (Stable Diffusion 3 layout)."""

__all__ = ["NAME", "WEIGHTS"]

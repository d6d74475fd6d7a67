"""The second built-in world: signs with one to four capital letters, a renderer, an exact reader, a pipeline."""

from __future__ import annotations

from pathlib import Path

NAME = "letters"
"""Under which `load_model` knows the model of this world."""
WEIGHTS = Path(__file__).parent / "weights"
"""The shipped diffusers pipeline folder (Stable Diffusion 3 layout)."""

__all__ = ["NAME", "WEIGHTS"]

"""The models that come with the package: small ones, for laptops, made by `python -m flowbench.pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowbench import letters, shapes


@dataclass(frozen=True)
class BuiltIn:
    """One of them."""

    folder: Path
    """its diffusers pipeline (Stable Diffusion 3 layout)"""
    about: str


BUILT_IN = {
    shapes.NAME: BuiltIn(shapes.WEIGHTS, "built in, made for laptops: 32 px pictures of flat shapes"),
    letters.NAME: BuiltIn(letters.WEIGHTS, "built in, made for laptops: 32 px signs with one to four letters"),
}
"""By the names under which `load_model` knows them."""
DEFAULT = shapes.NAME
"""Taken where no model is named."""

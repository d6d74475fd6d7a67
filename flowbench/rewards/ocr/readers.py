"""The readers behind one signature: a picture in, the lines on it out; and the characters that they know."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean
from flowbench.rewards.ocr.lines import Line

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Reader:
    """A built reader: `reader(picture)` gives the picture's lines, in any order.

    An exception means that the picture could not be looked at.
    """

    look: Callable[[numpy.ndarray], list[Line]]
    """(H, W, 3) uint8, RGB -> its lines."""
    characters: str
    """All that its network can write: no other one is ever read."""

    def __call__(self, picture: numpy.ndarray) -> list[Line]:
        return self.look(picture)


LARGEST_SIDE = 2000
"""A larger picture is made smaller for detection; a smaller one is looked at as it is, never enlarged."""

_BUILDERS = {"rapidocr": "flowbench.rewards.ocr.rapid", "paddle": "flowbench.rewards.ocr.paddle"}
BACKENDS = tuple(_BUILDERS)


def check_backend(backend: str) -> None:
    """Raise ConfigError for a name that is none of `BACKENDS`."""
    if backend not in _BUILDERS:
        raise ConfigError(
            f"the OCR reward has no backend '{backend}'.{did_you_mean(backend, BACKENDS)} Use: {', '.join(BACKENDS)}."
        )


def build_reader(backend: str, settings: Mapping[str, str]) -> Reader:
    """Load one reader. Raises ConfigError (name, folders) or RewardError (package or models missing)."""
    check_backend(backend)
    reader: Reader = importlib.import_module(_BUILDERS[backend]).build(**settings)
    return reader

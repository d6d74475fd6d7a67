"""Every exception that flowbench raises on purpose.

FlowbenchError            exit code 2: the user can mend it; the message says what, where and what to do
├── ConfigError           a bad or misspelt setting
├── UnknownName           a name that no registry holds (with the closest names)
├── NameTaken             two plugins under one name
├── MissingFile           a path that is not there
├── ModelError            a model or adapter that cannot be loaded
│   └── NotFinite         a model whose numbers are not finite where a picture or an update was to come of them
├── AssetError            weights that are missing, damaged or cannot be fetched
├── RewardError           a reward or metric that cannot be built, or that failed under `on_error: raise`
├── LicenceError          a scorer whose licence the user has to accept first
├── RunError              a run folder in the wrong state (locked, foreign, incomplete)
├── CardMismatch          two evaluations whose settings do not allow a comparison
└── PolicyMismatch        the on-policy check failed: rollout and replay disagree
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowbench.types import Sample


def in_words(error: BaseException) -> str:
    """ "ValueError: what it says", also of an exception of a plugin whose text cannot be had, or cannot be written."""
    try:
        said = str(error)
    except BaseException as another:
        if isinstance(another, KeyboardInterrupt):
            raise
        said = "(its text cannot be read)"
    return f"{type(error).__name__}{f': {writable(said)}' if said else ''}"


def writable(text: str) -> str:
    """The text in a form that UTF-8 can hold: a lone surrogate, half of a character, is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class FlowbenchError(Exception):
    """Base of all: shown as one sentence, without a traceback, with exit code 2."""

    exit_code = 2


class ConfigError(FlowbenchError):
    """A bad or misspelt setting."""


class UnknownName(FlowbenchError):
    """A name that no registry holds."""


class NameTaken(FlowbenchError):
    """Two plugins under one name."""


class MissingFile(FlowbenchError):
    """A path that is not there."""


class ModelError(FlowbenchError):
    """A model or an adapter that cannot be loaded."""


class NotFinite(ModelError):
    """Numbers that are not finite where a picture or an update was to come of them.

    `made`: of several pictures that were asked for, those that came of finite numbers, with None for the others.
    """

    def __init__(self, message: str, made: Sequence[Sample | None] = ()):
        super().__init__(message)
        self.made = made


class AssetError(FlowbenchError):
    """Weights that are missing, damaged or cannot be fetched."""


class RewardError(FlowbenchError):
    """A reward or metric that cannot be built, or that failed under `on_error: raise`."""


class LicenceError(FlowbenchError):
    """A scorer whose licence the user has to accept first."""


class RunError(FlowbenchError):
    """A run folder in the wrong state."""


class CardMismatch(FlowbenchError):
    """Two evaluations whose settings do not allow a comparison."""


class PolicyMismatch(FlowbenchError):
    """Rollout and replay disagree before the first update."""

"""Numbers that others printed, as data: who printed which number for which model, and who had measured it.

One YAML file per suite (or the path of such a file). They stand below measured rows in a leaderboard and take no part
in any test: they carry no interval, and their settings are mostly not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flowbench.errors import ConfigError, UnknownName
from flowbench.schema import from_plain

__all__ = ["MEASURED_BY", "PublishedMetric", "PublishedRow", "PublishedTable", "load", "names"]

MEASURED_BY = {
    "self": "measured by the source",
    "re-measured": "measured again by the source, after others had published a number",
    "copied": "stands in the source, measured elsewhere",
    "unknown": "who measured it is not recorded",
}
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PublishedMetric:
    """What a column holds. `scorer` and `unit` are those of our scorer of the same kind ("" where we have none)."""

    scorer: str
    unit: str
    direction: Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class PublishedRow:
    """One printed row; what the source does not say is None or ""."""

    model: str
    """Its name, as printed."""
    source: str
    """Who printed it."""
    measured_by: Literal["self", "re-measured", "copied", "unknown"]
    """MEASURED_BY says what the words mean."""
    values: Mapping[str, float] = field(default_factory=dict)
    """By metric."""
    tags: Mapping[str, float] = field(default_factory=dict)
    """The headline by tag."""
    trained_on: tuple[str, ...] = ()
    """The rewards that the model was trained on."""
    resolution: int | None = None
    """Side of the pictures, in pixels."""
    rewriter: bool | None = None
    """Whether a language model rewrote the prompts."""
    hub: str = ""
    """The id of its weights, by which a measurement of our own is recognised as a re-measured number."""
    mislabelled_as: str = ""
    """The name under which others copy it wrongly."""
    note: str = ""
    """What else a reader must know."""

    @property
    def origin(self) -> str:
        """Where the number in a table comes from: "copied", or "re-measured" by the source."""
        return "re-measured" if self.measured_by == "re-measured" else "copied"


@dataclass(frozen=True)
class PublishedTable:
    """The printed rows of one suite."""

    suite: str
    """Its name."""
    title: str
    """What the table is of."""
    headline: str
    """One of the metrics."""
    metrics: Mapping[str, PublishedMetric]
    """The columns."""
    prompts: int
    """Their number in the published protocol."""
    images_per_prompt: int
    """Pictures for each of them."""
    rows: tuple[PublishedRow, ...]
    """As they were printed."""
    decimals: int = 2
    """How many digits they were printed with, at least."""
    about: str = ""
    """What a reader must know of all of them."""

    @property
    def tags(self) -> tuple[str, ...]:
        """In the order of the first row that has them."""
        return tuple(dict.fromkeys(tag for row in self.rows for tag in row.tags))


def names() -> list[str]:
    """The tables that ship with flowbench."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(name: str | Path) -> PublishedTable:
    """The table of that name, or in that YAML file.

    Raises UnknownName, MissingFile, and ConfigError for a file that is not in the form of the shipped ones.
    """
    from flowbench.config import read_yaml
    from flowbench.registry import did_you_mean

    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = _FOLDER / f"{name}.yaml"
        if str(name) not in names():
            known = ", ".join(names())
            raise UnknownName(
                f"no published table '{name}'.{did_you_mean(str(name), names())} Known: {known}; or give a .yaml file."
            )
    try:
        table = from_plain(PublishedTable, read_yaml(path))
    except ValueError as error:
        raise ConfigError(
            f"{path}: {error}. Write a table in the form of flowbench/evals/published/geneval.yaml."
        ) from None
    if table.headline not in table.metrics:
        raise ConfigError(f"{path}: the headline '{table.headline}' is none of the metrics {', '.join(table.metrics)}.")
    for row in table.rows:
        foreign = sorted(set(row.values) - set(table.metrics))
        if foreign:
            raise ConfigError(f"{path}: {row.model} has '{foreign[0]}', which is none of the table's metrics.")
        for name, value in [*row.values.items(), *row.tags.items()]:
            if math.isnan(value):
                raise ConfigError(f"{path}: {row.model}: {name} is empty; give a number, or leave it out.")
    return table

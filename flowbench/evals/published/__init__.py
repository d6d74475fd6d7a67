"""Numbers that others printed, as data: who printed which number for which model, and who had measured it.

One YAML file per suite (or the path of such a file). They stand below measured rows in a leaderboard and take no part
in any test: they carry no interval, and their settings are mostly not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from flowbench.errors import ConfigError, UnknownName

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
    direction: str


@dataclass(frozen=True)
class PublishedRow:
    """One printed row. `values` by metric; `tags`: the headline by tag; what the source does not say is None or "".

    `trained_on`: the rewards that the model was trained on. `hub`: the id of its weights, by which a measurement of our
    own is recognised as a re-measured number. `mislabelled_as`: the name under which others copy it wrongly.
    """

    model: str
    source: str
    measured_by: str
    values: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, float] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()
    resolution: int | None = None
    rewriter: bool | None = None
    hub: str = ""
    mislabelled_as: str = ""
    note: str = ""

    @property
    def origin(self) -> str:
        """Where the number in a table comes from: "copied", or "re-measured" by the source."""
        return "re-measured" if self.measured_by == "re-measured" else "copied"


@dataclass(frozen=True)
class PublishedTable:
    """The printed rows of one suite. `decimals`: how many digits they were printed with, at least."""

    suite: str
    title: str
    headline: str
    metrics: Mapping[str, PublishedMetric]
    prompts: int
    images_per_prompt: int
    rows: tuple[PublishedRow, ...]
    decimals: int = 2
    about: str = ""

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
    tree = read_yaml(path)
    metrics = {
        key: _built(PublishedMetric, facts, f"{path}: metric '{key}'")
        for key, facts in _mapping(tree.get("metrics"), f"{path}: metrics").items()
    }
    rows = tuple(_row(row, f"{path}: row {number}") for number, row in enumerate(tree.get("rows") or (), 1))
    table: PublishedTable = _built(PublishedTable, {**tree, "metrics": metrics, "rows": rows}, str(path))
    _check(table, str(path))
    return table


def _row(tree: Any, where: str) -> PublishedRow:
    tree = _mapping(tree, where)
    where = f"{where} ({tree.get('model', 'no model')})"
    for name in ("values", "tags"):
        _mapping(tree.get(name, {}), f"{where}: {name}")
    row: PublishedRow = _built(PublishedRow, {**tree, "trained_on": tuple(tree.get("trained_on", ()))}, where)
    return row


def _built(kind: Any, tree: Any, where: str) -> Any:
    """The dataclass from a mapping of its fields. Raises ConfigError that names what is wrong."""
    tree = _mapping(tree, where)
    known = {each.name: each.default is MISSING and each.default_factory is MISSING for each in fields(kind)}
    for name in tree:
        if name not in known:
            raise ConfigError(f"{where}: unknown key '{name}'. Known: {', '.join(known)}.")
    for name, needed in known.items():
        if needed and name not in tree:
            raise ConfigError(f"{where}: '{name}' is missing.")
    return kind(**tree)


def _mapping(tree: Any, where: str) -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where}: give a mapping of keys to values, as flowbench/evals/published/geneval.yaml does.")
    return dict(tree)


def _check(table: PublishedTable, where: str) -> None:
    """Raise ConfigError for a word that means nothing here, and for what is wrong in a row."""
    for name, metric in table.metrics.items():
        if metric.direction not in ("higher", "lower", "none"):
            raise ConfigError(
                f"{where}: metric '{name}' has the direction '{metric.direction}': write higher, lower or none."
            )
    if table.headline not in table.metrics:
        raise ConfigError(
            f"{where}: the headline '{table.headline}' is none of the metrics {', '.join(table.metrics)}."
        )
    for row in table.rows:
        _check_row(row, table, f"{where}: {row.model}")


def _check_row(row: PublishedRow, table: PublishedTable, where: str) -> None:
    if row.measured_by not in MEASURED_BY:
        raise ConfigError(f"{where}: measured_by is '{row.measured_by}': write {', '.join(MEASURED_BY)}.")
    foreign = sorted(set(row.values) - set(table.metrics))
    if foreign:
        raise ConfigError(f"{where} has '{foreign[0]}', which is none of the table's metrics.")
    for key, value in [*row.values.items(), *row.tags.items()]:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ConfigError(f"{where}: {key} is {value!r}; give a number, or leave it out.")

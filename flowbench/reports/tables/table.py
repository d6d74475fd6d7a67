"""A table as text, before anybody knows how it will be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Place = tuple[int, int]
"""(row, column), both from 0."""


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column is left-aligned, the others right."""

    title: str
    """Above it."""
    header: tuple[str, ...]
    """The columns' names."""
    rows: tuple[tuple[str, ...], ...]
    """A cell for each column."""
    notes: tuple[str, ...] = ()
    """Lines below it."""
    bold: frozenset[Place] = frozenset()
    """Cells that are the best."""
    shaded: frozenset[Place] = frozenset()
    """Cells of what was trained on."""
    base: frozenset[int] = frozenset()
    """Rows of base models."""
    copied: frozenset[int] = frozenset()
    """Rows that others printed."""
    data: tuple[Mapping[str, Any], ...] = ()
    """The rows at full precision, for CSV; without it, the cells are written."""

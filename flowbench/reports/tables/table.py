"""A table as text, before anybody knows how it will be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Place = tuple[int, int]
"""(row, column), both from 0."""


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column is left-aligned, the others right. `notes` stand below.

    `bold` and `shaded` hold (row, column) of cells that are the best, and that were trained on; `base` and `copied`
    hold rows of base models, and rows that others printed. `data`: the rows at full precision, for CSV; without it, the
    cells are written.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    bold: frozenset[Place] = frozenset()
    shaded: frozenset[Place] = frozenset()
    base: frozenset[int] = frozenset()
    copied: frozenset[int] = frozenset()
    data: tuple[Mapping[str, Any], ...] = ()

"""Rows of scores gathered into prompts, the unit of all statistics here, and prompts into tags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy import ndarray

from flowbench.errors import ConfigError

FEWEST_PROMPTS = 20
FEWEST_PROMPTS_PER_TAG = 5
FEWEST_PROMPTS_PER_TAG_OF_VERDICTS = 3


@dataclass(frozen=True)
class Stratum:
    """The prompts of one tag that have a scored value: sum, number and sum of the squares of each prompt's values,
    (prompts,) each."""

    totals: ndarray
    counts: ndarray
    squares: ndarray

    @property
    def mean(self) -> float:
        """The mean over values, not over prompts."""
        return float(self.totals.sum() / self.counts.sum()) if len(self.counts) else math.nan


@dataclass(frozen=True)
class Design:
    """Which cell, a prompt within a tag, each row belongs to, (rows,), and which tag each cell, (cells,).

    Cells are sorted by tag, then by prompt id. Columns of scores over the same rows share one design.
    """

    cells: ndarray
    tags: ndarray

    @classmethod
    def of(cls, prompt_ids: Sequence[Any], tags: Sequence[Any] | None) -> Design:
        """One tag in all without `tags`."""
        _, prompts = numpy.unique(numpy.asarray(prompt_ids), return_inverse=True)
        labels = numpy.zeros(len(prompts), dtype=int)
        if tags is not None:
            # a sample without a tag (None) belongs to a tag of its own; None and text do not sort together
            _, labels = numpy.unique(numpy.asarray([str(tag) for tag in tags]), return_inverse=True)
        width = prompts.max(initial=0) + 1
        codes, cells = numpy.unique(labels * width + prompts, return_inverse=True)
        return cls(cells, codes // width)

    def strata(self, scores: ndarray) -> list[Stratum]:
        """One stratum per tag, in the order of the sorted tags; NaN scores are left out."""
        order = numpy.lexsort((scores, self.cells))  # sums of floats depend on their order: fix it, whatever the rows'
        order = order[~numpy.isnan(scores[order])]
        cells, size = self.cells[order], len(self.tags)
        totals = numpy.bincount(cells, weights=scores[order], minlength=size)
        squares = numpy.bincount(cells, weights=scores[order] ** 2, minlength=size)
        counts = numpy.bincount(cells, minlength=size)
        chosen = [(self.tags == tag) & (counts > 0) for tag in range(self.tags.max(initial=-1) + 1)]
        return [Stratum(totals[here], counts[here], squares[here]) for here in chosen]


def as_values(values: Sequence[float], prompt_ids: Sequence[Any], tags: Sequence[Any] | None) -> ndarray:
    """`values` in float64, checked."""
    scores = numpy.asarray(values, dtype=numpy.float64)
    others = [len(prompt_ids)] + ([] if tags is None else [len(tags)])
    if scores.ndim != 1 or any(length != len(scores) for length in others):
        raise ConfigError(f"{scores.shape} values for {others} prompt ids (and tags): give one of each per image.")
    if numpy.isinf(scores).any():
        raise ConfigError(f"value {int(numpy.isinf(scores).argmax())} is infinite: unscored is NaN.")
    return scores


def mean_of_means(parts: Sequence[Stratum]) -> float:
    """The mean of the strata's means: NaN without strata, or when one of them has no scored value."""
    return sum(part.mean for part in parts) / len(parts) if parts else math.nan


def enough(parts: Sequence[Stratum], per_tag: int = FEWEST_PROMPTS_PER_TAG) -> bool:
    """Whether there are prompts enough, in all and of each tag, to say how sure their mean is."""
    sizes = [len(part.counts) for part in parts]
    return sum(sizes) >= FEWEST_PROMPTS and min(sizes) >= per_tag


def are_verdicts(parts: Sequence[Stratum]) -> bool:
    """Whether all values are 0 or 1, of values that lie between them: no other equals its own square."""
    return all(numpy.array_equal(part.totals, part.squares) for part in parts)

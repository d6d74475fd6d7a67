"""Evaluation prompts that stand among the training prompts, word for word or nearly so: for prompts without a template.

Words are compared without case, punctuation and the forms in which Unicode writes one letter. Near: Jaccard similarity
of the sets of runs of three words (Broder 1997, "On the resemblance and containment of documents").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy
from scipy import sparse

from flowbench.errors import ConfigError
from flowbench.types import Prompt

Kind = Literal["text", "words", "near", "contained"]
KINDS: dict[Kind, str] = {
    "text": "the same text",
    "words": "the same words; case, spaces or punctuation differ",
    "near": "runs of three words in common",
    "contained": "every run of its words is part of a longer training prompt",
}
RUN = 3
"""Words in a run; of a prompt of fewer words, all of them are one."""
_ROWS = 64
"""Evaluation prompts compared at a time: bounds the memory."""


@dataclass(frozen=True)
class Match:
    """The training prompt that an evaluation prompt repeats, or is closest to. `share`: the Jaccard similarity of their
    runs of words (1 for the same words)."""

    kind: Kind
    share: float
    evaluated: Prompt
    trained: Prompt


def find_matches(training: Sequence[Prompt], evaluation: Sequence[Prompt], *, least: float = 0.5) -> list[Match]:
    """At most one match for each evaluation prompt, the first kind of `KINDS` that holds; those of one kind by share.

    "near" from the similarity `least` on, which lies above 0 and at most at 1 (ConfigError).
    """
    if not 0 < least <= 1:
        raise ConfigError(f"least is {least}. Give a similarity above 0, at most 1.")
    by_text = {prompt.text: prompt for prompt in reversed(training)}
    by_words = {words(prompt.text): prompt for prompt in reversed(training)}
    found, rest = [], []
    for prompt in evaluation:
        if prompt.text in by_text:
            found.append(Match("text", 1.0, prompt, by_text[prompt.text]))
        elif words(prompt.text) in by_words:
            found.append(Match("words", 1.0, prompt, by_words[words(prompt.text)]))
        else:
            rest.append(prompt)
    for length in range(1, RUN + 1):
        alike = [prompt for prompt in rest if min(RUN, len(words(prompt.text))) == length]
        found += _closest(training, alike, length, least)
    order = list(KINDS)
    return sorted(found, key=lambda match: (order.index(match.kind), -match.share))


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in one form each."""
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _runs(prompt: Prompt, length: int) -> set[tuple[str, ...]]:
    every = words(prompt.text)
    return {every[place : place + length] for place in range(len(every) - length + 1)}


def _closest(training: Sequence[Prompt], evaluation: Sequence[Prompt], length: int, least: float) -> Iterator[Match]:
    """The near or contained ones among evaluation prompts that are all compared by runs of `length` words."""
    wanted = [_runs(prompt, length) for prompt in evaluation]
    columns = {run: number for number, run in enumerate(sorted(set().union(*wanted)))}
    if not columns:
        return
    sizes = numpy.array([len(_runs(prompt, length)) for prompt in training])
    trained = _matrix((_runs(prompt, length) for prompt in training), columns).T.tocsr()
    for first in range(0, len(evaluation), _ROWS):
        shared = _matrix(wanted[first : first + _ROWS], columns) @ trained  # (rows, training): runs in common
        shared.sort_indices()  # of equals the first training prompt is shown
        for row, prompt in enumerate(evaluation[first : first + _ROWS]):
            entries = slice(shared.indptr[row], shared.indptr[row + 1])
            places, common, size = shared.indices[entries], shared.data[entries], len(wanted[first + row])
            similar = common / (size + sizes[places] - common)
            near, contained = similar >= least, common == size
            if near.any() or contained.any():
                best = (similar if near.any() else similar * contained).argmax()
                kind: Kind = "near" if near.any() else "contained"
                yield Match(kind, float(similar[best]), prompt, training[places[best]])


def _matrix(sets: Iterable[set[tuple[str, ...]]], columns: dict[tuple[str, ...], int]) -> Any:
    """One row for each set: 1 in the column of each run that it holds."""
    places = [sorted(columns[run] for run in runs if run in columns) for runs in sets]
    starts = numpy.cumsum([0, *map(len, places)])
    flat = numpy.array([place for row in places for place in row], dtype=numpy.int64)
    return sparse.csr_matrix(
        (numpy.ones(len(flat), dtype=numpy.int32), flat, starts), shape=(len(places), len(columns))
    )

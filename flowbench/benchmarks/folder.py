"""One evaluation's folder while it is worked on: its pictures and files, and who may touch them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from flowbench import store
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import Item
from flowbench.benchmarks.records import whole_prompts
from flowbench.benchmarks.scorers import stem_of
from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.summary import ScorerRun
from flowbench.errors import RunError
from flowbench.evals.evaluation import Key
from flowbench.layout import EvaluationFolder

_PATIENCE, _BETWEEN_TRIES = 10.0, 0.05


@dataclass(frozen=True)
class OpenEvaluation:
    """What there is to do, and where."""

    suite: Suite
    """What is measured, and how."""
    items: Sequence[Item]
    """The plan: every picture that belongs to it."""
    folder: EvaluationFolder
    """Where it lies."""
    batch_size: int
    """Pictures at a time."""
    execution: Execution
    """Which stages, and what share of them."""
    makes_all: bool = True
    """Whether there will be a picture for every item."""
    elsewhere: Mapping[Key, ExistingPicture] = field(default_factory=dict)
    """The pictures, where they stay where they are; else they lie in the folder."""

    @cached_property
    def planned(self) -> list[ExistingPicture]:
        """The items' pictures as scorers want them, whether they are there or not."""
        if self.elsewhere:
            return [self.elsewhere[item.key] for item in self.items]
        images = self.folder.images
        return [
            ExistingPicture(item.prompt, item.index, images / item.picture, f"{images.name}/{item.picture}", item.seed)
            for item in self.items
        ]

    def there(self) -> list[ExistingPicture]:
        """The pictures that are there, and those that could not be made, which say why when they are read."""
        if self.elsewhere:
            return self.planned
        names = set(os.listdir(self.folder.images)) if self.folder.images.is_dir() else set()
        found = []
        for each in self.planned:
            if each.path.name in names:
                found.append(each)
            elif (why := self.folder.missing(each.path.name)).name in names:
                found.append(replace(each, missing=why.read_text(encoding="utf-8", errors="replace")))
        return found

    def whole(self) -> list[ExistingPicture]:
        """The pictures of the prompts that have them all."""
        there, wanted = self.there(), Counter(item.prompt.id for item in self.items)
        found = Counter(each.prompt.id for each in there)
        return [each for each in there if found[each.prompt.id] == wanted[each.prompt.id]]

    def batches(self, size: int, *, whole: bool) -> list[list[ExistingPicture]]:
        """The pictures to score, in batches of whole prompts that are cut from the plan: which batch a picture is in
        does not depend on what is there already. A prompt whose pictures are still being made waits, so that a reward
        that compares them does not judge half of them (`whole`, or a source that makes all); of pictures given with
        gaps, those that are there are scored.
        """
        there = {each.key: each for each in (self.whole() if whole or self.makes_all else self.there())}
        return [[there[each.key] for each in batch if each.key in there] for batch in whole_prompts(self.planned, size)]

    def score_files(self, run: ScorerRun) -> list[Path]:
        """The scorer's files, the one of this share first."""
        stem = stem_of(run.identity)
        own = self.folder.scores_of(stem, self.execution.share_name)
        return [own, *sorted({*self.folder.scores.glob(f"{stem}*.jsonl")} - {own})]

    def refusal(self, run: ScorerRun) -> Path:
        """The file that says why a scorer could not be built, for the stages that build nothing."""
        return self.folder.refusal_of(stem_of(run.identity))

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, alone; or, as one of several shares, together with the others, and this share alone.

        The first of several settles what a killed process of another share has left.
        """
        path, share = self.folder.path, self.execution.share_name
        if not share:
            with store.locked(path):
                yield
            return
        with suppress(RunError), store.locked(path):
            Pictures(self.folder.images)
        with _shared(path), store.locked(self.folder.shares / share):
            yield


@contextmanager
def _shared(folder: Path) -> Iterator[None]:
    """Hold the folder with the other shares; one of them may be settling it at this moment."""
    until = time.monotonic() + _PATIENCE
    while True:
        lock = store.locked(folder, shared=True)
        try:
            lock.__enter__()
            break
        except RunError:
            if time.monotonic() > until:
                raise
            time.sleep(_BETWEEN_TRIES)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)

"""One evaluation's folder while it is worked on: its pictures and files, and who may touch them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from flowbench import store
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.existing import ExistingPicture, picture_sha256, why_not_made
from flowbench.benchmarks.pictures import KeptPicture, Pictures
from flowbench.benchmarks.plan import Item
from flowbench.benchmarks.records import IsCurrent, together, whole_prompts
from flowbench.benchmarks.scorers import stem_of
from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.summary import ScorerRun
from flowbench.errors import RunError
from flowbench.evals.evaluation import Key, Level, Record
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
    name: str = ""
    """The suite and the card's key, as its pictures name it, whatever the folder is called today."""
    _locks: list[store.Held] = field(default_factory=list)

    @cached_property
    def planned(self) -> list[ExistingPicture]:
        """The items' pictures as scorers want them, whether they are there or not."""
        if self.elsewhere:
            return [self.elsewhere[item.key] for item in self.items]
        return [self.kept(item) for item in self.items]

    def kept(self, item: Item) -> KeptPicture:
        """The item's picture in the folder, whether it is there or not."""
        images, file = self.folder.images, item.picture
        name, evaluation = f"{images.name}/{file}", self.name
        return KeptPicture(item.prompt, item.index, images / file, name, item.seed, evaluation=evaluation)

    def sha256(self, pictures: Sequence[ExistingPicture]) -> str:
        """Of the picture's file as it lies there now, or of several together (`records.together`); "" where they lie
        elsewhere: then it is part of the folder's key."""
        try:
            return "" if self.elsewhere else together([picture_sha256(each.path) for each in pictures])
        except OSError:  # it cannot be read, so no score is of it
            return ""

    def is_current(self, level: Level) -> IsCurrent:
        """Whether a record of a scorer of that level is of the pictures that are there now."""
        by_key: dict[Key, list[ExistingPicture]] = {}
        for each in self.planned:
            by_key.setdefault((each.prompt.id, 0) if level == "prompt" else each.key, []).append(each)

        def is_current(record: Record) -> bool:
            there = by_key.get(record.key, [])
            return bool(self.elsewhere) or not there or record.image_sha256 == self.sha256(there)

        return is_current

    def there(self) -> list[ExistingPicture]:
        """The pictures that are there, and those that could not be made, which say why when they are read."""
        if self.elsewhere:
            return self.planned
        names = set(os.listdir(self.folder.images)) if self.folder.images.is_dir() else set()
        found = []
        for each in self.planned:
            if each.path.name in names:
                found.append(each)
            elif (reason := self.folder.not_made_of(each.path.name)).name in names:
                found.append(replace(each, not_made=why_not_made(reason)))
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

    def check_folder(self) -> None:
        """Raise RunError where the folder no longer stands: before anything is written, which would make a new one."""
        for lock in self._locks:
            lock.check()

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, alone; or, as one of several shares, together with the others, and this share alone.

        The first of several settles what a killed process of another share has left.
        """
        path, share = self.folder.path, self.execution.share_name
        if share:
            with suppress(RunError), store.locked(path):
                Pictures(self.folder.images)
        with ExitStack() as stack:
            self._locks.append(stack.enter_context(_shared(path) if share else store.locked(path)))
            if share:
                stack.enter_context(store.locked(self.folder.shares / share))
            stack.callback(self._locks.clear)
            yield


@contextmanager
def _shared(folder: Path) -> Iterator[store.Held]:
    """Hold the folder with the other shares; one of them may be settling it at this moment."""
    until = time.monotonic() + _PATIENCE
    while True:
        lock = store.locked(folder, shared=True)
        try:
            held = lock.__enter__()
            break
        except RunError:
            if time.monotonic() > until:
                raise
            time.sleep(_BETWEEN_TRIES)
    try:
        yield held
    finally:
        lock.__exit__(None, None, None)

"""One evaluation's folder while it is worked on: its pictures and files, and who may touch them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flowbench import store
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import Item
from flowbench.benchmarks.records import whole_prompts
from flowbench.benchmarks.scorers import file_name
from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.summary import ScorerRun
from flowbench.errors import RunError

_PATIENCE, _BETWEEN_TRIES = 10.0, 0.05


@dataclass(frozen=True)
class Work:
    """What there is to do, and where. `makes_all`: whether there will be a picture for every prompt."""

    suite: Suite
    items: Sequence[Item]
    folder: Path
    batch_size: int
    execution: Execution
    makes_all: bool = True

    @property
    def images(self) -> Path:
        """The folder of the pictures."""
        return self.folder / "images"

    def pictures(self) -> list[ExistingPicture]:
        """Those that are there, as scorers want them."""
        found = os.scandir(self.images) if self.images.is_dir() else ()
        there = {each.name for each in found if each.is_file()}
        return [self._given(item) for item in self.items if item.picture in there]

    def whole(self) -> list[ExistingPicture]:
        """The pictures of the prompts that have them all."""
        given = self.pictures()
        count: dict[str, int] = {}
        for each in given:
            count[each.prompt.id] = count.get(each.prompt.id, 0) + 1
        return [each for each in given if count[each.prompt.id] == self.suite.images_per_prompt]

    def batches(self, size: int, *, whole: bool) -> list[list[ExistingPicture]]:
        """The pictures to score, in batches of whole prompts that are cut from the plan: which batch a picture is in
        does not depend on what is there already. A prompt whose pictures are still being made waits, lest a reward that
        compares them judge half of them (`whole`, or a maker that makes all); of pictures given with gaps, those that
        are there are scored.
        """
        there = {each.key for each in (self.whole() if whole or self.makes_all else self.pictures())}
        planned = [self._given(item) for item in self.items]
        return [[each for each in batch if each.key in there] for batch in whole_prompts(planned, size)]

    def score_files(self, scored: ScorerRun) -> list[Path]:
        """The scorer's files, the one of this share first."""
        own = self.folder / "scores" / file_name(scored.identity)
        if self.execution.share:
            own = own.with_name(f"{own.stem}.{self.execution.share}.jsonl")
        stem = Path(file_name(scored.identity)).stem
        return [own, *sorted({*own.parent.glob(f"{stem}*.jsonl")} - {own})]

    def refusal(self, scored: ScorerRun) -> Path:
        """The file that says why a scorer could not be built, for the stages that build nothing."""
        path = self.folder / "scores" / file_name(scored.identity)
        return path.with_name(f"{path.stem}.not-run.json")

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, alone; or, as one of several shares, together with the others, and this share alone.

        The first of several settles what a killed process of another share has left.
        """
        share = self.execution.share
        if not share:
            with store.locked(self.folder):
                yield
            return
        with suppress(RunError), store.locked(self.folder):
            Pictures(self.images)
        with _shared(self.folder), store.locked(self.folder / ".shares" / share):
            yield

    def _given(self, item: Item) -> ExistingPicture:
        return ExistingPicture(item.prompt, item.index, self.images / item.picture, f"images/{item.picture}", item.seed)


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

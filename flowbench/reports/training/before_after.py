"""Pictures before and after training: the same prompt, the same seed, side by side."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowbench import store
from flowbench.errors import MissingFile, RunError
from flowbench.evals.results import Results
from flowbench.prompts import in_turns
from flowbench.reports.gallery.sheet import Moves, moves, side_by_side
from flowbench.reports.pictures import picture_of

MAX_SIDE = 256
"""Larger pictures are reduced, so that the page stays light."""


@dataclass(frozen=True)
class Side:
    """One picture: `source` is a data URI, `mark` the metric in a character or a number, `note` the reward's reason."""

    source: str
    mark: str
    kind: Literal["right", "wrong", "neutral"]
    note: str


@dataclass(frozen=True)
class Pair:
    """One prompt and seed, before and after."""

    prompt: str
    """Its text."""
    tag: str
    """"all" where the prompts have none."""
    seed: int | None
    """From which both pictures were made."""
    before: Side
    """The base model's picture."""
    after: Side
    """The trained model's picture."""


class BeforeAfter:
    """Two evaluations of one suite, matched picture by picture and judged by one metric."""

    def __init__(self, before: Results, after: Results, metric: str):
        self.sheet = side_by_side(before, after)
        self.metric = next((each for each in self.sheet.metrics if each.name == metric), None)

    def moves(self) -> list[Moves]:
        """Counts per tag and of all; [] when the metric gives no verdicts (0 or 1)."""
        return moves(self.sheet, self.metric)

    def first_of_each_tag(self, count: int) -> list[Pair]:
        """The first picture of the first `count` prompts of each tag: chosen by place, not by outcome."""
        firsts = [place for place, row in enumerate(self.sheet.rows) if row[-1].index == 0]
        by_tag: dict[str | None, list[int]] = {}
        for place in firsts:
            by_tag.setdefault(self.sheet.rows[place][-1].tag, []).append(place)
        return self._pairs(place for group in by_tag.values() for place in group[:count])

    def mended(self, count: int) -> list[Pair]:
        """`count` pictures that became better, taken in turns from the tags."""
        return self._in_turns([place for place, gain in enumerate(self._gains()) if gain > 0], count)

    def broken(self, count: int) -> list[Pair]:
        """`count` pictures that became worse, taken in turns from the tags."""
        return self._in_turns([place for place, gain in enumerate(self._gains()) if gain < 0], count)

    def _gains(self) -> list[float]:
        """Of each picture; 0 where nobody can say."""
        metric = self.metric
        return [(metric.gain(place) if metric else None) or 0.0 for place in range(len(self.sheet.rows))]

    def _in_turns(self, places: Sequence[int], count: int) -> list[Pair]:
        return self._pairs(in_turns(places, lambda place: self.sheet.rows[place][-1].tag)[:count])

    def _pairs(self, places: Iterable[int]) -> list[Pair]:
        pairs = []
        for place in places:
            record = self.sheet.rows[place][-1]
            before, after = self._side(place, 0), self._side(place, 1)
            pairs.append(Pair(record.prompt, record.tag or "all", record.seed, before, after))
        return pairs

    def _side(self, place: int, side: int) -> Side:
        """A verdict's mark is a tick or a cross, another value's the number; a dash says that it is unscored."""
        record, metric = self.sheet.rows[place][side], self.metric
        value = metric.values[side][place] if metric else None
        folder = self.sheet.sides[side].folder
        path = picture_of(folder, record)
        if path is None:
            raise RunError(f"{folder}: a record names a picture outside of it, '{record.image}'. Evaluate again.")
        source = data_uri(path, record.image_sha256)
        if metric is None or value is None:
            return Side(source, "–", "neutral", record.note)
        if not metric.is_verdict:
            return Side(source, f"{value:.2f}", "neutral", record.note)
        is_right = value == metric.right
        return Side(source, "✓" if is_right else "✗", "right" if is_right else "wrong", record.note)


def data_uri(path: Path, sha256: str = "") -> str:
    """A picture file as a PNG data URI, reduced to MAX_SIDE pixels if it is larger. `sha256`: that of the picture that
    was scored. Raises MissingFile, and RunError for another picture and for one that cannot be read."""
    from flowbench import images

    if not os.path.isfile(path):
        raise MissingFile(f"{path}: this picture of an evaluation is gone. Run the evaluation again: it makes it anew.")
    data = store.read_bytes(path)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(f"{path} is not the picture that was scored. Run the evaluation again: it makes it anew.")
    header = images.read_header(path)
    if header.format != "PNG" or max(header.size) > MAX_SIDE:
        reduced = images.read_picture(path)
        reduced.thumbnail((MAX_SIDE, MAX_SIDE))
        data = images.png_bytes(reduced)
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")

"""Pictures before and after training: the same prompt, the same seed, side by side."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from flowbench.errors import MissingFile
from flowbench.evals.evaluation import Record, metric_values
from flowbench.evals.results import Results

MAX_SIDE = 256
"""Larger pictures are reduced, so that the page stays light."""


@dataclass(frozen=True)
class Side:
    """One picture: `source` is a data URI, `value` the headline metric (None: unscored), `note` the reward's reason."""

    source: str
    value: float | None
    note: str

    @property
    def mark(self) -> str:
        """A tick for 1, a cross for 0, else the number; a dash when unscored."""
        if self.value is None:
            return "–"
        return {1.0: "✓", 0.0: "✗"}.get(self.value, f"{self.value:.2f}")

    @property
    def kind(self) -> str:
        return {"✓": "right", "✗": "wrong"}.get(self.mark, "neutral")


@dataclass(frozen=True)
class Pair:
    """One prompt and seed, before and after."""

    prompt: str
    tag: str
    seed: int | None
    before: Side
    after: Side


@dataclass(frozen=True)
class Change:
    """How many pictures of a tag went which way ("right" is a headline metric of 1)."""

    tag: str
    stayed_right: int
    mended: int
    broken: int
    stayed_wrong: int


@dataclass(frozen=True)
class _Match:
    """Two records of one prompt and seed with their headline values."""

    before: Record
    after: Record
    was: float
    now: float

    @property
    def tag(self) -> str:
        return self.before.tag or "all"


class BeforeAfter:
    """Two evaluations of one suite, matched picture by picture."""

    def __init__(self, before: Results, after: Results):
        self.before, self.after = before, after
        later = {
            record.key: (record, value)
            for record, value in zip(after.records, metric_values(after.records, after.headline), strict=True)
        }
        self._matches = [
            _Match(record, later[key][0], value, later[key][1])
            for record, value in zip(before.records, metric_values(before.records, before.headline), strict=True)
            if (key := record.key) in later
        ]

    def changes(self) -> list[Change]:
        """Counts per tag; [] when the headline metric is not a verdict (0 or 1). Unscored pictures are left out."""
        scored = [match for match in self._matches if match.was == match.was and match.now == match.now]
        if not all(value in (0.0, 1.0) for match in scored for value in (match.was, match.now)):
            return []
        counts = Counter((match.tag, (match.was, match.now)) for match in scored)
        tags = dict.fromkeys(match.tag for match in scored)
        return [Change(tag, *(counts[tag, way] for way in ((1, 1), (0, 1), (1, 0), (0, 0)))) for tag in tags]

    def first_of_each_tag(self, count: int) -> list[Pair]:
        """The first picture of the first `count` prompts of each tag: chosen by place, not by outcome."""
        firsts = [match for match in self._matches if match.before.index == 0]
        return self._pairs(match for group in _by_tag(firsts) for match in group[:count])

    def mended(self, count: int) -> list[Pair]:
        """`count` pictures that became better, taken in turns from the tags."""
        return self._pairs(_in_turns([match for match in self._matches if match.now > match.was], count))

    def broken(self, count: int) -> list[Pair]:
        """`count` pictures that became worse, taken in turns from the tags."""
        return self._pairs(_in_turns([match for match in self._matches if match.now < match.was], count))

    def _pairs(self, matches: Iterable[_Match]) -> list[Pair]:
        return [
            Pair(
                prompt=match.before.prompt,
                tag=match.tag,
                seed=match.before.seed,
                before=_side(self.before, match.before, match.was),
                after=_side(self.after, match.after, match.now),
            )
            for match in matches
        ]


def data_uri(path: Path) -> str:
    """A picture file as a PNG data URI, reduced to MAX_SIDE pixels if it is larger."""
    from PIL import Image

    if not path.is_file():
        raise MissingFile(f"{path}: this picture of an evaluation is gone. Run the evaluation again: it makes it anew.")
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        if image.format != "PNG" or max(image.size) > MAX_SIDE:
            reduced = image.convert("RGB")
            reduced.thumbnail((MAX_SIDE, MAX_SIDE))
            buffer = io.BytesIO()
            reduced.save(buffer, format="PNG")
            data = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _side(results: Results, record: Record, value: float) -> Side:
    return Side(data_uri(results.folder / record.image), value if value == value else None, record.note)


def _by_tag(matches: Sequence[_Match]) -> list[list[_Match]]:
    groups: dict[str, list[_Match]] = {}
    for match in matches:
        groups.setdefault(match.tag, []).append(match)
    return list(groups.values())


def _in_turns(matches: Sequence[_Match], count: int) -> list[_Match]:
    turns = zip_longest(*_by_tag(matches))
    return [match for turn in turns for match in turn if match is not None][:count]

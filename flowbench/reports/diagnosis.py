"""When a run's gain began to be something else: read from the evaluations of its checkpoints.

Two kinds of signs. *Sameness*: the evaluations' pictures, held against those of the beginning on the same prompts and
seeds, by the signals of the watch (`metrics/signals.py`, the same lines). *A fall beside a rise*: a metric is worse
than at its own best, by a paired test, while the headline is not measurably worse than it was there.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from flowbench import store
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.evals.evaluation import Record
from flowbench.evals.facts import Facts, aligned, facts_of, other_scorer
from flowbench.evals.leaderboard import shown_metrics
from flowbench.evals.results import Results, unlike_settings
from flowbench.evals.versus import SIZE, paired
from flowbench.images import read_picture, to_array
from flowbench.metrics.signals import SIGNALS, Look, distances, measured, together
from flowbench.registry import did_you_mean
from flowbench.reports.pictures import picture_of
from flowbench.stats.paired import Paired, draws_for, holm

_NONE = together([])
"""No prompt at all."""


@dataclass(frozen=True)
class Point:
    """One evaluation of the run."""

    step: int
    """Training steps done; 0: what it began from."""
    results: Results
    look: Look
    """Its pictures, measured: a row for each prompt that is compared."""


@dataclass(frozen=True)
class Fall:
    """A metric of a later evaluation against its own best one until then."""

    metric: str
    """Its name."""
    best: int
    """The step of that one."""
    step: int
    """The step of the later one."""
    paired: Paired
    """The later one minus the best one."""
    p_holm: float
    """p adjusted over all falls of the course."""


@dataclass(frozen=True)
class Sign:
    """Something amiss."""

    step: int
    """Of the first evaluation at which it is seen."""
    name: str
    """The signal or metric."""
    sentence: str
    """In words."""


@dataclass(frozen=True)
class Course:
    """Evaluations of one run under the same settings, in the order of its steps, two or more. All measure the headline,
    by the same scorer."""

    points: tuple[Point, ...]
    compared: int
    """Prompts whose pictures are looked at: those of which every evaluation has equally many."""

    @property
    def first(self) -> Results:
        """What the others are held against: of the step 0, or of the earliest step that was evaluated."""
        return self.points[0].results

    @property
    def headline(self) -> Facts:
        """The metric to look at first."""
        return facts_of(self.first, self.first.headline)

    def goodness(self, point: Point) -> float:
        """Its headline, of which more is better; -inf where nothing is scored."""
        value = self._value(self.headline, self.points.index(point))
        return -math.inf if math.isnan(value) else value

    @cached_property
    def metrics(self) -> tuple[Facts, ...]:
        """Those that every evaluation shows, scored alike in all: the headline first."""
        kept = [
            metric
            for metric in shown_metrics(self.first)
            if all(metric in each.results.summary.metrics for each in self.points)
            and not any(other_scorer(self.first, each.results, metric) for each in self.points[1:])
        ]
        return tuple(facts_of(self.first, metric) for metric in kept)

    @property
    def dropped(self) -> list[str]:
        """Metrics that some evaluations show and that are not in `metrics`."""
        shown = dict.fromkeys(metric for each in self.points for metric in shown_metrics(each.results))
        return [metric for metric in shown if metric not in {facts.metric for facts in self.metrics}]

    @cached_property
    def moved(self) -> tuple[Mapping[str, float], ...]:
        """Of each point, every signal's distance from the first one's, in its spread between prompts."""
        return tuple(distances(each.look, self.points[0].look) for each in self.points)

    def falls(self, metrics: Sequence[Facts], *, everywhere: bool = False) -> list[Fall]:
        """Each metric at each point against its best point until then, where the headline is not measurably worse than
        there (the headline itself, and all with `everywhere`: at every point). p is adjusted for the choice of the best
        (times the points before) and by Holm."""
        wanted = [
            (facts, best, later)
            for facts in metrics
            if facts.is_ranked
            for later in range(1, len(self.points))
            if (best := self._best(facts, later)) is not None
            and (everywhere or facts == self.headline or self._is_held(best, later))
        ]
        draws = draws_for(max(1, sum(later for _, _, later in wanted)))
        tests = [
            paired(aligned([self.points[later].results, self.points[best].results], facts.metric), draws)
            for facts, best, later in wanted
        ]
        chosen = [test.p * later for test, (_, _, later) in zip(tests, wanted, strict=True)]
        adjusted = holm([p if math.isnan(p) else min(1.0, p) for p in chosen])  # what is not tested does not count
        return [
            Fall(facts.metric, self.points[best].step, self.points[later].step, test, p)
            for (facts, best, later), test, p in zip(wanted, tests, adjusted, strict=True)
        ]

    def signs(self, gold: str | None = None) -> list[Sign]:
        """What is amiss, the earliest first. gold: the one metric whose fall counts; None: that of any.

        Raises ConfigError when the evaluations do not have it, or it has no better end.
        """
        metrics = self.metrics if gold is None else (self._named(gold),)
        found = [*self._sameness(), *self._fallen(metrics, everywhere=gold is not None)]
        return sorted(found, key=lambda sign: sign.step)

    def _sameness(self) -> Iterable[Sign]:
        """Signals beyond their line in two evaluations in a row, or in the last one."""
        for signal in SIGNALS:
            beyond = [signal.is_beyond(each[signal.name]) for each in self.moved]
            for place, is_beyond in enumerate(beyond):
                if is_beyond and all(beyond[place : place + 2]):
                    spreads = self.moved[place][signal.name]
                    which = f"{signal.name} has moved by {spreads:+.1f} of the beginning's spreads"
                    yield Sign(self.points[place].step, signal.name, f"{signal.meaning} ({which})")
                    break

    def _fallen(self, metrics: Sequence[Facts], *, everywhere: bool) -> Iterable[Sign]:
        found: dict[str, Fall] = {}
        for fall in self.falls(metrics, everywhere=everywhere):
            facts = facts_of(self.first, fall.metric)
            worse = -fall.paired.difference if facts.better == "higher" else fall.paired.difference
            if worse > 0 and fall.p_holm <= SIZE:
                found.setdefault(fall.metric, fall)
        for metric, fall in found.items():
            size = sorted(abs(bound) for bound in (fall.paired.low, fall.paired.high))
            bounds = "" if math.isnan(fall.paired.low) else f" [{size[0]:.3f}, {size[1]:.3f}]"
            steps = [point.step for point in self.points]
            is_held = metric != self.headline.metric and self._is_held(steps.index(fall.best), steps.index(fall.step))
            beside = f", and {self.headline.metric} is not measurably worse than then" if is_held else ""
            by = f"{abs(fall.paired.difference):.3f}{bounds}"
            yield Sign(fall.step, metric, f"{metric} is worse by {by} than at step {fall.best}{beside}")

    def _best(self, facts: Facts, later: int) -> int | None:
        """The earliest of the best points before one; None where none is scored."""
        values = [self._value(facts, place) for place in range(later)]
        known = [place for place, value in enumerate(values) if not math.isnan(value)]
        return max(known, key=lambda place: values[place], default=None)

    def _is_held(self, before: int, after: int) -> bool:
        """Whether the headline is no worse at the later of two points, as far as a paired test can tell: at its ceiling
        it wavers by a picture or two."""
        if self._value(self.headline, after) >= self._value(self.headline, before):
            return True
        if (before, after) not in self._tested:
            pair = [self.points[after].results, self.points[before].results]
            self._tested[before, after] = paired(aligned(pair, self.headline.metric), draws_for(1)).p
        return not self._tested[before, after] <= SIZE

    @cached_property
    def _tested(self) -> dict[tuple[int, int], float]:
        """p of the headline between two points, as far as it was asked for: the same for every metric."""
        return {}

    def _value(self, facts: Facts, place: int) -> float:
        """Of which more is better."""
        mean = self.points[place].results.mean(facts.metric)
        return mean if facts.better == "higher" else -mean

    def _named(self, gold: str) -> Facts:
        """Of all that the evaluations have, shown or not."""
        known = self.first.metrics
        if gold not in known or any(gold not in each.results.metrics for each in self.points):
            raise ConfigError(
                f"--gold {gold}: the evaluations do not all have it.{did_you_mean(gold, known)} The first has: "
                f"{', '.join(known)}."
            )
        for each in self.points[1:]:
            if why := other_scorer(self.first, each.results, gold):
                raise ConfigError(f"--gold {gold}: it was not scored alike in all ({why}). Score it anew in all.")
        facts = facts_of(self.first, gold)
        if not facts.is_ranked:
            raise ConfigError(f"--gold {gold}: neither end of it is better, or it has one value for the whole set.")
        return facts


@dataclass(frozen=True)
class Found:
    """What the evaluations of a run are good for."""

    courses: tuple[Course, ...]
    """One for all of the same settings, where there are two steps or more."""
    left_out: Mapping[str, int]
    """Why an evaluation is in none of them -> how many are not."""


def courses(found: Sequence[Results], steps: Mapping[str, int], weights: str | None = None) -> Found:
    """The evaluations of a run's checkpoints, in order. Of one checkpoint under the same settings the last one counts.

    steps: an adapter's digest -> training steps done; "none" is the base. weights: of the base model, by its digest;
    None: whatever they are, those of several bases apart. Raises as `look_at` does.
    """
    groups: list[dict[int, Results]] = []
    left_out: Counter[str] = Counter()
    for each in found:
        step = steps.get(str(each.card.subject["adapter"]))
        if why := _no_part(each, step, weights):
            left_out[why] += 1
            continue
        assert step is not None
        group = next((group for group in groups if _alike(next(iter(group.values())), each)), None)
        if group is None:
            groups.append({step: each})
        else:
            left_out["done again later"] += step in group
            group[step] = each
    left_out["the only one under its settings"] += sum(len(group) == 1 for group in groups)
    made = tuple(_course({step: group[step] for step in sorted(group)}) for group in groups if len(group) > 1)
    return Found(made, {why: count for why, count in left_out.items() if count})


def _no_part(results: Results, step: int | None, weights: str | None) -> str:
    """Why an evaluation is no part of any course; "" when it may be one."""
    subject = results.card.subject
    if results.card.is_of_existing:
        return "of pictures that somebody else has made"
    if step is None:
        return "of an adapter that is no checkpoint here (any more)"
    if weights is not None and subject.get("weights") != weights:
        return "of another base model"
    return "" if results.headline in results.summary.metrics else "whose headline is not measured"


def _alike(first: Results, other: Results) -> bool:
    """Whether two evaluations can stand in one course."""
    return (
        not unlike_settings(first, other)
        and first.card.declared == other.card.declared
        and all(first.card.subject.get(name) == other.card.subject.get(name) for name in ("model", "weights", "sigmas"))
        and first.headline == other.headline
        and not other_scorer(first, other, first.headline)
    )


def _course(group: Mapping[int, Results]) -> Course:
    looks = {step: look_at(results) for step, results in group.items()}
    first = next(iter(looks.values()))
    compared = [
        prompt for prompt in first if len({each.get(prompt, _NONE).colors.shape for each in looks.values()}) == 1
    ]
    points = [
        Point(step, results, together([looks[step][prompt] for prompt in compared])) for step, results in group.items()
    ]
    return Course(tuple(points), len(compared))


def look_at(results: Results) -> dict[str, Look]:
    """The pictures of each prompt of an evaluation, measured. Raises MissingFile for one that is gone, RunError for
    another picture than was scored."""
    paths: dict[str, list[tuple[Path, Record]]] = {}
    for record in results.records:
        path = picture_of(results.folder, record, links=results.card.is_of_scored)
        if path is not None and path.is_file():
            paths.setdefault(record.prompt_id, []).append((path, record))
        elif record.is_scored:  # others could not be made
            raise MissingFile(
                f"{results.folder}: the picture {record.image} is gone. Evaluate again: it is made again."
            )
    return {
        prompt: measured([[to_array(_read(path, record)) for path, record in some]]) for prompt, some in paths.items()
    }


def _read(path: Path, record: Record) -> Image.Image:
    data = store.read_bytes(path)
    if record.image_sha256 and hashlib.sha256(data).hexdigest() != record.image_sha256:
        raise RunError(f"{path}: it is not the picture that was scored. Evaluate again.")
    return read_picture(path, data)

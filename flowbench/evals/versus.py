"""Two evaluations side by side, metric by metric and tag by tag, their p values adjusted for the size of the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from flowbench import store
from flowbench.errors import CardMismatch
from flowbench.evals.facts import Columns, Facts, aligned, facts_of, other_scorer
from flowbench.evals.results import Results, check_comparable
from flowbench.stats.paired import Paired, WinRate, draws_for, holm, paired_test, win_rate

SIZE = 0.05
"""A difference counts as found when its adjusted p is at most this."""

Verdict = Literal["better", "worse", "unclear", ""]


@dataclass(frozen=True)
class Line:
    """One metric of a candidate and a baseline."""

    facts: Facts
    """Which metric, and what it is of."""
    tag: str | None
    """The tag that it is measured on; None: overall."""
    candidate: float
    """Its mean."""
    baseline: float
    """The other's mean."""
    paired: Paired | None
    """Candidate minus baseline; None where values cannot be paired (a set has only one)."""
    p_holm: float = math.nan
    """p adjusted over the overall lines or, of a tag, over all lines of tags; NaN where nothing is tested, since
    neither end is better."""

    @property
    def verdict(self) -> Verdict:
        """What the test says of the candidate; "" where nothing is tested."""
        if self.paired is None or math.isnan(self.p_holm):
            return ""
        if self.p_holm > SIZE:
            return "unclear"
        return "better" if (self.paired.difference > 0) == (self.facts.better == "higher") else "worse"


@dataclass(frozen=True)
class Versus:
    """A candidate against a baseline."""

    candidate: Results
    """Whose gains are asked for."""
    baseline: Results
    """What it is measured against."""
    lines: tuple[Line, ...]
    """Each metric that both have: overall, then by tag."""
    wins: WinRate | None
    """How often the candidate's picture is the better one by the first metric; None: nothing to win."""
    differs: tuple[str, ...] = ()
    """Declared settings in which they differ, "guidance: 1.0 and 3.0"."""
    refused: tuple[tuple[str, str], ...] = ()
    """Metrics that both have and that other scorers scored, with the difference."""
    missing: tuple[str, ...] = ()
    """Metrics that only one of them has."""

    @property
    def headline(self) -> str:
        """The metric that `wins` speaks of."""
        return self.lines[0].facts.metric


def compare_evaluations(
    candidate: Results, baseline: Results, metrics: Sequence[str] | None = None, *, allow_mismatch: bool = False
) -> Versus:
    """Candidate minus baseline on each metric that both have (or those named), paired by prompt and seed.

    A metric that other scorers scored (another version, weights or options) is refused by name; the others go on.
    Raises CardMismatch when settings differ (declared ones without `allow_mismatch`), when the two do not hold the same
    pictures, and when no metric is left.
    """
    differs = check_comparable(candidate, baseline, allow_mismatch=allow_mismatch)
    shared = candidate.summary.metrics.keys() & baseline.summary.metrics.keys()
    both = [metric for metric in metrics or candidate.metrics if metric in shared]
    refused = [(metric, why) for metric in both if (why := other_scorer(candidate, baseline, metric))]
    kept = [metric for metric in both if metric not in dict(refused)]
    if not kept:
        raise CardMismatch(_nothing_left(candidate, baseline, refused))
    tags = (None, *candidate.tags)
    lines = _tested(candidate, baseline, [(facts_of(candidate, metric), tag) for metric in kept for tag in tags])
    first, wins = lines[0].facts, None
    if first.is_ranked:
        columns = aligned([candidate, baseline], first.metric)
        ours, theirs = columns.values
        wins = win_rate(ours, theirs, columns.prompt_ids, columns.tags, direction=first.better)
    everything = dict.fromkeys([*candidate.metrics, *baseline.metrics])
    return Versus(
        candidate,
        baseline,
        tuple(lines),
        wins,
        tuple(differs),
        tuple(refused),
        tuple(metric for metric in everything if metric not in shared),
    )


def compare_results(
    candidate: Results,
    baseline: Results,
    metric: str | None = None,
    *,
    tag: str | None = None,
    allow_mismatch: bool = False,
) -> Paired:
    """Candidate minus baseline on one metric, paired by prompt and seed; the headline unless another is named.

    With tags: the unweighted mean of the tags' means, unless one `tag` is named. Raises as `compare_evaluations` does.
    """
    check_comparable(candidate, baseline, allow_mismatch=allow_mismatch)
    metric = metric or candidate.headline
    if metric not in candidate.summary.metrics.keys() & baseline.summary.metrics.keys():
        raise CardMismatch(_nothing_left(candidate, baseline, []))
    if why := other_scorer(candidate, baseline, metric):
        raise CardMismatch(_nothing_left(candidate, baseline, [(metric, why)]))
    return paired(aligned([candidate, baseline], metric, tag), draws_for(1))


def to_records(versus: Versus) -> list[dict[str, Any]]:
    """The comparison as plain data, one entry per line and per refused metric."""
    entries = [
        {
            **asdict(line.facts),
            "tag": line.tag,
            "candidate": line.candidate,
            "baseline": line.baseline,
            "paired": asdict(line.paired) if line.paired else None,
            "p_holm": line.p_holm,
            "verdict": line.verdict,
            "win_rate": asdict(versus.wins) if versus.wins and place == 0 else None,
            "differs": list(versus.differs),
            "refused": "",
        }
        for place, line in enumerate(versus.lines)
    ]
    for metric, why in versus.refused:
        means = {"candidate": versus.candidate.mean(metric), "baseline": versus.baseline.mean(metric)}
        entries.append({"metric": metric, "tag": None, **means, "paired": None, "refused": why})
    return entries


def _tested(candidate: Results, baseline: Results, wanted: Sequence[tuple[Facts, str | None]]) -> list[Line]:
    """The lines, with enough draws in each test for Holm's correction."""
    draws = draws_for(sum(facts.is_ranked for facts, _ in wanted))
    lines, tests = [], []
    for facts, tag in wanted:
        means = candidate.mean(facts.metric, tag), baseline.mean(facts.metric, tag)
        both = None if facts.level == "set" else aligned([candidate, baseline], facts.metric, tag)
        lines.append(Line(facts, tag, *means, paired(both, draws) if both else None))
        tests.append(store.digest([tag is None, both.values, both.prompt_ids]) if both and facts.is_ranked else "")
    return [replace(line, p_holm=p) for line, p in zip(lines, _adjusted(lines, tests), strict=True)]


def _adjusted(lines: Sequence[Line], tests: Sequence[str]) -> list[float]:
    """p after Holm's correction, in two families: the overall numbers, which one decides by, and the tags, which
    explain them. `tests`: what each line tests ("": nothing); lines that test the same on the same values are one test.
    """
    adjusted: dict[str, float] = {}
    for of_tags in (False, True):
        family = {
            test: line.paired.p
            for line, test in zip(lines, tests, strict=True)
            if test and line.paired and (line.tag is not None) == of_tags
        }
        adjusted |= dict(zip(family, holm(list(family.values())), strict=True))
    return [adjusted.get(test, math.nan) for test in tests]


def paired(columns: Columns, draws: int) -> Paired:
    """The first column minus the second; p by that many draws, all else as `paired_test` gives it everywhere."""
    ours, theirs = columns.values
    found = paired_test(ours, theirs, columns.prompt_ids, columns.tags)
    if draws <= found.flips:
        return found
    more = paired_test(ours, theirs, columns.prompt_ids, columns.tags, draws=draws)
    return replace(found, p=more.p, flips=more.flips)


def _nothing_left(candidate: Results, baseline: Results, refused: Sequence[tuple[str, str]]) -> str:
    where = f"'{candidate.label}' and '{baseline.label}' cannot be compared"
    if refused:
        metric, why = refused[0]
        return f"{where}: metric '{metric}' was scored by others in each ({why}). Score both alike."
    return f"{where}: no metric is measured in both. Evaluate both with the same scorers."

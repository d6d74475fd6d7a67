"""Tables of evaluations: built once as text, then shown in the terminal or written in the formats of `formats`.

A dash is "not measured", never 0. Brackets hold the 95 % interval (bootstrap over prompts, stratified by tag).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowbench.evals.facts import facts_of
from flowbench.evals.results import Results
from flowbench.evals.versus import Line, Versus
from flowbench.reports.tables import footnotes
from flowbench.reports.tables.cells import DASH, bounded, headed, number, p_value, signed
from flowbench.reports.tables.table import Table


def comparison_table(versus: Versus) -> Table:
    """One line per metric and tag: both means, the paired difference with its interval, p, and what it could find."""
    header = ("metric", "baseline", "candidate", "difference", "p", "p Holm", "detectable", "candidate is")
    title = f"{versus.candidate.summary['suite']}: {versus.candidate.label} against {versus.baseline.label}"
    rows = tuple(_comparison_cells(line) for line in versus.lines)
    return Table(title, header, rows, tuple(_comparison_notes(versus)), data=tuple(map(_comparison_data, versus.lines)))


def summary_table(results: Results) -> Table:
    """One evaluation: a line per metric, overall with its interval and the mean of each tag."""
    facts = {metric: facts_of(results, metric) for metric in results.metrics if metric in results.summary["metrics"]}
    rows = tuple(
        (
            headed(metric, each.direction, each.unit),
            bounded(results.interval(metric)),
            *(number(results.mean(metric, tag)) for tag in results.tags),
        )
        for metric, each in facts.items()
    )
    unseen = [tag for tag in results.tags if tag in results.summary["unseen"]]
    header = ("metric", "overall", *(f"{tag}{footnotes.UNSEEN_MARK if tag in unseen else ''}" for tag in results.tags))
    below = [footnotes.counts(results), *footnotes.unseen(unseen), *footnotes.unscored([results])]
    return Table(f"{results.summary['suite']}: {results.label}", header, rows, tuple(below))


def scores_table(title: str, scored: Sequence[Results]) -> Table:
    """Several scorers of the same pictures: a line for each, since no two need share a unit."""
    tags = list(dict.fromkeys(tag for each in scored for tag in each.tags))
    rows = tuple(
        (
            headed(each.summary["suite"], each.summary["direction"], ""),
            each.summary["unit"],
            bounded(each.interval("value")),
            *(number(each.mean("value", tag)) for tag in tags),
        )
        for each in scored
    )
    agreed = [each.card["must_agree"] for each in scored]
    counts = dict.fromkeys(f"{each['num_prompts']} prompts, {each['num_images']} pictures" for each in agreed)
    mean = f"; overall is {footnotes.kind_of_mean(scored[0])}" if len(tags) > 1 else ""
    bounds = any(each.interval("value").get("low") is not None for each in scored)
    sure = "brackets: 95 % interval, bootstrap over prompts" if bounds else "too few prompts for intervals"
    below = [f"{'; '.join(counts)}{mean}; {sure}.", *footnotes.unscored_by_scorer(scored)]
    return Table(title, ("scorer", "unit", "overall", *tags), rows, tuple(below))


def _comparison_cells(line: Line) -> tuple[str, ...]:
    name = headed(line.facts.metric, line.facts.direction, "" if line.tag else line.facts.unit)
    tested = line.paired is not None and line.facts.is_ranked
    return (
        f"{name}{' / ' + line.tag if line.tag else ''}",
        number(line.baseline),
        number(line.candidate),
        signed(line.paired) if line.paired else _plain_difference(line),
        p_value(line.paired.p) if line.paired and tested else DASH,
        p_value(line.p_holm),
        number(line.paired.detectable) if line.paired and tested else DASH,
        line.verdict or DASH,
    )


def _plain_difference(line: Line) -> str:
    difference = line.candidate - line.baseline
    return DASH if math.isnan(difference) else f"{difference:+.3f}"


def _comparison_notes(versus: Versus) -> list[str]:
    lines = [
        "Difference: candidate minus baseline, paired by prompt and seed, with its 95 % interval. p Holm: p adjusted "
        "for the number of tests, overall numbers and tags apart, equal tests once; better and worse: at most .05. "
        "Detectable: the true difference that this "
        "comparison would find four times in five.",
        *_mean(versus.candidate),
    ]
    wins = versus.wins
    if wins is not None and not math.isnan(wins.rate):
        bounds = "" if math.isnan(wins.low) else f" [{wins.low:.3f}, {wins.high:.3f}]"
        lines.append(
            f"Win rate of the candidate on {versus.headline}: {wins.rate:.3f}{bounds}, a tie counts half "
            f"({wins.wins} pictures better, {wins.ties} alike, {wins.losses} worse)."
        )
    if versus.differs:
        lines.append(f"Settings differ (candidate and baseline): {'; '.join(versus.differs)}.")
    lines += [f"{metric}: not compared, it was scored by others in each ({why})." for metric, why in versus.refused]
    if versus.missing:
        lines.append(f"Measured in only one of them: {', '.join(versus.missing)}.")
    if any(line.facts.direction == "none" for line in versus.lines):
        lines.append("Metrics without an arrow only describe: neither end is better, so nothing is tested.")
    return lines + footnotes.unscored([versus.candidate, versus.baseline])


def _mean(results: Results) -> list[str]:
    return [f"A line without a tag is {footnotes.kind_of_mean(results)}."] if results.tags else []


def _comparison_data(line: Line) -> dict[str, object]:
    """The line at full precision, a column for each number and bound."""
    paired = line.paired
    numbers = (paired.difference, paired.low, paired.high, paired.p, paired.detectable) if paired else (math.nan,) * 5
    heads = ("difference", "difference low", "difference high", "p", "detectable")
    return {
        "metric": line.facts.metric,
        "tag": line.tag or "",
        "unit": line.facts.unit,
        "direction": line.facts.direction,
        "baseline": line.baseline,
        "candidate": line.candidate,
        **dict(zip(heads, numbers, strict=True)),
        "p Holm": line.p_holm,
        "candidate is": line.verdict,
    }

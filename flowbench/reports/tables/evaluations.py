"""Tables of evaluations: built once as text, then shown in the terminal or written in the formats of `formats`.

A dash is "not measured", never 0. Brackets hold an interval; `footnotes` says below the table of which kind.
"""

from __future__ import annotations

import math

from flowbench.evals.leaderboard import shown_metrics
from flowbench.evals.results import Results
from flowbench.evals.versus import Versus
from flowbench.reports.tables import footnotes
from flowbench.reports.tables.cells import DASH, bounded, headed, number, p_value, signed
from flowbench.reports.tables.table import Table


def comparison_table(versus: Versus) -> Table:
    """One line per metric and tag: both means, the paired difference with its interval, p, and what it could find; its
    data at full precision, a column for each number and bound."""
    header = ("metric", "baseline", "candidate", "difference", "p", "p Holm", "detectable", "candidate is")
    cells, data = [], []
    for line in versus.lines:
        facts, paired, plain = line.facts, line.paired, line.candidate - line.baseline
        tested = paired if facts.is_ranked else None
        name = headed(facts.metric, facts.direction, "" if line.tag else facts.unit)
        cells.append(
            (
                f"{name}{' / ' + line.tag if line.tag else ''}",
                number(line.baseline),
                number(line.candidate),
                signed(paired) if paired else DASH if math.isnan(plain) else f"{plain:+.3f}",
                p_value(tested.p) if tested else DASH,
                p_value(line.p_holm),
                number(tested.detectable) if tested else DASH,
                line.verdict or DASH,
            )
        )
        found = (paired.difference, paired.low, paired.high, paired.p, paired.detectable) if paired else (math.nan,) * 5
        data.append(
            {
                "metric": facts.metric,
                "tag": line.tag or "",
                "unit": facts.unit,
                "direction": facts.direction,
                "baseline": line.baseline,
                "candidate": line.candidate,
                **dict(zip(("difference", "difference low", "difference high", "p", "detectable"), found, strict=True)),
                "interval": footnotes.kind_of_interval([paired]),
                "p Holm": line.p_holm,
                "candidate is": line.verdict,
            }
        )
    title = f"{versus.candidate.summary.suite}: {versus.candidate.label} against {versus.baseline.label}"
    return Table(title, header, tuple(cells), tuple(_comparison_notes(versus)), data=tuple(data))


def summary_table(results: Results) -> Table:
    """One evaluation: a line per metric, overall with its interval and the mean of each tag."""
    summary = results.summary
    rows = tuple(
        (
            headed(metric, summary.metrics[metric].direction, summary.metrics[metric].unit),
            bounded(results.interval(metric)),
            *(number(results.mean(metric, tag)) for tag in results.tags),
        )
        for metric in results.metrics
    )
    unseen = [tag for tag in results.tags if tag in summary.unseen]
    header = ("metric", "overall", *(f"{tag}{footnotes.UNSEEN_MARK if tag in unseen else ''}" for tag in results.tags))
    below = [footnotes.counts([results]), *footnotes.unseen(unseen), *footnotes.unscored([results])]
    return Table(f"{summary.suite}: {results.label}", header, rows, tuple(below))


def scores_table(results: Results) -> Table:
    """Scored pictures: a line for each scorer, since no two need share a unit."""
    metrics = results.summary.metrics
    rows = tuple(
        (
            headed(metric, metrics[metric].direction, ""),
            metrics[metric].unit,
            bounded(results.interval(metric)),
            *(number(results.mean(metric, tag)) for tag in results.tags),
        )
        for metric in shown_metrics(results)
    )
    below = (footnotes.counts([results]), *footnotes.unscored([results]))
    return Table(results.label, ("scorer", "unit", "overall", *results.tags), rows, below)


def _comparison_notes(versus: Versus) -> list[str]:
    kind = footnotes.kind_of_interval(line.paired for line in versus.lines)
    lines = [
        f"Difference: candidate minus baseline, paired by prompt and seed{kind and f', with its {kind}'}. "
        "p Holm: p adjusted for the number of tests, overall numbers and tags apart, equal tests once; better and "
        "worse: at most .05. Detectable: the true difference that this comparison would find four times in five."
    ]
    if versus.candidate.tags:
        lines.append(f"A line without a tag is {footnotes.kind_of_mean(versus.candidate)}.")
    wins = versus.wins
    if wins is not None and not math.isnan(wins.rate):
        kind = footnotes.kind_of_interval([wins])
        bounds = f" [{wins.low:.3f}, {wins.high:.3f}; {kind}]" if kind else ""
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

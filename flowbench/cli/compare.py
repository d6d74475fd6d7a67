"""`flowbench compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError

if TYPE_CHECKING:
    from flowbench.evals import Results


@click.command()
@click.argument("candidate")
@click.argument("baseline")
@click.option("--suite", metavar="NAME", help="Which suite, when the folders hold evaluations of several.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric. Can be repeated.")
@click.option("--allow-mismatch", is_flag=True, help="Compare although declared settings (steps, guidance) differ.")
@click.option("--out", metavar="FILE", help="Write the table to a file (as Markdown unless --format says otherwise).")
@format_option
def compare(
    candidate: str, baseline: str, suite: str | None, metrics: tuple[str, ...], allow_mismatch: bool, out: str | None,
    style: str | None,
) -> None:  # fmt: skip
    """Compare two evaluations on the same prompts and seeds.

    CANDIDATE and BASELINE are run folders or evaluation folders; the difference is candidate minus baseline.
    """
    ours, theirs = _only(candidate, suite), _only(baseline, suite)
    _check_metrics(ours, theirs, metrics)
    from flowbench.evals.comparison import compare_evaluations, to_records
    from flowbench.evals.tables import comparison_table

    versus = compare_evaluations(ours, theirs, metrics or None, allow_mismatch=allow_mismatch)
    show_tables([comparison_table(versus)], to_records(versus), style=style, out=out)


def _only(folder: str, suite: str | None) -> Results:
    """The one evaluation in the folder. Raises ConfigError when there are several."""
    from flowbench.evals import find_results

    found = find_results(folder, suite)
    if len(found) > 1:
        listed = ", ".join(f"{each.folder} ({each.label})" for each in found)
        raise ConfigError(f"{folder} holds {len(found)} evaluations; name one of them: {listed}.")
    return found[0]


def _check_metrics(ours: Results, theirs: Results, metrics: tuple[str, ...]) -> None:
    from flowbench.registry import did_you_mean

    known = [metric for metric in ours.metrics if metric in theirs.metrics]
    for metric in metrics:
        if metric not in known:
            raise ConfigError(f"no metric '{metric}'.{did_you_mean(metric, known)} Both have: {', '.join(known)}.")

"""`flowbench compare`."""

from __future__ import annotations

import click

from flowbench.cli.output import format_option, show_tables
from flowbench.errors import ConfigError


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
    from flowbench.evals.results import find_one
    from flowbench.evals.versus import compare_evaluations, to_records
    from flowbench.registry import did_you_mean
    from flowbench.reports.tables.evaluations import comparison_table

    ours, theirs = find_one(candidate, suite), find_one(baseline, suite)
    known = [metric for metric in ours.metrics if metric in theirs.metrics]
    for metric in metrics:
        if metric not in known:
            raise ConfigError(f"no metric '{metric}'.{did_you_mean(metric, known)} Both have: {', '.join(known)}.")
    versus = compare_evaluations(ours, theirs, metrics or None, allow_mismatch=allow_mismatch)
    show_tables([comparison_table(versus)], to_records(versus), style=style, out=out)

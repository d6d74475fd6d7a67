"""How long the statistics of a GenEval table take: `python bench/bootstrap.py`

2,212 pictures, six metrics, 10,000 bootstrap draws (the default is 2,000). Beside them the same intervals by a plain
loop over draws, which is checked to give the same numbers up to chance. All ways take turns; medians over rounds.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
import numpy
from numpy import ndarray

from flowbench.evals import Interval, interval, interval_table, paired_table, rank_ranges
from flowbench.store import write_text

TAG_SIZES = (80, 99, 80, 94, 100, 100)
RATES = (0.98, 0.78, 0.50, 0.81, 0.24, 0.52)
PROMPT_OF = numpy.repeat(numpy.arange(sum(TAG_SIZES)), 4)
TAG_OF = numpy.repeat(numpy.arange(len(TAG_SIZES)), [4 * size for size in TAG_SIZES])
TARGET = 2.0
TABLE = "six metrics at once (`interval_table`)"
PLAIN = "a plain loop over draws"


def columns(number: int) -> dict[str, ndarray]:
    """So many metrics, or models, of pictures that are right at SD3.5-M's rates."""
    generator = numpy.random.default_rng(0)
    rates = numpy.array(RATES)[TAG_OF]
    return {f"column {place}": (generator.random(len(TAG_OF)) < rates).astype(float) for place in range(number)}


def plain(values: ndarray, draws: int) -> tuple[float, float]:
    """The percentile interval as one would first write it: draw prompts of each tag, average, average, repeat."""
    generator = numpy.random.default_rng(0)
    by_prompt = values.reshape(-1, 4)
    tags = numpy.split(by_prompt, numpy.cumsum(TAG_SIZES)[:-1])
    means = []
    for _ in range(draws):
        drawn = [tag[generator.integers(len(tag), size=len(tag))] for tag in tags]
        means.append(sum(tag.mean() for tag in drawn) / len(drawn))
    low, high = numpy.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            started = time.perf_counter()
            work()
            if turn:  # the first round only warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


def check_alike(ours: dict[str, Interval], metrics: dict[str, ndarray], draws: int) -> None:
    """The plain loop's bounds, up to the factor sqrt(n / (n - 1)) and chance."""
    for name, values in metrics.items():
        low, high = plain(values, draws)
        slack = 0.05 * (high - low)
        assert abs(ours[name].low - low) < slack and abs(ours[name].high - high) < slack, name


def report(draws: int, rounds: int) -> str:
    """The table, with what it takes to repeat it."""
    metrics, models = columns(6), columns(10)
    pairs = {name: (values, metrics["column 0"][::-1]) for name, values in metrics.items()}
    check_alike(interval_table(metrics, PROMPT_OF, TAG_OF, draws=draws, method="percentile"), metrics, draws)
    ways: dict[str, Callable[[], object]] = {
        TABLE: lambda: interval_table(metrics, PROMPT_OF, TAG_OF, draws=draws, method="percentile"),
        "the same, BCa": lambda: interval_table(metrics, PROMPT_OF, TAG_OF, draws=draws, method="bca"),
        "six times `interval`": lambda: [
            interval(each, PROMPT_OF, TAG_OF, draws=draws, method="percentile") for each in metrics.values()
        ],
        "the same, Wilson's": lambda: interval_table(metrics, PROMPT_OF, TAG_OF),
        "six paired tests with intervals (`paired_table`)": lambda: paired_table(pairs, PROMPT_OF, TAG_OF, draws=draws),
        "rank ranges of ten models, 45 pairs": lambda: rank_ranges(models, PROMPT_OF, TAG_OF, draws=draws),
        PLAIN: lambda: [plain(each, draws) for each in metrics.values()],
    }
    taken = measure(ways, rounds)
    lines = [
        "# How long the bootstrap takes",
        "",
        f"2,212 pictures, six metrics, {draws:,} draws, medians of {rounds} rounds. Target of the first line: at most "
        f"{TARGET:g} s.",
        "",
        f"| what | seconds | times faster than {PLAIN} |",
        "|---|---|---|",
        *(f"| {name} | {each:.3f} | {_faster(name, each, taken)} |" for name, each in taken.items()),
        "",
        f"- Command: `python {' '.join(sys.argv)}`",
        f"- Machine: {platform.machine()}, {os.cpu_count()} cores, numpy {numpy.__version__}, "
        f"Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


def _faster(name: str, seconds: float, taken: dict[str, float]) -> str:
    """Of the ways that give the same as the plain loop."""
    return f"{taken[PLAIN] / seconds:.0f}" if name in (TABLE, "six times `interval`") else "–"


@click.command()
@click.option("--draws", default=10_000, show_default=True)
@click.option("--rounds", default=9, show_default=True, help="Measured rounds; one more warms up.")
@click.option("--out", default="docs/results/bootstrap.md", show_default=True, help="Where the table goes.")
def main(draws: int, rounds: int, out: str) -> None:
    """Print and write how long each way takes."""
    text = report(draws, rounds)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    main()

"""Do the intervals hold what they promise? `python bench/simulations.py`

Draws pictures' verdicts whose truth is known, of the size of GenEval, thousands of times, and counts how often the
statistics of flowbench/evals are right about them. Takes a minute or two on one core; seeds are fixed.

A picture copies its prompt's luck with probability sqrt(.5), else it has luck of its own: two pictures of a prompt
correlate by .5. Two models' luck on a prompt is the same with probability .6: they find the same prompts hard.
"""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import numpy
import scipy
from numpy import ndarray

from flowbench.evals import interval_table, paired_table, rank_ranges
from flowbench.store import write_text

TAG_SIZES = (80, 99, 80, 94, 100, 100)  # GenEval: single, two objects, counting, colors, position, color attribution
PER_PROMPT = 4
LEVELS = {
    "SD3.5-M (.98 .78 .50 .81 .24 .52)": (0.98, 0.78, 0.50, 0.81, 0.24, 0.52),
    "Flow-GRPO (1.00 .99 .95 .92 .99 .86)": (1.00, 0.99, 0.95, 0.92, 0.99, 0.86),
    "near the top (.998 .99 .98 .99 .99 .97)": (0.998, 0.99, 0.98, 0.99, 0.99, 0.97),
}
METHODS = ("percentile", "bca", "analytic")
WRONG_UNIT = "pictures as prompts"
CORRELATION, ALIKE = 0.5, 0.6
BATCH = 100  # repetitions that share their bootstrap draws
PROMPT_OF = numpy.repeat(numpy.arange(sum(TAG_SIZES)), PER_PROMPT)
TAG_OF = numpy.repeat(numpy.arange(len(TAG_SIZES)), [PER_PROMPT * size for size in TAG_SIZES])


@dataclass(frozen=True)
class Covered:
    """Shares of repetitions: the interval holds the truth, lies below it, above it. width: mean width."""

    inside: float
    below: float
    above: float
    width: float


def verdicts(rates: ndarray, shared: ndarray, generator: numpy.random.Generator) -> ndarray:
    """(repetitions, pictures) of 0 and 1. rates (prompts,); shared (repetitions, prompts), uniform: prompts' luck."""
    shape = (*shared.shape, PER_PROMPT)
    copies = generator.random(shape) < math.sqrt(CORRELATION)
    luck = numpy.where(copies, shared[..., None], generator.random(shape))
    return (luck < rates[:, None]).reshape(len(shared), -1).astype(float)


def batches(repetitions: int, seed: int) -> Iterator[tuple[int, numpy.random.Generator]]:
    """(seed of the statistics, generator of the data) for each batch of repetitions."""
    for number in range(repetitions // BATCH):
        yield number, numpy.random.default_rng([seed, number])


def coverage(
    rates: ndarray, tags: ndarray | None, repetitions: int, methods: Sequence[str] = (*METHODS, WRONG_UNIT)
) -> dict[str, Covered]:
    """Of the three methods and of a percentile interval that takes every picture for a prompt of its own.

    rates: of each prompt; tags: of each picture. The truth is the mean of the tags' rates (of all without tags).
    """
    pictures = numpy.repeat(rates, PER_PROMPT)
    truth = pictures.mean() if tags is None else numpy.mean([pictures[tags == tag].mean() for tag in set(tags)])
    units = numpy.arange(len(pictures))
    bounds: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for seed, generator in batches(repetitions, 1):
        drawn = verdicts(rates, generator.random((BATCH, len(rates))), generator)
        columns = {str(place): row for place, row in enumerate(drawn)}
        for name in bounds:
            ids, method = (units // PER_PROMPT, name) if name in METHODS else (units, "percentile")
            found = interval_table(columns, ids, tags, draws=2000, seed=seed, method=method)
            bounds[name] += [(each.low, each.high) for each in found.values()]
    return {name: _covered(numpy.array(each), float(truth)) for name, each in bounds.items()}


def _covered(bounds: ndarray, truth: float) -> Covered:
    low, high = bounds.T
    slack = 1e-12  # an interval of no width holds its own mean, whatever the rounding of sums
    below, above = float((high < truth - slack).mean()), float((low > truth + slack).mean())
    return Covered(1 - below - above, below, above, float((high - low).mean()))


def models(rates: list[ndarray], generator: numpy.random.Generator) -> list[ndarray]:
    """For each model's rates (prompts,): its (BATCH, pictures) of verdicts on the same prompts."""
    common = generator.random((BATCH, len(PROMPT_OF) // PER_PROMPT))
    drawn = []
    for each in rates:
        same = generator.random(common.shape) < math.sqrt(ALIKE)  # both models': ALIKE
        drawn.append(verdicts(each, numpy.where(same, common, generator.random(common.shape)), generator))
    return drawn


def paired(level: tuple[float, ...], lift: float, repetitions: int) -> tuple[float, float, float]:
    """Of a model at `level` less `lift` in each tag against one at `level`: how often p <= .05, how often the interval
    of the difference holds the truth, and the mean detectable difference. lift is to leave no rate below 0."""
    rates = numpy.repeat(level, TAG_SIZES)
    called, inside, detectable = [], [], []
    for seed, generator in batches(repetitions, 2):
        a, b = models([rates - lift, rates], generator)
        pairs = {str(place): pair for place, pair in enumerate(zip(a, b, strict=True))}
        found = list(paired_table(pairs, PROMPT_OF, TAG_OF, draws=2000, seed=seed).values())
        called += [each.p <= 0.05 for each in found]
        inside += [each.low <= -lift <= each.high for each in found]
        detectable += [each.detectable for each in found]
    return float(numpy.mean(called)), float(numpy.mean(inside)), float(numpy.mean(detectable))


def detectable_at(level: tuple[float, ...]) -> float:
    """The true difference that equals the detectable one seen at that difference: a worse model's spread is another."""
    lift = 0.0
    for _ in range(4):
        lift = paired(level, lift, BATCH)[2]
    return lift


def wrong_ranks(level: tuple[float, ...], number: int, repetitions: int) -> float:
    """How often, of `number` equal models, one or more are said to be surely not the first or surely not the last."""
    rates = numpy.repeat(level, TAG_SIZES)
    wrong = []
    for seed, generator in batches(repetitions, 3):
        drawn = models([rates] * number, generator)
        for place in range(BATCH):
            values = {str(model): rows[place] for model, rows in enumerate(drawn)}
            ranges = rank_ranges(values, PROMPT_OF, TAG_OF, seed=seed * BATCH + place)
            wrong.append(set(ranges.values()) != {(1, number)})
    return float(numpy.mean(wrong))


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def coverage_table(repetitions: int) -> list[str]:
    head = "| level of the six tags | method | covers, % | lies below, above the truth, % | mean width |"
    lines = [head, "|---|---|---|---|---|"]
    for name, level in LEVELS.items():
        for method, each in coverage(numpy.repeat(level, TAG_SIZES), TAG_OF, repetitions).items():
            sides = f"{percent(each.below)}, {percent(each.above)}"
            lines.append(f"| {name} | {method} | {percent(each.inside)} | {sides} | {each.width:.4f} |")
    return lines


def tag_table(repetitions: int) -> list[str]:
    lines = ["| true level | " + " | ".join(METHODS) + " | all pictures right |", "|---|---|---|---|---|"]
    for level in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.998, 1.0):
        found = coverage(numpy.full(80, level), None, repetitions)
        right = all_right(level, 80)
        cells = " | ".join(percent(found[method].inside) for method in METHODS)
        lines.append(f"| {level:g} | {cells} | {percent(right)} |")
    return lines


def all_right(level: float, prompts: int) -> float:
    """The chance that no picture fails: k of a prompt's pictures copy its luck, and succeed or fail as one."""
    copy = math.sqrt(CORRELATION)
    ways = [math.comb(PER_PROMPT, k) * copy**k * (1 - copy) ** (PER_PROMPT - k) for k in range(PER_PROMPT + 1)]
    one = sum(way * level ** (PER_PROMPT - k + (k > 0)) for k, way in enumerate(ways))
    return one**prompts


def paired_lines(repetitions: int) -> list[str]:
    lines = [
        "| level of the better model | true difference | called a difference (p <= .05), % | interval holds it, % |",
        "|---|---|---|---|",
    ]
    for name, level in list(LEVELS.items())[:2]:
        size, inside, _ = paired(level, 0.0, repetitions)
        lines.append(f"| {name} | 0 | {percent(size)} | {percent(inside)} |")
        smallest = detectable_at(level)
        for factor, words in ((0.5, "half of it"), (1.0, "the detectable one")):
            power, inside, _ = paired(level, factor * smallest, repetitions)
            lines.append(f"| {name} | {factor * smallest:.4f}, {words} | {percent(power)} | {percent(inside)} |")
    return lines


def report(repetitions: int) -> str:
    """The page, with what it takes to repeat it."""
    started = time.perf_counter()
    wrong = wrong_ranks(next(iter(LEVELS.values())), 4, repetitions)
    lines = [
        "# How right the statistics are",
        "",
        f"{repetitions:,} repetitions a line; standard error of a share near 95 or 5 %: "
        f"{100 * math.sqrt(0.95 * 0.05 / repetitions):.2f} points. How the verdicts are drawn: bench/simulations.py. "
        "What the numbers mean: docs/statistics.md.",
        "",
        "## 95 % intervals of a GenEval score",
        "553 prompts in six tags, four pictures each, correlation .5 within a prompt. To be covered: 93 to 97 %.",
        "",
        *coverage_table(repetitions),
        "",
        "## 95 % intervals of one tag",
        "80 prompts, four pictures each: how often the interval covers, in %, and how often there is nothing to see.",
        "",
        *tag_table(repetitions),
        "",
        "## The paired test",
        "A better and a worse model (every tag worse by the difference) on the same prompts. Where there is none, 4 to",
        "6 % are to be called one; at the detectable difference, 80 %.",
        "",
        *paired_lines(repetitions),
        "",
        "## Rank ranges",
        f"Of four equal models, one or more were surely not the first or not the last in {percent(wrong)} % of the",
        "repetitions (at most 5 %).",
        "",
        f"- Command: `python {' '.join(sys.argv)}` ({time.perf_counter() - started:.0f} s)",
        f"- Machine: {platform.machine()}, numpy {numpy.__version__}, scipy {scipy.__version__}, "
        f"Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--repetitions", default=4000, show_default=True, help="Per line of a table, in hundreds.")
@click.option("--out", default="docs/results/statistics.md", show_default=True, help="Where the page goes.")
def main(repetitions: int, out: str) -> None:
    """Print and write how often the intervals and tests are right."""
    text = report(repetitions)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    main()

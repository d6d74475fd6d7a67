"""Does the default interval hold the truth in small suites, too? `python bench/coverage.py`

Draws zeros and ones of suites of 20 to 200 prompts with four pictures each, whose true mean is known, and counts how
often the intervals hold it. A few minutes on one core; seeds are fixed.

A prompt has a chance of its own, from a beta distribution with the tag's mean: two pictures of a prompt correlate by
0, .2, .4, .6 or .8, and by 1 where a prompt is always right or wrong. So a suite is drawn as how many prompts of each
tag have 0 to 4 right pictures, and `wilson` computes Wilson's interval of thousands of such suites at once; some of
them go through `interval_table` too, and must give the same numbers.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import numpy
import scipy
from numpy import ndarray
from scipy import optimize, special

from flowbench.evals import interval_table, paired_table
from flowbench.stats.analytic import _DOUBT
from flowbench.stats.methods import METHODS, Method
from flowbench.store import write_text

PICTURES = 4
PROMPTS = (20, 40, 80, 200)
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COPIES = (
    -0.5
)  # a seventh, in no average: correlation .5 by pictures that copy their prompt's luck (bench/simulations.py)
DESIGNS = {  # how the tags' rates lie around the suite's, on the logit scale
    "one tag": (0.0,),
    "six like tags": (0.0,) * 6,
    "six unlike tags": (-1.5, -0.9, -0.3, 0.3, 0.9, 1.5),
}
LEVELS = numpy.arange(50, 99) / 100
BANDS = (LEVELS * 100 - 50).astype(int) // 5  # of .05
BAND_NAMES = [f".{start}–" for start in range(50, 95, 5)] + [".95–.98"]


@dataclass(frozen=True)
class Suites:
    """Drawn suites: how many prompts of each tag have 0 to 4 right pictures, (suites, tags, 5), and their true mean."""

    counts: ndarray
    truth: float

    @classmethod
    def draw(
        cls, prompts: int, design: str, level: float, correlation: float, number: int, generator: numpy.random.Generator
    ) -> Suites:
        """As many prompts in each tag as can be; the first tags have one more."""
        offsets = numpy.array(DESIGNS[design])
        shift = special.logit(level)
        if offsets.any():
            shift = optimize.brentq(lambda shift: special.expit(shift + offsets).mean() - level, -20, 20)
        sizes = [len(part) for part in numpy.array_split(numpy.arange(prompts), len(offsets))]
        drawn = [
            generator.multinomial(size, right_pictures(rate, correlation), size=number)
            for size, rate in zip(sizes, special.expit(shift + offsets), strict=True)
        ]
        return cls(numpy.stack(drawn, axis=1), level)

    def columns(self, number: int) -> tuple[dict[str, ndarray], ndarray, ndarray]:
        """The first of them as `interval_table` takes them: columns of values, prompt ids, tags."""
        sizes = self.counts[0].sum(axis=1)
        values = numpy.tril(numpy.ones((PICTURES + 1, PICTURES)), -1)  # of a prompt with 0 to 4 right pictures
        columns = {
            str(place): numpy.concatenate([numpy.repeat(values, tag, axis=0) for tag in suite]).ravel()
            for place, suite in enumerate(self.counts[:number])
        }
        ids = numpy.repeat(numpy.arange(sizes.sum()), PICTURES)
        return columns, ids, numpy.repeat(numpy.arange(len(sizes)), PICTURES * sizes)


def right_pictures(rate: float, correlation: float) -> ndarray:
    """(5,): the chances that 0 to 4 of a prompt's pictures are right."""
    number, wrong = numpy.arange(PICTURES + 1), PICTURES - numpy.arange(PICTURES + 1)
    ways = special.comb(PICTURES, number)
    if correlation == 0:
        return ways * rate**number * (1 - rate) ** wrong
    if correlation == 1:
        return numpy.array([1 - rate, 0, 0, 0, rate])
    if correlation > 0:
        total = 1 / correlation - 1
        a, b = rate * total, (1 - rate) * total
        return ways * special.beta(number + a, wrong + b) / special.beta(a, b)
    chances, copied = numpy.zeros(PICTURES + 1), (-correlation) ** 0.5
    for copies in number:  # they share the prompt's luck, which is bad or good; the others are on their own
        others = PICTURES - copies
        own = special.comb(others, number) * rate**number * (1 - rate) ** numpy.maximum(others - number, 0)
        chance = ways[copies] * copied**copies * (1 - copied) ** others
        chances += chance * ((1 - rate) * own + rate * numpy.roll(own, copies))
    return chances


def wilson(counts: ndarray) -> tuple[ndarray, ndarray]:
    """low and high of each of (suites, tags, 5): `stats.analytic.wilson_interval`, of many zeros and ones at once."""
    sizes, share = counts[0].sum(axis=1), numpy.arange(PICTURES + 1) / PICTURES
    rates, tags = counts @ share / sizes, counts.shape[1]
    mean = rates.mean(axis=1)
    seen = ((counts @ share**2 / sizes - rates**2) / (sizes - 1)).sum(axis=1) / tags**2
    copies = (rates * (1 - rates) / (sizes - 1)).sum(axis=1) / tags**2
    squared = special.stdtrit((sizes * (sizes - 1)).sum(), 0.975) ** 2
    bounds = []
    for side, silent in ((-1, PICTURES), (1, 0)):
        telling = sizes.sum() - counts[:, :, silent].sum(axis=1)
        variance = (telling * seen + _DOUBT * copies) / (telling + _DOUBT)
        alone = numpy.full(len(counts), (1 / sizes).sum() / tags**2)
        part = squared * numpy.divide(variance, mean * (1 - mean), out=alone, where=copies > 1e-14)
        bounds.append((mean + part / 2 + side * numpy.sqrt(part * (mean * (1 - mean) + part / 4))) / (1 + part))
    return bounds[0], bounds[1]


def by_method(suites: Suites, method: Method, number: int) -> tuple[ndarray, ndarray]:
    """low and high of the first suites, by flowbench."""
    columns, ids, tags = suites.columns(number)
    found = interval_table(columns, ids, tags, method=method)
    return numpy.array([each.low for each in found.values()]), numpy.array([each.high for each in found.values()])


def misses(bounds: tuple[ndarray, ndarray], truth: float) -> tuple[float, float, float]:
    """Shares of intervals that lie below and above the truth, in %, and their mean width; NaN without intervals."""
    low, high = bounds
    if numpy.isnan(low).all():
        return numpy.nan, numpy.nan, numpy.nan
    below, above = 100 * (high < truth - 1e-9).mean(), 100 * (low > truth + 1e-9).mean()
    return float(below), float(above), float((high - low).mean())


@dataclass(frozen=True)
class Measured:
    """Of one number of prompts and one design, (correlations, levels, 3): below, above, width. `before`: of the
    percentile bootstrap, NaN but at the middle of each band; `beside`: the default's there, on the same suites."""

    default: ndarray
    before: ndarray
    beside: ndarray


def measure(prompts: int, design: str, repetitions: int, compared: int) -> Measured:
    kinds = (*CORRELATIONS, COPIES)
    default, before, beside = (numpy.full((len(kinds), len(LEVELS), 3), numpy.nan) for _ in range(3))
    for row, correlation in enumerate(kinds):
        for place, level in enumerate(LEVELS):
            generator = numpy.random.default_rng([prompts, row, place])
            suites = Suites.draw(prompts, design, float(level), correlation, repetitions, generator)
            found = wilson(suites.counts)
            default[row, place] = misses(found, suites.truth)
            if place % 5 == 2 and correlation != COPIES:
                first = found[0][:compared], found[1][:compared]
                if place == 42:
                    numpy.testing.assert_allclose(
                        by_method(suites, "wilson", 50), numpy.array(found)[:, :50], atol=1e-9
                    )
                beside[row, place] = misses(first, suites.truth)
                before[row, place] = misses(by_method(suites, "percentile", compared), suites.truth)
    return Measured(default, before, beside)


def bands(values: ndarray) -> list[float]:
    """The mean of each band of (correlations, levels), over the averaged correlations."""
    found = [values[: len(CORRELATIONS), band == BANDS] for band in range(len(BAND_NAMES))]
    return [float(each[~numpy.isnan(each)].mean()) if not numpy.isnan(each).all() else numpy.nan for each in found]


def band_tables(found: dict[tuple[int, str], Measured]) -> list[str]:
    """Coverage, misses and widths, a line for each number of prompts and design."""
    kinds = {
        "The default: how often it covers, %": ("lowest level", "lowest of all"),
        "The default: how often it lies below, above the truth, %": (),
        "The percentile bootstrap, the default before: how often it covers, %": (),
        "Width of the default in widths of the percentile bootstrap's, means of the same suites": (),
    }
    lines = []
    for number, (title, more) in enumerate(kinds.items()):
        head = ["prompts", "tags", *BAND_NAMES, *more]
        lines += ["", f"### {title}", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for (prompts, design), each in found.items():
            below, above, covered = each.default[..., 0], each.default[..., 1], 100 - each.default[..., :2].sum(axis=2)
            if number == 0:
                of_level = covered[: len(CORRELATIONS)].mean(axis=0)
                cells = [f"{x:.1f}" for x in bands(covered)] + [_lowest(of_level), _lowest(covered)]
            elif number == 1:
                cells = [f"{b:.1f}, {a:.1f}" for b, a in zip(bands(below), bands(above), strict=True)]
            elif number == 2:
                cells = [f"{x:.1f}" for x in bands(100 - each.before[..., :2].sum(axis=2))]
            else:
                widths = zip(bands(each.beside[..., 2]), bands(each.before[..., 2]), strict=True)
                cells = [f"{ours / theirs:.2f}" for ours, theirs in widths]
            lines.append(f"| {prompts} | {design} | " + " | ".join(cells).replace("nan", "–") + " |")
    return lines


def _lowest(covered: ndarray) -> str:
    """'91.2 at .88' and, of several correlations, which."""
    where = numpy.unravel_index(covered.argmin(), covered.shape)
    level = f"{covered.min():.1f} at {LEVELS[where[-1]]:.2f}"
    if covered.ndim == 1:
        return level
    kind = (*CORRELATIONS, COPIES)[where[0]]
    return f"{level}, " + ("copied luck" if kind == COPIES else f"correlation {kind:g}")


def methods_table(repetitions: int) -> list[str]:
    """All methods where the percentile bootstrap fell short, and where nothing is to be mended."""
    lines = ["| prompts | tags | level | " + " | ".join(METHODS) + " |", "|---" * (3 + len(METHODS)) + "|"]
    DESIGNS["two like tags"] = (0.0, 0.0)
    for prompts, design, level in (
        (40, "one tag", 0.9),
        (40, "two like tags", 0.9),
        (20, "one tag", 0.9),
        (80, "one tag", 0.98),
        (200, "six unlike tags", 0.7),
    ):
        generator = numpy.random.default_rng([7, prompts])
        suites = Suites.draw(prompts, design, level, COPIES, repetitions, generator)
        cells = [_sides(misses(by_method(suites, method, repetitions), level)) for method in METHODS]
        lines.append(f"| {prompts} | {design} | {level:g} | " + " | ".join(cells) + " |")
    return lines


def _sides(found: tuple[float, float, float]) -> str:
    return f"{100 - found[0] - found[1]:.1f} ({found[0]:.1f}, {found[1]:.1f})"


SCORES = {  # of a prompt's part and a picture's own part, both standard normal
    "normal": (lambda part, own: part + own, 0.0),
    "lognormal": (lambda part, own: numpy.exp((part + own) / 2), float(numpy.exp(0.25))),
    "in [0, 1], mean .5, far from the ends": (lambda part, own: special.ndtr((part + own) / 4), 0.5),
    "in [0, 1], mean .92, half of them 1": (lambda part, own: numpy.minimum(1, 1 + (part + own) / 5), None),
}


def scores_table(repetitions: int) -> list[str]:
    """Values that are no zeros and ones: the default beside the percentile bootstrap."""
    lines = ["| values | prompts | default | percentile |", "|---|---|---|---|"]
    for name, (value, truth) in SCORES.items():
        for prompts in PROMPTS[:3]:
            generator = numpy.random.default_rng([8, prompts])
            part, own = (
                generator.normal(size=(repetitions, prompts, 1)),
                generator.normal(size=(repetitions, prompts, 4)),
            )
            rows = value(part, own).reshape(repetitions, -1)
            # E min(0, X) of a normal X of standard deviation s is -s / sqrt(2 pi)
            mean = 1 - (2 / 25 / (2 * numpy.pi)) ** 0.5 if truth is None else truth
            ids, cells = numpy.arange(prompts * 4) // 4, []
            methods: tuple[Method, ...] = ("wilson", "percentile")
            for method in methods:
                found = interval_table({str(place): row for place, row in enumerate(rows)}, ids, method=method).values()
                cells.append(_sides(misses((_of(found, "low"), _of(found, "high")), mean)))
            lines.append(f"| {name} | {prompts} | " + " | ".join(cells) + " |")
    return lines


def differences_table(repetitions: int) -> list[str]:
    """A model of rate .9 against one of .8 that finds the same prompts hard."""
    methods: tuple[Method, ...] = ("percentile", "bca", "analytic")
    lines = ["| prompts | " + " | ".join(methods) + " |", "|---" * (1 + len(methods)) + "|"]
    for prompts in PROMPTS:
        generator = numpy.random.default_rng([9, prompts])
        luck, ids = generator.random((repetitions, prompts, 1)), numpy.arange(prompts * 4) // 4
        pair = []
        for rate in (0.9, 0.8):
            copies = generator.random((repetitions, prompts, 4)) < 0.5**0.5
            pair.append((numpy.where(copies, luck, generator.random(copies.shape)) < rate).reshape(repetitions, -1))
        pairs = {str(place): (pair[0][place] * 1.0, pair[1][place] * 1.0) for place in range(repetitions)}
        cells = []
        for method in methods:
            found = paired_table(pairs, ids, draws=2000, method=method).values()
            cells.append(_sides(misses((_of(found, "low"), _of(found, "high")), 0.1)))
        lines.append(f"| {prompts} | " + " | ".join(cells) + " |")
    return lines


def _of(found: Sequence[object], name: str) -> ndarray:
    return numpy.array([getattr(each, name) for each in found])


def _error(suites: int) -> str:
    """The standard error of a share near 95 %, in points."""
    return f"{100 * (0.95 * 0.05 / suites) ** 0.5:.2f}"


def report(repetitions: int, compared: int, others: int) -> str:
    """The page, with what it takes to repeat it."""
    started = time.perf_counter()
    found = {
        (prompts, design): measure(prompts, design, repetitions, compared) for design in DESIGNS for prompts in PROMPTS
    }
    lines = [
        "# How right the intervals of small suites are",
        "",
        f"95 % intervals of zeros and ones, {PICTURES} pictures a prompt. Bands of the true mean p in steps of .01; a",
        "cell is the mean over its levels and over six correlations of a prompt's pictures: 0, .2, .4, .6, .8 (beta)",
        "and 1 (a prompt is always right or wrong). Tags: as many prompts in each as can be (20 prompts in six tags:",
        "4, 4, 3, 3, 3, 3); unlike tags lie up to 1.5 to both sides on the logit scale. Asked for: 94 to 96 %",
        f"in a band, 92 % at every level. {repetitions:,} suites for each level and correlation; of them {compared} at",
        "the middle of each band go to the percentile bootstrap. Standard errors: "
        f"{_error(30 * repetitions)} points a band,",
        f"{_error(6 * repetitions)} a level, {_error(repetitions)} a single cell; {_error(6 * compared)} a band of the",
        "percentile bootstrap. `lowest level`: the lowest mean over the correlations. `lowest of all`: of a level and",
        "correlation, also of a seventh kind, copied luck (correlation .5, bench/simulations.py). Why: 0018.",
        *band_tables(found),
        "",
        "## All methods",
        "Covers (lies below, above the truth), %; copied luck, correlation .5.",
        "",
        f"{others:,} suites each: standard error {_error(others)} points, in this table and the next two.",
        "",
        *methods_table(others),
        "",
        "## Values that are no zeros and ones",
        "Covers (below, above), %; half the variance is the prompt's. Default: Wilson's in [0, 1], else Student's.",
        "",
        *scores_table(others),
        "",
        "## Differences",
        "Paired, of a true .1 (.9 and .8, the same luck for both with probability .5): covers (below, above), %.",
        "",
        *differences_table(others),
        "",
        f"- Command: `python {' '.join(sys.argv)}` ({time.perf_counter() - started:.0f} s)",
        f"- Machine: {platform.machine()}, numpy {numpy.__version__}, scipy {scipy.__version__}, "
        f"Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--repetitions", default=2000, show_default=True, help="Suites for each level and correlation.")
@click.option("--compared", default=150, show_default=True, help="Of them, those for the percentile bootstrap, too.")
@click.option("--others", default=2000, show_default=True, help="Suites for each line of the other tables.")
@click.option("--out", default="docs/results/coverage.md", show_default=True, help="Where the page goes.")
def main(repetitions: int, compared: int, others: int, out: str) -> None:
    """Print and write how often the intervals of small suites hold the truth."""
    text = report(repetitions, compared, others)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    main()

"""How well and how fast the `ocr` reward reads with RapidOCR.

    python bench/ocr.py

Accuracy: forty phrases at 512 pixels, drawn several times, in two sets without a phrase, seed or font in common. Every
setting was fixed on "tune", and "test" was read when they stood. Beside them RapidOCR's own defaults, same models.
Speed: pictures per second of one process and of two workers, which take turns, and so does which comes first.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import click
import numpy
from scipy.stats import binomtest

from flowbench.images import to_array
from flowbench.rewards.ocr import rapid, text_reward
from flowbench.rewards.ocr.drawn_text import TextPicture, picture_set
from flowbench.rewards.ocr.lines import read
from flowbench.rewards.ocr.readers import Reader
from flowbench.rewards.ocr.workers import Workers
from flowbench.store import write_text

MIN_CONFIDENCE = 0.5
SETTINGS = {"ours": rapid.SETTINGS, "RapidOCR's defaults": {"Global.log_level": "critical"}}
SetName = Literal["tune", "test"]


class Result(NamedTuple):
    """How often each picture's text was read exactly, what was read where it was not, CPU seconds per picture."""

    exact: list[bool]
    wrong: list[tuple[str, str]]
    seconds: float


def judge(reader: Reader, pictures: list[TextPicture]) -> Result:
    """Read all pictures once, in this process."""
    arrays = [to_array(picture.image) for picture in pictures]
    reader(arrays[0])  # loads the models
    before = time.process_time()
    texts = [read(reader(array), min_confidence=MIN_CONFIDENCE).text for array in arrays]
    seconds = (time.process_time() - before) / len(arrays)
    pairs = [(picture.text, text) for picture, text in zip(pictures, texts, strict=True)]
    exact = [text_reward(wanted, got, variant="exact") == 1 for wanted, got in pairs]
    return Result(exact, [pair for pair, right in zip(pairs, exact, strict=True) if not right], seconds)


def accuracy_rows(name: SetName, drawings: int) -> list[str]:
    """For each setting: the first drawing alone, which is the test's, then all of them."""
    pictures = [picture for redraw in range(drawings) for picture in picture_set(name, redraw=redraw)]
    first = len(picture_set(name))
    rows = []
    for label, settings in SETTINGS.items():
        result = judge(rapid.build(settings), pictures)
        wrong = "; ".join(f"{wanted}: `{got}`" for wanted, got in result.wrong) or "none"
        both = f"{share(result.exact[:first])} | {share(result.exact)}"
        rows.append(f"| {name} | {label} | {both} | {1000 * result.seconds:.0f} | {wrong} |")
        click.echo(rows[-1])
    return rows


def share(exact: list[bool]) -> str:
    """So many of so many, with Wilson's interval."""
    interval = binomtest(sum(exact), len(exact)).proportion_ci(0.95, method="wilson")
    return f"{sum(exact)} of {len(exact)} ({100 * interval.low:.1f} to {100 * interval.high:.1f} %)"


def speeds(rounds: int) -> tuple[list[float], list[float]]:
    """Pictures per second in each round: of one process, of two workers. One more round warms up."""
    pictures = [to_array(picture.image) for picture in picture_set("test")]
    reader, workers = rapid.build(), Workers(2, "rapidocr", {})
    ways = (lambda: [reader(picture) for picture in pictures], lambda: workers(pictures))
    taken: tuple[list[float], list[float]] = ([], [])
    try:
        for turn in range(rounds + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                started = time.perf_counter()
                ways[which]()
                if turn:
                    taken[which].append(len(pictures) / (time.perf_counter() - started))
    finally:
        workers.close()
    return taken


def speed_row(one: list[float], two: list[float]) -> str:
    """Medians, their ratio, and between what the ratios of single rounds lie (their quartiles)."""
    a, b = statistics.median(one), statistics.median(two)
    low, _, high = statistics.quantiles([y / x for x, y in zip(one, two, strict=True)], n=4)
    return f"| {a:.1f} | {b:.1f} | {b / a:.2f} | {low:.2f} to {high:.2f} | 1.5 |"


def report(accuracy: list[str], speed: str, rounds: int, load: str) -> str:
    """The tables, with what it takes to repeat them."""
    threads = f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in os.environ else ""
    lines = [
        "# Reading text with RapidOCR",
        "",
        "Forty phrases at 512 pixels, fonts, backgrounds, colours and tilt varied (rewards/ocr/drawn_text.py).",
        "Exact: what is read equals the phrase but for case and spaces. The settings were fixed on `tune`; `test` has",
        "no phrase, font or seed in common with it. 95 % are demanded of the first drawing of `test`. The intervals",
        "(95 %, Wilson) of all drawings are somewhat too narrow, for drawings share their phrases.",
        "",
        "| set | settings | exact, first drawing | exact, all drawings | CPU-ms per picture | misread |",
        "|---|---|---|---|---|---|",
        *accuracy,
        "",
        "Pictures per second, medians of rounds in which both read the same forty pictures:",
        "",
        "| one process | two workers | ratio | single rounds, middle half | target at least |",
        "|---|---|---|---|---|",
        speed,
        "",
        f"- Command: `{threads}python {' '.join(sys.argv)}`; {rounds} rounds",
        f"- Machine: {platform.machine()}, {os.cpu_count()} cores, load before and after (1 minute): {load}",
        f"- rapidocr {version('rapidocr')}, onnxruntime {version('onnxruntime')}, pillow {version('pillow')}, numpy "
        f"{numpy.__version__}, Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--set", "names", type=click.Choice(["tune", "test"]), multiple=True, default=("tune", "test"),
              show_default=True, help="Which pictures; may be given twice.")  # fmt: skip
@click.option("--drawings", default=5, show_default=True, help="How often each phrase is drawn, at most 25.")
@click.option("--rounds", default=9, show_default=True, help="Measured rounds; one more warms up.")
@click.option("--out", default="docs/results/ocr.md", show_default=True, help="Where the tables go.")
def main(names: tuple[SetName, ...], drawings: int, rounds: int, out: str) -> None:
    """Print and write accuracy, CPU time per picture and what a second worker is good for."""
    load = f"{os.getloadavg()[0]:.1f}"
    speed = speed_row(*speeds(rounds))
    load += f", {os.getloadavg()[0]:.1f}"
    accuracy = [row for name in names for row in accuracy_rows(name, drawings)]
    text = report(accuracy, speed, rounds, load)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    main()

"""What an evaluation costs on top of the model and the scorers.

    python bench/evaluation.py

Rounds in which `benchmarks.evaluate` and the bare calls take turns, and so does which comes first: all pictures of a
suite by `model.generate` in the same batches, then all scores by the same reward on the same pictures. Everything else
is overhead: planning, PNG files, records, intervals. The folder is new in each round, the score cache is off.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import torch

from flowbench import benchmarks, prompts, rewards
from flowbench.benchmarks.plan import batches, plan
from flowbench.models import load_model
from flowbench.models.base import FlowModel
from flowbench.store import write_text

TARGET = 1.05
BATCH = 16


@dataclass
class Subject:
    """A model and a suite."""

    model: FlowModel
    suite: benchmarks.Suite

    def evaluate(self) -> None:
        """The runner, from nothing to the summary."""
        with tempfile.TemporaryDirectory() as folder:
            benchmarks.evaluate(self.model, self.suite, out=folder, batch_size=BATCH, guidance=self.model.guidance)

    def bare(self) -> None:
        """The calls that nobody can avoid."""
        suite = self.suite
        chosen = prompts.load(suite.prompt_set, suite.split)
        items = plan(chosen, suite=suite.name, images_per_prompt=suite.images_per_prompt, seed=0)
        made = []
        for batch in batches(items, BATCH):
            texts, seeds = [item.prompt for item in batch], [item.seed for item in batch]
            made += [
                self.model.generate(texts, seeds, steps=suite.steps, guidance=self.model.guidance, batch_size=BATCH)
            ]
        vocabulary = prompts.find(suite.prompt_set).vocabulary
        for name in suite.scorers:
            options = {name: suite.options.get(name, {})}
            reward = rewards.build(name, vocabulary=vocabulary, options=options, on_error="skip")
            for samples in made:
                reward(samples)
            reward.close()


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Of the wall clock, and of the processor (which other work on the machine does not lengthen)."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


Round = tuple[tuple[float, float], tuple[float, float]]


def rounds(subject: Subject, count: int) -> list[Round]:
    """(evaluation, bare) of each round, each in seconds of the wall clock and of the processor."""
    found = []
    for number in range(count):
        order = [subject.evaluate, subject.bare] if number % 2 == 0 else [subject.bare, subject.evaluate]
        times = {work.__name__: seconds(work) for work in order}
        found.append((times["evaluate"], times["bare"]))
    return found


def line(clock: str, found: list[tuple[float, float]]) -> str:
    """A row: the ratio of the medians, and of the single rounds."""
    ratios = sorted(whole / bare for whole, bare in found)
    low, _, high = statistics.quantiles(ratios, n=4)
    whole, bare = (statistics.median(each) for each in zip(*found, strict=True))
    return f"| {clock} | {whole / bare:.3f} | {low:.3f} to {high:.3f} | {TARGET} |"


def table(found: list[Round], subject: Subject) -> str:
    """The page."""
    images = len(prompts.load(subject.suite.prompt_set, subject.suite.split)) * subject.suite.images_per_prompt
    command = " ".join(["python", "bench/evaluation.py", *sys.argv[1:]])
    walls = line("the wall clock", [(whole[0], bare[0]) for whole, bare in found])
    processors = line("the processor", [(whole[1], bare[1]) for whole, bare in found])
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"""# What an evaluation costs on top of the model and the scorers

`flowbench.evaluate` against the bare calls of model and scorer, in turns (bench/evaluation.py). The rest is planning,
PNG files, records, and intervals of 2,000 draws.

Suite {subject.suite.name}, {images} pictures.

| seconds of | evaluation / bare calls | single rounds, middle half | target at most |
|---|---:|---:|---:|
{walls}
{processors}

- Command: `{command}`; {len(found)} rounds
- Machine: {machine}, load after (1 minute): {os.getloadavg()[0]:.1f}
- torch {torch.__version__}, Python {platform.python_version()}
- Date: {date.today().isoformat()}
"""


@click.command()
@click.option("--model", default="shapes", show_default=True)
@click.option("--suite", default="shapes", show_default=True)
@click.option("--rounds", "count", default=5, show_default=True, help="At least 2.")
@click.option("--out", type=click.Path(path_type=Path), default="docs/results/evaluation.md", show_default=True)
def main(model: str, suite: str, count: int, out: Path) -> None:
    """Measure, and write the page."""
    os.environ["FLOWBENCH_SCORE_CACHE"] = "off"
    subject = Subject(load_model(model), benchmarks.find(suite))
    subject.bare()  # warm
    page = table(rounds(subject, count), subject)
    write_text(out, page)
    click.echo(page)


if __name__ == "__main__":
    main()

"""What an evaluation costs on top of the model and the scorers.

    python bench/evaluation.py

Rounds in which `benchmarks.evaluate` and the bare calls take turns, and so does which comes first: all pictures of a
suite by `model.generate` in the same batches, then all scores by the same reward on the same pictures. Everything else
is overhead: planning, PNG files, records, intervals. The folder is new in each round, the score cache is off.

Two models: the built-in one, whose pictures of 32 pixels are as quick as pictures get, and a stand-in for a model on an
accelerator, which hands out pictures of 512 pixels and sleeps `--pause` seconds for each. This machine has none. A real
one leaves less of the processor to others than sleep does, for somebody has to start its kernels.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy
import torch
from PIL import Image

from flowbench import benchmarks, prompts, rewards
from flowbench.benchmarks.plan import batches, limited, plan
from flowbench.models import load_model
from flowbench.store import write_text
from flowbench.types import Prompt, Sample

TARGET = 1.05
BATCH = 16


@dataclass
class Waiting:
    """In place of a model on an accelerator: the time passes, and pictures come that are as hard to pack as photos."""

    pause: float
    resolution: int = 512
    name: str = "waiting"
    source: str = "waiting"
    vocabulary: str = ""
    base_digest: str = ""
    adapter_source: str = ""
    guidance: float = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        draws = numpy.random.default_rng(0)
        side = self.resolution
        coarse = draws.integers(0, 256, (BATCH, 16, 16, 3), dtype="uint8")
        smooth = [
            numpy.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)) for each in coarse
        ]
        grainy = numpy.stack(smooth) + draws.normal(0, 2, (BATCH, side, side, 3))
        self.pictures = [Image.fromarray(each) for each in grainy.clip(0, 255).astype("uint8")]

    def adapter_parameters(self) -> dict[str, torch.Tensor]:
        return {}

    def sigmas(self, steps: int) -> torch.Tensor:
        return torch.linspace(1, 0, steps + 1)

    def declares(self, guidance: float, solver: str = "euler") -> dict[str, Any]:
        return {"guidance": guidance, "guidance_kind": "none", "sampler": "none", "negative_prompt": ""}

    def generate(self, wanted: Sequence[Prompt], seeds: Sequence[int], **settings: Any) -> list[Sample]:
        """The same pictures again and again."""
        time.sleep(self.pause * len(wanted))
        pictures = self.pictures[: len(wanted)]
        return [Sample(*each) for each in zip(wanted, pictures, seeds, strict=True)]


@dataclass
class Subject:
    """A model, a suite, and how many of its prompts."""

    words: str
    model: Any
    suite: benchmarks.Suite
    limit: int | None = None

    def prompts(self) -> list[Prompt]:
        return limited(prompts.load(self.suite.prompt_set, self.suite.split), self.limit)

    def evaluate(self, folder: str) -> None:
        """The runner, from nothing to the summary."""
        settings = {"batch_size": BATCH, "guidance": self.model.guidance}
        benchmarks.evaluate(self.model, self.suite, out=folder, limit=self.limit, **settings)

    def bare(self, folder: str = "") -> None:
        """The calls that nobody can avoid."""
        suite, made = self.suite, []
        items = plan(self.prompts(), suite=suite.name, images_per_prompt=suite.images_per_prompt, seed=0)
        for batch in batches(items, BATCH):
            texts, seeds = [item.prompt for item in batch], [item.seed for item in batch]
            settings = {"steps": suite.steps, "guidance": self.model.guidance, "batch_size": BATCH}
            made.append(self.model.generate(texts, seeds, **settings))
        vocabulary = prompts.find(suite.prompt_set).vocabulary
        for name in suite.scorers:
            options = {name: suite.options.get(name, {})}
            reward = rewards.build(name, vocabulary=vocabulary, options=options, on_error="skip")
            for samples in made:
                reward(samples)
            reward.close()


def seconds(work: Callable[[str], None]) -> tuple[float, float]:
    """Of the wall clock, and of the processor (which other work on the machine does not lengthen)."""
    with tempfile.TemporaryDirectory() as folder:
        wall, processor = time.perf_counter(), time.process_time()
        work(folder)
        return time.perf_counter() - wall, time.process_time() - processor


Round = tuple[tuple[float, float], tuple[float, float]]


def measured(subject: Subject, count: int) -> list[Round]:
    """(evaluation, bare) of each round, each in seconds of the wall clock and of the processor."""
    found = []
    for number in range(count):
        order = [subject.evaluate, subject.bare] if number % 2 == 0 else [subject.bare, subject.evaluate]
        times = {work.__name__: seconds(work) for work in order}
        found.append((times["evaluate"], times["bare"]))
    return found


def line(words: str, found: list[tuple[float, float]]) -> str:
    """A row: the ratio of the medians, and of the single rounds."""
    ratios = sorted(whole / bare for whole, bare in found)
    low, _, high = statistics.quantiles(ratios, n=4)
    whole, bare = (statistics.median(each) for each in zip(*found, strict=True))
    verdict = "met" if whole / bare <= TARGET else "missed"
    return f"| {words} | {whole / bare:.3f} | {low:.3f} to {high:.3f} | {TARGET}: {verdict} |"


def lines(subject: Subject, count: int) -> list[str]:
    """The rows of one model."""
    subject.bare()  # warm
    found = measured(subject, count)
    number = len(subject.prompts()) * subject.suite.images_per_prompt
    rows = [line(f"{subject.words}, {number} pictures, {count} rounds", [(whole[0], bare[0]) for whole, bare in found])]
    if not isinstance(subject.model, Waiting):  # whose processor does nothing else
        rows.append(line("the same, seconds of the processor", [(whole[1], bare[1]) for whole, bare in found]))
    return rows


def page(rows: Sequence[str]) -> str:
    """The whole of it."""
    command = " ".join(["python", "bench/evaluation.py", *sys.argv[1:]])
    table = "\n".join(rows)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"""# What an evaluation costs on top of the model and the scorers

`flowbench.evaluate` against the bare calls of model and scorer, in turns (bench/evaluation.py). The rest is planning,
PNG files, records, and intervals of 2,000 draws.

| model, scorer | evaluation / bare calls | single rounds, middle half | target at most |
|---|---:|---:|---:|
{table}

- Command: `{command}`
- Machine: {machine}, load after (1 minute): {os.getloadavg()[0]:.1f}
- torch {torch.__version__}, Python {platform.python_version()}
- Date: {date.today().isoformat()}
"""


@click.command()
@click.option("--rounds", default=10, show_default=True, help="At least 2; of the stand-in a third as many.")
@click.option("--pause", default=0.25, show_default=True, help="Seconds a picture of the stand-in.")
@click.option("--out", type=click.Path(path_type=Path), default="docs/results/evaluation.md", show_default=True)
def main(rounds: int, pause: float, out: Path) -> None:
    """Measure, and write the page."""
    os.environ["FLOWBENCH_SCORE_CACHE"] = "off"
    shapes = benchmarks.find("shapes")
    jpeg = replace(shapes, name="jpeg", vocabulary="").with_scorers(["jpeg"])
    words = f"an accelerator's {pause:g} s a picture of 512 px, `jpeg`"
    subjects = [
        Subject("`shapes`, `geneval`", load_model("shapes"), shapes),
        Subject(words, Waiting(pause), jpeg, limit=40),
    ]
    text = page([*lines(subjects[0], rounds), *lines(subjects[1], max(2, rounds // 3))])
    write_text(out, text)
    click.echo(text)


if __name__ == "__main__":
    main()

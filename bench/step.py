"""A training step before and after each change that makes it quicker: `python bench/step.py`.

"Before" is the old arrangement: micro-batches inside their groups, AdamW parameter by parameter, a second forward pass
for the first update, every text encoded in every step. Each row is that with one change, the last with all. The
variants take turns, one step each; a ratio is of two steps of the same turn. Rewards are random and come at once, so
that every group teaches something. CPU time is that of the whole process.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import click
import torch
from overhead import Subject, prepare

from flowbench.config import TrainConfig, load_config
from flowbench.errors import ConfigError, FlowbenchError
from flowbench.store import write_text
from flowbench.trainer.policy import Policy

OLD = "before"
SLICE = 32
"""Pictures of a forward pass in the old arrangement, where a group has as many."""


@dataclass(frozen=True)
class Variant:
    """One way of computing a step."""

    name: str
    config: TrainConfig
    keeps_texts: bool
    """whether what a text is encoded as is kept over steps"""
    device: str


@dataclass(frozen=True)
class Taken:
    """Seconds of one step."""

    rollout: float
    """CPU"""
    update: float
    """CPU"""
    wall: float
    """of both"""

    @property
    def cpu(self) -> float:
        return self.rollout + self.update


def variants(recipe: str, groups: int, overrides: Sequence[str], device: str) -> Iterator[Variant]:
    """The old arrangement, each change alone, all together; one that the recipe cannot have is left out and said."""
    alone = load_config(recipe, [*overrides, "rollout.bundle=1", "rollout.micro_batch=1"])
    size = min(SLICE, alone.rollout.group_size)
    wide = f"rollout.micro_batch={2 * size}"
    changes = {
        "AdamW fused": ["optimizer.fused=true"],
        f"micro-batches of {2 * size} over 2 groups": ["rollout.bundle=2", wide],
        "bundles of 4 groups": ["rollout.bundle=4"],
        "graph kept": ["rollout.keep_graph=true"],
        "texts kept": [],
    }
    old = ["rollout.bundle=1", f"rollout.micro_batch={size}", "rollout.keep_graph=false", "optimizer.fused=false"]
    settings = [*overrides, f"rollout.groups={groups}", *old]
    yield Variant(OLD, load_config(recipe, settings), False, device)
    possible: list[str] = []
    for name, change in changes.items():
        try:
            yield Variant(name, load_config(recipe, [*settings, *change]), not change, device)
            possible += change
        except ConfigError as error:
            click.echo(f"{name}: left out. {error}", err=True)
    yield Variant("all", load_config(recipe, [*settings, *possible]), True, device)


def take(variant: Variant, subject: Subject) -> Taken:
    """One step."""
    if not variant.keeps_texts:
        held = subject.policy
        subject.policy = Policy(held.model, held.learner, held.guidance, reference_guidance=held.reference_guidance)
    started = time.perf_counter(), time.process_time()
    trajectories = subject.collect()
    _synchronise(subject)
    sampled = time.perf_counter(), time.process_time()
    bundles = subject.bundles(trajectories)
    ready = time.perf_counter(), time.process_time()
    subject.update(bundles)
    _synchronise(subject)
    ended = time.perf_counter(), time.process_time()
    wall = sampled[0] - started[0] + ended[0] - ready[0]
    return Taken(sampled[1] - started[1], ended[1] - ready[1], wall)


def _synchronise(subject: Subject) -> None:
    if subject.model.device.type == "cuda":
        torch.cuda.synchronize(subject.model.device)


def measure(every: Sequence[Variant], model: str, rounds: int) -> dict[str, list[Taken]]:
    """Name -> a step of each round; a first round warms up, and each round begins with another variant."""
    subjects = [prepare(model, variant.config, variant.device) for variant in every]
    taken: dict[str, list[Taken]] = {variant.name: [] for variant in every}
    for turn in range(rounds + 1):
        for place in range(len(every)):
            which = (place + turn) % len(every)
            step = take(every[which], subjects[which])
            if turn:
                taken[every[which].name].append(step)
    return taken


def peak_memory(variant: Variant, model: str, threads: int) -> float:
    """MiB that two steps need at most, the model and all libraries included; on a GPU, what is allocated there."""
    torch.set_num_threads(threads)
    subject = prepare(model, variant.config, variant.device)
    for _ in range(2):
        take(variant, subject)
    if subject.model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(subject.model.device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peak_memories(every: Sequence[Variant], model: str, threads: int) -> dict[str, float]:
    """Each in a process of its own."""
    found = {}
    for variant in every:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found[variant.name] = pool.submit(peak_memory, variant, model, threads).result()
    return found


def ratios(values: Sequence[float], before: Sequence[float]) -> str:
    """Median of the ratios of the same turn, and the middle half of them."""
    found = [value / old for value, old in zip(values, before, strict=True)]
    low, middle, high = statistics.quantiles(found, n=4)
    return f"{middle:.3f} ({low:.2f} to {high:.2f})"


def row(name: str, taken: dict[str, list[Taken]], memory: float) -> str:
    """Medians in seconds, ratios to the old arrangement, memory."""
    steps, old = taken[name], taken[OLD]
    columns = zip(*((each.rollout, each.update, each.cpu, each.wall) for each in steps), strict=True)
    cells = [f"{statistics.median(values):.3f}" for values in columns]
    cells.append(ratios([each.cpu for each in steps], [each.cpu for each in old]))
    cells.append(ratios([each.wall for each in steps], [each.wall for each in old]))
    return f"| {name} | {' | '.join(cells)} | {memory:.0f} |"


def report(taken: dict[str, list[Taken]], memories: dict[str, float], config: TrainConfig, rounds: int) -> str:
    """The table, with what it takes to repeat it."""
    rollout = config.rollout
    threads = f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in os.environ else ""
    lines = [
        "# A training step, change by change",
        "",
        "Medians in seconds; ratios of steps of the same turn to the one before any change, with the middle half of "
        "them; what the rows are: bench/step.py.",
        "",
        "| variant | rollout, CPU | update, CPU | step, CPU | step, wall | CPU ratio | wall ratio | peak memory, MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(row(name, taken, memories[name]) for name in taken),
        "",
        "- All rounds have the same prompts, so that `texts kept` encodes none after the first: the limit of a long "
        "run. With 8 prompts a step .43 of those of the first 100 steps were drawn before, of 400 .70, of 1,000 .80.",
        f"- Command: `{threads}python {' '.join(sys.argv)}`",
        f"- {rollout.groups} groups of {rollout.group_size}, {rollout.steps} steps, guidance {rollout.guidance:g}, "
        f"{rollout.kind}, {rollout.noisy_count} trained steps, objective {config.objective.name}; {rounds} rounds",
        f"- Machine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, Python {platform.python_version()}",
        f"- Date: {date.today().isoformat()}",
    ]
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option("--model", default="shapes", show_default=True, help="Model name or folder.")
@click.option("--recipe", default="shapes-flow_grpo", show_default=True, help="Whose step is measured.")
@click.option("--groups", default=4, show_default=True, help="rollout.groups, a multiple of 4.")
@click.option("--rounds", default=20, show_default=True, help="Measured steps of each variant; one more warms up.")
@click.option("--threads", default=1, show_default=True, help="As each process has that `flowbench train` starts.")
@click.option("--device", default="auto", show_default=True)
@click.option("--out", default="docs/results/step.md", show_default=True, help="Where the table goes.")
@click.argument("overrides", nargs=-1)
def main(
    model: str, recipe: str, groups: int, rounds: int, threads: int, device: str, out: str, overrides: tuple[str, ...]
) -> None:
    torch.set_num_threads(threads)
    every = list(variants(recipe, groups, overrides, device))
    memories = peak_memories(every, model, threads)
    taken = measure(every, model, rounds)
    text = report(taken, memories, every[0].config, rounds)
    write_text(Path(out), text)
    click.echo(text)


if __name__ == "__main__":
    try:
        main()
    except FlowbenchError as error:
        sys.exit(f"error: {error}")

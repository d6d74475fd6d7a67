"""Does training help? `python bench/learning.py --seeds 0,1,2 --out runs/learning`.

Trains the recipe once per seed, one after the other, by the `flowbench train` command; evaluates every run and the base
on the same test prompts and seeds, without guidance and at the guidance that is best on the dev split; writes the table
of paired gains over the better base, and over the base at the same guidance, and how much of its diversity is kept. May
be killed and started again: runs and evaluations go on where they stood.
"""

from __future__ import annotations

import datetime
import itertools
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from objectives_measure import Job, on_test
from objectives_page import share
from objectives_plan import COMPOSITION

from flowbench import store
from flowbench.benchmarks import evaluate
from flowbench.config import TrainConfig, load_config, to_yaml
from flowbench.evals import Results, build_leaderboard, compare_results, load_results
from flowbench.models import load_model
from flowbench.models.base import FlowModel
from flowbench.reports.tables import leaderboard_table, to_markdown
from flowbench.trainer.runs import check_folder, stored_config

SUITE = MODEL = "shapes"
METRICS = ("official", "exclusive")


def best_guidance(model: FlowModel, out: Path, scales: Sequence[float]) -> float:
    """The scale with the best headline on the dev split: test prompts are never used to choose."""
    scores = {
        scale: load_results(evaluate(model, f"{SUITE}_dev", out=out, guidance=scale, batch_size=32)).mean("official")
        for scale in scales
    }
    return max(scores, key=lambda scale: scores[scale])


def label(name: str, scale: float) -> str:
    return f"{name}, " + ("no guidance" if scale == 1 else f"guidance {scale:g}")


def measured(model: FlowModel, name: str, out: Path, scales: Sequence[float]) -> list[Results]:
    """Test results without guidance and with the guidance that is best on dev."""
    chosen = dict.fromkeys((1.0, best_guidance(model, out, scales)))
    return [
        load_results(
            evaluate(
                model, SUITE, out=out, guidance=scale, batch_size=32,
                label=label(name, scale),
            )
        )
        for scale in chosen
    ]  # fmt: skip


def trained_results(config: TrainConfig, scales: Sequence[float]) -> list[Results]:
    """Train (or go on) by the command that a user types, then measure the averaged policy."""
    folder = Path(config.out)
    if (folder / "log.jsonl").is_file():
        check_folder(folder, config, resume=True)
        if stored_config(folder).steps != config.steps:
            raise click.ClickException(f"{folder} was trained for another number of steps: move it away.")
        words = ["--resume", str(folder)]
    else:
        words = [str(store.write_text(folder.with_suffix(".yaml"), to_yaml(config)))]
    subprocess.run([sys.executable, "-m", "flowbench", "train", *words], check=True)
    return measured(load_model(folder), f"{config.objective.name}, seed {config.seed}", folder, scales)


def guidance_of(results: Results) -> float:
    return results.card.declared["guidance"]


def minutes(folder: Path) -> float:
    """Training time of a run, evaluations not counted."""
    return sum(line["timing"]["seconds"] for line in store.read_jsonl(folder / "log.jsonl")) / 60


def curve(folder: Path, points: int = 8) -> str:
    """Mean rollout reward (official / exclusive) over equal parts of the run."""
    log = store.read_jsonl(folder / "log.jsonl")
    cuts = [len(log) * k // points for k in range(points + 1)]
    parts = [log[a:b] for a, b in itertools.pairwise(cuts) if b > a]
    means = [[sum(line[f"reward/{m}"] for line in part) / len(part) for m in METRICS] for part in parts]
    return " ".join(f"{official:.2f}/{exclusive:.2f}" for official, exclusive in means)


def dev_curve(folder: Path, scales: Sequence[float], every: int) -> list[str]:
    """The averaged policy on the dev split at every so many steps, with the minutes of training that it had taken."""
    log = store.read_jsonl(folder / "log.jsonl")
    columns = [f"{metric}, guidance {scale:g}" for scale in scales for metric in METRICS]
    lines = ["| step | minutes | " + " | ".join(columns) + " |", "|---:" * (2 + len(columns)) + "|"]
    for checkpoint in sorted((folder / "checkpoints").glob("step-*")):
        step = int(checkpoint.name.removeprefix("step-"))
        if step % every:
            continue
        seconds = sum(line["timing"]["seconds"] for line in log[:step])
        model = load_model(checkpoint)
        evaluations = (
            load_results(evaluate(model, f"{SUITE}_dev", out=folder / "curve", guidance=scale, batch_size=32))
            for scale in scales
        )
        scores = " | ".join(f"{results.mean(metric):.3f}" for results in evaluations for metric in METRICS)
        lines.append(f"| {step} | {seconds / 60:.1f} | {scores} |")
    return lines


def early_results(config: TrainConfig, step: int, guidance: float) -> Results:
    """Test results of the averaged policy as it was after `step` steps."""
    folder = Path(config.out)
    model = load_model(folder / "checkpoints" / f"step-{step:06d}")
    name = f"{config.objective.name}, seed {config.seed}, step {step}, guidance {guidance:g}"
    return load_results(evaluate(model, SUITE, out=folder / "early", guidance=guidance, batch_size=32, label=name))


def gains(rows: list[Results], bases: list[Results]) -> list[str]:
    """Every run against the better base and, where that is another one, the base at the run's own guidance."""
    lines = ["| run | metric | against | gain | 95 % interval | p |", "|---|---|---|---:|---|---:|"]
    for metric in METRICS:
        best = max(bases, key=lambda base, metric=metric: base.mean(metric))
        for row in rows:
            alike = [base for base in bases if guidance_of(base) == guidance_of(row) and base is not best]
            for base in (best, *alike):
                paired = compare_results(row, base, metric, allow_mismatch=True)
                figures = f"{paired.difference:+.3f} | [{paired.low:+.3f}, {paired.high:+.3f}] | {paired.p:.4f}"
                lines.append(f"| {row.label} | {metric} | {base.label} | {figures} |")
    return lines


def diversity(configs: list[TrainConfig], trained: list[list[Results]], out: Path) -> list[str]:
    """Colours and layouts of every row of a run beside the base's at the same guidance, on the test split."""
    lines = [
        "| run | colours, bits | of the base's | layouts | of the base's |",
        "|---|---:|---:|---:|---:|",
    ]
    for config, results in zip(configs, trained, strict=True):
        for each in results:
            ours = on_test(Job(config.out, guidance_of(each), Path(config.out), label=each.label))
            theirs = on_test(Job(MODEL, guidance_of(each), out / "base", label=label(MODEL, guidance_of(each))))
            cells = [f"{ours[name]:.3f} | {share(ours, theirs, name):.2f}" for name in COMPOSITION.diversity]
            lines.append(f"| {each.label} | {' | '.join(cells)} |")
    return lines


def _early(configs: list[TrainConfig], trained: list[list[Results]], bases: list[Results], step: int) -> list[str]:
    rows = [
        early_results(config, step, guidance_of(results[-1])) for config, results in zip(configs, trained, strict=True)
    ]
    return [f"All runs as they were after {step} steps, on the test split:", "", *gains(rows, bases), ""]


@click.command(help=__doc__)
@click.option("--recipe", default="shapes-geneval")
@click.option("--seeds", default="0,1,2")
@click.option("--guidance", default="1,1.5,2,3", help="Scales to choose from, on the dev split.")
@click.option("--curve-every", default=100, help="Steps between the points of the first run's dev curve.")
@click.option("--early", type=int, help="Also measure every run as it was after so many steps, on the test split.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/learning"))
@click.option("--report", type=click.Path(path_type=Path), default=Path("docs/results/learning.md"))
@click.argument("overrides", nargs=-1)
def main(
    recipe: str, seeds: str, guidance: str, curve_every: int, early: int | None, out: Path, report: Path,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    scales = [float(scale) for scale in guidance.split(",")]
    bases = measured(load_model(MODEL), MODEL, out / "base", scales)
    configs = [
        load_config(recipe, [*overrides, f"model.name={MODEL}", f"seed={seed}", f"out={out / f'{recipe}-seed{seed}'}"])
        for seed in seeds.split(",")
    ]
    trained = [trained_results(config, scales) for config in configs]
    rows = [row for results in trained for row in results]
    chosen = list(dict.fromkeys((1.0, guidance_of(trained[0][-1]))))
    settings = f"--recipe {recipe} --seeds {seeds} --guidance {guidance} --curve-every {curve_every}"
    settings += f" --early {early}" if early else ""
    command = " ".join(["python bench/learning.py", settings, *overrides])
    lines = [
        f"# Learning: recipe {recipe}",
        "",
        f"`{command}`, {datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}.",
        "",
        *gains(rows, bases),
        "",
        to_markdown(leaderboard_table(build_leaderboard(rows, bases))),
        "",
        "Diversity: entropy of the colours that prompts leave open; how far objects lie from their mean place:",
        "",
        *diversity(configs, trained, out),
        "",
        "Rollout reward on training prompts (official/exclusive) in eight equal parts of each run; training time:",
        "",
        *(f"- {config.out}: {curve(Path(config.out))} ({minutes(Path(config.out)):.1f} min)" for config in configs),
        "",
        *(_early(configs, trained, bases, early) if early else ()),
        "The first run on the dev split (single run):",
        "",
        *dev_curve(Path(configs[0].out), chosen, curve_every),
        "",
    ]
    store.write_text(report, "\n".join(lines))
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()

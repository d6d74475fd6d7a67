"""One run of bench/objectives.py: yardstick, budget, training, curve, test, yardstick, JSON. May be killed anywhere."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean, median
from typing import Any

import click
from objectives_measure import Job, guidance_key, in_parallel, kl_to_base, on_dev, on_test, rounded
from objectives_plan import (
    LEFT_OUT,
    PARTS,
    PROBE_LEFT_OUT,
    PROBED,
    YARDSTICK_STEPS,
    Plan,
    Run,
    provenance,
)

from flowbench import store
from flowbench.config import TrainConfig, to_yaml
from flowbench.layout import RunFolder
from flowbench.monitor_config import MonitorConfig
from flowbench.reports.training.alarms import alarms_of

WATCHED = "monitor/"
"""What the names of the watch's figures begin with."""


def carry_out(run: Run) -> dict[str, Any]:
    """Make what is missing of a run, and write its result."""
    schedule = scheduled(run)
    train(with_steps(run.config, schedule["steps"], run.folder, watch=watch_of(run)), run.plan.processes)
    schedule = kept(run, after=lambda: yardstick(run.plan, run.work / "yardstick"))
    log = store.read_jsonl(run.folder / "log.jsonl")
    curve = dev_curve(run, log)
    task = run.plan.task
    guidance = max(run.scales, key=lambda scale: curve[-1]["dev"][guidance_key(scale)][task.headline])
    label = f"{run.label}, seed {run.seed}, guidance {guidance:g}"
    job = Job(str(run.folder), guidance, run.work / "test", run.plan.limit, label, task)
    ((_, row),) = in_parallel(on_test, [job])
    result = {
        **provenance(run.plan),
        "recipe": run.recipe,
        "label": run.label,
        "seed": run.seed,
        "objective": run.config.objective.name,
        "digest": run.digest,
        "config": run.config.model_dump(mode="json"),
        "pictures_per_step": run.pictures_per_step,
        "budget_in_yardsticks": run.plan.budget,
        "limit": run.plan.limit,
        "processes": run.plan.processes,
        "yardstick": {
            "before": schedule["before"],
            "after": schedule["after"],
            "recipe": run.plan.yardstick.model_dump(mode="json"),
        },
        "steps": schedule["steps"],
        "probed_seconds_per_step": schedule["probed"],
        "training_seconds": curve[-1]["seconds"],
        "curve": curve,
        "test": row,
        "kl_to_base": kl_to_base(str(run.folder), task),
        "watch": seen(run, log),
    }
    store.write_json(run.file, result)
    return result


def scheduled(run: Run) -> dict[str, Any]:
    """The yardstick before the run, and the steps that its budget is: found once, before the first step.

    The learning rate falls to 0 at the last step, so the number must be known when the first is taken.
    """
    path = run.work / "schedule.json"
    if path.is_file():
        return store.read_object(path)
    before = yardstick(run.plan, run.work / "yardstick")
    probed = seconds_per_step(run.config, run.work / "probe", run.plan.processes, PROBED, PROBE_LEFT_OUT)
    steps = max(1, int(run.plan.budget * before / probed))
    schedule = {"before": before, "probed": rounded(probed), "steps": steps}
    click.echo(f"{run.name}: yardstick {before:.1f} s, {probed:.2f} s a step: {steps} steps")
    store.write_json(path, schedule)
    return schedule


def kept(run: Run, **missing: Any) -> dict[str, Any]:
    """The schedule with what is measured later, each once."""
    path = run.work / "schedule.json"
    schedule = store.read_object(path)
    for name, measure in missing.items():
        if name not in schedule:
            schedule[name] = measure()
            store.write_json(path, schedule)
    return schedule


def yardstick(plan: Plan, folder: Path) -> float:
    """Seconds that its twenty steps take now, at the mean pace of those after the first."""
    pace = seconds_per_step(plan.yardstick, folder, plan.processes, YARDSTICK_STEPS, LEFT_OUT)
    return rounded(YARDSTICK_STEPS * pace)


def seconds_per_step(config: TrainConfig, folder: Path, processes: int, steps: int, left_out: int) -> float:
    """Mean seconds of a training step, from the log of a run of a few, in one go."""
    shutil.rmtree(folder, ignore_errors=True)
    train(with_steps(config, steps, folder, parts=1), processes)
    seconds = [line["timing"]["seconds"] for line in store.read_jsonl(folder / "log.jsonl")]
    shutil.rmtree(folder)
    return fmean(seconds[left_out:])


def watch_of(run: Run) -> MonitorConfig:
    """The recipe's own, with what the task asks for and the run is not trained on. Its looks do not count as time of
    training."""
    task, trained = run.plan.task, run.config.reward.name
    held_out, gold = [name for name in task.held_out if name != trained], task.gold if task.gold != trained else None
    return run.config.monitor.model_copy(update={"held_out": held_out, "gold": gold})


def seen(run: Run, log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the watch saw: the figures of every look, and what it raised alarm for."""
    looks = [
        {"step": line["step"]} | {name: value for name, value in line.items() if name.startswith(WATCHED)}
        for line in log
        if f"{WATCHED}alarms" in line
    ]
    alarms = [{"step": each.step, "sentences": list(each.sentences)} for each in alarms_of(RunFolder(run.folder))]
    return {"every": watch_of(run).every, "looks": looks, "alarms": alarms}


def with_steps(
    config: TrainConfig, steps: int, folder: Path, parts: int = PARTS, watch: MonitorConfig | None = None
) -> TrainConfig:
    """The run of that many steps in `folder`, with a checkpoint at the end of each of its `parts`, which are equal but
    for the last one; none is deleted. watch: None: nothing looks on."""
    every = math.ceil(steps / parts)
    changes = {"steps": steps, "out": str(folder), "save_every": every, "keep": steps, "sample_every": steps}
    return config.model_copy(update={**changes, "eval_every": None, "monitor": watch or MonitorConfig()})


def train(config: TrainConfig, processes: int) -> None:
    """Train, or go on, by the command that a user types."""
    folder = Path(config.out)
    if RunFolder(folder).checkpoint(config.steps).is_dir():
        return
    if (folder / "log.jsonl").is_file():
        words = ["--resume", str(folder)]
    else:
        words = [str(store.write_text(folder.with_suffix(".yaml"), to_yaml(config)))]
    command = [sys.executable, "-m", "flowbench", "train", *words, "--processes", str(processes)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def dev_curve(run: Run, log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The averaged policy on the dev split at every checkpoint, over seconds of training, pictures and updates."""
    path, checkpoints, task = run.work / "curve.jsonl", RunFolder(run.folder).checkpoints, run.plan.task
    steps = sorted(int(folder.name.removeprefix("step-")) for folder in checkpoints.glob("step-*"))
    held = {(line["step"], line["guidance"]): line for line in store.read_jsonl(path)}
    missing = [(step, scale) for step in steps for scale in run.scales if (step, scale) not in held]
    jobs = {_dev_job(run, step, scale): (step, scale) for step, scale in missing}
    for job, scores in in_parallel(on_dev, list(jobs)):
        step, scale = jobs[job]
        held[step, scale] = {"step": step, "guidance": scale, **scores}
        store.append_jsonl(path, held[step, scale])
    spent = effort(log, run.config.optimizer.updates)
    return [
        {
            "step": step,
            **spent[step - 1],
            "dev": {
                guidance_key(scale): {name: held[step, scale][name] for name in task.measured} for scale in run.scales
            },
        }
        for step in steps
    ]


def _dev_job(run: Run, step: int, scale: float) -> Job:
    checkpoint = str(RunFolder(run.folder).checkpoint(step))
    return Job(checkpoint, scale, run.work / f"dev-{step}-{scale:g}", run.plan.limit, task=run.plan.task)


def effort(log: Sequence[Mapping[str, Any]], updates: int) -> list[dict[str, float]]:
    """After each step of a log: seconds of training, evaluation not counted, pictures made, updates taken.

    updates: planned in each step; those that were skipped do not count.
    """
    timing = [line["timing"] for line in log]
    seconds = accumulate(each["seconds"] for each in timing)
    pictures = accumulate(round(each["images_per_second"] * each["seconds"]) for each in timing)
    taken = accumulate(updates - int(line["optimizer/skipped"]) for line in log)
    return [
        {"seconds": rounded(spent), "pictures": made, "updates": learned}
        for spent, made, learned in zip(seconds, pictures, taken, strict=True)
    ]


def yardstick_of(result: Mapping[str, Any]) -> float:
    """Seconds of a run's yardstick: the mean of those before and after it."""
    return fmean((result["yardstick"]["before"], result["yardstick"]["after"]))


def typical_yardstick(results: Sequence[Mapping[str, Any]], machine: str) -> float:
    """Median of the yardsticks that were taken on a machine."""
    taken = [
        result["yardstick"][when]
        for result in results
        for when in ("before", "after")
        if result["machine"]["name"] == machine
    ]
    return median(taken)

"""Of bench/paper.py: what the watch against reward hacking said of each run, against what went wrong in it."""

from __future__ import annotations

from collections.abc import Sequence

from objectives_measure import guidance_key
from objectives_page import KEPT, Json, Outcome, row_of

FALLEN = 0.05
"""Of the score beside the headline, from its best: pictures have become worse."""


def watch_rows(found: Sequence[Outcome]) -> list[str]:
    """A line for each run that was watched; none where none was."""
    rows = [_row(outcome, run) for outcome in found for run in outcome.runs if "watch" in run]
    if not rows:
        return []
    beside = found[0].task.beside[0]
    titles = ["run", "seed", "steps", "first alarm after", "that", f"below {KEPT:g} of the diversity after"]
    titles += [f"`{beside}` {FALLEN:g} below its best after", "the watch"]
    return [
        "What [the watch](monitor.md) said, and when the averaged policy had lost diversity or quality on dev (at the "
        "guidance of its test row, first of ten checkpoints). In time: before the last checkpoint that was sound; with "
        "it: after that one, and before the harm was seen.",
        "",
        row_of(titles),
        "|---|---:|---:|---:|---|---:|---:|---|",
        *rows,
        "",
    ]


def _row(outcome: Outcome, run: Json) -> str:
    alarm = next(iter(run["watch"]["alarms"]), None)
    harms = [alike(outcome, run), worse(outcome, run)]
    said = "; ".join(alarm["sentences"]) if alarm else ""
    cells = [outcome.recipe, run["seed"], run["steps"], alarm["step"] if alarm else "none", said]
    cells += ["never" if step is None else step for step in harms]
    return row_of([*cells, verdict(run, alarm["step"] if alarm else None, harms)])


def verdict(run: Json, alarm: int | None, harms: Sequence[int | None]) -> str:
    """In a word: whether the alarm came before the first harm (all in steps, None: never).

    A harm that a checkpoint shows came about since the checkpoint before it.
    """
    first = min((step for step in harms if step is not None), default=None)
    if first is None:
        return "silent, rightly" if alarm is None else "false alarm"
    if alarm is None:
        return "missed it"
    before = max((point["step"] for point in run["curve"] if point["step"] < first), default=0)
    return "in time" if alarm <= before else "with it" if alarm <= first else "late"


def alike(outcome: Outcome, run: Json) -> int | None:
    """The step of the first checkpoint that keeps less than `KEPT` of the base's diversity."""
    scale = _scale(run)
    return next((int(point["step"]) for point in run["curve"] if outcome.kept_at(point, scale) < KEPT), None)


def worse(outcome: Outcome, run: Json) -> int | None:
    """The step of the first checkpoint at which the score beside the headline is `FALLEN` below its best so far, the
    base's included."""
    name, scale = outcome.task.beside[0], _scale(run)
    best = outcome.base["dev"][scale][name]
    for point in run["curve"]:
        value = point["dev"][scale][name]
        if value is None:  # nothing could be scored: neither better nor worse
            continue
        if value <= best - FALLEN:
            return int(point["step"])
        best = max(best, value)
    return None


def _scale(run: Json) -> str:
    """The guidance that was chosen in the end: harms are told at one, so that no change of it looks like one."""
    return guidance_key(run["test"]["guidance"])

"""docs/reproduction.md, from the JSON files alone: a table and a plot for each claim, and what people say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import cast

from objectives_measure import guidance_key
from objectives_page import KEPT, Json, Outcome, base_of, each_of, gain_over, row_of, spread
from objectives_plan import Plan, Task
from objectives_plot import curves
from paper_plan import TABLES, Table, results, runs
from paper_watch import watch_rows

from flowbench import prompts, store

SAID = "paper"
"""The folder of conclusions, a file for each table, beside the plots."""


def write(plan: Plan, docs: Path) -> Path:
    """The page and its plots."""
    known = results(plan)
    parts = [(table, outcomes(plan, table, known)) for table in TABLES]
    lines = _head(parts)
    for table, found in parts:
        if found:
            plot = docs / "results" / SAID / f"{table.name}.png"
            store.write_bytes(plot, curves(found[0].base, found))
            lines += _section(table, found, docs, plot)
    return store.write_text(docs / "reproduction.md", "\n".join(lines) + "\n")


def outcomes(plan: Plan, table: Table, known: dict[str, dict[str, object]]) -> list[Outcome]:
    """Of each arm what is there."""
    plan, found = replace(plan, task=table.task), dict[str, list[Json]]()
    for _, run in runs(plan, table):
        if run.digest in known:
            found.setdefault(run.label, []).append(cast(Json, known[run.digest]))
    base = base_of(plan) if found else {}
    return [Outcome(arm.name, tuple(found[arm.name]), base, table.task) for arm in table.arms if arm.name in found]


def _head(parts: Sequence[tuple[Table, Sequence[Outcome]]]) -> list[str]:
    missing = [
        table.title
        for table, found in parts
        if sum(len(outcome.runs) for outcome in found) < sum(len(arm.seeds) for arm in table.arms)
    ]
    return [
        "# The paper on a laptop",
        "",
        "What Flow-GRPO's paper claims, asked of the built-in model: pictures of 32 px whose scorer is exact. Written "
        "by `python bench/paper.py`, `python bench/paper.py TABLE` makes the runs of one table; every run's command, "
        "date, commit and machine stand in its file in `results/data/`.",
        "",
        "- All runs have the same training time, in yardsticks of 20 steps of one fixed recipe, timed before and after "
        "each ([objectives.md](results/objectives.md) explains the protocol); their learning rate ends at 0.",
        "- Time to a gain is in yardsticks, over the base's best guidance on dev; the averaged policy counts, at the "
        "better of guidance 1 and 1.5 (and that of its training), and must hold the score at the next checkpoint. Of "
        "several seeds: median, lowest and highest.",
        f"- Best with {KEPT:g} kept: the best checkpoint on dev that has {KEPT:g} or more of the base's colour "
        "entropy and layout diversity. Test columns are of the last policy; brackets are 95 % intervals over prompts, "
        "paired, of means over the seeds that both sides have, and say nothing about other training seeds.",
        *([f"- Runs are still missing of: {', '.join(missing)}."] if missing else []),
        "",
    ]


def _dev_of(base: Json, task: Task) -> str:
    dev = ", ".join(f"{scores[task.headline]:.3f} at {scale}" for scale, scores in base["dev"].items())
    return f"The base's `{task.headline}` on dev, by guidance: {dev}; {base['best_guidance']:g} is its best."


def _section(table: Table, found: Sequence[Outcome], docs: Path, plot: Path) -> list[str]:
    said = docs / "results" / SAID / f"{table.name}.md"
    return [
        f"## {table.title}",
        "",
        f"*The claim:* {table.claim}",
        "",
        said.read_text(encoding="utf-8").strip() if said.is_file() else "*Here:* not yet written.",
        "",
        _dev_of(found[0].base, table.task),
        "",
        *_rows(found),
        "",
        *([*_unseen_rows(found), ""] if table.splits_test else []),
        *(watch_rows(found) if table.shows_watch else []),
        f"![dev score over time, gain over diversity]({plot.relative_to(docs).as_posix()})",
        "",
        f"`python bench/paper.py {table.name}`; {_dates(found)}.",
        "",
    ]


def _rows(found: Sequence[Outcome]) -> list[str]:
    """A line for each arm."""
    base, task = found[0].base, found[0].task
    titles = ["run", "seeds", "steps", *(f"to +{gain:.2f}" for gain in task.gains), "last on dev"]
    titles += [f"best with {KEPT:g} kept", f"test {task.headline}", *task.beside, "colours", "layouts", "KL"]
    titles += ["over the base's best", f"over {found[0].recipe}"]
    lines = [row_of(titles), "|---|" + "---:|" * (len(titles) - 1)]
    best = base["test"][guidance_key(base["best_guidance"])]
    for outcome in found:
        last = [outcome.points(run, "seconds")[-1][1] for run in outcome.runs]
        varied = [outcome.varied(run) for run in outcome.runs]
        rows = [run["test"] for run in outcome.runs]
        cells = [outcome.recipe, *(each_of(run[name] for run in outcome.runs) for name in ("seed", "steps"))]
        cells += [spread(outcome.efforts(gain, "yardsticks")) for gain in task.gains]
        cells += [spread(last, "{:.3f}"), spread(varied, "{:.3f}") if any(varied) else "none"]
        cells += [f"{outcome.mean(name):.3f}" for name in task.scores]
        cells += [f"{outcome.kept(name):.2f}" for name in task.diversity]
        cells.append(f"{fmean(run['kl_to_base'] for run in outcome.runs):.3f}")
        cells += [gain_over(rows, [best], task), _over(outcome, found[0])]
        lines.append(row_of(cells))
    return lines


def _unseen_rows(found: Sequence[Outcome]) -> list[str]:
    """The official verdict on the test prompts that `shapes_unseen` holds out, and on the others: over the base's."""
    held_out = {prompt.id for prompt in prompts.load("shapes_unseen", "test")}
    lines = [row_of(["run", "test prompts", "official", "over the base's best"]), "|---|---|---:|---:|"]
    base = found[0].base
    best = base["test"][guidance_key(base["best_guidance"])]
    for outcome in found:
        for name, is_in in (("held out", True), ("the others", False)):
            rows = [_of_prompts(run["test"], held_out, is_in) for run in outcome.runs]
            means = [[fmean(tag.values()) for tag in row["by_prompt"]["official"].values()] for row in rows]
            if all(means):  # of few prompts (--limit), all may be on one side
                gain = gain_over(rows, [_of_prompts(best, held_out, is_in)])
                lines.append(row_of([outcome.recipe, name, f"{fmean(map(fmean, means)):.3f}", gain]))
    return lines


def _of_prompts(row: Json, prompts_of: set[str], is_in: bool) -> Json:
    """A test row with the verdicts on these prompts (or on all others) alone; tags without any are left out."""
    kept = {
        tag: {
            prompt: value for prompt, value in values.items() if (prompt in prompts_of) == is_in and value is not None
        }
        for tag, values in row["by_prompt"]["official"].items()
    }
    return {"by_prompt": {"official": {tag: values for tag, values in kept.items() if values}}}


def _over(outcome: Outcome, first: Outcome) -> str:
    """Against the table's first arm, over the seeds that both have."""
    if outcome is first:
        return "–"
    ours, theirs = ({run["seed"]: run["test"] for run in each.runs} for each in (outcome, first))
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return "no common seed"
    return gain_over([ours[seed] for seed in common], [theirs[seed] for seed in common], outcome.task)


def _dates(found: Sequence[Outcome]) -> str:
    dates = sorted(run["date"] for outcome in found for run in outcome.runs)
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"

"""The page of bench/objectives.py, from the JSON files alone: tables, and a plot beside it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from objectives_measure import guidance_key
from objectives_plan import COMPOSITION, DEFAULT, FLOW_GRPO, FORMAT, SAME_GRADIENT, Plan, Task
from objectives_run import typical_yardstick, yardstick_of

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.recipe_files import recipe_names
from flowbench.stats.paired import paired_test

KEPT = 0.8
"""Of the base's diversity: the least that the default recipe must keep."""
STEADY = 0.10
"""By how much the yardsticks before and after a run may differ until the page says so."""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """All runs of one recipe, by seed, beside the base."""

    recipe: str
    runs: tuple[Json, ...]
    base: Json
    task: Task = COMPOSITION

    def points(self, run: Json, over: str) -> list[tuple[float, float]]:
        """(effort, dev score at the better guidance) from the base on. over: seconds, pictures, updates; or
        "yardsticks"."""
        headline = self.task.headline
        first = max(self.base["dev"][scale][headline] for scale in run["curve"][0]["dev"])
        unit = yardstick_of(run) if over == "yardsticks" else 1.0
        key = "seconds" if over == "yardsticks" else over
        found = [
            (point[key] / unit, max(scores[headline] for scores in point["dev"].values())) for point in run["curve"]
        ]
        return [(0.0, first), *found]

    def efforts(self, gain: float, over: str) -> list[float | None]:
        """What each run needed until the gain; None where it was not reached."""
        return [reached(self.points(run, over), target(self.base, gain, self.task)) for run in self.runs]

    def key(self, seeds: int | None = None) -> tuple[float, ...]:
        """Sorts recipes: by the median of the yardsticks to the highest gain, then to the one below it and so on, then
        by the last dev score. seeds: of that many first runs alone."""
        needed = [self.efforts(gain, "yardsticks")[:seeds] for gain in reversed(self.task.gains)]
        last = fmean(self.points(run, "seconds")[-1][1] for run in self.runs[:seeds])
        return *(median(math.inf if each is None else each for each in some) for some in needed), -last

    def path(self, run: Json) -> list[tuple[float, float]]:
        """(`kept_at`, dev score) of every checkpoint, at its better guidance."""
        found = []
        for point in run["curve"]:
            scale, scores = max(point["dev"].items(), key=lambda item: item[1][self.task.headline])
            found.append((self.kept_at(point, scale), scores[self.task.headline]))
        return found

    def kept_at(self, point: Json, scale: str) -> float:
        """Of a checkpoint on dev: the lower of the shares of the base's diversity of colours and of layouts at that
        guidance; 0 where nothing is left to measure."""
        ours, theirs = point["dev"][scale], self.base["dev"][scale]
        return min((ours[name] or 0.0) / theirs[name] for name in self.task.diversity)

    def varied(self, run: Json) -> float | None:
        """The best dev score of a checkpoint that keeps `KEPT` of the diversity; None where none does."""
        return max((score for kept, score in self.path(run) if kept >= KEPT), default=None)

    def mean(self, name: str) -> float:
        """Of a number of the test row, over the runs."""
        return fmean(run["test"][name] for run in self.runs)

    def kept(self, name: str) -> float:
        """The diversity as a share of the base's at the same guidance, a mean over the runs; NaN where a side has none.

        Of a number that every prompt has, over the prompts that both sides have it of.
        """
        return fmean(self._share(run, name) for run in self.runs)

    def _share(self, run: Json, name: str) -> float:
        return share(run["test"], self.base["test"][guidance_key(run["test"]["guidance"])], name)


@dataclass(frozen=True)
class Found:
    """What a folder holds of a plan."""

    base: Json
    outcomes: tuple[Outcome, ...]
    """of each recipe, the best first"""
    left_out: tuple[str, ...]
    """names of files whose runs had other settings, another budget or another form than the plan's"""


def load(plan: Plan) -> Found:
    """The results that are there of a plan's runs, as its settings and recipes are now.

    Raises ConfigError where the base's is missing, or was measured otherwise.
    """
    base = base_of(plan)
    found, left_out = dict[str, list[Json]](), list[str]()
    for path in sorted(plan.data.glob("objectives-*-seed*.json")):
        run = store.read_object(path)
        known = run["recipe"] in recipe_names()
        if known and run["digest"] == plan.run(run["recipe"], run["seed"]).digest:
            found.setdefault(run["recipe"], []).append(run)
        else:
            left_out.append(path.name)
    outcomes = [
        Outcome(recipe, tuple(sorted(runs, key=lambda run: int(run["seed"]))), base) for recipe, runs in found.items()
    ]
    return Found(base, tuple(sorted(outcomes, key=Outcome.key)), tuple(left_out))


def base_of(plan: Plan) -> Json:
    """What the base reaches. Raises ConfigError where it is missing, or was measured otherwise."""
    base = store.read_object(plan.base_file) if plan.base_file.is_file() else {}
    if (base.get("format"), base.get("limit")) != (FORMAT, plan.limit):
        raise ConfigError(f"{plan.base_file}: the base is not there, or of other settings. Leave out --page.")
    return base


def target(base: Json, gain: float, task: Task = COMPOSITION) -> float:
    """A dev score: the base's at its best guidance, and the gain."""
    return float(base["dev"][guidance_key(base["best_guidance"])][task.headline] + gain)


def reached(points: Sequence[tuple[float, float]], score: float) -> float | None:
    """Where a curve reaches a score and holds it at the next point, linearly between points; None where it does not.

    points: (effort, score), effort ascending. The last point has no next one that could confirm it.
    """
    for place, ((effort, value), (_, following)) in enumerate(itertools.pairwise(points)):
        if value >= score and following >= score:
            if place == 0:
                return effort
            effort_before, before = points[place - 1]
            return effort_before + (effort - effort_before) * (score - before) / (value - before)
    return None


def spread(values: Sequence[float | None], form: str = "{:.1f}") -> str:
    """The median and, in brackets, the lowest and highest; of seeds that did not get there, that."""
    there = sorted(value for value in values if value is not None)
    if not there:
        return "not reached"
    ends = " to ".join(form.format(value) for value in (there[0], there[-1]))
    if len(there) < len(values):
        return f"{len(there)} of {len(values)}: {ends if len(there) > 1 else form.format(there[0])}"
    return form.format(median(there)) + (f" ({ends})" if len(there) > 1 else "")


def share(ours: Json, theirs: Json, name: str) -> float:
    """A number of our test row as a share of theirs; NaN where a side has none. Of a number that every prompt has, over
    the prompts that both sides have it of."""
    pairs = [(ours[name], theirs[name])]
    if name in ours["by_prompt"]:
        pairs = [(a, b) for a, b, *_ in paired_values([ours], [theirs], name)]
    elif None in pairs[0]:
        return math.nan
    of_theirs = sum(pair[1] for pair in pairs)
    return sum(pair[0] for pair in pairs) / of_theirs if of_theirs else math.nan


def paired_values(ours: Sequence[Json], theirs: Sequence[Json], metric: str) -> list[tuple[float, float, str, str]]:
    """(our value, theirs, prompt, tag) of every prompt that all rows have a value of; the mean over the rows."""
    sides = [[_flat(row["by_prompt"][metric]) for row in rows] for rows in (ours, theirs)]
    every = [row for side in sides for row in side]
    common = [key for key in every[0] if all(row.get(key) is not None for row in every)]
    means = [[fmean(row[key] for row in side) for key in common] for side in sides]
    return [(a, b, prompt, tag) for a, b, (tag, prompt) in zip(*means, common, strict=True)]


def _flat(by_tag: Mapping[str, Mapping[str, float]]) -> dict[tuple[str, str], float]:
    return {(tag, prompt): value for tag, values in by_tag.items() for prompt, value in values.items()}


def gain_over(ours: Sequence[Json], theirs: Sequence[Json], task: Task = COMPOSITION) -> str:
    """The difference of the headline with its 95 % interval over prompts, stratified by tag."""
    values, others, prompts, tags = zip(*paired_values(ours, theirs, task.headline), strict=True)
    found = paired_test(values, others, prompts, tags)
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def time_table(outcomes: Sequence[Outcome], machine: str) -> list[str]:
    """How long each recipe takes to each gain."""
    unit = typical_yardstick([run for outcome in outcomes for run in outcome.runs], machine)
    gains = outcomes[0].task.gains
    heads = [f"to +{gain:.2f}" for gain in gains]
    titles = ["recipe", "objective", "seeds", "steps", *heads, "last dev score", f"best with {KEPT:g} kept"]
    lines = [row_of(titles), "|---|---|" + "---:|" * (len(titles) - 2)]
    for outcome in outcomes:
        cells = [outcome.recipe, outcome.runs[0]["objective"], each_of(run["seed"] for run in outcome.runs)]
        cells.append(each_of(run["steps"] for run in outcome.runs))
        cells += [_times(outcome.efforts(gain, "yardsticks"), unit) for gain in gains]
        last = [outcome.points(run, "seconds")[-1][1] for run in outcome.runs]
        varied = [outcome.varied(run) for run in outcome.runs]
        cells += [spread(last, "{:.3f}"), spread(varied, "{:.3f}") if any(varied) else "none"]
        lines.append(row_of(cells))
    return lines


def _times(needed: Sequence[float | None], unit: float) -> str:
    """Yardsticks, and the median in seconds where every seed got there."""
    there = [each for each in needed if each is not None]
    seconds = f"; {median(there) * unit:.0f} s" if len(there) == len(needed) else ""
    return spread(needed) + seconds


def test_table(outcomes: Sequence[Outcome], base: Json) -> list[str]:
    """The last policies on the test split, beside the base at its best guidance and beside Flow-GRPO."""
    best = base["test"][guidance_key(base["best_guidance"])]
    reference = next((each for each in outcomes if each.recipe == _reference(outcomes)), None)
    titles = ["recipe", "guidance", "official", "exclusive", "colours kept", "layout kept", "KL to the base"]
    titles += ["official over the base's", f"over {_reference(outcomes)}"]
    lines = [row_of(titles), "|---|" + "---:|" * (len(titles) - 1)]
    for outcome in outcomes:
        rows = [run["test"] for run in outcome.runs]
        cells = [outcome.recipe, each_of(f"{row['guidance']:g}" for row in rows)]
        cells += [f"{outcome.mean(name):.3f}" for name in ("official", "exclusive")]
        cells += [f"{outcome.kept(name):.2f}" for name in COMPOSITION.diversity]
        cells += [f"{fmean(run['kl_to_base'] for run in outcome.runs):.4f}", gain_over(rows, [best])]
        cells.append("–" if reference in (None, outcome) else _against(outcome, reference))
        lines.append(row_of(cells))
    for scale, row in base["test"].items():
        numbers = [f"{row[name]:.3f}" for name in ("official", "exclusive")]
        lines.append(row_of(["the base", scale, *numbers, "1", "1", "0", "", ""]))
    return lines


def _reference(outcomes: Sequence[Outcome]) -> str:
    """Flow-GRPO's recipe: the old default's where it was run."""
    return FLOW_GRPO if any(outcome.recipe == FLOW_GRPO for outcome in outcomes) else DEFAULT


def _against(outcome: Outcome, reference: Outcome | None) -> str:
    """Over the seeds that both have."""
    rows = [{run["seed"]: run["test"] for run in each.runs} for each in (outcome, reference) if each is not None]
    common = sorted(set.intersection(*(set(each) for each in rows)))
    return gain_over(*([each[seed] for seed in common] for each in rows)) if common else "no common seed"


def unsteady(outcomes: Sequence[Outcome]) -> list[str]:
    """Runs during which the machine changed its pace."""
    found = []
    for outcome in outcomes:
        for run in outcome.runs:
            change = run["yardstick"]["after"] / run["yardstick"]["before"] - 1
            if abs(change) > STEADY:
                found.append(f"{outcome.recipe} seed {run['seed']} ({change:+.0%})")
    return found


def most_used_machine(outcomes: Sequence[Outcome]) -> str:
    """The one that made most runs."""
    names = Counter(run["machine"]["name"] for outcome in outcomes for run in outcome.runs)
    return names.most_common(1)[0][0]


def page(found: Found, conclusions: Path, plot: str) -> str:
    """The whole page. conclusions: a file with what people say of it, which is put first where it is there."""
    base, outcomes = found.base, found.outcomes
    machine = most_used_machine(outcomes)
    runs = [run for outcome in outcomes for run in outcome.runs]
    written = conclusions.read_text(encoding="utf-8").strip() if conclusions.is_file() else "Not yet written."
    odd = unsteady(outcomes)
    dev = ", ".join(f"{scores['official']:.3f} at {scale}" for scale, scores in base["dev"].items())
    budgets = each_of(f"{run['budget_in_yardsticks']:g}" for run in runs)
    lines = [
        "# Objectives side by side",
        "",
        f"Written by `bench/objectives.py` from {len(runs)} files in `data/`, each of which has its command, date and "
        f"machine. Conclusions: `{conclusions.name}`.",
        "",
        f"The code: commit {each_of(run['commit'] for run in runs)}."
        + (f" Left out, of other settings: {', '.join(found.left_out)}." if found.left_out else ""),
        "",
        written,
        "",
        "## Time to a gain on the dev split",
        "",
        *time_table(outcomes, machine),
        "",
        f"- A yardstick is 20 steps of the old default recipe on the machine at that moment, taken before and after "
        f"every run: here {typical_yardstick(runs, machine):.1f} s on {machine}, for which the seconds are given. "
        f"Every run had {budgets} yardsticks of training, at the end of which its learning rate was 0; evaluation is "
        "not counted.",
        f"- The base on dev: {dev}. A gain is over its best guidance, {base['best_guidance']:g}; the trained policy's "
        "moving average is taken at the better of guidance 1 and 1.5, must hold the score at the next checkpoint, and "
        "time is linear between checkpoints.",
        "- Several seeds: the median, and in brackets the lowest and the highest.",
        f"- Best with {KEPT:g} kept: the best checkpoint among those that have at least {KEPT:g} of the base's colour "
        "entropy and layout diversity on dev, at the same guidance (layouts as means over the prompts that have one on "
        "either side; in the test table over those of both).",
        *(f"- {name} has {other}'s gradient everywhere, and no run." for name, other in SAME_GRADIENT.items()),
        *([f"- The yardsticks before and after differ by more than 10 %: {'; '.join(odd)}."] if odd else []),
        "",
        f"![dev score over time, pictures and updates; gain over diversity]({plot})",
        "",
        "Strong lines are the first seed's, weak ones the others'.",
        "",
        "## The last policies on the test split",
        "",
        *test_table(outcomes, base),
        "",
        "- Guidance: the better of 1 and 1.5 on dev. Kept: the share of the base's colour entropy and layout diversity "
        "at the same guidance, on the same prompts and seeds, with as many pictures. KL: mean squared difference of "
        "the velocities on the base's own pictures, without guidance.",
        "- Brackets: 95 % interval over prompts, paired, stratified by tag, of means over the seeds that both sides "
        f"have; the base is at guidance {base['best_guidance']:g}. It says nothing about other training seeds, nor of "
        "how many comparisons stand here.",
        "",
    ]
    return "\n".join(lines)


def row_of(cells: Sequence[Any]) -> str:
    """A line of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def each_of(values: Any) -> str:
    """What they have in common, or all of them."""
    return ", ".join(dict.fromkeys(str(value) for value in values))

"""Which runs bench/objectives.py makes, under which settings, and where their results lie."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.cli.train_processes import cores
from flowbench.config import TrainConfig, load_config
from flowbench.errors import ConfigError
from flowbench.objective_presets import recipe_end
from flowbench.recipe_files import recipe_names

FORMAT = 2
"""Of the JSON files; a change of their form, or of what is measured, is another number: all runs are made again."""
DEFAULT, FLOW_GRPO = "shapes-geneval", "shapes-flow_grpo"
"""The default recipe, and that of flow_grpo, the default before: both get all seeds."""
YARDSTICK = "shapes-geneval-plain"
"""That of flow_grpo as it was before this comparison, settings and arrangement."""
APART = (YARDSTICK,)
"""What is not compared: the arrangement that the yardstick has."""
SAME_GRADIENT = {"par": "pepg"}
"""Objectives whose gradient is another's everywhere (their tests say so): a run of their own would show nothing."""
SEEDS = (0, 1, 2)
MOST = 5
"""How many of the recipes that are best with the first seed get the others, too."""
GUIDANCE = (1.0, 1.5)
"""At which a trained policy is evaluated."""
BASE_GUIDANCE = (1.0, 1.5, 2.0, 3.0)
"""At which the base is, on dev: its best one is what gains are over."""
PARTS = 10
"""Checkpoints of a run, and points of its curve."""
OLD_ARRANGEMENT = (
    "rollout.bundle=1", "rollout.micro_batch=32", "rollout.keep_graph=false", "optimizer.fused=false",
)  # fmt: skip
"""How a step was computed before forward passes spanned groups, on whatever recipe the yardstick is."""
YARDSTICK_STEPS, LEFT_OUT = 20, 4
"""Steps of a yardstick, and the first of them, whose time does not count: they wait for caches and libraries."""
PROBED, PROBE_LEFT_OUT = 8, 3
"""The same of the few steps by which a recipe's budget becomes a number of steps."""
OF_NO_EFFECT = ("out", "steps", "save_every", "keep", "sample_every", "eval_every", "monitor")
"""Settings that follow from the budget and the machine, or change no number of what is learned."""


@dataclass(frozen=True)
class Task:
    """What is learned, and what is measured of it."""

    name: str
    model: str
    """The built-in model whose base gains are over."""
    suite: str
    """The test split's; the dev split's has `_dev` after its name."""
    headline: str
    """The score by which guidance is chosen, and of which gains are told."""
    beside: tuple[str, ...]
    """What a gain may have cost, or what it stands for: shown with it."""
    colors: str = "object_color_entropy"
    layout: str = "layout_diversity"
    """The diversity of colours, of all pictures together, and of layouts, of each prompt."""
    scorers: tuple[str, ...] = ()
    """That the suite does not have itself."""
    held_out: tuple[str, ...] = ()
    """Rewards that the watch asks of a run, too (docs/monitor.md)."""
    gold: str | None = None
    """For it, what the trained reward stands for."""
    gains: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
    """Over the base's best dev score: what the time is counted to."""

    @property
    def scores(self) -> tuple[str, ...]:
        return self.headline, *self.beside

    @property
    def diversity(self) -> tuple[str, str]:
        return self.colors, self.layout

    @property
    def measured(self) -> tuple[str, ...]:
        """Of every checkpoint, on dev."""
        return *self.scores, *self.diversity


COMPOSITION = Task("composition", "shapes", "shapes", "official", ("exclusive",), held_out=("geneval/exclusive",))


@dataclass(frozen=True)
class Plan:
    """What all runs have in common."""

    budget: float
    """Training time of a run, in yardsticks."""
    limit: int | None
    """Prompts of an evaluation; None: all."""
    overrides: tuple[str, ...]
    """Settings in place of those of every recipe, the yardstick's too."""
    work: Path
    """Where runs and evaluations are made."""
    data: Path
    """Where their results lie."""
    command: str
    """As it was typed."""
    kind: str = "objectives"
    """What the names of its files begin with."""
    task: Task = COMPOSITION

    @cached_property
    def yardstick(self) -> TrainConfig:
        """Twenty steps of the old default recipe, in the old arrangement: a measure of machine and moment."""
        return load_config(YARDSTICK, [*OLD_ARRANGEMENT, *self.overrides, f"steps={YARDSTICK_STEPS}"])

    @cached_property
    def processes(self) -> int:
        """Of every training: the most, up to what the yardstick is trained on when nobody says, to which the bundles of
        every recipe can be dealt."""
        from flowbench.cli.train_processes import fitting_processes

        configs = [self.yardstick, *(load_config(recipe, self.overrides) for recipe in recipes())]
        bundles = [each.rollout.groups // each.optimizer.updates // each.rollout.bundle for each in configs]
        most = fitting_processes(self.yardstick)
        return max(count for count in range(1, most + 1) if math.gcd(*bundles) % count == 0)

    def run(self, recipe: str, seed: int, *changes: str, label: str = "") -> Run:
        """The run of a recipe, with changes of its settings, and seed; its name has the label in the recipe's place.
        Raises ConfigError for an unknown recipe or setting."""
        config = load_config(recipe, [*self.overrides, *changes, f"seed={seed}"])
        if config.rollout.guidance not in BASE_GUIDANCE:
            known = ", ".join(f"{scale:g}" for scale in BASE_GUIDANCE)
            raise ConfigError(f"rollout.guidance {config.rollout.guidance:g}: the base is measured at {known} alone.")
        return Run(recipe, seed, config, digest(config, self.budget, self.limit), self, label or recipe)

    @property
    def base_file(self) -> Path:
        """What the base, without an adapter, reaches."""
        return self.data / ("objectives-base.json" if self.task == COMPOSITION else f"base-{self.task.name}.json")


def digest(config: TrainConfig, budget: float, limit: int | None) -> str:
    """Of everything that decides a result, but the machine and the code. Settings at their defaults do not count, so
    that a run stays what it is when a new setting comes into the house."""
    tree = config.model_dump(mode="json", exclude_defaults=True)
    tree = {key: value for key, value in tree.items() if key not in OF_NO_EFFECT}
    key = {"config": tree, "objective": config.objective.name, "budget": budget, "limit": limit, "format": FORMAT}
    return store.digest(key)[:12]


@dataclass(frozen=True)
class Run:
    """One training run, from its yardstick to its JSON."""

    recipe: str
    seed: int
    config: TrainConfig
    """The recipe with the overrides and the seed; its steps are not yet those of the budget."""
    digest: str
    """Of everything that decides the result, but the machine."""
    plan: Plan
    label: str
    """In the names of its file and folder."""

    @property
    def name(self) -> str:
        return f"{self.plan.kind}-{self.label}-seed{self.seed}"

    @property
    def file(self) -> Path:
        """Its result."""
        return self.plan.data / f"{self.name}.json"

    @property
    def work(self) -> Path:
        """Everything that it makes on the way; other settings, another folder."""
        return self.plan.work / f"{self.label}-seed{self.seed}-{self.digest}"

    @property
    def folder(self) -> Path:
        """The training run."""
        return self.work / "run"

    @property
    def scales(self) -> tuple[float, ...]:
        """Guidance at which it is evaluated: `GUIDANCE`, and that of its training."""
        return tuple(dict.fromkeys([*GUIDANCE, self.config.rollout.guidance]))

    @property
    def pictures_per_step(self) -> int:
        return self.config.rollout.groups * self.config.rollout.group_size

    @property
    def result(self) -> dict[str, Any] | None:
        """What its file holds, when that is of these settings."""
        found = store.read_object(self.file) if self.file.is_file() else {}
        return found if found.get("digest") == self.digest else None

    @property
    def state(self) -> str:
        """In words, for a list."""
        found = self.result
        if found:
            return f"done {found['date']} on {found['machine']['name']}"
        if self.folder.is_dir():
            return "begun"
        return "to do: its file is of other settings" if self.file.is_file() else "to do"


def seeds_of(text: str, known: Sequence[int]) -> list[int]:
    """ "0,2" -> [0, 2]. Raises ConfigError for what is none of them."""
    named = {str(seed): seed for seed in known}
    for word in text.split(","):
        if word not in named:
            raise ConfigError(f"--seeds: no run of these has '{word}'. There are {', '.join(named)}.")
    return [named[word] for word in text.split(",")]


def check_trial(plan: Plan, is_shipped: bool) -> None:
    """Raise ConfigError for a trial of the command (few prompts, other settings) whose results would take the place of
    those that are committed. is_shipped: whether the results go to docs/."""
    if is_shipped and (plan.limit is not None or plan.overrides):
        raise ConfigError("--limit and KEY=VALUE are for trying the command: give it another place for its results.")


def recipes(only: Sequence[str] = ()) -> list[str]:
    """Those to compare: the default and all others of the built-in model, one for each objective and variant; or those
    named, in that order."""
    if only:
        return [name if name in recipe_names() else f"shapes-{recipe_end(name)}" for name in only]
    left_out = {*APART, *(f"shapes-{name}" for name in SAME_GRADIENT)}
    names = [DEFAULT, *(name for name in recipe_names() if name.startswith("shapes-"))]
    return [name for name in dict.fromkeys(names) if name not in left_out]


def first_runs(plan: Plan, only: Sequence[str] = ()) -> list[Run]:
    """A run of every recipe with the first seed; of recipes that are one under two names, the first."""
    runs: dict[str, Run] = {}
    for recipe in recipes(only):
        run = plan.run(recipe, SEEDS[0])
        runs.setdefault(run.digest, run)
    return list(runs.values())


def more_runs(plan: Plan, ranked: Sequence[str], only: Sequence[str] = ()) -> Iterator[Run]:
    """The other seeds of the best recipes, and of the old and the new default. ranked: the best first."""
    known = [run.recipe for run in first_runs(plan, only)]
    chosen = dict.fromkeys([*ranked[:MOST], FLOW_GRPO, DEFAULT])
    for recipe in known:
        if recipe in chosen:
            yield from (plan.run(recipe, seed) for seed in SEEDS[1:])


def machine() -> dict[str, Any]:
    """The one that this runs on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = next(iter(named), platform.processor() or platform.machine())
    return {"name": f"{processor}, {cores()} cores", "architecture": platform.machine(), "cores": cores()}


def provenance(plan: Plan) -> dict[str, Any]:
    """What every result says of how it was made."""
    import datetime

    threads = os.environ.get("OMP_NUM_THREADS")
    commit = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "flowbench", "bench"], check=False).returncode
    return {
        "command": (f"OMP_NUM_THREADS={threads} " if threads else "") + plan.command,
        "commit": commit.stdout.strip() + (" with changes" if changed else ""),
        "date": datetime.date.today().isoformat(),
        "format": FORMAT,
        "machine": machine(),
        "versions": store.versions(),
    }


def prompts_differ(runs: Sequence[Run]) -> Mapping[str, list[str]]:
    """What must be the same for all, where it is not: in words -> the recipes."""
    odd: dict[str, list[str]] = {}
    reference = runs[0]
    for run in runs[1:]:
        if run.config.prompts != reference.config.prompts:
            odd.setdefault("other prompts or weights of tags", []).append(run.recipe)
        if run.config.reward != reference.config.reward:
            odd.setdefault("another reward", []).append(run.recipe)
        if run.pictures_per_step != reference.pictures_per_step:
            odd.setdefault(f"{run.pictures_per_step} pictures a step", []).append(run.recipe)
    return odd

"""The tables of bench/paper.py: which claim of Flow-GRPO's paper each asks about, and which runs answer it.

An arm is a recipe with a few settings of its own. One that stands in several tables is run once, and so is one that
bench/objectives.py has run: results are known by the digest of their settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from objectives_plan import COMPOSITION, FLOW_GRPO, SEEDS, Plan, Run, Task

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.registry import did_you_mean

ONE = SEEDS[:1]
PREFERENCE = Task(
    "preference", "shapes", "shapes", "taste", ("taste_rule", "official"), scorers=("taste", "taste_rule"),
    held_out=("geneval_official",), gold="taste_rule", gains=(0.0, 1.0, 2.0, 4.0),
)  # fmt: skip
TEXT = Task(
    "text", "letters", "letters", "exact", ("letters/exact", "edit"), "palette_entropy", "placement_diversity",
    gold="letters",
)  # fmt: skip
PAPER = "shapes-geneval-paper"
"""Every step but the last is stochastic and learned from, as in the paper."""


@dataclass(frozen=True)
class Arm:
    """One line of a table."""

    name: str
    """In the table and in the names of its files."""
    recipe: str
    changes: tuple[str, ...] = ()
    """Settings in place of the recipe's."""
    seeds: tuple[int, ...] = ONE
    watched: bool = False
    """Whether a run from before the watch was there does not count."""


@dataclass(frozen=True)
class Table:
    """A claim, and what is run to see whether it holds here."""

    name: str
    """On the command line."""
    title: str
    claim: str
    """Of the paper, in our words."""
    arms: tuple[Arm, ...]
    """The first one is what the others are compared with."""
    task: Task = COMPOSITION
    shows_watch: bool = False
    """Whether the page holds what the watch said against what went wrong."""
    splits_test: bool = False
    """Whether test prompts of `shapes_unseen` and the others are shown apart."""


FLOW = Arm("flow_grpo", FLOW_GRPO, seeds=SEEDS)
FREE = Arm("flow_grpo-no-kl", FLOW_GRPO, ("objective.kl_weight=0",), SEEDS)


def _weights(*weights: str) -> Iterator[Arm]:
    return (Arm(f"flow_grpo-kl-{each}", FLOW_GRPO, (f"objective.kl_weight={each}",)) for each in weights)


def _paper(name: str, *changes: str) -> Arm:
    return Arm(f"paper-{name}", PAPER, changes)


def _group(size: int, groups: int, bundle: int, micro: int) -> Arm:
    """About 256 pictures a step."""
    rollout = (f"group_size={size}", f"groups={groups}", f"bundle={bundle}", f"micro_batch={micro}")
    return Arm(f"flow_grpo-group-{size}", FLOW_GRPO, tuple(f"rollout.{each}" for each in rollout))


def _baseline(name: str) -> Iterator[Arm]:
    yield Arm(f"{name}-online", f"shapes-{name}", seeds=SEEDS)
    yield Arm(f"{name}-offline", f"shapes-{name}", ("objective.refresh_every=null",), SEEDS)


def _taste(name: str, recipe: str, *changes: str) -> Arm:
    return Arm(f"taste-{name}", recipe, ("reward.name=taste", "reward.options={}", *changes), SEEDS)


TABLES = (
    Table(
        "composition", "Composition, with and without KL",
        "The reward rises; with KL neither quality nor diversity pays for it, without it both do (table 2, figure 5).",
        (FLOW, FREE, Arm("nft", "shapes-geneval", (), SEEDS, True),
         Arm("flow_grpo-littered", FLOW_GRPO, ("reward.options.geneval.extra_price=0",), SEEDS)),
        shows_watch=True,
    ),
    Table(
        "preference", "Preference: a learned proxy and what it stands for",
        "A preference reward rises; with KL quality and diversity stay, without it they pay for it (table 2).",
        (_taste("nft", "shapes-geneval"), _taste("flow_grpo", FLOW_GRPO),
         _taste("flow_grpo-no-kl", FLOW_GRPO, "objective.kl_weight=0")),
        PREFERENCE, shows_watch=True,
    ),
    Table(
        "text", "Text rendering",
        "What a reader reads rises; with KL quality and diversity stay, without it they pay for it (table 2). Below: "
        "trained on the exact reader instead of RapidOCR.",
        (Arm("ocr-nft", "letters-ocr", (), SEEDS),
         Arm("ocr-nft-no-kl", "letters-ocr", ("objective.kl_weight=0", "adapter.reference_guidance=null"), SEEDS),
         Arm("letters-nft", "letters-ocr", ("reward.name=letters", "reward.options={}"))),
        TEXT, shows_watch=True,
    ),
    Table(
        "kl", "The weight of the KL",
        "There is a weight at which the reward rises as far, only later, and quality stays (figure 5).",
        (FREE, *_weights("1e-4", "2e-4"), FLOW, *_weights("1e-3", "2e-3", "5e-3")),
    ),
    Table(
        "kl-form", "The form of the KL",
        "The published code dropped the step's length from the KL; its author now prefers the KL of velocities.",
        (_paper("no-kl"), _paper("path", "objective.kl=path", "objective.kl_weight=0.01"),
         _paper("path-no-dt", "objective.kl=path_no_dt", "objective.kl_weight=0.1"),
         _paper("velocity", "objective.kl=velocity", "objective.kl_weight=5e-4")),
    ),
    Table(
        "methods", "Flow-GRPO against SFT, RWR and DPO",
        "Online RL beats fine-tuning on its own best pictures, reward-weighted regression and DPO, and of each the "
        "online variant beats the offline one (figure 4).",
        (FLOW, *_baseline("sft"), *_baseline("rwr"), *_baseline("dpo")),
    ),
    Table(
        "steps", "Denoising steps in training",
        "Ten steps train as well as forty, over four times as fast; five are too few (figure 7).",
        (_paper("no-kl"), _paper("steps-5", "rollout.steps=5"), _paper("steps-40", "rollout.steps=40")),
    ),
    Table(
        "noise", "The noise level",
        "At .1 exploration is too little, .7 is best, above 1 training fails (figure 7).",
        (_paper("no-kl"), *(_paper(f"noise-{each}", f"rollout.noise_level={each}") for each in ("0.1", "0.4", "1.0"))),
    ),
    Table(
        "group", "The size of a group",
        "24 is stable, 12 and 6 collapse (appendix).",
        (FLOW, _group(4, 64, 16, 64), _group(8, 32, 8, 64), _group(16, 16, 4, 64), _group(24, 12, 2, 48)),
    ),
    Table(
        "rollout", "Window, initial noise, guidance",
        "The later, faster recipe takes a short stochastic window and no guidance; groups from one latent are ours.",
        (FLOW, Arm("flow_grpo-own-latents", FLOW_GRPO, ("rollout.same_latent=false",)),
         Arm("flow_grpo-all-steps", FLOW_GRPO, ("rollout.window=null", "rollout.window_range=null")),
         Arm("flow_grpo-guided", FLOW_GRPO, ("rollout.guidance=3",)), _paper("no-kl")),
    ),
    Table(
        "unseen", "Kinds and counts that training never asked for",
        "What is learned carries over to unseen objects and counts (table 4).",
        (FLOW, Arm("flow_grpo-unseen", FLOW_GRPO, ("prompts.name=shapes_unseen",), SEEDS)),
        splits_test=True,
    ),
)  # fmt: skip


def find(name: str) -> Table:
    """Raises ConfigError for an unknown table."""
    known = {table.name: table for table in TABLES}
    if name not in known:
        raise ConfigError(f"there is no table '{name}'.{did_you_mean(name, known)} Tables: {', '.join(known)}.")
    return known[name]


def runs(plan: Plan, table: Table, seeds: Sequence[int] = SEEDS) -> list[tuple[Arm, Run]]:
    """Of every arm, the first seed of all before any second one."""
    plan = replace(plan, task=table.task)
    return [
        (arm, plan.run(arm.recipe, seed, *arm.changes, label=arm.name))
        for seed in SEEDS
        for arm in table.arms
        if seed in seeds and seed in arm.seeds
    ]


def is_made(arm: Arm, run: Run, known: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether its result is among those that are known."""
    return run.digest in known and ("watch" in known[run.digest] or not arm.watched)


def results(plan: Plan) -> dict[str, dict[str, object]]:
    """Digest of a run's settings -> what it left, of bench/objectives.py too."""
    trees = [store.read_object(path) for path in sorted(plan.data.glob("*-seed*.json"))]
    return {str(tree["digest"]): tree for tree in sorted(trees, key=lambda tree: "watch" in tree)}

"""The training loop, for every objective.

Which GRPO this is, with the default objective `flow_grpo`, and where it departs from the published Flow-GRPO
(arXiv 2505.05470 and its code):

1. A training step draws groups: one prompt, `group_size` pictures (section 4.1). Prompts are drawn anew in every step,
   tags first; there are no epochs.
2. Each group is sampled by an SDE with the ODE's marginals (section 4.2): `flow` steps as published, `cps` or `dance`;
   all steps but the last draw noise, or a window does (the later "fast" recipe), one window for a whole group, since
   windows of single pictures inflate the spread of rewards.
3. Advantages are rewards less their group's mean, divided by a standard deviation (of the group in the paper, of the
   whole step in the published code: a setting) and clipped. Unscored pictures take no part (there: -10 or 0).
4. The log-prob of a step is a mean over latent elements, in float64, so ratios stay near 1 and the clip range is tiny.
5. KL to the base (section 4.2) is off unless asked for, in three forms; flat groups keep theirs (there: dropped).
6. The loss is a mean over scored pictures and trained steps of an update, over all processes, whatever the micro-batch.
7. The moving average of the adapter is what is evaluated, shown and exported; the live weights go on training.
8. Before the first update the rollout is replayed and must agree to the bit (there: nothing checks it).
9. Every draw is a function of (seed, purpose, step, group, member), so a run may be killed, resumed and moved to other
   processes. There is no generator state to keep.

Other objectives replace 2 to 5 by their own; their files say how.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench import images, prompts, rewards
from flowbench.config import TrainConfig
from flowbench.errors import ConfigError, NotFinite
from flowbench.layout import RunFolder
from flowbench.models import load_model
from flowbench.models.base import FlowModel
from flowbench.store import Held
from flowbench.terminal import say
from flowbench.trainer import checkpoint, objectives, runs, scoring
from flowbench.trainer.groups import GroupSampler, draw_seed
from flowbench.trainer.interrupt import Interruption, Stopped
from flowbench.trainer.learner import AVERAGE, Learner, scheduled_lr
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.policy_check import check_policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.run_card import build_run_card, run_identity
from flowbench.trainer.scoring import RewardThread
from flowbench.trainer.tracking import NullTracker, Tracker
from flowbench.trainer.update import update
from flowbench.types import Prompt

Evaluate = Callable[[FlowModel], dict[str, float]]
SHOWN_PROMPTS, SHOWN_SEEDS = 8, 4
"""Rows of the progress pictures, and pictures of each."""
PATIENCE = 10
"""Training steps in a row that may teach nothing, be it that no picture is scored or that no gradient is finite."""


def train(config: TrainConfig, *, evaluate: Evaluate | None = None, resume: bool = False) -> Path:
    """Run (or, with `resume`, go on with) a training run; returns its folder.

    `evaluate` gives figures of the averaged policy, logged under `eval/` every `eval_every` steps.
    Raises RunError when the folder holds a run and `resume` is False, PolicyMismatch when the on-policy check fails,
    RewardError when pictures stay unscored, and NotFinite when a picture, `PATIENCE` steps of gradients, or what a
    checkpoint is to hold is not finite: its checkpoints up to then stay. SIGTERM and Ctrl-C end it with `Stopped` (a
    SystemExit) after the step at hand, once its checkpoint is saved.
    """
    with _opened(config, resume) as run, Interruption(announce=run.processes.is_main).listening() as interruption:
        for step in range(run.first, config.steps):
            figures, timing = _take(run, step)
            done = step + 1
            run.check_folder()
            if evaluate is not None and config.eval_every and done % config.eval_every == 0:
                figures |= _evaluated(run, evaluate)
            run.tracker.log(done, figures, timing)
            stop = run.processes.any(bool(interruption.signal))
            if done % config.sample_every == 0 or done == config.steps:
                run.draw(done)
            if done % config.save_every == 0 or done == config.steps or stop:
                run.save(done)
            if stop:
                raise Stopped(interruption.signal or signal.SIGTERM, done)
    return run.folder


def _take(run: _Run, step: int) -> tuple[dict[str, float], dict[str, float]]:
    """One training step (0-based): its figures, and what took how many seconds."""
    config = run.config
    started = time.monotonic()
    settings = config.rollout
    groups = [group for group in run.sampler.at(step) if run.processes.owns(group.index // settings.bundle)]
    kept = settings.groups // config.optimizer.updates if settings.keep_graph else 0
    rollout = collect(run.policy, run.objective, groups, run.scorer.submit, kept_groups=kept)
    sampled = time.monotonic()
    scored = scoring.gather(rollout, settings, run.processes)
    run.unscored_steps = run.unscored_steps + 1 if scored.rewards.isnan().all() else 0
    scoring.refuse_unscored(scored, config.reward, run.unscored_steps, run.patience)
    waited = time.monotonic()
    bundles = scoring.to_bundles(run.objective, groups, rollout.trajectories, scored.rewards)
    lr = scheduled_lr(config.optimizer, step, config.steps)
    learned = update(run.policy, run.objective, bundles, lr, run.processes)
    run.policy.learner.end_step(step)
    all_skipped = learned["optimizer/skipped"] > 0 and math.isnan(learned["optimizer/grad_norm"])
    run.skipped_steps = run.skipped_steps + 1 if all_skipped else 0
    if run.skipped_steps >= run.patience:
        raise NotFinite(
            f"not one gradient of the last {run.skipped_steps} steps was finite, so that nothing is learned; the "
            "newest checkpoint stays. Train again with model.dtype bfloat16 or float32, or a lower optimizer.lr."
        )
    figures = scoring.figures(scored, run.processes) | learned
    ended = time.monotonic()
    return figures, {
        "rollout": sampled - started,
        "reward_wait": waited - sampled,
        "update": ended - waited,
        "seconds": ended - started,
        "images_per_second": scored.rewards.numel() / (ended - started),
    }


@dataclass
class _Run:
    """Everything that a training run holds open."""

    config: TrainConfig
    folder: Path
    policy: Policy
    objective: Objective
    sampler: GroupSampler
    shown: list[Prompt]
    """prompts of the progress pictures"""
    scorer: RewardThread
    tracker: Tracker | NullTracker
    processes: Processes
    first: int
    """training steps that were done when it began"""
    identity: str
    """of its checkpoints"""
    held: Held | None
    """the folder's lock, of the main process"""
    unscored_steps: int = 0
    """the last ones in a row of which no picture was scored"""
    skipped_steps: int = 0
    """the last ones in a row of which no gradient was finite"""

    @property
    def patience(self) -> int:
        """`PATIENCE`; in a run with fewer steps to take, all of them."""
        return min(PATIENCE, self.config.steps - self.first)

    def check_folder(self) -> None:
        """Raise RunError where the folder is no longer: before anything is written, which would make a new one."""
        if self.held is not None:
            self.held.check()

    def save(self, done: int) -> None:
        """Checkpoint after `done` steps; the main process writes, the others wait."""
        if self.processes.is_main:
            self.check_folder()
            checkpoint.save(self.folder, done, self.policy, keep=self.config.keep, identity=self.identity)
        self.processes.wait()

    def draw(self, done: int) -> None:
        """A grid of pictures by the averaged policy: always the same prompts and seeds, so that grids compare."""
        if not self.processes.is_main or not self.shown:
            return
        rollout = self.config.rollout
        places = [(row, k) for row in range(len(self.shown)) for k in range(SHOWN_SEEDS)]
        seeds = [draw_seed(self.config.seed, "grid", row, k) for row, k in places]
        repeated = [self.shown[row] for row, _ in places]
        with self.policy.learner.using(AVERAGE):
            samples = self.policy.model.generate(
                repeated, seeds, steps=rollout.steps, guidance=rollout.guidance, batch_size=rollout.micro_batch
            )
        pictures = [sample.image for sample in samples]
        rows = [pictures[start : start + 8] for start in range(0, len(pictures), 8)]
        scale = max(1, 64 // self.policy.model.resolution)
        sheet = images.png_bytes(images.grid(rows, scale=scale))
        self.check_folder()
        runs.write_grid(self.folder, done, sheet, [prompt.text for prompt in self.shown])


@contextmanager
def _opened(config: TrainConfig, resume: bool) -> Iterator[_Run]:
    """Claim the folder, build every part, restore the latest checkpoint, check that the policy replays exactly."""
    processes = Processes(config.model.device)
    share = config.optimizer.updates * config.rollout.bundle
    if config.rollout.groups // share % processes.world:
        bundles = f" and bundles of {config.rollout.bundle}" if config.rollout.bundle > 1 else ""
        raise ConfigError(
            f"rollout.groups {config.rollout.groups} cannot be dealt to {processes.world} processes in "
            f"{config.optimizer.updates} updates{bundles}. Make it a multiple of {share * processes.world}."
        )
    folder = Path(config.out)
    with ExitStack() as stack:
        held = stack.enter_context(runs.claimed(folder, config, resume=resume)) if processes.is_main else None
        processes.wait()
        training = prompts.load(config.prompts.name, "train")
        sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
        rewards.check(config.reward.name, config.reward.options)
        model = fresh_policy(config, str(processes.device))
        vocabulary = _vocabulary(config, model)
        card = build_run_card(model, training, config, vocabulary, processes=processes.world)
        identity = run_identity(config, card)
        if held is not None:
            held.check()
            runs.keep_card(folder, card)
        objective = objectives.build(config.objective, config.rollout)
        learner = Learner(model.adapter_parameters(), config.optimizer, objective.shadows())
        policy = Policy(model, learner, config.rollout.guidance)
        first, said = checkpoint.restore(RunFolder(folder), learner, identity) if resume else (0, [])
        reward = rewards.build(
            config.reward.name, vocabulary=vocabulary,
            options=config.reward.options, combine=config.reward.combine, on_error=config.reward.on_error,
            timeout=config.reward.timeout, cache=config.reward.cache,
        )  # fmt: skip
        scorer = stack.enter_context(RewardThread(reward))
        tracker: Tracker | NullTracker = NullTracker()
        if processes.is_main:
            for line in said:
                say(f"warning: {line}", err=True)
            tracker = Tracker(RunFolder(folder), first, config.steps, objective.figures)
        stack.callback(tracker.close)
        check_policy(policy, objective, sampler.at(first)[: config.rollout.bundle])
        shown = prompts.in_turns(_unseen(config.prompts.name, training), lambda prompt: prompt.tag)[:SHOWN_PROMPTS]
        yield _Run(config, folder, policy, objective, sampler, shown, scorer, tracker, processes, first, identity, held)


def _vocabulary(config: TrainConfig, model: FlowModel) -> str:
    """The object names that prompts, reward and model share. Raises ConfigError when prompts and model differ."""
    vocabulary = prompts.find(config.prompts.name).vocabulary or model.vocabulary
    if vocabulary != model.vocabulary:
        raise ConfigError(
            f"prompts.name {config.prompts.name} speaks of {vocabulary}, the model {model.name} knows "
            f"{model.vocabulary}. Choose prompts that fit, for example a file of your own: --prompts FILE."
        )
    return vocabulary


def fresh_policy(config: TrainConfig, device: str) -> FlowModel:
    """The model with a fresh adapter, as training begins."""
    model = load_model(config.model.name, device=device, dtype=config.model.dtype)
    adapter = config.adapter
    model.add_adapter(adapter.rank, adapter.alpha, seed=draw_seed(config.seed, "adapter"), targets=adapter.targets)
    return model


def _evaluated(run: _Run, evaluate: Evaluate) -> dict[str, Any]:
    """Figures of the averaged policy; the main process evaluates, the others wait."""
    figures: dict[str, Any] = {}
    if run.processes.is_main:
        with run.policy.learner.using(AVERAGE):
            figures = {f"eval/{name}": value for name, value in evaluate(run.policy.model).items()}
    run.processes.wait()
    return figures


def _unseen(prompt_set: str, training: list[Prompt]) -> list[Prompt]:
    """The dev split; the training prompts where there is none."""
    try:
        return prompts.load(prompt_set, "dev")
    except ConfigError:
        return training

"""The training loop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench import images, prompts, rewards
from flowbench.config import TrainConfig
from flowbench.errors import ConfigError
from flowbench.models import load_model
from flowbench.models.base import FlowModel
from flowbench.trainer import checkpoint, runs, scoring
from flowbench.trainer.groups import GroupSampler, draw_seed
from flowbench.trainer.interrupt import Interruption, Stopped
from flowbench.trainer.learner import Learner, scheduled_lr
from flowbench.trainer.policy_check import check_policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.run_card import build_run_card
from flowbench.trainer.scoring import RewardThread
from flowbench.trainer.tracking import NullTracker, Tracker
from flowbench.trainer.update import update
from flowbench.types import Prompt

Evaluate = Callable[[FlowModel], dict[str, float]]


def train(config: TrainConfig, *, evaluate: Evaluate | None = None, resume: bool = False) -> Path:
    """Run (or, with `resume`, go on with) a training run; returns its folder.

    `evaluate` gives figures of the averaged policy, logged under `eval/` every `eval_every` steps.
    Raises RunError when the folder holds a run and `resume` is False, PolicyMismatch when the on-policy check fails;
    SIGTERM and Ctrl-C end it with `Stopped` (a SystemExit) after the step at hand, once its checkpoint is saved.
    """
    with _opened(config, resume) as run, Interruption(announce=run.processes.is_main).listening() as interruption:
        for step in range(run.first, config.steps):
            figures, timing = _take(run, step)
            done = step + 1
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
    groups = [group for group in run.sampler.at(step) if run.processes.owns(group.index)]
    rollout = collect(run.model, groups, config.rollout, run.scorer.submit)
    sampled = time.monotonic()
    scored = scoring.gather(rollout, config.rollout, run.processes)
    scoring.refuse_unscored(scored, config.reward)
    waited = time.monotonic()
    batches = scoring.to_batches(rollout.trajectories, scored.rewards, config.objective)
    lr = scheduled_lr(config.optimizer, step, config.steps)
    figures = scoring.figures(scored, run.processes) | update(
        run.model, run.learner, batches, lr, config.rollout, config.objective, run.processes
    )
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
    model: FlowModel
    learner: Learner
    sampler: GroupSampler
    shown: list[Prompt]
    scorer: RewardThread
    tracker: Tracker | NullTracker
    processes: Processes
    first: int

    def save(self, done: int) -> None:
        """Checkpoint after `done` steps; the main process writes, the others wait."""
        if self.processes.is_main:
            checkpoint.save(self.folder, done, self.model, self.learner, keep=self.config.keep)
        self.processes.wait()

    def draw(self, done: int) -> None:
        """A grid of pictures by the averaged policy: always the same prompts and seeds, so that grids compare."""
        if not self.processes.is_main or not self.shown:
            return
        rollout = self.config.rollout
        seeds = [draw_seed(self.config.seed, "grid", row, k) for row in range(len(self.shown)) for k in range(4)]
        repeated = [prompt for prompt in self.shown for _ in range(4)]
        with self.learner.averaged():
            samples = self.model.generate(
                repeated, seeds, steps=rollout.steps, guidance=rollout.guidance, batch_size=rollout.micro_batch
            )
        pictures = [sample.image for sample in samples]
        rows = [pictures[start : start + 8] for start in range(0, len(pictures), 8)]
        scale = max(1, 64 // self.model.resolution)
        sheet = images.png_bytes(images.grid(rows, scale=scale))
        runs.write_grid(self.folder, done, sheet, [prompt.text for prompt in self.shown])


@contextmanager
def _opened(config: TrainConfig, resume: bool) -> Iterator[_Run]:
    """Claim the folder, build every part, restore the latest checkpoint, check that the policy replays exactly."""
    processes = Processes(config.model.device)
    if config.rollout.groups // config.optimizer.updates % processes.world:
        raise ConfigError(
            f"rollout.groups {config.rollout.groups} cannot be dealt to {processes.world} processes in "
            f"{config.optimizer.updates} updates. Make it a multiple of {config.optimizer.updates * processes.world}."
        )
    folder = Path(config.out)
    with ExitStack() as stack:
        if processes.is_main:
            stack.enter_context(runs.claimed(folder, config, resume=resume))
        processes.wait()
        training = prompts.load(config.prompts.name, "train")
        sampler = GroupSampler(training, config.rollout, config.prompts.tag_weights, config.seed)
        rewards.check(config.reward.name, config.reward.options)
        model = fresh_policy(config, str(processes.device))
        card = build_run_card(model, training, config.reward, _vocabulary(config, model), processes=processes.world)
        if processes.is_main:
            runs.keep_card(folder, card)
        learner = Learner(model.adapter_parameters(), config.optimizer)
        newest = checkpoint.latest(folder) if resume else None
        first = checkpoint.restore(newest, learner) if newest else 0
        reward = rewards.build(
            config.reward.name, vocabulary=_vocabulary(config, model),
            options=config.reward.options, combine=config.reward.combine, on_error=config.reward.on_error,
            timeout=config.reward.timeout, cache=config.reward.cache,
        )  # fmt: skip
        scorer = stack.enter_context(RewardThread(reward))
        tracker = Tracker(folder, first, config.steps) if processes.is_main else NullTracker()
        stack.callback(tracker.close)
        check_policy(model, sampler.at(first)[0], config.rollout)
        shown = _one_of_each_tag(_unseen(config.prompts.name, training))
        yield _Run(config, folder, model, learner, sampler, shown, scorer, tracker, processes, first)


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
        with run.learner.averaged():
            figures = {f"eval/{name}": value for name, value in evaluate(run.model).items()}
    run.processes.wait()
    return figures


def _unseen(prompt_set: str, training: list[Prompt]) -> list[Prompt]:
    """The dev split; the training prompts where there is none."""
    try:
        return prompts.load(prompt_set, "dev")
    except ConfigError:
        return training


def _one_of_each_tag(candidates: list[Prompt], count: int = 8) -> list[Prompt]:
    """Up to `count` prompts, the tags taken in turns."""
    by_tag: dict[str | None, list[Prompt]] = {}
    for prompt in candidates:
        by_tag.setdefault(prompt.tag, []).append(prompt)
    turns = [prompt for place in range(count) for pool in by_tag.values() for prompt in pool[place : place + 1]]
    return turns[:count]

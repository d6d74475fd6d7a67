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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from flowbench import prompts
from flowbench.config import TrainConfig, check_share
from flowbench.errors import NotFinite
from flowbench.layout import RunFolder
from flowbench.models.base import FlowModel
from flowbench.rewards.ocr.asked import check_signs
from flowbench.store import Held, write_bytes
from flowbench.terminal import say
from flowbench.trainer import checkpoint, objectives, runs, scoring
from flowbench.trainer.best import Best
from flowbench.trainer.data_rollout import ExampleSampler, encode_examples
from flowbench.trainer.first_policy import first_policy, policy_of
from flowbench.trainer.groups import Group, GroupSampler
from flowbench.trainer.inputs import highest_reward, reward_of, source_of, unseen_prompts, vocabulary_of
from flowbench.trainer.interrupt import Interruption, Stopped
from flowbench.trainer.learner import AVERAGE, scheduled_lr
from flowbench.trainer.monitor.watch import Watch, open_watch
from flowbench.trainer.objectives.base import Objective
from flowbench.trainer.policy import Policy
from flowbench.trainer.policy_check import check_policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.progress_pictures import SHOWN_PROMPTS, SHOWN_SEEDS, progress_sheet, sheet_of
from flowbench.trainer.reward_schedule import RewardSchedule
from flowbench.trainer.rollout import collect
from flowbench.trainer.run_card import build_run_card, run_identity
from flowbench.trainer.scoring import RewardThread
from flowbench.trainer.start import read_start
from flowbench.trainer.tracking import NullTracker, Tracker
from flowbench.trainer.trajectory import Trajectory
from flowbench.trainer.update import update
from flowbench.types import Prompt

Evaluate = Callable[[FlowModel], dict[str, float]]
PATIENCE = 10
"""Training steps in a row that may teach nothing, be it that no picture is scored or that no gradient is finite."""
ENDED = (
    "this run was ended by its patience or its watch, and stays so; to go on from it, begin a new one: "
    "adapter.start=RUN"
)


def train(
    config: TrainConfig, *, evaluate: Evaluate | None = None, resume: bool = False, minutes: float | None = None
) -> Path:
    """Run (or, with `resume`, go on with) a training run; returns its folder.

    `evaluate` gives figures of the averaged policy, logged under `eval/` every `eval_every` steps; with `keep_best` the
    best checkpoint by one of them is kept, and with `patience` the run ends when none has been better. `minutes`: it
    ends with a checkpoint after the step in which this much time, loading and evaluations included, has gone by since
    the call.
    Raises RunError when the folder holds a run and `resume` is False, PolicyMismatch when the on-policy check fails,
    RewardError when pictures stay unscored, and NotFinite when a picture, `PATIENCE` steps of gradients, or what a
    checkpoint is to hold is not finite: its checkpoints up to then stay. SIGTERM and Ctrl-C end it with `Stopped` (a
    SystemExit) after the step at hand, once its checkpoint is saved.
    """
    began = time.monotonic()
    with _opened(config, resume) as run, Interruption(announce=run.processes.is_main).listening() as interruption:
        for step in range(run.first, config.steps):
            if run.has_ended:  # before it was resumed
                run.tracker.say(ENDED)
                break
            figures, timing = _take(run, step)
            done = step + 1
            run.check_folder()
            seen = _seen(run, done, evaluate, figures.get("reward/mean", math.nan))
            run.tracker.log(done, figures | seen.figures, timing | seen.timing)
            interrupted = run.processes.any(bool(interruption.signal))
            is_over = minutes is not None and time.monotonic() - began >= 60 * minutes
            stop = interrupted or run.processes.any(is_over) or run.has_ended
            if done % config.sample_every == 0 or done == config.steps:
                run.draw(done)
            if done % config.save_every == 0 or done == config.steps or stop or seen.is_kept:
                run.save(done, is_best=seen.is_best)
            if interrupted:
                raise Stopped(interruption.signal or signal.SIGTERM, done)
            if stop:
                break
        run.roll_back()
    return run.folder


def _take(run: _Run, step: int) -> tuple[dict[str, float], dict[str, float]]:
    """One training step (0-based): its figures, and what took how many seconds."""
    config = run.config
    started = time.monotonic()
    for line in run.schedule.begin(step):
        run.tracker.say(line)
    groups = [group for group in run.sampler.at(step) if run.processes.owns(group.index // config.rollout.bundle)]
    pictures = _given(run, step, groups) if isinstance(run.sampler, ExampleSampler) else _sampled(run, groups)
    waited = time.monotonic()
    bundles = scoring.to_bundles(run.objective, groups, pictures.trajectories, pictures.rewards)
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
    ended = time.monotonic()
    return pictures.figures | run.schedule.note(pictures.figures) | learned, {
        "rollout": pictures.made - started,
        "reward_wait": waited - pictures.made,
        "update": ended - waited,
        "seconds": ended - started,
        "images_per_second": pictures.rewards.numel() / (ended - started),
    }


@dataclass(frozen=True)
class _Pictures:
    """What a training step learns from."""

    trajectories: Sequence[Trajectory]
    """of this process"""
    rewards: torch.Tensor
    """of all processes: (groups, members) float64, NaN = unscored"""
    figures: dict[str, float]
    """what is logged of them"""
    made: float
    """when the last picture was there; then only rewards were waited for"""


def _sampled(run: _Run, groups: Sequence[Group]) -> _Pictures:
    """The model's own pictures, with their rewards."""
    config, settings = run.config, run.config.rollout
    assert run.scorer is not None
    kept = settings.groups // config.optimizer.updates if settings.keep_graph else 0
    rollout = collect(run.policy, run.objective, groups, run.scorer.submit, kept_groups=kept)
    made = time.monotonic()
    scored = scoring.gather(rollout, settings, run.processes)
    run.unscored_steps = run.unscored_steps + 1 if scored.rewards.isnan().all() else 0
    scoring.refuse_unscored(scored, config.reward, run.unscored_steps, run.patience)
    return _Pictures(rollout.trajectories, scored.rewards, scoring.figures(scored, groups[0], run.processes), made)


def _given(run: _Run, step: int, groups: Sequence[Group]) -> _Pictures:
    """Rows of the data file, of which no reward is asked."""
    assert isinstance(run.sampler, ExampleSampler)
    trajectories = list(encode_examples(run.policy, run.objective, groups, run.sampler))
    return _Pictures(trajectories, run.sampler.rewards(), run.sampler.figures(step), time.monotonic())


@dataclass
class _Run:
    """Everything that a training run holds open."""

    config: TrainConfig
    folder: Path
    policy: Policy
    objective: Objective
    sampler: GroupSampler | ExampleSampler
    shown: list[Prompt]
    """prompts of the progress pictures"""
    scorer: RewardThread | None
    """None: a data file says which pictures are good"""
    schedule: RewardSchedule
    """of its rewards' weights"""
    best: Best
    """evaluation so far"""
    watch: Watch
    """against reward hacking"""
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

    def save(self, done: int, *, is_best: bool = False) -> None:
        """Checkpoint after `done` steps; the main process writes, the others wait."""
        if self.processes.is_main:
            self.check_folder()
            checkpoint.save(
                self.folder, done, self.policy, keep=self.config.keep, identity=self.identity, is_best=is_best,
                more={**self.schedule.state(), **self.best.state(), **self.watch.state()},
                spared=[self.best.step, *([self.before_alarm, self.watch.quiet] if self.may_roll_back else [])],
            )  # fmt: skip
        self.processes.wait()

    @property
    def has_ended(self) -> bool:
        """Whether it was ended by its own settings, `patience` or `monitor.on_alarm`: a resumed run knows it, too."""
        return self.best.is_enough or (self.config.monitor.on_alarm != "warn" and self.watch.has_alarmed)

    @property
    def may_roll_back(self) -> bool:
        return self.config.monitor.on_alarm == "rollback"

    @property
    def before_alarm(self) -> int:
        """Training steps after the best evaluation up to the last quiet look or, without one, after that look."""
        return self.best.until(self.watch.quiet) or self.watch.quiet

    def roll_back(self) -> None:
        """After an alarm, where the settings ask for it, stand for the checkpoint from before it."""
        if self.may_roll_back and self.watch.has_alarmed and self.processes.is_main:
            name = checkpoint.roll_back(self.folder, self.before_alarm)
            self.tracker.say(f"rolled back: evaluations of {self.folder} take {name}")

    def draw(self, done: int) -> None:
        """A grid of progress pictures; the main process draws."""
        if self.processes.is_main and self.shown:
            sheet = progress_sheet(self.policy, self.shown, self.config.rollout, self.config.seed)
            self.check_folder()
            runs.write_grid(self.folder, done, sheet, [prompt.text for prompt in self.shown])

    def show_panel(self, done: int, alarms: Sequence[str] = ()) -> None:
        """Some of what the watch looks at, with what is amiss in words; the main process draws."""
        if self.processes.is_main and self.watch.panel is not None:
            with self.policy.learner.using(AVERAGE):
                rows = self.watch.panel.draw(self.policy.model, range(min(SHOWN_PROMPTS, len(self.watch.panel))))
            self.check_folder()
            sheet = sheet_of([row[:SHOWN_SEEDS] for row in rows], {"step": done, "alarms": list(alarms)})
            write_bytes(RunFolder(self.folder).look(done), sheet)
            self.tracker.picture("monitor/panel", sheet, done)


@contextmanager
def _opened(config: TrainConfig, resume: bool) -> Iterator[_Run]:
    """Claim the folder, build every part, restore the latest checkpoint, check that the policy replays exactly."""
    processes = Processes(config.model.device)
    check_share(config, processes.world)
    folder = Path(config.out)
    with ExitStack() as stack:
        held = stack.enter_context(runs.claimed(folder, config, resume=resume)) if processes.is_main else None
        processes.wait()
        training, sampler, data = source_of(config)
        start = read_start(config, resume=resume)
        model = first_policy(config, start, str(processes.device))
        vocabulary = vocabulary_of(config, model)
        check_signs(training, vocabulary)
        card = build_run_card(
            model, training, config, vocabulary,
            processes=processes.world, start=start.digest if start else "", data=data,
        )  # fmt: skip
        identity = run_identity(config, card)
        if held is not None:
            held.check()
            runs.keep_card(folder, card)
        objective = objectives.build(config.objective, config.rollout)
        policy = policy_of(config, model, objective)
        reward = None if config.data else reward_of(config, vocabulary)
        scorer = None if reward is None else stack.enter_context(RewardThread(reward))
        schedule = RewardSchedule(reward, config.reward.schedule if reward is not None else ())
        restored = checkpoint.restore(RunFolder(folder), policy.learner, identity) if resume else checkpoint.NOTHING
        dev = prompts.in_turns(unseen_prompts(config.prompts.name, training), lambda prompt: prompt.tag)
        watch = open_watch(config, dev, reward, vocabulary, processes)
        stack.callback(watch.close)
        best = Best(config.keep_best, config.patience)
        for each in (schedule, best, watch):
            each.restore(restored.tensors)
        if processes.is_main:
            checkpoint.point_at_best(folder, best.step)  # a kill may have come between a checkpoint and its naming
        first, said = restored.step, restored.said
        tracker: Tracker | NullTracker = NullTracker()
        if processes.is_main:
            for line in said:
                say(f"warning: {line}", err=True)
            tracker = Tracker(RunFolder(folder), first, config.steps, objective.figures)
        stack.callback(tracker.close)
        check_policy(policy, objective, sampler.at(first)[: config.rollout.bundle])
        run = _Run(
            config, folder, policy, objective, sampler, dev[:SHOWN_PROMPTS], scorer, schedule, best, watch, tracker,
            processes, first, identity, held,
        )  # fmt: skip
        if first == 0 and watch.panel is not None:
            with policy.learner.using(AVERAGE):
                watch.begin(model)
            run.show_panel(0)
        yield run


@dataclass
class _Seen:
    """What evaluations and the watch have found after a training step."""

    figures: dict[str, float]
    timing: dict[str, float]
    is_best: bool = False
    """it was the best evaluation so far"""
    is_kept: bool = False
    """the policy may be asked for again: the best one so far, or one that a rollback could go back to"""


def _seen(run: _Run, done: int, evaluate: Evaluate | None, reward: float) -> _Seen:
    """The averaged policy, evaluated and looked at where that is due after `done` steps. reward: the mean of the last
    one."""
    seen, model = _Seen({}, {}), run.policy.model
    if evaluate is not None and run.config.eval_every and done % run.config.eval_every == 0:
        if run.processes.is_main:  # the others wait
            with run.policy.learner.using(AVERAGE):
                seen.figures |= {f"eval/{name}": value for name, value in evaluate(model).items()}
        value = seen.figures.get(f"eval/{run.best.metric}", math.nan)
        seen.is_best = run.best.note(done, run.processes.of_main(value))
        if run.best.is_enough:
            run.tracker.say(
                f"no better {run.best.metric} in {run.best.worse} evaluations: the run ends after step {done}; the "
                f"best one was after step {run.best.step}"
            )
    if run.watch.is_due(done):
        began = time.monotonic()
        with run.policy.learner.using(AVERAGE):
            figures, alarms = run.watch.look(model, done)
        seen.figures |= figures
        if (highest := highest_reward(run.config)) is not None:
            seen.figures["monitor/ceiling"] = reward / highest
        seen.timing["watch"] = time.monotonic() - began
        words = [
            f"{alarm.meaning} ({alarm.name} has moved by {figures[f'monitor/{alarm.name}_moved']:+.1f} spreads)"
            for alarm in alarms
        ]
        for sentence in words:
            run.tracker.say(f"ALARM after step {done}: {sentence}. Look at {RunFolder(run.folder).monitor}")
        if alarms:
            run.show_panel(done, words)
    seen.is_kept = seen.is_best or (run.may_roll_back and run.watch.quiet == done)
    return seen

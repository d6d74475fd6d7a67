"""When a look is an alarm, and what a run then knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from flowbench.config import TrainConfig
from flowbench.metrics.signals import SIGNALS, Look, Signal, distances, level
from flowbench.models.base import FlowModel
from flowbench.rewards import Reward
from flowbench.terminal import say
from flowbench.trainer.monitor import judges
from flowbench.trainer.monitor.judged import Judged
from flowbench.trainer.monitor.looks import Panel
from flowbench.trainer.processes import Processes
from flowbench.types import Prompt

BASE, COLORS, BEYOND, ALARMED, QUIET = (
    f"monitor/{name}" for name in ("base", "colors", "beyond", "alarmed", "quiet")
)  # fmt: skip


class Watch:
    """Looks every `every` steps. A signal that is beyond its line in two looks in a row is an alarm, once in a run.

    The base is the policy with which the run began. All that a resumed run must know is in `state()`.
    """

    def __init__(self, panel: Panel | None, every: int | None, gold: str | None = None):
        """panel: None without a watch, as `every` is. gold: which of the panel's judges is it, if one is."""
        self._panel, self._every = panel, every
        self._judges = panel.judges if panel is not None else ()
        self._judged = Judged(self._judges, gold)
        self._signals = (*SIGNALS, *self._judged.signals)
        self._base: Look | None = None
        self._beyond: set[str] = set()
        self._alarmed: set[str] = set()
        self.quiet = 0
        """training steps after the last look at which no signal was beyond a line; 0: there was none"""

    @property
    def panel(self) -> Panel | None:
        return self._panel

    @property
    def has_alarmed(self) -> bool:
        return bool(self._alarmed)

    def close(self) -> None:
        """Let go of the rewards that only the watch asks."""
        for reward in {id(each.reward): each.reward for each in self._judges if not each.is_trained}.values():
            reward.close()

    def is_due(self, done: int) -> bool:
        """Whether there is a look after so many training steps."""
        return self._panel is not None and self._every is not None and done % self._every == 0

    def begin(self, model: FlowModel) -> None:
        """Look at the policy with which the run begins, unless that is known."""
        if self._panel is not None and self._base is None:
            view = self._panel.look(model)
            self._base = view.look
            self._judged.begin(view.judged)
            for name in self._judged.blind if self._panel.is_main else ():
                say(f"note: the watch cannot follow {name}: at the beginning it is the same for all prompts", err=True)

    def look(self, model: FlowModel, done: int) -> tuple[dict[str, float], list[Signal]]:
        """After `done` training steps: what is logged, and the signals of which this look is the alarm."""
        assert self._panel is not None and self._base is not None
        view = self._panel.look(model)
        found = distances(view.look, self._base)
        judged, of_judges = self._judged.note(view.judged)
        crossed = [each for each in self._signals if each.is_beyond((found | of_judges)[each.name])]
        alarms = [each for each in crossed if each.name in self._beyond and each.name not in self._alarmed]
        self._beyond = {each.name for each in crossed}
        self._alarmed |= {each.name for each in alarms}
        self.quiet = self.quiet if crossed else done
        figures = {f"monitor/{name}": value for name, value in level(view.look).items()}
        figures |= {f"monitor/{name}_moved": value for name, value in found.items()} | judged
        return figures | {"monitor/drift": view.drift, "monitor/alarms": float(len(self._alarmed))}, alarms

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint; nothing without a watch."""
        if self._base is None:
            return {}
        return {
            BASE: torch.from_numpy(self._base.values),
            COLORS: torch.from_numpy(self._base.colors),
            BEYOND: torch.tensor([each.name in self._beyond for each in self._signals]),
            ALARMED: torch.tensor([each.name in self._alarmed for each in self._signals]),
            QUIET: torch.tensor(self.quiet),
            **self._judged.state(),
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """From a checkpoint of the same run."""
        if BASE not in tensors:
            return
        self._base = Look(tensors[BASE].numpy(), tensors[COLORS].numpy())
        for name, held in ((BEYOND, self._beyond), (ALARMED, self._alarmed)):
            held.update(each.name for each, is_in in zip(self._signals, tensors[name].tolist(), strict=True) if is_in)
        self.quiet = int(tensors[QUIET])
        self._judged.restore(tensors)


def open_watch(
    config: TrainConfig, prompts: Sequence[Prompt], reward: Reward | None, vocabulary: str, processes: Processes
) -> Watch:
    """The watch that the settings ask for, over these prompts; to be closed. It compares prompts with one another: for
    fewer than two there is none. reward: the trained one. Raises as `judges.build` does."""
    every, gold = config.monitor.every, judges.gold_of(config)
    if every is None:
        return Watch(None, None)
    if len(prompts) < 2:
        if processes.is_main:
            say("note: the watch (monitor.every) compares prompts with one another; for one prompt it is off", err=True)
        return Watch(None, None)
    asked = judges.build(config, reward, vocabulary)
    return Watch(Panel(prompts, config.monitor, config.rollout, config.seed, processes, asked), every, gold)

"""When a look is an alarm, and what a run then knows."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from flowbench.models.base import FlowModel
from flowbench.trainer.monitor.looks import Panel
from flowbench.trainer.monitor.signals import SIGNALS, Look, Signal, beyond, distances, level

BASE, COLORS, BEYOND, ALARMED, QUIET = (
    f"monitor/{name}" for name in ("base", "colors", "beyond", "alarmed", "quiet")
)  # fmt: skip


class Watch:
    """Looks every `every` steps. A signal that is beyond its line in two looks in a row is an alarm, once in a run.

    The base is the policy with which the run began. All that a resumed run must know is in `state()`.
    """

    def __init__(self, panel: Panel | None, every: int | None):
        """panel: None without a watch, as `every` is."""
        self._panel, self._every = panel, every
        self._base: Look | None = None
        self._beyond: set[str] = set()
        self._alarmed: set[str] = set()
        self.quiet = 0
        """training steps after the last look at which no signal was beyond a line"""

    @property
    def panel(self) -> Panel | None:
        return self._panel

    @property
    def has_alarmed(self) -> bool:
        return bool(self._alarmed)

    def is_due(self, done: int) -> bool:
        """Whether there is a look after so many training steps."""
        return self._panel is not None and self._every is not None and done % self._every == 0

    def begin(self, model: FlowModel) -> None:
        """Look at the policy with which the run begins, unless that is known."""
        if self._panel is not None and self._base is None:
            self._base = self._panel.look(model)

    def look(self, model: FlowModel, done: int) -> tuple[dict[str, float], list[Signal]]:
        """After `done` training steps: what is logged, and the signals of which this look is the alarm."""
        assert self._panel is not None and self._base is not None
        now = self._panel.look(model)
        found = distances(now, self._base)
        crossed = beyond(found)
        alarms = [each for each in crossed if each.name in self._beyond and each.name not in self._alarmed]
        self._beyond = {each.name for each in crossed}
        self._alarmed |= {each.name for each in alarms}
        self.quiet = self.quiet if crossed else done
        figures = {f"monitor/{name}": value for name, value in level(now).items()}
        figures |= {f"monitor/{name}_moved": value for name, value in found.items()}
        return figures | {"monitor/alarms": float(len(self._alarmed))}, alarms

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint; nothing without a watch."""
        if self._base is None:
            return {}
        return {
            BASE: torch.from_numpy(self._base.values),
            COLORS: torch.from_numpy(self._base.colors),
            BEYOND: torch.tensor([each.name in self._beyond for each in SIGNALS]),
            ALARMED: torch.tensor([each.name in self._alarmed for each in SIGNALS]),
            QUIET: torch.tensor(self.quiet),
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """From a checkpoint of the same run."""
        if BASE not in tensors:
            return
        self._base = Look(tensors[BASE].numpy(), tensors[COLORS].numpy())
        for name, held in ((BEYOND, self._beyond), (ALARMED, self._alarmed)):
            held.update(each.name for each, is_in in zip(SIGNALS, tensors[name].tolist(), strict=True) if is_in)
        self.quiet = int(tensors[QUIET])

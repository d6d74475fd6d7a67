"""The panel: always the same prompts and seeds, drawn by the averaged policy, shared among the processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from PIL import Image

from flowbench.images import to_array
from flowbench.metrics.signals import PER_PROMPT, Look, measured
from flowbench.models.base import FlowModel
from flowbench.monitor_config import MonitorConfig
from flowbench.rollout_config import RolloutConfig
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.monitor.drift import Drift
from flowbench.trainer.monitor.judges import Judge
from flowbench.trainer.processes import Processes
from flowbench.trainer.progress_pictures import drawn
from flowbench.types import Prompt, Sample


@dataclass(frozen=True)
class View:
    """All that one look sees."""

    look: Look
    """of the pictures alone"""
    judged: numpy.ndarray
    """(prompts, judges) float64: each one's mean over a prompt's pictures, NaN where it scores none"""
    drift: float
    """`monitor.drift` on the panel's prompts, a mean"""


class Panel:
    """What is looked at, two prompts or more. Each process draws those that it owns; all know the whole view."""

    def __init__(
        self, prompts: Sequence[Prompt], config: MonitorConfig, rollout: RolloutConfig, seed: int,
        processes: Processes, judges: Sequence[Judge] = (),
    ):  # fmt: skip
        self.judges = tuple(judges)
        self._prompts = tuple(prompts[: config.prompts])
        self._pictures, self._rollout, self._processes = config.pictures, rollout, processes
        self._seeds = [
            [draw_seed(seed, "monitor", row, member) for member in range(config.pictures)]
            for row in range(len(self._prompts))
        ]
        self._mine = [row for row in range(len(self)) if processes.owns(row)]
        self._drift = Drift(self._prompts, self._mine, rollout, seed)

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that speaks for all."""
        return self._processes.is_main

    def look(self, model: FlowModel) -> View:
        """The panel by the model as it is, without noise, under the rollout's steps, guidance and solver."""
        values = torch.zeros(len(self), len(PER_PROMPT), dtype=torch.float64)
        colors = torch.zeros(len(self), self._pictures, 3, dtype=torch.float64)
        judged = torch.zeros(len(self), len(self.judges), dtype=torch.float64)
        for row, pictures in zip(self._mine, self.draw(model, self._mine), strict=True):
            found = measured([[to_array(picture) for picture in pictures]])
            values[row], colors[row] = torch.from_numpy(found.values[0]), torch.from_numpy(found.colors[0])
            samples = [Sample(self._prompts[row], *each) for each in zip(pictures, self._seeds[row], strict=True)]
            judged[row] = torch.tensor([judge.mean(samples) for judge in self.judges], dtype=torch.float64)
        drift = torch.tensor([sum(self._drift.of(model))], dtype=torch.float64)
        unknown = [each.isnan().double() for each in (colors, judged)]
        colors, judged = colors.nan_to_num(), judged.nan_to_num()
        self._processes.sum([values, colors, judged, drift, *unknown])
        for each, where in zip((colors, judged), unknown, strict=True):
            each[where > 0] = math.nan
        return View(Look(values.numpy(), colors.numpy()), judged.numpy(), float(drift) / len(self))

    def draw(self, model: FlowModel, rows: Sequence[int]) -> list[list[Image.Image]]:
        """The pictures of some prompts."""
        return drawn(model, [self._prompts[row] for row in rows], [self._seeds[row] for row in rows], self._rollout)

"""The panel: always the same prompts and seeds, drawn by the averaged policy, shared among the processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import torch
from PIL import Image

from flowbench.errors import ConfigError
from flowbench.images import to_array
from flowbench.models.base import FlowModel
from flowbench.monitor_config import MonitorConfig
from flowbench.rollout_config import RolloutConfig
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.monitor.signals import PER_PROMPT, Look, measured
from flowbench.trainer.processes import Processes
from flowbench.trainer.progress_pictures import drawn
from flowbench.types import Prompt


class Panel:
    """What is looked at. Each process draws the prompts that it owns; all know the whole look."""

    def __init__(
        self, prompts: Sequence[Prompt], config: MonitorConfig, rollout: RolloutConfig, seed: int, processes: Processes
    ):
        if len(prompts) < 2:
            raise ConfigError(
                "monitor.every: the watch compares prompts with one another, and there are not two. Give more prompts, "
                "or set it to null."
            )
        self._prompts = tuple(prompts[: config.prompts])
        self._pictures, self._rollout, self._processes = config.pictures, rollout, processes
        self._seeds = [
            [draw_seed(seed, "monitor", row, member) for member in range(config.pictures)]
            for row in range(len(self._prompts))
        ]

    def __len__(self) -> int:
        return len(self._prompts)

    def look(self, model: FlowModel) -> Look:
        """The panel by the model as it is, without noise, under the rollout's steps, guidance and solver."""
        values = torch.zeros(len(self), len(PER_PROMPT), dtype=torch.float64)
        colors = torch.zeros(len(self), self._pictures, 3, dtype=torch.float64)
        mine = [row for row in range(len(self)) if self._processes.owns(row)]
        for row, pictures in zip(mine, self.draw(model, mine), strict=True):
            found = measured([[to_array(picture) for picture in pictures]])
            values[row], colors[row] = torch.from_numpy(found.values[0]), torch.from_numpy(found.colors[0])
        unknown = colors.isnan().double()
        colors = colors.nan_to_num()
        self._processes.sum([values, colors, unknown])
        return Look(values.numpy(), numpy.where(unknown.numpy() > 0, numpy.nan, colors.numpy()))

    def draw(self, model: FlowModel, rows: Sequence[int]) -> list[list[Image.Image]]:
        """The pictures of some prompts."""
        return drawn(model, [self._prompts[row] for row in rows], [self._seeds[row] for row in rows], self._rollout)

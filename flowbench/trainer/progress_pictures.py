"""Grids of pictures by the averaged policy, by which a run shows how far it has come."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from flowbench import images
from flowbench.rollout_config import RolloutConfig
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.learner import AVERAGE
from flowbench.trainer.policy import Policy
from flowbench.types import Prompt

SHOWN_PROMPTS, SHOWN_SEEDS = 8, 4
"""Rows of the progress pictures, and pictures of each."""


def progress_sheet(policy: Policy, shown: Sequence[Prompt], rollout: RolloutConfig, seed: int) -> bytes:
    """PNG: always the same prompts and seeds, so that grids of one run compare."""
    places = [(row, k) for row in range(len(shown)) for k in range(SHOWN_SEEDS)]
    seeds = [draw_seed(seed, "grid", row, k) for row, k in places]
    with policy.learner.using(AVERAGE):
        samples = policy.model.generate(
            [shown[row] for row, _ in places], seeds, steps=rollout.steps, guidance=rollout.guidance,
            batch_size=rollout.micro_batch, solver=rollout.solver,
        )  # fmt: skip
    pictures = [sample.image for sample in samples]
    return sheet_of([pictures[start : start + 8] for start in range(0, len(pictures), 8)])


def sheet_of(rows: Sequence[Sequence[Image.Image]]) -> bytes:
    """PNG of rows of pictures; small ones are enlarged."""
    return images.png_bytes(images.grid(rows, scale=max(1, 64 // rows[0][0].width)))

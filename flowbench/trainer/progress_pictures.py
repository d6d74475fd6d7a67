"""Grids of pictures by the averaged policy, by which a run shows how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from flowbench import images
from flowbench.models.base import FlowModel
from flowbench.rollout_config import RolloutConfig
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.learner import AVERAGE
from flowbench.trainer.policy import Policy
from flowbench.types import Prompt

SHOWN_PROMPTS, SHOWN_SEEDS = 8, 4
"""Rows of the progress pictures, and pictures of each."""


def progress_sheet(policy: Policy, shown: Sequence[Prompt], rollout: RolloutConfig, seed: int) -> bytes:
    """PNG: always the same prompts and seeds, so that grids of one run compare; two prompts in a row."""
    seeds = [[draw_seed(seed, "grid", row, k) for k in range(SHOWN_SEEDS)] for row in range(len(shown))]
    with policy.learner.using(AVERAGE):
        rows = drawn(policy.model, shown, seeds, rollout)
    return sheet_of(
        [[picture for row in rows[first : first + 2] for picture in row] for first in range(0, len(rows), 2)]
    )


def drawn(
    model: FlowModel, prompts: Sequence[Prompt], seeds: Sequence[Sequence[int]], rollout: RolloutConfig
) -> list[list[Image.Image]]:
    """For each prompt a picture of each of its seeds, without noise, under the rollout's steps, guidance and solver."""
    pairs = [(prompt, seed) for prompt, own in zip(prompts, seeds, strict=True) for seed in own]
    if not pairs:  # of a process that owns no prompt
        return []
    samples = model.generate(
        [prompt for prompt, _ in pairs], [seed for _, seed in pairs], steps=rollout.steps, guidance=rollout.guidance,
        batch_size=rollout.micro_batch, solver=rollout.solver,
    )  # fmt: skip
    pictures = iter(sample.image for sample in samples)
    return [[next(pictures) for _ in own] for own in seeds]


def sheet_of(rows: Sequence[Sequence[Image.Image]], facts: Mapping[str, Any] | None = None) -> bytes:
    """PNG of rows of pictures; small ones are enlarged. facts: what stands in the file beside them."""
    return images.png_bytes(images.grid(rows, scale=max(1, 64 // rows[0][0].width)), facts)

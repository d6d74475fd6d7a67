"""Settings that make a training step of a tiny model take a fraction of a second, whatever the recipe says."""

from __future__ import annotations

SMALL = (
    "rollout.groups=2",
    "rollout.group_size=4",
    "rollout.micro_batch=4",
    "rollout.bundle=1",
    "rollout.steps=4",
    "rollout.guidance=1",
    "rollout.window=2",
    "rollout.window_range=3",
)

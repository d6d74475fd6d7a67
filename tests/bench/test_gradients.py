"""bench/gradients.py: a step of no length changes nothing, and the adapter is put back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from flowbench.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import gradients

SMALL = "rollout.groups=4,rollout.bundle=2,rollout.group_size=4,rollout.micro_batch=8,rollout.steps=4"


@pytest.mark.parametrize("recipe", ["shapes-flow_grpo", "shapes-epg"])
def test_a_step_of_no_length_changes_nothing(recipe, monkeypatch):
    monkeypatch.setattr(gradients, "LENGTHS", (0.0, 0.5))
    subject = gradients.prepare(f"{recipe},{SMALL}", None)
    before = [each.detach().clone() for each in subject.policy.learner.parameters.values()]
    found = gradients.gradient(subject, 2)
    assert -1 <= found.cosine <= 1 and found.rollout > 0 and found.update > 0
    assert any(each.any() for each in found.total)
    held = [group.prompt for group in subject.groups(500)]
    still, moved = gradients.along(subject, found, held)
    assert (still.length, still.kl, still.change) == (0.0, 0.0, 0.0)
    assert moved.kl > 1e-4 and 0 <= moved.reward <= 1
    after = subject.policy.learner.parameters.values()
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))


def test_the_sum_is_that_of_its_steps():
    """Of the same groups at the same weights, each step alone."""
    subject = gradients.prepare(f"shapes-flow_grpo,{SMALL}", None)
    both, first = gradients.gradient(subject, 2), gradients.gradient(subject, 1)
    second = [left - right for left, right in zip(both.total, first.total, strict=True)]
    left, right = (torch.cat([each.flatten() for each in part]) for part in (first.total, second))
    assert torch.nn.functional.cosine_similarity(left, right, dim=0) == pytest.approx(both.cosine, abs=1e-4)


def test_the_reward_is_measured_on_prompts_that_gave_no_gradient():
    subject = gradients.prepare(f"shapes-flow_grpo,{SMALL}", None)
    held = [prompt.text for prompt in subject.others(3, 40)]
    learned = {group.prompt.text for step in range(3) for group in subject.groups(step)}
    assert len(set(held)) == len(held) == 40 and not learned & set(held)
    with pytest.raises(ConfigError, match="not 6000 training prompts"):
        gradients.Subject.others(subject, 3, 6_000)

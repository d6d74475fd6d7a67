"""bench/overhead.py and bench/step.py: the bare calls are those of the trainer, and the variants what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowbench.config import load_config

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import overhead
import step

SMALL = ("rollout.groups=4", "rollout.group_size=4", "rollout.micro_batch=4", "rollout.steps=4")


def subject_of(*overrides):
    return overhead.prepare("shapes", load_config("shapes-flow_grpo", [*SMALL, *overrides]), "cpu")


@pytest.fixture
def calls(monkeypatch):
    """What a piece of work asks the model for: (rows, noise level, with gradient) of every call, in a fixed order."""

    def of(subject, work):
        found = []
        velocity = subject.policy.velocity

        def noted(x, sigma, condition):
            v = velocity(x, sigma, condition)
            found.append((len(x), round(float(sigma), 6), v.requires_grad))
            return v

        with monkeypatch.context() as patch:
            patch.setattr(subject.policy, "velocity", noted)
            result = work()
        return sorted(found), result

    return of


@pytest.mark.parametrize(
    "overrides",
    [
        ("rollout.bundle=1", "rollout.keep_graph=false"),
        ("rollout.bundle=2", "rollout.micro_batch=8", "rollout.keep_graph=false"),
        ("rollout.bundle=4", "rollout.micro_batch=2", "rollout.keep_graph=true"),
        ("rollout.same_latent=false", "rollout.window=null", "rollout.window_range=null"),
        ("rollout.same_latent=false", "rollout.branches=2"),
    ],
)
def test_the_bare_calls_are_the_trainers(calls, overrides):
    subject = subject_of(*overrides)
    of_rollout, trajectories = calls(subject, subject.collect)
    bare_rollout, _ = calls(subject, subject.bare_rollout)
    bundles = subject.bundles(trajectories)
    of_update, _ = calls(subject, lambda: subject.update(bundles))
    bare_update, _ = calls(subject, lambda: subject.bare_update(bundles))
    assert of_update == bare_update
    if "rollout.branches=2" in overrides:  # noisy and other rows of a step are two calls there, and could be one
        assert sum(rows for rows, *_ in of_rollout) == sum(rows for rows, *_ in bare_rollout)
        assert len(of_rollout) >= len(bare_rollout)
    else:
        assert of_rollout == bare_rollout
    with_gradient = [rows for rows, _, is_kept in of_rollout + of_update if is_kept]
    assert sum(with_gradient) >= 8  # what parts at its only stochastic step, in the last of these: a row for each set


def test_the_variants_are_single_changes_and_all_of_them():
    every = {each.name: each for each in step.variants("shapes-flow_grpo", 4, [], "cpu")}
    assert list(every) == ["before", "AdamW fused", "micro-batches of 64 over 2 groups", "bundles of 4 groups",
                           "graph kept", "texts kept", "all"]  # fmt: skip

    def of(name):
        config = every[name].config
        rollout = config.rollout
        return rollout.bundle, rollout.micro_batch, rollout.keep_graph, config.optimizer.fused, every[name].keeps_texts

    assert of("before") == (1, 32, False, False, False)
    assert of("AdamW fused") == (1, 32, False, True, False)
    assert of("micro-batches of 64 over 2 groups") == (2, 64, False, False, False)
    assert of("bundles of 4 groups") == (4, 32, False, False, False)
    assert of("graph kept") == (1, 32, True, False, False)
    assert of("texts kept") == (1, 32, False, False, True)
    assert of("all") == (4, 64, True, True, True)


def test_a_change_that_a_recipe_cannot_have_is_left_out_and_said(capsys):
    every = {each.name: each for each in step.variants("shapes-sft", 4, [], "cpu")}
    assert "graph kept" not in every and every["all"].config.rollout.keep_graph is False
    assert (every["all"].config.rollout.bundle, every["all"].keeps_texts) == (4, True)
    assert "graph kept: left out" in capsys.readouterr().err


def test_ratios_are_of_the_same_turn():
    assert step.ratios([1.0, 4.0, 3.0], [2.0, 4.0, 2.0]) == "1.000 (0.50 to 1.50)"


def test_texts_are_encoded_anew_where_they_are_not_kept(monkeypatch):
    variants = {each.name: each for each in step.variants("shapes-flow_grpo", 4, SMALL, "cpu")}
    counts = {}
    for name in ("before", "texts kept"):
        subject = overhead.prepare("shapes", variants[name].config, "cpu")
        encode, seen = subject.model.encode, []
        monkeypatch.setattr(subject.model, "encode", lambda texts, e=encode, s=seen: s.extend(texts) or e(texts))
        step.take(variants[name], subject)
        once = len(seen)
        step.take(variants[name], subject)
        counts[name] = len(seen) / once
    assert counts == {"before": 2, "texts kept": 1}

"""What the trajectory family shares, on a tiny model: windows that move, weights of steps, figures off-policy."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny_runs
import torch

from flowbench.objective_config import TrajectoryConfig, config_of
from flowbench.trainer import scoring, train
from flowbench.trainer.objectives import OBJECTIVES
from flowbench.trainer.objectives.step_weights import relative_std
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.update import Sums, accumulate

FAMILY = [name for name in OBJECTIVES if issubclass(config_of(name), TrajectoryConfig)]
REWARDS = torch.rand(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def config(name, pipeline, **changes):
    return tiny_runs.config(pipeline, objective={"name": name}, rollout__kind="flow", **changes)


def learned(settings, *, moved_since=0.0):
    """(gradient summed over the points, figures) with an adapter that has moved since the rollout."""
    policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    rollout = collect(policy, objective, tiny_runs.groups(settings), lambda samples: None)
    with torch.no_grad():
        for parameter in policy.model.adapter_parameters().values():
            parameter.mul_(1 + moved_since)
    sums = Sums(["loss", "count", *objective.sums])
    bundles = scoring.to_bundles(objective, rollout.groups, rollout.trajectories, REWARDS)
    accumulate(policy, objective, bundles, sums)
    gradients = {name: each.grad.double() for name, each in policy.model.adapter_parameters().items()}
    return gradients, objective.logged(sums.totals(Processes("cpu"))), bundles


@pytest.mark.parametrize("name", FAMILY)
def test_a_window_that_moves_is_where_the_training_step_puts_it(name, pipeline):
    moving = {"rollout__steps": 6, "rollout__window": 2, "rollout__window_schedule": "progressive"}
    settings = config(name, pipeline, **moving, rollout__window_every=3)
    objective = tiny_runs.objective(settings)
    places = [{objective.noisy_steps(group) for group in tiny_runs.groups(settings, step)} for step in range(14)]
    assert places == [{(min(step // 3, 3), min(step // 3, 3) + 1)} for step in range(14)]


def test_a_run_with_a_window_that_moves_goes_on_where_it_was(pipeline, tmp_path):
    """Interrupted between two moves: the same log and adapter."""
    moving = {"rollout__steps": 5, "rollout__window": 1, "rollout__window_schedule": "progressive"}
    moving |= {"rollout__window_every": 1, "rollout__window_end": "restart", "save_every": 1}

    def run(folder, steps, **options):
        settings = tiny_runs.config(pipeline, tmp_path / folder, steps=steps, **moving)
        return train(settings, **options)

    whole = run("whole", 4)
    run("parts", 2)
    parts = run("parts", 4, resume=True)
    assert tiny_runs.log_without_timing(parts) == tiny_runs.log_without_timing(whole)
    assert tiny_runs.adapter_bytes(parts) == tiny_runs.adapter_bytes(whole)


@pytest.mark.parametrize("name", FAMILY)
def test_weights_of_steps_multiply_their_losses(name, pipeline):
    """With one step in the window of each group the gradient is the plain one times that step's weight."""
    window = {"rollout__window": 1, "rollout__window_range": 1, "rollout__group_size": 4}
    plain, *_ = learned(config(name, pipeline, objective__step_weight="none", **window))
    inverse, _, bundles = learned(config(name, pipeline, objective__step_weight="inverse_dt", **window))
    (moment, *_) = bundles[0].moments
    dt = moment.transition.sigma - moment.transition.sigma_next
    largest = max(float(each.abs().max()) for each in plain.values())
    assert largest > 1e-6 and dt < 0.7
    for key, gradient in plain.items():
        torch.testing.assert_close(inverse[key], gradient / dt, rtol=0, atol=1e-5 * largest / dt)


def test_std_weights_are_over_all_steps_that_may_be_trained(pipeline):
    """A window of one of the first three steps: each group's step has its std over the mean of the three."""
    window = {"rollout__window": 1, "rollout__window_range": 3, "rollout__steps": 5}
    settings = config("flow_grpo", pipeline, objective__step_weight="std", **window)
    policy, objective = tiny_runs.policy(settings), tiny_runs.objective(settings)
    pairs = list(pairwise(policy.model.sigmas(5).tolist()))[:3]
    rollout = collect(policy, objective, tiny_runs.groups(settings), lambda samples: None)
    transitions = [each for trajectory in rollout.trajectories for each in trajectory.transitions]
    assert len({each.sigma for each in transitions}) > 1
    for each in transitions:
        weight = relative_std((each.sigma, each.sigma_next), pairs, kind="flow", noise_level=0.7)
        assert objective._weight(policy, each) == weight


@pytest.mark.parametrize("name", ["grpo_guard", "dppo"])
def test_divergence_is_0_where_nothing_has_moved_and_what_holds_back_shows_when_it_has(name, pipeline):
    limit = {"objective__clip_range": 1e-9} if name == "grpo_guard" else {"objective__threshold": 1e-12}
    held = ("policy/clip_low", "policy/clip_high") if name == "grpo_guard" else ("policy/dropped",)
    _, still, _ = learned(config(name, pipeline, **limit))
    assert still["policy/divergence"] == 0 and still["policy/ratio_mean"] == 1 and still["policy/ratio_std"] == 0
    assert all(still[key] == 0 for key in held)
    _, moved, bundles = learned(config(name, pipeline, **limit), moved_since=0.5)
    assert moved["policy/divergence"] > 0 and moved["policy/ratio_std"] > 0
    assert 0.2 < sum(moved[key] for key in held) <= 1
    assert all(moment.transition.mean is not None for bundle in bundles for moment in bundle.moments)

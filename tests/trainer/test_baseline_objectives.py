"""sft, rwr and dpo as objectives: whose pictures, which of them, at which noise, and the gradient of the whole loss."""

from __future__ import annotations

import math

import pytest
import tiny_runs
import torch

from flowbench.errors import ConfigError
from flowbench.trainer import scoring
from flowbench.trainer.learner import BEHAVIOUR
from flowbench.trainer.objectives.baseline import with_signal
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.update import Sums, accumulate, update

ODE = {"rollout__kind": "ode", "rollout__noise_level": None}
REWARDS = torch.tensor(
    [[0.1, 0.9, 0.4, 0.2], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0], [0.3, 0.6, math.nan, 0.8]], dtype=torch.float64
)
BEST = [(0, 1), (1, 0), (2, 0), (3, 3)]
PAIRS = [((0, 1), (0, 0)), ((2, 0), (2, 1)), ((3, 3), (3, 0))]


def config(name, pipeline, **changes):
    return tiny_runs.config(pipeline, objective={"name": name}, **ODE, **changes)


def built(settings):
    """(policy, objective, bundles of one rollout); the behaviour copy is not the live policy."""
    policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    for value in policy.learner.weights[BEHAVIOUR].values():
        value.mul_(2)
    rollout = collect(policy, objective, tiny_runs.groups(settings), lambda samples: None)
    return policy, objective, scoring.to_bundles(objective, rollout.groups, rollout.trajectories, REWARDS)


def gradient_of(settings):
    policy, objective, bundles = built(settings)
    sums = Sums(["loss", "count", *objective.sums])
    count = accumulate(policy, objective, bundles, sums)
    totals = sums.totals(Processes("cpu"))
    scale = count * policy.gradient_scale
    gradients = {
        name: parameter.grad.double() / scale
        for name, parameter in policy.model.adapter_parameters().items()
        if parameter.grad is not None
    }
    return gradients, count, {"loss": totals["loss"] / count, **objective.logged(totals)}


def errors_of(policy, objective, bundles):
    """(group, member) -> [error at each level], with gradient, and the same of the base; a picture at a time."""
    live, base = {}, {}
    for each in (row for bundle in bundles for row in bundle):
        for at in objective.noised(policy, each.trajectory):
            target = at.noise - at.x0
            v = policy.velocity(at.x_t, at.t, at.condition)
            with torch.no_grad(), policy.model.adapter_disabled():
                reference = policy.velocity(at.x_t, at.t, at.condition)
            for row, (group, member) in enumerate(each.trajectory.places):
                found = ((value - target).double()[row] ** 2 for value in (v, reference))
                for table, error in zip((live, base), found, strict=True):
                    table.setdefault((group.index, member), []).append(error.mean())
    return live, base


def assert_gradient(policy, loss, gradients):
    loss.backward()
    parameters = policy.model.adapter_parameters()
    wanted = {name: each.grad.double() for name, each in parameters.items() if each.grad is not None}
    largest = max(float(each.abs().max()) for each in wanted.values())
    assert wanted.keys() == gradients.keys() and largest > 1e-8
    for name, each in wanted.items():
        torch.testing.assert_close(gradients[name], each, rtol=0, atol=2e-5 * largest)


@pytest.mark.parametrize("micro_batch", [4, 1])
def test_sft_learns_the_best_of_each_group_and_nothing_else(pipeline, micro_batch):
    settings = config("sft", pipeline, rollout__micro_batch=micro_batch, objective__kl_weight=0.3)
    gradients, count, figures = gradient_of(settings)
    policy, objective, bundles = built(settings)
    live, _ = errors_of(policy, objective, bundles)
    assert count == 4 * 4  # groups x levels
    loss = torch.stack([error for place in BEST for error in live[place]]).mean()
    assert figures["policy/error"] == pytest.approx(loss.item(), rel=1e-6)
    kl = figures["policy/kl"]
    assert kl > 0 and figures["loss"] == pytest.approx(loss.item() + 0.3 * kl, rel=1e-6)
    gradients, _, _ = gradient_of(config("sft", pipeline, rollout__micro_batch=micro_batch))
    assert_gradient(policy, loss, gradients)


@pytest.mark.parametrize("micro_batch", [4, 2])
def test_rwr_learns_all_with_their_weights(pipeline, micro_batch):
    settings = config("rwr", pipeline, rollout__micro_batch=micro_batch, objective__temperature=0.2)
    gradients, count, figures = gradient_of(settings)
    policy, objective, bundles = built(settings)
    live, _ = errors_of(policy, objective, bundles)
    loss, squares = 0.0, 0.0
    for group, row in enumerate(REWARDS):
        scored = [member for member in range(4) if not row[member].isnan()]
        total = sum(math.exp(row[member] / 0.2) for member in scored)
        for member in scored:
            weight = len(scored) * math.exp(row[member] / 0.2) / total
            loss, squares = loss + weight * sum(live[group, member]), squares + weight**2
    assert count == 15 * 4
    assert figures["loss"] == figures["policy/error"] == pytest.approx(loss.item() / 60, rel=1e-6)
    assert figures["policy/effective"] == pytest.approx(15 / squares, rel=1e-9)
    assert_gradient(policy, loss / 60, gradients)


@pytest.mark.parametrize(("micro_batch", "bundle"), [(4, 1), (1, 1), (16, 4), (1, 4)])
def test_dpo_is_one_loss_over_pairs_whatever_the_micro_batch(pipeline, micro_batch, bundle):
    """A group of equal rewards has no pair. With micro-batches of one every pair is parted, and a pass more finds its
    coefficients."""
    changes = {"rollout__micro_batch": micro_batch, "rollout__bundle": bundle, "optimizer__updates": 1}
    settings = config("dpo", pipeline, objective__beta=200.0, **changes)
    gradients, count, figures = gradient_of(settings)
    policy, objective, bundles = built(settings)
    live, base = errors_of(policy, objective, bundles)
    margins = torch.stack(
        [
            (live[won][turn] - base[won][turn]) - (live[lost][turn] - base[lost][turn])
            for won, lost in PAIRS
            for turn in range(4)
        ]
    )
    loss = -torch.log(1 / (1 + torch.exp(100 * margins))).mean()
    won = [live[won][turn] - base[won][turn] for won, _ in PAIRS for turn in range(4)]
    assert count == 3 * 4
    assert figures["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["policy/margin"] == pytest.approx(margins.mean().item(), rel=1e-4)
    assert figures["policy/preferred"] == (margins < 0).double().mean().item()
    assert figures["policy/won"] == pytest.approx(sum(won).item() / 12, rel=1e-4)
    assert_gradient(policy, loss, gradients)


def test_a_pair_shares_noise_and_noise_level_and_groups_do_not(pipeline):
    changes = {"rollout__micro_batch": 16, "rollout__bundle": 4, "optimizer__updates": 1}
    policy, objective, bundles = built(config("dpo", pipeline, **changes))
    (pairs,) = with_signal(bundles[0], 16)
    assert [(place.group.index, place.member) for place in pairs.trajectory.places] == [
        place for pair in PAIRS for place in pair
    ]
    assert pairs.signal.tolist() == [1, -1] * 3
    for at in objective.noised(policy, pairs.trajectory):
        assert torch.equal(at.noise[0::2], at.noise[1::2]) and torch.equal(at.t[0::2], at.t[1::2])
        assert not torch.equal(at.noise[0], at.noise[2])
        assert not torch.equal(at.x0[0], at.x0[1])


def test_gathered_rows_keep_their_latents_and_prompts(pipeline):
    policy, _, bundles = built(config("sft", pipeline, rollout__micro_batch=2, rollout__bundle=4, optimizer__updates=1))
    rows = with_signal(bundles[0], 3)
    assert [len(each.signal) for each in rows] == [3, 1] and all(each.scored.all() for each in rows)
    held = {}
    for each in bundles[0]:
        for row, (group, member) in enumerate(each.trajectory.places):
            held[group.index, member] = each.trajectory.latents[row]
    for each in rows:
        for row, (group, member) in enumerate(each.trajectory.places):
            assert (group.index, member) in BEST
            assert torch.equal(each.trajectory.latents[row], held[group.index, member])
            held_text, text = each.trajectory.condition[[row]], policy.encode([group.prompt.text])
            assert all(torch.equal(*both) for both in zip(vars(held_text).values(), vars(text).values(), strict=True))


@pytest.mark.parametrize("name", ["sft", "rwr", "dpo"])
def test_offline_the_copy_never_moves_and_online_it_takes_the_live_weights(name, pipeline):
    for every, taken in ((None, []), (2, [1, 3]), (1, [0, 1, 2, 3])):
        policy, objective, bundles = built(config(name, pipeline, objective__refresh_every=every))
        for step in range(4):
            before = {key: value.clone() for key, value in policy.learner.weights[BEHAVIOUR].items()}
            update(policy, objective, bundles, 1e-3, Processes("cpu"))
            policy.learner.end_step(step)
            now, live = policy.learner.weights[BEHAVIOUR], policy.learner.parameters
            expected = live if step in taken else before
            assert all(torch.equal(now[key], expected[key]) for key in now)
            assert not all(torch.equal(live[key], before[key]) for key in now)


def test_a_step_without_a_pair_moves_nothing(pipeline):
    settings = config("dpo", pipeline)
    policy, objective = tiny_runs.policy(settings), tiny_runs.objective(settings)
    rollout = collect(policy, objective, tiny_runs.groups(settings), lambda samples: None)
    bundles = scoring.to_bundles(objective, rollout.groups, rollout.trajectories, torch.ones_like(REWARDS))
    before = {key: value.clone() for key, value in policy.learner.state().items()}
    figures = update(policy, objective, bundles, 1e-2, Processes("cpu"))
    assert math.isnan(figures["policy/loss"]) and math.isnan(figures["policy/preferred"])
    assert all(torch.equal(value, before[key]) for key, value in policy.learner.state().items())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective__kl_weight": 0.1}, "setting 'objective.kl_weight' belongs to objective flow_grpo"),
        ({"objective__advantage_scale": "group"}, "setting 'objective.advantage_scale' belongs to objective"),
        ({"objective__refresh_every": 0}, "setting 'objective.refresh_every' (it is 0)"),
        ({"objective__first_levels": 9}, "objective.first_levels 9 is above rollout.steps 4"),
        ({"rollout__kind": "flow", "rollout__noise_level": 0.7}, "learns from rollout.kind ode, not from flow"),
    ],
)
def test_settings_that_do_not_fit_are_refused(pipeline, changes, sentence):
    with pytest.raises(ConfigError) as caught:
        tiny_runs.config(pipeline, objective={"name": "dpo"}, **{**ODE, **changes})
    assert sentence in str(caught.value)

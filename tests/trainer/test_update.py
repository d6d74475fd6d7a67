"""What an update does, and what it must not depend on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tiny_runs
import torch

from flowbench.sampling import step as take_step
from flowbench.trainer import scoring
from flowbench.trainer.policy import Policy
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect, sample_bundle
from flowbench.trainer.update import Sums, accumulate, update

REWARDS = torch.tensor(
    [[0.1, 0.9, 0.4, 0.2], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0], [0.3, 0.6, 0.2, 0.8]], dtype=torch.float64
)


def rollout_of(settings, policy, **options):
    return collect(policy, tiny_runs.objective(settings), tiny_runs.groups(settings), lambda samples: None, **options)


def bundles_of(settings, trajectories, rewards=REWARDS):
    return scoring.to_bundles(tiny_runs.objective(settings), tiny_runs.groups(settings), trajectories, rewards)


def gradients(settings, policy, trajectories, rewards=REWARDS):
    """The accumulated gradient over the divisor, as `update` hands it to the optimizer, and the logged figures."""
    objective = tiny_runs.objective(settings)
    sums = Sums(["loss", "count", *objective.sums])
    divisor = accumulate(policy, objective, bundles_of(settings, trajectories, rewards), sums)
    found = {}
    for name, parameter in policy.model.adapter_parameters().items():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found[name] = gradient.double() / divisor / policy.gradient_scale
        parameter.grad = None
    totals = sums.totals(Processes("cpu"))
    assert totals["count"] == divisor
    return found, {"policy/loss": totals["loss"] / divisor, **objective.logged(totals)}


def assert_equal_gradients(left, right, tolerance=1e-4):
    largest = max(float(gradient.abs().max()) for gradient in left.values())
    assert largest > 1e-6
    for name, gradient in left.items():
        torch.testing.assert_close(right[name], gradient, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize(("guidance", "same_latent"), [(1.0, False), (3.0, False), (1.0, True)])
def test_pictures_and_update_do_not_depend_on_the_micro_batch(pipeline, guidance, same_latent):
    """1 x 4 and 4 x 1 (and 2 x 2): the same pictures up to rounding, and so the same gradients."""
    found, latents = {}, {}
    changes = {"rollout__guidance": guidance, "rollout__same_latent": same_latent}
    for size in (4, 1, 2):
        settings = tiny_runs.config(pipeline, rollout__micro_batch=size, **changes)
        policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
        groups = tiny_runs.groups(settings)[:1]
        parts = sample_bundle(policy, objective, groups, policy.encode([groups[0].prompt.text]))
        latents[size] = torch.cat([part for _, part in parts])
        found[size], _ = gradients(settings, policy, rollout_of(settings, policy).trajectories)
    for size in (1, 2):
        torch.testing.assert_close(latents[size], latents[4], rtol=0, atol=1e-4)
        assert_equal_gradients(found[4], found[size])
    assert float((latents[4][0] - latents[4][1]).abs().max()) > 0.1  # members do differ


def test_one_row_that_a_group_shares_counts_for_every_member(pipeline):
    """Reference: the same transitions with a row of latents for each member."""
    settings = tiny_runs.config(
        pipeline, rollout__same_latent=True, rollout__steps=6, rollout__window=2, rollout__window_range=3,
        objective__kl_weight=0.3, objective__kl="velocity",
    )  # fmt: skip
    policy = tiny_runs.policy(settings, moved=0.02)
    trajectories = rollout_of(settings, policy).trajectories
    starts = {tiny_runs.objective(settings).noisy_steps(each.places[0].group)[0] for each in trajectories}
    assert starts == {0, 1}  # at once, and after a deterministic step
    assert all([len(moment.x) for moment in each.transitions] == [1, 4] for each in trajectories)
    spread = [
        replace(each, transitions=tuple(_with_a_row_each(moment) for moment in each.transitions))
        for each in trajectories
    ]
    expected, other = gradients(settings, policy, spread)
    found, one = gradients(settings, policy, trajectories)
    assert_equal_gradients(expected, found)
    assert one == pytest.approx(other, rel=1e-4, abs=1e-7) and one["policy/kl"] > 0


def _with_a_row_each(moment):
    x, condition = moment.of_each(moment.x).clone(), moment.condition[list(moment.rows)]
    return replace(moment, x=x, rows=tuple(range(len(x))), condition=condition)


def test_the_gradient_is_that_of_the_whole_loss_written_out(pipeline):
    """Reference: one loss over all groups, members and steps at once, log-probs by torch.distributions."""
    settings = tiny_runs.config(pipeline, objective__kl_weight=0.3, objective__kl="path", objective__clip_range=1.0)
    policy = tiny_runs.policy(settings, moved=0.02)
    trajectories = rollout_of(settings, policy).trajectories
    found, figures = gradients(settings, policy, trajectories)
    model = policy.model

    centred = REWARDS - REWARDS.mean(1, keepdim=True)
    advantages = centred / (REWARDS.std(correction=0) + 1e-4)
    terms = []
    for trajectory in trajectories:
        for moment in trajectory.transitions:
            condition = trajectory.condition
            velocity = model.velocity(moment.x, moment.sigma, condition)
            with model.adapter_disabled(), torch.no_grad():
                reference = model.velocity(moment.x, moment.sigma, condition)
            settled = {"sigma": moment.sigma, "sigma_next": moment.sigma_next, "noise_level": 0.7}
            now = take_step(moment.x, velocity, prev=moment.prev, **settled)
            base = take_step(moment.x, reference, prev=moment.prev, **settled)
            density = torch.distributions.Normal(now.mean.double(), now.std.double()).log_prob(moment.prev.double())
            ratio = torch.exp(density.flatten(1).mean(1) - moment.log_prob)
            kl = (((now.mean - base.mean) / now.std).double() ** 2).flatten(1).mean(1) / 2
            terms.append(-advantages[trajectory.places[0].group.index] * ratio + 0.3 * kl)
    loss = torch.cat(terms).mean()
    loss.backward()
    expected = {name: parameter.grad.double() for name, parameter in model.adapter_parameters().items()
                if parameter.grad is not None}  # fmt: skip
    assert_equal_gradients(expected, found)
    assert figures["policy/loss"] == pytest.approx(float(loss.detach()), rel=1e-5)


def test_two_halves_accumulated_equal_one_batch(pipeline):
    settings = tiny_runs.config(pipeline)
    policy = tiny_runs.policy(settings, moved=0.02)
    trajectories = rollout_of(settings, policy).trajectories
    whole, _ = gradients(settings, policy, trajectories)
    bundles, objective = bundles_of(settings, trajectories), tiny_runs.objective(settings)
    counts = [
        accumulate(policy, objective, half, Sums(["loss", "count", *objective.sums]))
        for half in (bundles[:2], bundles[2:])
    ]
    assert counts == [2 * 4 * 3] * 2
    divisor = 4 * 4 * 3 * policy.gradient_scale
    parameters = policy.model.adapter_parameters()
    halves = {name: p.grad.double() / divisor for name, p in parameters.items() if p.grad is not None}
    assert_equal_gradients(halves, whole)


def test_unscored_members_take_no_part(pipeline):
    """Leaving a member unscored is the same as its never having been there: micro-batches of one, then drop it."""
    settings = tiny_runs.config(pipeline, rollout__micro_batch=1, objective__kl_weight=0.1, objective__kl="velocity")
    policy = tiny_runs.policy(settings, moved=0.02)
    trajectories = rollout_of(settings, policy).trajectories
    rewards = REWARDS.clone()
    rewards[0, 1] = math.nan
    found, _ = gradients(settings, policy, trajectories, rewards)
    without = [one for one in trajectories if (one.places[0].group.index, one.places[0].member) != (0, 1)]
    expected, _ = gradients(settings, policy, without, rewards)
    assert_equal_gradients(expected, found, tolerance=1e-7)
    scored, _ = gradients(settings, policy, trajectories)
    assert any(float((scored[name] - found[name]).abs().max()) > 1e-6 for name in found)
    # and beside scored members in one micro-batch
    wide = tiny_runs.config(pipeline, objective__kl_weight=0.1, objective__kl="velocity")
    together, _ = gradients(wide, policy, rollout_of(wide, policy).trajectories, rewards)
    assert_equal_gradients(found, together)


def test_a_flat_group_has_no_policy_term_but_keeps_its_kl(pipeline):
    flat = torch.full((4, 4), 0.1, dtype=torch.float64)  # 0.1: its mean is not exact
    settings = tiny_runs.config(pipeline)
    policy = tiny_runs.policy(settings, moved=0.02)
    trajectories = rollout_of(settings, policy).trajectories
    found, figures = gradients(settings, policy, trajectories, flat)
    assert all(not gradient.any() for gradient in found.values())
    assert figures["policy/loss"] == 0 and math.isnan(figures["policy/ratio_mean"])
    for form in ("path", "path_no_dt", "velocity"):
        with_kl = tiny_runs.config(pipeline, objective__kl_weight=0.1, objective__kl=form)
        found, figures = gradients(with_kl, policy, trajectories, flat)
        assert any(gradient.any() for gradient in found.values())
        assert figures["policy/kl"] > 0
        assert figures["policy/loss"] == pytest.approx(0.1 * figures["policy/kl"])


def test_flat_groups_stay_in_the_divisor(pipeline):
    settings = tiny_runs.config(pipeline, optimizer__updates=1, optimizer__max_grad_norm=1e9)
    policy = tiny_runs.policy(settings, moved=0.02)
    trajectories = rollout_of(settings, policy).trajectories
    norms = []
    for rows in ([0, 1, 2, 3], [0, 2, 3]):  # row 1 is flat
        held = tiny_runs.policy(settings, moved=0.02)
        mine = [bundle for bundle in bundles_of(settings, trajectories) if bundle.groups[0].index in rows]
        figures = update(held, tiny_runs.objective(settings), mine, 1e-3, Processes("cpu"))
        norms.append(figures["optimizer/grad_norm"])
    assert norms[1] / norms[0] == pytest.approx(4 / 3, rel=1e-5)


def test_a_step_of_which_nothing_was_scored_moves_nothing(pipeline):
    """AdamW with momentum would move the weights on gradients of zero."""
    settings = tiny_runs.config(pipeline, optimizer__updates=1, optimizer__lr=1e-2)
    policy = tiny_runs.policy(settings)
    learner = policy.learner
    trajectories = rollout_of(settings, policy).trajectories
    states = []
    for rewards in (REWARDS, torch.full_like(REWARDS, math.nan)):
        bundles = bundles_of(settings, trajectories, rewards)
        figures = update(policy, tiny_runs.objective(settings), bundles, 1e-2, Processes("cpu"))
        states.append({name: value.clone() for name, value in learner.state().items()})
    assert learner.updates == 1 and math.isnan(figures["optimizer/grad_norm"])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_kl_pulls_back_to_the_reference(pipeline):
    """With KL only, updates shrink the distance to the base model, in each of the three forms."""
    flat = torch.zeros(4, 4, dtype=torch.float64)
    for form in ("path", "path_no_dt", "velocity"):
        settings = tiny_runs.config(pipeline, objective__kl_weight=1.0, objective__kl=form, optimizer__lr=3e-3)
        policy = tiny_runs.policy(settings, moved=0.05)
        kls = []
        for _ in range(6):
            bundles = bundles_of(settings, rollout_of(settings, policy).trajectories, flat)
            figures = update(policy, tiny_runs.objective(settings), bundles, 3e-3, Processes("cpu"))
            kls.append(figures["policy/kl"])
        assert kls[-1] < 0.8 * kls[0]


def test_the_first_update_is_on_policy_the_second_is_not(pipeline):
    """Updates take disjoint shares of the groups, so each is measured alone."""
    processes = Processes("cpu")
    for updates, exact in ((1, True), (2, False)):
        settings = tiny_runs.config(pipeline, optimizer__updates=updates, optimizer__lr=1e-2)
        policy = tiny_runs.policy(settings)
        bundles = bundles_of(settings, rollout_of(settings, policy).trajectories)
        figures = update(policy, tiny_runs.objective(settings), bundles, 1e-2, processes)
        assert policy.learner.updates == updates
        assert (figures["policy/ratio_mean"] == 1 and figures["policy/ratio_std"] == 0) == exact


def test_figures_by_hand(pipeline):
    objective = tiny_runs.objective(tiny_runs.config(pipeline))
    sums = Sums(["loss", "count", *objective.sums])
    sums.add(count=6, loss=torch.tensor(3.0), excess=0.3, excess_square=0.05, below=1, above=2, kl=0.5, replayed=2)
    sums.add(count=4, loss=-1.0, excess=0.1, excess_square=0.03, below=0, above=1, kl=0.5, replayed=2)
    totals = sums.totals(Processes("cpu"))
    assert (totals["loss"], totals["count"]) == (2.0, 10.0)
    assert objective.logged(totals) == pytest.approx({
        "policy/ratio_mean": 1.1, "policy/ratio_std": 0.1,
        "policy/clip_low": 0.25, "policy/clip_high": 0.75, "policy/kl": 0.25,
    })  # fmt: skip


def test_float16_gradients_do_not_underflow(pipeline, monkeypatch):
    """They go back through a float16 network, where 1e-8 is 0: without the scale a large latent would lose them."""
    exact, half = tiny_runs.config(pipeline), tiny_runs.config(pipeline, model__dtype="float16")
    reference, policy = tiny_runs.policy(exact, moved=0.02), tiny_runs.policy(half, moved=0.02)
    expected, _ = gradients(exact, reference, rollout_of(exact, reference).trajectories)
    trajectories = rollout_of(half, policy).trajectories
    found, _ = gradients(half, policy, trajectories)
    assert _cosine(expected, found) > 0.99
    monkeypatch.setattr(Policy, "gradient_scale", 1e-6)  # about 1 / (65,536 elements x 48 steps)
    lost, _ = gradients(half, policy, trajectories)
    assert _cosine(expected, lost) < 0.9


def _cosine(left, right):
    flat = [torch.cat([side[name].flatten() for name in left]) for side in (left, right)]
    return float(torch.nn.functional.cosine_similarity(*flat, dim=0))

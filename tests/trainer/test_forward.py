"""What the objectives on the forward process share: noise levels, the behaviour copy, penalties; and each one's terms
against its pure loss on velocities that are computed here."""

from __future__ import annotations

import math
from unittest.mock import Mock

import pytest
import tiny_runs
import torch

from flowbench.config import load_config
from flowbench.errors import ConfigError
from flowbench.forward_config import ForwardConfig
from flowbench.objective_config import config_of
from flowbench.sampling.steps import per_sample_mean
from flowbench.trainer import scoring
from flowbench.trainer.learner import BEHAVIOUR, LIVE
from flowbench.trainer.objectives import OBJECTIVES, policy_loss
from flowbench.trainer.objectives.awm import SAMPLED, surrogate_log_prob
from flowbench.trainer.objectives.dgpo import dgpo_loss, group_coefficients
from flowbench.trainer.objectives.elbo import elbo, elbo_loss
from flowbench.trainer.objectives.matching import flow_error
from flowbench.trainer.objectives.nft import nft_loss
from flowbench.trainer.objectives.ram import ram_loss
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.update import update

NAMES = [name for name in OBJECTIVES if issubclass(config_of(name), ForwardConfig)]
REWARDS = torch.tensor([[0.1, 0.9, 0.4, 0.2], [0.5, 0.5, 0.5, 0.5]], dtype=torch.float64)
SMALL = {"rollout__groups": 2, "optimizer__updates": 1, "objective__levels": 2}


def config(name, pipeline, **changes):
    ode = {"rollout__kind": "ode", "rollout__noise_level": None}
    return tiny_runs.config(pipeline, objective={"name": name}, **ode, **{**SMALL, **changes})


def made(settings, rewards=REWARDS, *, moved=0.02):
    """A policy whose behaviour copy has stayed behind it, and the bundles of two groups of four."""
    policy, objective = tiny_runs.policy(settings, moved=moved), tiny_runs.objective(settings)
    for shadow in policy.learner.weights.values():
        for value in shadow.values():
            value.mul_(0.9)
    groups = tiny_runs.groups(settings)
    trajectories = collect(policy, objective, groups, lambda samples: None).trajectories
    return policy, objective, scoring.to_bundles(objective, groups, trajectories, rewards)


def points(policy, objective, each):
    """(noised, v, v_old, v_ref) at each noise level, without the objective's own arithmetic."""
    for at in objective.noised(policy, each.trajectory):
        x_t = (1 - at.t.reshape(-1, 1, 1, 1)) * at.x0 + at.t.reshape(-1, 1, 1, 1) * at.noise
        with policy.using(BEHAVIOUR):
            old = policy.velocity(x_t, at.t, at.condition)
        with policy.reference():
            reference = policy.velocity(x_t, at.t, at.condition)
        yield at, x_t, policy.velocity(x_t, at.t, at.condition).detach(), old, reference


def pure(name, objective, advantages, at, x_t, v, old, reference):
    """The loss of a whole group at one noise level, from the published equations' functions."""
    settings = objective.settings
    if name == "nft":
        weight = 0.5 + advantages / (2 * settings.advantage_clip)
        return settings.loss_scale * nft_loss(v, old, x_t, at.x0, at.t, weight, beta=settings.beta)
    if name in ("epg", "pepg", "par"):
        bounds = [elbo(each, x_t, at.x0, at.t) for each in (v, old)]
        return elbo_loss(name, *bounds, settings.advantage_weight * advantages)
    if name == "awm":
        now = surrogate_log_prob(v, at.x0, at.noise, at.t)
        return policy_loss(now, now, advantages / settings.advantage_clip, clip=1.0).loss
    if name == "ram":
        return ram_loss(v, old, reference, at.x0, at.noise, advantages, multiplier=settings.multiplier)
    error, before, copy = (flow_error(each, at.x0, at.noise) for each in (v, reference, old))
    groups = torch.zeros(len(error), dtype=torch.int64)
    weights = advantages * group_coefficients(error, before, advantages, groups, beta=settings.beta)
    return dgpo_loss(error, copy, weights, clip=settings.clip_range)


def test_the_family():
    assert set(NAMES) == {"nft", "awm", "epg", "pepg", "par", "ram", "dgpo"}


@pytest.mark.parametrize("name", NAMES)
def test_terms_are_the_pure_loss_with_its_penalties(name, pipeline):
    weights = {"objective__kl_weight": 0.3, "objective__behaviour_weight": 0.7}
    policy, objective, bundles = made(config(name, pipeline, **weights))
    for bundle, rewards in zip(bundles, REWARDS, strict=True):
        (each,) = bundle.slices
        scale = objective.settings.advantage_scale
        spread = {"batch": REWARDS.flatten().std(correction=0) + 1e-4, "group": rewards.std(correction=0) + 1e-4}
        advantages = (rewards - rewards.mean()) / spread.get(scale, torch.tensor(1.0))
        terms = objective.terms(policy, bundle)
        for term, (at, x_t, v, old, reference) in zip(terms, points(policy, objective, each), strict=True):
            kl, drift = (per_sample_mean((v - other) ** 2) for other in (reference, old))
            expected = pure(name, objective, advantages, at, x_t, v, old, reference) + 0.3 * kl + 0.7 * drift
            torch.testing.assert_close(term.loss.detach(), expected, rtol=1e-6, atol=1e-9)
            assert (term.count, term.loss.requires_grad) == (4, True)
            assert float(term.figures["kl"]) == pytest.approx(float(kl.sum()), rel=1e-6)
            assert float(term.figures["drift"]) == pytest.approx(float(drift.sum()), rel=1e-6)
            assert float(kl.min()) > 1e-9 and float(drift.min()) > 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_that_is_the_live_policy_costs_no_forward_pass(name, pipeline, monkeypatch):
    """And nothing else changes, to the bit; dgpo asks for the copies before it learns, and computes all."""
    found, calls = [], []
    for known in (True, False):
        settings = config(name, pipeline)
        policy, objective = tiny_runs.policy(settings), tiny_runs.objective(settings)
        groups = tiny_runs.groups(settings)
        trajectories = collect(policy, objective, groups, lambda samples: None).trajectories
        bundles = scoring.to_bundles(objective, groups, trajectories, REWARDS)
        if not known:
            monkeypatch.setattr(policy.learner, "live", lambda names: set())
        counted = Mock(wraps=policy.velocity)
        monkeypatch.setattr(policy, "velocity", counted)
        learned = update(policy, objective, bundles, 1e-2, Processes("cpu"))
        found.append((learned, {key: value.clone() for key, value in policy.model.adapter_parameters().items()}))
        calls.append(counted.call_count)
    assert str(found[0][0]) == str(found[1][0])
    assert all(torch.equal(value, found[1][1][key]) for key, value in found[0][1].items())
    points_of_two_groups = 0 if name == "dgpo" else 2 * 2
    assert calls[1] - calls[0] == points_of_two_groups


@pytest.mark.parametrize("name", NAMES)
def test_the_advantages_weight_what_a_picture_pulls(name, pipeline):
    """With all rewards alike nothing is learned but to stay: by nft and pepg near the copy, by ram near the base."""
    settings = config(name, pipeline, objective__kl_weight=0, **_no_penalty(name))
    policy, objective, bundles = made(settings, torch.full_like(REWARDS, 0.5))
    for bundle in bundles:
        for term in objective.terms(policy, bundle):
            term.loss.sum().backward()
    pulled = max(float(each.grad.abs().max()) for each in policy.model.adapter_parameters().values())
    assert (pulled > 1e-9) == (name in ("nft", "pepg", "par", "ram"))


def _no_penalty(name):
    rates = {"objective__behaviour_rate": 0, "objective__behaviour_decay": 0}
    return {"objective__behaviour_weight": 0, **(rates if name == "awm" else {})}


@pytest.mark.parametrize("name", NAMES)
def test_the_behaviour_copy_follows_as_scheduled(name, pipeline):
    """The published schedule for OCR: 0 for 75 steps, then min(.0075 (step - 75), .999)."""
    ocr = {"rate": 0.0075, "decay": 0.999, "warmup": 75}
    changes = {f"objective__behaviour_{key}": value for key, value in ocr.items()}
    shadow = tiny_runs.objective(config(name, pipeline, **changes)).shadows()[BEHAVIOUR]
    decays = [shadow.decay(step) for step in (0, 74, 75, 76, 175, 300)]
    assert decays == pytest.approx([0, 0, 0, 0.0075, 0.75, 0.999]) and shadow.after == "step"


def test_noise_levels_are_the_schedules_each_once_and_the_same_in_any_micro_batch(pipeline):
    policy = tiny_runs.policy(config("nft", pipeline))
    levels = sorted(policy.model.sigmas(4)[:-1].tolist())
    drawn = {}
    for size in (4, 2):
        _, objective, bundles = made(config("nft", pipeline, objective__levels=4, rollout__micro_batch=size))
        rows = [objective.noised(policy, each.trajectory) for each in bundles[0]]
        drawn[size] = [torch.cat([turns[turn].t for turns in rows]) for turn in range(4)]
        drawn[-size] = [torch.cat([turns[turn].noise for turns in rows]) for turn in range(4)]
    for member in range(4):
        assert sorted(turn[member].item() for turn in drawn[4]) == levels
    for size in (4, -4):
        assert all(torch.equal(one, other) for one, other in zip(drawn[size], drawn[size // 2], strict=True))
    assert len({tuple(turn[member].item() for turn in drawn[4]) for member in range(4)}) > 1
    _, noisiest, bundles = made(config("nft", pipeline, objective__levels=4, objective__first_levels=2))
    turns = [at.t for at in noisiest.noised(policy, bundles[0].slices[0].trajectory)]
    assert {level for turn in turns for level in turn.tolist()} == set(levels[-2:])
    assert torch.equal(turns[0], turns[2]) and torch.equal(turns[1], turns[3])  # in turn, where there are fewer


@pytest.mark.parametrize("times", ["uniform", "logit_normal"])
def test_other_times_are_places_of_each_picture(times, pipeline):
    policy, objective, bundles = made(config("nft", pipeline, objective__times=times, objective__levels=3))
    trajectory = bundles[0].slices[0].trajectory
    drawn = torch.stack([at.t for at in objective.noised(policy, trajectory)])
    assert len(set(drawn.flatten().tolist())) == 12 and bool(((drawn > 0) & (drawn < 1)).all())


def test_dgpo_noises_a_group_alike(pipeline):
    for size in (4, 2):
        settings = config("dgpo", pipeline, rollout__bundle=2, rollout__micro_batch=size)
        policy, objective, bundles = made(settings)
        seen = {}
        for each in bundles[0]:
            (at,) = objective.noised(policy, each.trajectory, [1])
            for row, place in enumerate(each.trajectory.places):
                seen.setdefault(place.group.index, []).append((at.t[row].item(), at.noise[row]))
        assert set(seen) == {0, 1}
        for drawn in seen.values():
            assert len(drawn) == 4
            assert all(t == drawn[0][0] and torch.equal(noise, drawn[0][1]) for t, noise in drawn)
        assert not torch.equal(seen[0][0][1], seen[1][0][1])


def test_dgpo_counts_the_scored_members_alone(pipeline):
    """The coefficient of a group with an unscored member is that of the group without it."""
    rewards = REWARDS.clone()
    rewards[:, 3] = math.nan
    for size in (4, 1):
        policy, objective, bundles = made(config("dgpo", pipeline, rollout__micro_batch=size), rewards)
        bundle = bundles[0]
        advantages = torch.cat([each.signal for each in bundle])[:3]
        errors = []
        for each in bundle:
            at, _, v, _, reference = next(points(policy, objective, each))
            errors.append(torch.stack([flow_error(v, at.x0, at.noise), flow_error(reference, at.x0, at.noise)]))
        now, before = torch.cat(errors, dim=1)[:, :3]
        expected = group_coefficients(now, before, advantages, torch.zeros(3, dtype=torch.int64), beta=100.0)
        first = [term for term in objective.terms(policy, bundle)][: math.ceil(3 / size)]
        found = sum(float(term.figures["preference"]) for term in first)
        assert found == pytest.approx(float(expected.sum()), rel=1e-6) and abs(float(expected[0]) - 0.5) > 1e-6


def test_dgpo_needs_no_first_pass_where_every_group_is_whole_in_a_micro_batch(pipeline, monkeypatch):
    """Of a bundle of two groups in two micro-batches: the same numbers as when four of them split the groups."""
    found = {}
    for size in (4, 2):
        settings = config("dgpo", pipeline, rollout__bundle=2, rollout__micro_batch=size)
        policy, objective, bundles = made(settings)
        counted = Mock(wraps=policy.velocity)
        monkeypatch.setattr(policy, "velocity", counted)
        learned = update(policy, objective, bundles, 0.0, Processes("cpu"))
        found[size] = (learned["optimizer/grad_norm"], learned["policy/preference"], counted.call_count)
    others = 2  # reference and behaviour copy; then the pass that is learned from, and before it the first one
    assert [calls for _, _, calls in found.values()] == [2 * 2 * (others + 1), 2 * 4 * (others + 2)]
    assert found[4][:2] == pytest.approx(found[2][:2], rel=1e-4) and found[4][0] > 1e-6


def test_awm_holds_the_ratio_to_the_weights_that_sampled(pipeline):
    """The live ones of the step's beginning: ratio 1 in the first update, and not in the second."""
    figures = {}
    for updates in (1, 2):
        settings = config("awm", pipeline, optimizer__updates=updates, objective__kl_weight=0.0)
        policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
        assert objective.samples_with == LIVE and set(objective.shadows()) == {BEHAVIOUR, SAMPLED}
        for value in policy.learner.weights[BEHAVIOUR].values():
            value.mul_(0.5)
        groups = tiny_runs.groups(settings)
        trajectories = collect(policy, objective, groups, lambda samples: None).trajectories
        bundles = scoring.to_bundles(objective, groups, trajectories, REWARDS.flip(1))
        figures[updates] = update(policy, objective, bundles, 1e-2, Processes("cpu"))
        policy.learner.end_step(3)
        live = policy.model.adapter_parameters()
        sampled = policy.learner.weights[SAMPLED]
        assert all(torch.equal(sampled[name], parameter) for name, parameter in live.items())
    assert figures[1]["policy/ratio_mean"] == 1.0 and figures[1]["policy/drift"] > 1e-9
    assert abs(figures[2]["policy/ratio_mean"] - 1) > 1e-6


def test_awm_off_policy_is_sampled_by_the_behaviour_copy(pipeline):
    _, objective, _ = made(config("awm", pipeline, objective__off_policy=True))
    assert objective.samples_with == BEHAVIOUR and set(objective.shadows()) == {BEHAVIOUR}
    policy, objective, bundles = made(config("awm", pipeline, objective__off_policy=True))
    (at, _, v, old, _), term = (
        next(points(policy, objective, bundles[0].slices[0])), next(objective.terms(policy, bundles[0]))
    )  # fmt: skip
    now, before = (surrogate_log_prob(each, at.x0, at.noise, at.t) for each in (v, old))
    assert float(term.figures["ratio"]) == pytest.approx(float((now - before).exp().sum()), rel=1e-6)


def test_signals(pipeline):
    """Rewards .1 and .9: ELBO .1 (reward - mean); awm's advantages of 1 over 5."""
    rewards, groups = torch.tensor([0.1, 0.9], dtype=torch.float64), torch.zeros(2)
    of_elbo = tiny_runs.objective(config("pepg", pipeline)).signal(rewards, groups)
    assert of_elbo.tolist() == pytest.approx([-0.04, 0.04], abs=1e-12)
    of_awm = tiny_runs.objective(config("awm", pipeline)).signal(rewards, groups)
    assert of_awm.tolist() == pytest.approx([-0.2 / 1.00025, 0.2 / 1.00025], abs=1e-12)


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        ("{name: awm, behaviour_weight: 0}", "behaviour_rate and behaviour_decay have no effect with off_policy false"),
        ("{name: epg, levels: 0}", "greater than or equal to 1"),
        ("{name: dgpo, against: base}", "input should be 'reference' or 'behaviour'"),
        ("{name: pepg, beta: 1}", "belongs to objective nft and dgpo and dpo, not to pepg"),
    ],
)
def test_a_setting_without_effect_is_refused(objective, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config({"rollout": {"kind": "ode"}}, [f"objective={objective}"])

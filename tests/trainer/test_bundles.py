"""A micro-batch may span groups, members may share their latents and part late: the numbers are those of each alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import tiny_runs
import torch

from flowbench.errors import ConfigError
from flowbench.sampling import solve
from flowbench.sampling import step as take_step
from flowbench.trainer import check_policy, policy, scoring, train
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.trajectory import Moment
from flowbench.trainer.update import Sums, accumulate

REWARDS = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
SPANNING = [
    {"bundle": 2, "micro_batch": 8},
    {"bundle": 3, "micro_batch": 6},  # a micro-batch ends in the middle of a group
    {"bundle": 6, "micro_batch": 24},
]
KINDS = {
    "own latents": {},
    "one latent": {"same_latent": True},
    "one latent, windows": {"same_latent": True, "steps": 6, "window": 2, "window_range": 4},
    "windows": {"steps": 6, "window": 2, "window_range": 4},
    "branches": {"branches": 2, "window": 2, "window_range": 3},
}


def config(pipeline, **rollout):
    changes = {f"rollout__{name}": value for name, value in ({"groups": 6} | rollout).items()}
    changes |= {"optimizer__updates": 1, "objective__kl_weight": 0.2, "objective__kl": "velocity"}
    return tiny_runs.config(pipeline, **changes)


def sampled(settings, held, **options):
    return collect(held, tiny_runs.objective(settings), tiny_runs.groups(settings), lambda samples: None, **options)


def pixels(rollout):
    return torch.stack([torch.tensor(list(sample.image.getdata())) for group in rollout.samples for sample in group])


def gradients(settings, held, rollout):
    objective = tiny_runs.objective(settings)
    sums = Sums(["loss", "count", *objective.sums])
    bundles = scoring.to_bundles(objective, rollout.groups, rollout.trajectories, REWARDS)
    count = accumulate(held, objective, bundles, sums)
    parameters = held.model.adapter_parameters()
    found = {name: each.grad.clone() for name, each in parameters.items() if each.grad is not None}
    for each in parameters.values():
        each.grad = None
    return count, found


@pytest.mark.parametrize("spanning", SPANNING, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_that_span_groups_give_the_same_pictures_and_gradients(pipeline, kind, spanning):
    alone, together = config(pipeline, **KINDS[kind]), config(pipeline, **KINDS[kind], **spanning)
    held = tiny_runs.policy(alone, moved=0.02)
    one, other = sampled(alone, held), sampled(together, held)
    assert [group.index for group in other.groups] == list(range(6))
    seeds = [[[sample.seed for sample in group] for group in each.samples] for each in (one, other)]
    assert seeds[0] == seeds[1]
    assert int((pixels(one) - pixels(other)).abs().max()) <= 1
    (count, expected), (others, found) = gradients(alone, held, one), gradients(together, held, other)
    assert count == others == sum(len(moment.places) for each in one.trajectories for moment in each.transitions)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=2e-4 * largest)


@pytest.mark.parametrize("kind", ["one latent", "windows"])
def test_a_flat_group_beside_others_is_not_replayed_when_there_is_no_kl(pipeline, kind):
    settings = config(pipeline, **KINDS[kind], bundle=3, micro_batch=12)
    settings = settings.model_copy(update={"objective": settings.objective.model_copy(update={"kl_weight": 0.0})})
    held, flat = tiny_runs.policy(settings, moved=0.02), REWARDS.clone()
    flat[1], flat[3] = 0.5, 0.25
    rollout, objective = sampled(settings, held), tiny_runs.objective(settings)
    bundles = scoring.to_bundles(objective, rollout.groups, rollout.trajectories, flat)
    original, rows = held.model.velocity, []
    held.model.velocity = lambda x, *args, **more: (rows.append(len(x)), original(x, *args, **more))[1]
    sums = Sums(["loss", "count", *objective.sums])
    count = accumulate(held, objective, bundles, sums)
    found = {name: each.grad.clone() for name, each in held.model.adapter_parameters().items() if each.grad is not None}
    held.learner.optimizer.zero_grad()
    all_rows = sum(len(moment.transition.x) for bundle in bundles for moment in bundle.moments)
    assert sum(rows) == all_rows * 4 // 6
    monkeyed = [replace(bundle, moments=tuple(map(whole, bundle.moments))) for bundle in bundles]
    assert accumulate(held, objective, monkeyed, Sums(["loss", "count", *objective.sums])) == count
    largest = max(float(gradient.abs().max()) for gradient in found.values())
    for name, gradient in found.items():
        expected = held.model.adapter_parameters()[name].grad
        torch.testing.assert_close(gradient, expected, rtol=0, atol=2e-4 * largest)
    assert sums.totals(Processes("cpu"))["replayed"] == count * 4 // 6


def whole(moment):
    """It cannot be made smaller."""
    return type("Whole", (Moment,), {"taught": lambda self: self})(moment.transition, moment.signal, moment.scored)


@pytest.mark.parametrize("layers", ["pipeline", "fused"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_check_passes_to_the_bit_in_every_arrangement(request, kind, layers):
    for spanning in ({}, *SPANNING):
        settings = config(request.getfixturevalue(layers), **KINDS[kind], **spanning)
        groups = tiny_runs.groups(settings)[: settings.rollout.bundle]
        assert check_policy(tiny_runs.policy(settings, moved=0.05), tiny_runs.objective(settings), groups).error == 0.0


def test_members_of_a_set_share_their_latent_and_part_at_one_step(pipeline):
    """Reference: each picture denoised alone, from its set's latent, with noise at its set's step."""
    settings = config(pipeline, group_size=8, micro_batch=8, steps=5, branches=2, window=2, window_range=3)
    held, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    group = tiny_runs.groups(settings)[0]
    steps = objective.noisy_steps(group)
    rollout = collect(held, objective, [group], lambda samples: None)
    seen = {
        place.member: (moment.sigma, moment.prev[row])
        for moment in rollout.trajectories[0].transitions
        for row, place in enumerate(moment.places)
    }
    condition, sigmas = held.encode([group.prompt.text]), held.model.sigmas(5).tolist()
    ends = {}
    with torch.no_grad():
        for member in range(8):
            x = held.model.noise([group.draw("latent", member // 4)])
            here = steps[member // 2 % 2]
            for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
                velocity = held.velocity(x, sigma, condition)
                noise = held.model.noise([group.noise_seed(member, index)]) if index == here else None
                kind = {"kind": "ode"} if noise is None else {"kind": "flow", "noise_level": 0.7}
                x = take_step(x, velocity, sigma, sigma_next, noise=noise, **kind).prev
                if index == here:
                    assert seen[member][0] == sigma
                    torch.testing.assert_close(seen[member][1], x[0], rtol=0, atol=1e-4)
            ends[member] = held.model.decode(x)[0]
    for member, sample in enumerate(rollout.samples[0]):
        expected, made = (torch.tensor(list(image.getdata())) for image in (ends[member], sample.image))
        assert int((expected - made).abs().max()) <= 1
    rows = [len(moment.x) for moment in rollout.trajectories[0].transitions]
    assert len(seen) == 8 and rows == [2, 2]  # two latents, two steps


def test_advantages_compare_the_members_of_a_set(pipeline):
    settings = config(pipeline, branches=2, window=1)
    objective, groups = tiny_runs.objective(settings), tiny_runs.groups(settings)
    rollout = sampled(settings, tiny_runs.policy(settings))
    rewards = REWARDS.clone()
    rewards[:, 2:] += 10
    (bundle, *_) = scoring.to_bundles(objective, groups, rollout.trajectories, rewards)
    signal = bundle.slices[0].signal
    assert float(signal[0] + signal[1]) == pytest.approx(0) and float(signal[2] + signal[3]) == pytest.approx(0)
    assert float(signal[:2].abs().min()) > 0


def test_a_kept_graph_gives_the_same_gradients_for_fewer_calls(fused):
    calls, found = {}, {}
    for keep in (False, True):
        settings = config(fused, same_latent=True, bundle=2, keep_graph=keep)
        held = tiny_runs.policy(settings, moved=0.02)
        original, counted = held.model.velocity, []
        held.model.velocity = lambda *args, **more: (counted.append(1), original(*args, **more))[1]  # noqa: B023
        rollout = sampled(settings, held, kept_groups=6 if keep else 0)
        kept = [moment.velocity is not None for each in rollout.trajectories for moment in each.transitions]
        assert kept == [keep] * len(kept)
        calls[keep], found[keep] = counted, gradients(settings, held, rollout)[1]
    moments = len(kept)
    assert len(calls[False]) - len(calls[True]) == moments > 0
    assert all(torch.equal(gradient, found[True][name]) for name, gradient in found[False].items())


def test_only_the_first_updates_groups_keep_their_graph(fused, tmp_path, monkeypatch):
    """A second update's replay is not on-policy any more."""
    from flowbench.trainer import training

    seen = []
    original = training.collect
    monkeypatch.setattr(training, "collect", lambda *args, **more: (seen.append(more), original(*args, **more))[1])
    logs = []
    for keep in (False, True):
        changes = {"rollout__keep_graph": keep, "optimizer__updates": 2, "steps": 2}
        logs.append(tiny_runs.log_without_timing(train(tiny_runs.config(fused, tmp_path / str(keep), **changes))))
    assert [more["kept_groups"] for more in seen] == [0, 0, 2, 2]
    assert logs[0] == logs[1]


def test_a_text_is_encoded_once_in_a_run_and_the_oldest_make_room(pipeline, monkeypatch):
    settings = tiny_runs.config(pipeline)
    held, calls = tiny_runs.policy(settings), []
    encode = held.model.encode
    monkeypatch.setattr(held.model, "encode", lambda texts: (calls.extend(texts), encode(texts))[1])
    texts = ["a photo of a star", "a photo of two hearts", "a photo of a star"]
    first, again = held.encode(texts), held.encode(texts[::-1])
    assert calls == texts[:2]
    assert torch.equal(first.embeds, encode(texts).embeds) and torch.equal(again.embeds, encode(texts[::-1]).embeds)
    monkeypatch.setattr(policy, "TEXTS_AT_MOST", encode(texts[:1]).nbytes)
    held.encode(["a photo of a ring"])
    held.encode(texts[:1])
    assert calls == [*texts[:2], "a photo of a ring", texts[0]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"micro_batch": 8}, "group_size 4 is not a multiple of micro_batch 8; to span groups, raise bundle"),
        ({"bundle": 4}, "groups 6 is not a multiple of bundle 4"),
        ({"bundle": 2, "micro_batch": 3}, "bundle 2 x group_size 4 is not a multiple of micro_batch 3"),
        ({"branches": 3}, "group_size 4 is not a multiple of branches 3"),
        ({"branches": 2, "same_latent": True}, "same_latent has no effect with branches"),
        ({"branches": 2}, r"group_size 4 is not a multiple of branches 2 x 3 stochastic steps"),
        ({"solver": "heun"}, "solver heun has no effect where every step but the last draws noise"),
        ({"solver": "heun", "window": 3, "window_range": 3}, "set it to euler, or window to less than 3"),
        ({"kind": "ode", "noise_level": None, "keep_graph": True}, "keep_graph has no effect with kind ode"),
        ({"kind": "ode", "noise_level": None, "branches": 2}, "branches has no effect with kind ode"),
    ],
)
def test_arrangements_that_cannot_be_are_one_sentence(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config("unused", **changes)


@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp_2m"])
def test_an_ode_rollout_is_what_the_model_samples_by_that_solver(pipeline, solver):
    changes = {"rollout__solver": solver, "rollout__kind": "ode", "rollout__noise_level": None, "rollout__steps": 6}
    settings = tiny_runs.config(pipeline, objective={"name": "nft"}, **changes)
    held, groups = tiny_runs.policy(settings, moved=0.02), tiny_runs.groups(settings)
    rollout = collect(held, tiny_runs.objective(settings), groups, lambda samples: None)
    for group, trajectory in zip(groups, rollout.trajectories, strict=True):
        seeds = [group.latent_seed(member) for member in range(4)]
        with held.using("behaviour"):
            made = held.model.sample_latents(trajectory.condition, seeds, steps=6, solver=solver)
        assert torch.equal(trajectory.latents, made)


def test_outside_the_window_the_solver_goes_and_after_noise_it_begins_afresh(pipeline):
    """Reference: one picture, interval by interval."""
    settings = config(pipeline, solver="dpmpp_2m", steps=7, window=2, window_range=5)
    held, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    group = next(each for each in tiny_runs.groups(settings) if objective.noisy_steps(each)[0] > 1)
    noisy, sigmas = objective.noisy_steps(group), held.model.sigmas(7).tolist()
    rollout = collect(held, objective, [group], lambda samples: None)
    x, history, condition = held.model.noise([group.latent_seed(1)]), None, held.encode([group.prompt.text])
    with torch.no_grad():
        for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            velocity = held.velocity(x, sigma, condition)
            if index in noisy:
                noise = held.model.noise([group.noise_seed(1, index)])
                x, history = take_step(x, velocity, sigma, sigma_next, noise_level=0.7, noise=noise).prev, None
            else:
                x, history = solve("dpmpp_2m", x, velocity, sigma, sigma_next, history=history)
    images = held.model.decode(x)[0], rollout.samples[0][1].image
    expected, made = (torch.tensor(list(image.getdata())) for image in images)
    assert int((expected - made).abs().max()) <= 1

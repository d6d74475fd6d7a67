"""What every objective keeps to: a row in OBJECTIVES signs it up."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_runs
import torch
from tiny_runs import with_objective as config

from flowbench.config import load_config
from flowbench.errors import ConfigError, PolicyMismatch
from flowbench.objective_config import BUILT_IN, NOISY_KINDS, config_of, objective_configs
from flowbench.recipe_files import RECIPES, recipe_names
from flowbench.tensors import load_tensors
from flowbench.trainer import check_policy, scoring, train
from flowbench.trainer.learner import Shadow
from flowbench.trainer.objectives import OBJECTIVES, register, registry
from flowbench.trainer.objectives.flow_grpo import FlowGRPO
from flowbench.trainer.objectives.nft import NFT
from flowbench.trainer.processes import Processes
from flowbench.trainer.rollout import collect
from flowbench.trainer.update import Sums, accumulate, update

DOCS = Path(__file__).parents[2] / "docs"
REWARDS = torch.tensor(
    [[0.1, 0.9, 0.4, 0.2], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0], [0.3, 0.6, 0.2, 0.8]], dtype=torch.float64
)


def learned(settings, rewards=REWARDS, members=range(4)):
    """(gradient over the divisor, logged figures) of one share, from the rows of these members."""
    policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    rollout = collect(policy, objective, tiny_runs.groups(settings), lambda samples: None)
    kept = [each for each in rollout.trajectories if each.places[0].member in members]
    sums = Sums(["loss", "count", *objective.sums])
    count = accumulate(policy, objective, scoring.to_bundles(objective, rollout.groups, kept, rewards), sums)
    gradients = {
        name: parameter.grad.double() / count
        for name, parameter in policy.model.adapter_parameters().items()
        if parameter.grad is not None
    }
    totals = sums.totals(Processes("cpu"))
    return gradients, {"policy/loss": totals["loss"] / count, **objective.logged(totals)}


def assert_close(left, right, tolerance=1e-4):
    largest = max(float(gradient.abs().max()) for gradient in left.values())
    assert largest > 1e-6 and left.keys() == right.keys()
    for name, gradient in left.items():
        torch.testing.assert_close(right[name], gradient, rtol=0, atol=tolerance * largest)


def test_the_table_is_complete():
    assert len(OBJECTIVES) >= 2
    assert set(OBJECTIVES) <= set(registry) and set(OBJECTIVES) <= set(objective_configs)
    assert set(OBJECTIVES) == set(BUILT_IN)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_card_settings_recipe_and_page(name):
    kind, card = config_of(name), objective_configs.card(name)
    assert kind.model_fields["name"].default == name
    assert card.summary.endswith(".") and card.source and card.needs
    assert all(field.annotation is not None for field in kind.model_fields.values())
    recipes = [recipe for recipe in recipe_names() if load_config(recipe).objective.name == name]
    assert any(recipe.startswith("shapes-") for recipe in recipes)
    assert f"## {name}" in (DOCS / "objectives.md").read_text()
    assert (RECIPES / f"{recipes[0]}.yaml").is_file()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_its_default_rollout_is_of_a_kind_that_it_learns_from(name, pipeline):
    settings = config(name, pipeline)
    assert settings.rollout.kind in settings.objective.rollout_kinds()
    group = tiny_runs.groups(settings)[0]
    noisy = tiny_runs.objective(settings).noisy_steps(group)
    assert bool(noisy) == (settings.rollout.kind in NOISY_KINDS)
    assert list(noisy) == sorted(set(noisy)) and all(0 <= step < settings.rollout.steps - 1 for step in noisy)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_logs_what_it_declares(name, pipeline):
    objective = tiny_runs.objective(config(name, pipeline))
    _, figures = learned(config(name, pipeline))
    assert [figure.name for figure in objective.figures] == list(figures)[1:]
    assert all(figure.meaning for figure in objective.figures)
    assert set(figures) - {figure.name for figure in objective.figures} == {"policy/loss"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_micro_batch_changes_nothing(name, pipeline):
    whole, figures = learned(config(name, pipeline))
    for size in (1, 2):
        parts, others = learned(config(name, pipeline, rollout__micro_batch=size))
        assert_close(whole, parts)
        assert others == pytest.approx(figures, rel=1e-3, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_unscored_pictures_take_no_part(name, pipeline):
    """As if the last member of every group had never been there."""
    holes = REWARDS.clone()
    holes[:, 3] = math.nan
    settings = config(name, pipeline, rollout__micro_batch=1)
    found, figures = learned(settings, holes)
    without, others = learned(settings, holes, members=range(3))
    assert_close(without, found, tolerance=1e-7)
    assert others == pytest.approx(figures, nan_ok=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_scored_moves_nothing(name, pipeline):
    settings = config(name, pipeline, optimizer__updates=1)
    policy, objective = tiny_runs.policy(settings), tiny_runs.objective(settings)
    rollout = collect(policy, objective, tiny_runs.groups(settings), lambda samples: None)
    before = {key: value.clone() for key, value in policy.learner.state().items()}
    bundles = scoring.to_bundles(objective, rollout.groups, rollout.trajectories, torch.full_like(REWARDS, math.nan))
    figures = update(policy, objective, bundles, 1e-2, Processes("cpu"))
    assert math.isnan(figures["policy/loss"]) and math.isnan(figures["optimizer/grad_norm"])
    assert all(torch.equal(value, before[key]) for key, value in policy.learner.state().items())


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("layers", ["pipeline", "fused"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_check_before_the_first_update_passes_on_a_sound_policy(request, name, layers, guidance):
    settings = config(name, request.getfixturevalue(layers), rollout__guidance=guidance)
    objective, group = tiny_runs.objective(settings), tiny_runs.groups(settings)[:1]
    fresh = check_policy(tiny_runs.policy(settings), objective, group)
    assert (fresh.error, fresh.reference_error) == (0.0, 0.0) and fresh.points >= 1
    moved = check_policy(tiny_runs.policy(settings, moved=0.05), objective, group)
    assert (moved.error, moved.reference_error) == (0.0, None)
    assert moved.with_gradient == moved.parameters - 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_check_finds_a_network_that_computes_otherwise_under_gradient(name, pipeline):
    settings = config(name, pipeline)
    policy = tiny_runs.policy(settings, moved=0.05)
    velocity = policy.model.velocity
    policy.model.velocity = lambda *args, **more: velocity(*args, **more) * (1 + 1e-6 * torch.is_grad_enabled())
    with pytest.raises(PolicyMismatch, match="rollout and replay differ"):
        check_policy(policy, tiny_runs.objective(settings), tiny_runs.groups(settings)[:1])


@pytest.mark.parametrize("name", [*OBJECTIVES, *tiny_runs.VARIANTS])
def test_a_killed_and_resumed_run_equals_the_uninterrupted_one(name, pipeline, tmp_path, monkeypatch):
    """Four bundles a step: the power goes in the middle of the third."""
    whole = train(config(name, pipeline, tmp_path / "whole", steps=3, save_every=1))
    with tiny_runs.power_cut(monkeypatch, after=9):
        train(config(name, pipeline, tmp_path / "parts", steps=3, save_every=1))
    parts = train(config(name, pipeline, tmp_path / "parts", steps=3, save_every=1), resume=True)
    assert tiny_runs.log_without_timing(parts) == tiny_runs.log_without_timing(whole)
    assert tiny_runs.adapter_bytes(parts) == tiny_runs.adapter_bytes(whole)
    assert tiny_runs.trainer_state(parts) == tiny_runs.trainer_state(whole)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_nan_in_a_loss_skips_that_update_alone(name, pipeline, tmp_path, monkeypatch):
    """The first picture of the first of two updates."""
    kind, calls = registry.get(name), itertools.count()

    def terms(self, policy, bundle):
        for term in kind.terms(self, policy, bundle):
            broken = torch.where(torch.arange(len(term.loss)) == 0, math.nan, 1.0)
            yield replace(term, loss=term.loss * broken) if next(calls) == 0 else term

    monkeypatch.setitem(registry._targets, name, type("Odd", (kind,), {"terms": terms}))
    run = train(config(name, pipeline, tmp_path / "run", steps=1, optimizer__updates=2))
    (line,) = tiny_runs.log_without_timing(run)
    assert line["optimizer/skipped"] == 1 and line["optimizer/grad_norm"] > 0
    tensors, _ = load_tensors(run / "checkpoints" / "step-000001" / "pytorch_lora_weights.safetensors")
    assert all(torch.isfinite(each).all() for each in tensors.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_brightness_is_learned(name, pipeline, tmp_path):
    """By more than it spreads within a group, .002; in the mean of five steps, for prompts differ."""
    changes = {"optimizer__lr": 3e-3, "optimizer__updates": 1}
    fitting = {"advantage_scale": "group", "multiplier": 50.0, "refresh_every": 1, "temperature": 0.003}
    known = config_of(name).model_fields
    changes |= {f"objective__{key}": value for key, value in fitting.items() if key in known}
    if name == "dpo":  # errors move by .01 here
        changes["objective__beta"] = 20.0
    run = train(config(name, pipeline, tmp_path / "run", steps=30, save_every=30, **changes))
    rewards = [record["reward/mean"] for record in tiny_runs.log_without_timing(run)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.002


@pytest.mark.parametrize(
    ("slip", "error", "sentence"),
    [
        ({"figures": ()}, ConfigError, "logs policy/drift, policy/kl and declares nothing: let `logged` give"),
        ({"sums": ("drift", "kl")}, ConfigError, "sums up 'learned', which its `sums` does not name"),
        ({"samples_with": "nobody"}, ConfigError, "samples with 'nobody', no shadow of its own"),
        ({"shadows": lambda self: {"live": Shadow(lambda step: 0.5)}}, ConfigError, "calls a shadow 'live', which is"),
        ({"shadows": lambda self: {"reference": Shadow(lambda step: 0.5)}}, ConfigError, "a shadow 'reference', which"),
        ({"check": lambda self, policy, bundle: iter(())}, PolicyMismatch, "the objective compares nothing"),
    ],
)
def test_a_slip_of_an_objective_of_ones_own_is_one_sentence(pipeline, tmp_path, monkeypatch, slip, error, sentence):
    monkeypatch.setitem(registry._targets, "nft", type("Odd", (NFT,), slip))
    with pytest.raises(error, match=re.escape(sentence)):
        train(config("nft", pipeline, tmp_path / "run", steps=1))


def test_a_graph_of_other_weights_than_the_live_ones_is_not_kept(pipeline, tmp_path, monkeypatch):
    """It would teach those, in silence: of an objective of a user's own, that samples with a copy."""
    slow = {"samples_with": "slow", "shadows": lambda self: {"slow": Shadow(lambda step: 0.5)}}
    monkeypatch.setitem(registry._targets, "flow_grpo", type("Slow", (FlowGRPO,), slow))
    train(config("flow_grpo", pipeline, tmp_path / "run", steps=1))
    with pytest.raises(ConfigError, match=r"samples with 'slow', whose graph .* set rollout\.keep_graph to false"):
        train(config("flow_grpo", pipeline, tmp_path / "other", steps=1, rollout__keep_graph=True))


def test_pictures_that_would_all_be_one_are_refused(pipeline, tmp_path, monkeypatch):
    """An objective that draws no noise in a rollout whose groups start from one latent."""
    silent = type("Silent", (FlowGRPO,), {"noisy_steps": lambda self, group: ()})
    monkeypatch.setitem(registry._targets, "flow_grpo", silent)
    with pytest.raises(ConfigError, match=r"draws no noise, and with rollout\.same_latent all pictures of a group"):
        train(config("flow_grpo", pipeline, tmp_path / "run", rollout__same_latent=True))


def test_a_plugin_that_is_registered_and_an_entry_point_is_one(monkeypatch):
    for table in (registry, objective_configs):
        monkeypatch.setattr(table, "_targets", dict(table._targets))
    mine = register("tests_mine", config=config_of("nft"))(type("Mine", (NFT,), {"__module__": "somewhere"}))
    for table in (registry, objective_configs):
        table.add("tests_mine", "somewhere:Mine")  # as an entry point would
    assert mine.config is config_of("nft")


def test_the_pages_objective_of_ones_own_trains(tmp_path):
    """The example of docs/objectives.md as a plugin file, in a process of its own: what it registers ends with it."""
    page = (DOCS / "objectives.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    plugin = tmp_path / "mine.py"
    plugin.write_text(example, encoding="utf-8")
    small = ["rollout.groups=2", "rollout.bundle=1", "rollout.group_size=4", "rollout.micro_batch=2", "rollout.steps=2"]
    words = ["train", "--plugin", str(plugin), "--objective", "regression", "--reward", "jpeg", "--steps", "2"]
    command = [sys.executable, "-m", "flowbench", *words, "--processes", "1", "--out", str(tmp_path / "run"), *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "note: shapes-geneval with the default settings of objective regression in place of its own" in done.stderr
    assert re.search(r"step 2/2  .* error \d", done.stderr)
    (first, second) = tiny_runs.log_without_timing(tmp_path / "run")
    assert first["policy/error"] > 0 and first["optimizer/grad_norm"] > 0 and second["step"] == 2
    resumed = [sys.executable, "-m", "flowbench", "train", "--resume", str(tmp_path / "run"), "--steps", "3"]
    lost = subprocess.run(resumed, capture_output=True, text=True, check=False)
    assert lost.returncode == 2 and "unknown objective 'regression'" in lost.stderr and "--plugin FILE" in lost.stderr
    # who does not train needs no plugin of it
    evaluated = ["eval", "--ckpt", str(tmp_path / "run"), "--suite", "shapes", "--limit", "1", "--metric", "jpeg"]
    for others in (["report", str(tmp_path / "run")], evaluated):
        done = subprocess.run([*command[:3], *others], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

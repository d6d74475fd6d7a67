"""A run that begins from an adapter: which one, when it is read, and what a resumed run still needs of it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil

import pytest
import tiny_runs
import torch
from safetensors.torch import save_file

from flowbench.errors import ConfigError, ModelError, PolicyMismatch, RunError
from flowbench.models import load_model
from flowbench.models.adapter_files import adapter_digest, read
from flowbench.tensors import load_tensors
from flowbench.trainer import check_policy, train
from flowbench.trainer.first_policy import first_policy, shadows_of
from flowbench.trainer.learner import Learner
from flowbench.trainer.policy import Policy
from flowbench.trainer.start import read_start


@pytest.fixture(scope="module")
def before(pipeline, tmp_path_factory):
    """A run of two steps, to begin from."""
    return train(tiny_runs.config(pipeline, tmp_path_factory.mktemp("before") / "run", steps=2, optimizer__lr=1e-2))


def tensors_of(run):
    return read(run / "checkpoints" / "step-000002")[0]


@pytest.mark.parametrize("layers", ["pipeline", "fused"])
@pytest.mark.parametrize("form", ["run", "checkpoint", "adapter"])
def test_the_run_begins_with_the_weights_that_are_exported(request, before, tmp_path, layers, form):
    """The average, whatever holds it; the model then paints what the started model paints."""
    places = {"run": before, "checkpoint": before / "checkpoints" / "step-000002", "adapter": tmp_path / "adapter"}
    shutil.copytree(places["checkpoint"], places["adapter"], ignore=shutil.ignore_patterns("trainer.*"))
    settings = tiny_runs.config(request.getfixturevalue(layers), adapter__start=str(places[form]))
    model = first_policy(settings, read_start(settings, resume=False), "cpu")
    wanted = tensors_of(before)
    assert any(tensor.any() for name, tensor in wanted.items() if "lora_B" in name)
    parameters = model.adapter_parameters()
    assert parameters.keys() == wanted.keys()
    assert all(torch.equal(parameters[name], tensor) for name, tensor in wanted.items())
    evaluated = load_model(settings.model.name, places["adapter"])
    made = [each.generate(tiny_runs.PROMPTS, [1, 2, 3], steps=3, guidance=1.0) for each in (model, evaluated)]
    assert [one.image.tobytes() for one in made[0]] == [one.image.tobytes() for one in made[1]]


def test_every_shadow_begins_there_too(before, pipeline):
    settings = tiny_runs.config(pipeline, adapter__start=str(before))
    model = first_policy(settings, read_start(settings, resume=False), "cpu")
    objective = tiny_runs.objective(settings)
    learner = Learner(model.adapter_parameters(), settings.optimizer, shadows_of(settings, objective))
    assert all(torch.equal(learner.weights["average"][name], value) for name, value in tensors_of(before).items())
    found = check_policy(Policy(model, learner, 1.0), objective, tiny_runs.groups(settings)[:1])
    assert (found.error, found.reference_error) == (0.0, None)  # the adapter has moved from the base
    assert found.with_gradient == found.parameters - 2


def test_a_resumed_run_needs_the_start_no_more(before, pipeline, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(before, start)
    changes = {"adapter__start": str(start), "save_every": 1}
    whole = train(tiny_runs.config(pipeline, tmp_path / "whole", steps=3, **changes))
    train(tiny_runs.config(pipeline, tmp_path / "parts", steps=2, **changes))
    shutil.rmtree(start)
    parts = train(tiny_runs.config(pipeline, tmp_path / "parts", steps=3, **changes), resume=True)
    assert tiny_runs.log_without_timing(parts) == tiny_runs.log_without_timing(whole)
    assert tiny_runs.trainer_state(parts) == tiny_runs.trainer_state(whole)
    with pytest.raises(ConfigError, match=r"adapter\.start: model '.*start': no such folder"):
        train(tiny_runs.config(pipeline, tmp_path / "again", steps=1, **changes))


def test_the_start_is_learned_on_from_and_stands_in_the_card(before, pipeline, tmp_path):
    """The first step's pictures are the started policy's, not the base's."""
    started = train(tiny_runs.config(pipeline, tmp_path / "started", steps=1, adapter__start=str(before)))
    fresh = train(tiny_runs.config(pipeline, tmp_path / "fresh", steps=1))
    first, base = (tiny_runs.log_without_timing(run)[0] for run in (started, fresh))
    assert first["reward/mean"] != base["reward/mean"]
    card, without = (json.loads((run / "card.json").read_text()) for run in (started, fresh))
    assert card["must_agree"]["start"] == adapter_digest(tensors_of(before))
    assert "start" not in without["must_agree"]


def test_a_run_without_a_checkpoint_reads_it_again_and_only_the_same(before, pipeline, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(before / "checkpoints" / "step-000002", start, ignore=shutil.ignore_patterns("trainer.*"))
    settings = tiny_runs.config(pipeline, tmp_path / "run", steps=1, adapter__start=str(start))
    run = train(settings)
    first = tiny_runs.adapter_bytes(run)
    shutil.rmtree(run / "checkpoints")
    again = train(settings, resume=True)
    assert tiny_runs.adapter_bytes(again) == first
    shutil.rmtree(run / "checkpoints")
    model = load_model(str(pipeline), start)
    with torch.no_grad():
        next(iter(model.adapter_parameters().values())).add_(1e-3)
    shutil.rmtree(start)
    model.save_adapter(start)
    with pytest.raises(RunError, match="was started with other weights of the adapter that it begins from than are"):
        train(settings, resume=True)


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"adapter__rank": 8}, ConfigError, "it has rank 4 and alpha 8, the settings say rank 8 and alpha 8. Add "
         "adapter.rank=4 adapter.alpha=8."),
        ({"adapter__alpha": 16}, ConfigError, "it has rank 4 and alpha 8, the settings say rank 4 and alpha 16. Add"),
        ({"adapter__targets": "all-linear"}, ModelError, "its layers are not those of adapter.targets all-linear in"),
    ],
)  # fmt: skip
def test_an_adapter_of_another_shape_is_refused(before, pipeline, tmp_path, changes, kind, sentence):
    settings = tiny_runs.config(pipeline, tmp_path / "run", adapter__start=str(before), **changes)
    with pytest.raises(kind, match=re.escape(sentence)):
        train(settings)
    assert not (tmp_path / "run" / "card.json").exists()


def test_any_configuration_of_the_same_scaling_will_do(before, pipeline, tmp_path):
    """Rank-stabilised, alpha 4 at rank 4 scales by 4 / sqrt(4) = 2, as alpha 8 does; layers that differ fit nowhere."""
    source = before / "checkpoints" / "step-000002"
    written = json.loads((source / "adapter_config.json").read_text())
    name = written["target_modules"][0]
    for folder, changes in (
        ("stable", {"use_rslora": True, "lora_alpha": 4}),
        ("mixed", {"alpha_pattern": {name: 3}}),
    ):
        (tmp_path / folder).mkdir()
        tensors = {f"base_model.model.{key}": tensor for key, tensor in tensors_of(before).items()}
        save_file(tensors, tmp_path / folder / "adapter_model.safetensors")
        (tmp_path / folder / "adapter_config.json").write_text(json.dumps({**written, **changes}))
    stable = tiny_runs.config(pipeline, adapter__start=str(tmp_path / "stable"))
    found = read_start(stable, resume=False)
    assert found is not None and found.digest == adapter_digest(tensors_of(before))
    with pytest.raises(ConfigError, match="its layers have several ranks or scalings"):
        read_start(tiny_runs.config(pipeline, adapter__start=str(tmp_path / "mixed")), resume=False)


def test_an_adapter_of_another_base_is_refused(before, pipeline, tmp_path):
    from tiny import make_pipeline

    other = make_pipeline(tmp_path / "other", seed=1, max_sequence_length=0, vocabulary="shapes")
    settings = tiny_runs.config(other, tmp_path / "run", adapter__start=str(before))
    with pytest.raises(ModelError, match="it was trained on other weights of"):
        train(settings)


def test_what_is_no_adapter_is_refused_before_a_model_is_loaded(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr("flowbench.trainer.first_policy.load_model", None)
    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "empty", tmp_path / "gone", pipeline):
        with pytest.raises(ConfigError, match=r"^adapter\.start: "):
            train(tiny_runs.config(pipeline, tmp_path / "run", adapter__start=str(name)))


def test_a_reference_without_effect_is_refused():
    with pytest.raises(ConfigError, match=r"reference start has no effect without adapter\.start"):
        tiny_runs.config("shapes", adapter__reference="start")
    with pytest.raises(ConfigError, match=r"adapter\.reference start has no effect: objective flow_grpo under these"):
        tiny_runs.config("shapes", adapter__reference="start", adapter__start="runs/sft", objective__kl_weight=0)
    assert tiny_runs.config("shapes", adapter__reference="start", adapter__start="runs/sft", objective__kl_weight=0.1)
    with pytest.raises(ConfigError, match=r"adapter\.reference_guidance has no effect: objective flow_grpo"):
        tiny_runs.config("shapes", adapter__reference_guidance=3, objective__kl_weight=0)


@pytest.mark.parametrize(("name", "layers"), [("flow_grpo", "fused"), ("nft", "pipeline")])
def test_the_start_as_reference(request, before, tmp_path, layers, name):
    """The policy check compares with it to the bit, the KL is 0 there, a checkpoint keeps it, and it never moves."""
    ode = {"rollout__kind": "ode", "rollout__noise_level": None} if name == "nft" else {}
    start = tmp_path / "start"
    shutil.copytree(before, start)
    changes = {"objective": {"name": name, "kl_weight": 0.1}, **ode, "adapter__start": str(start)}
    changes |= {"adapter__reference": "start", "save_every": 1, "optimizer__updates": 1}
    pipeline = request.getfixturevalue(layers)
    settings = tiny_runs.config(pipeline, **changes)
    model, objective = first_policy(settings, read_start(settings, resume=False), "cpu"), tiny_runs.objective(settings)
    learner = Learner(model.adapter_parameters(), settings.optimizer, shadows_of(settings, objective))
    found = check_policy(Policy(model, learner, 1.0), objective, tiny_runs.groups(settings)[:1])
    assert (found.error, found.reference_error) == (0.0, 0.0) and found.with_gradient == found.parameters - 2
    whole = train(tiny_runs.config(pipeline, tmp_path / "whole", steps=3, **changes))
    train(tiny_runs.config(pipeline, tmp_path / "parts", steps=2, **changes))
    shutil.rmtree(start)
    parts = train(tiny_runs.config(pipeline, tmp_path / "parts", steps=3, **changes), resume=True)
    log = tiny_runs.log_without_timing(whole)
    assert log == tiny_runs.log_without_timing(parts)
    assert tiny_runs.trainer_state(parts) == tiny_runs.trainer_state(whole)
    assert log[0]["policy/kl"] == 0.0 < log[2]["policy/kl"]
    held = load_tensors(whole / "checkpoints" / "step-000003" / "trainer.safetensors")[0]
    wanted = tensors_of(before)
    assert all(torch.equal(held[f"start/{name}"], tensor) for name, tensor in wanted.items())
    assert not all(torch.equal(held[f"live/{name}"], tensor) for name, tensor in wanted.items())


def test_a_reference_that_is_not_the_start_is_noticed(before, pipeline):
    changes = {"adapter__start": str(before), "adapter__reference": "start", "objective__kl_weight": 1}
    settings = tiny_runs.config(pipeline, **changes)
    model, objective = first_policy(settings, read_start(settings, resume=False), "cpu"), tiny_runs.objective(settings)
    learner = Learner(model.adapter_parameters(), settings.optimizer, shadows_of(settings, objective))
    policy, velocity = Policy(model, learner, 1.0), model.velocity
    using = policy.using

    @contextlib.contextmanager
    def shifted(weights):
        with using(weights):
            model.velocity = lambda *args, **more: velocity(*args, **more) + 1e-3
            yield
        model.velocity = velocity

    policy.using = shifted
    with pytest.raises(PolicyMismatch, match="policy and reference have one adapter and differ by up to"):
        check_policy(policy, objective, tiny_runs.groups(settings)[:1])


def test_a_guided_reference_teaches_what_guidance_gives(pipeline, tmp_path):
    """ram without an advantage is regression on the reference: its distance falls, and no picture is made with it."""
    changes = {"adapter__reference_guidance": 3.0, "objective__multiplier": 1e-6, "optimizer__lr": 3e-3, "steps": 12}
    settings = tiny_runs.with_objective("ram", pipeline, tmp_path / "run", **changes)
    model = tiny_runs.model(settings)
    objective = tiny_runs.objective(settings)
    policy = Policy(model, Learner(model.adapter_parameters(), settings.optimizer, objective.shadows()), 1.0,
                    reference_guidance=3.0)  # fmt: skip
    condition, x = model.encode(["a photo of a star"]), model.noise([7])
    with policy.reference():
        guided = policy.velocity(x, 0.5, condition)
    assert torch.equal(guided, model.velocity(x, 0.5, condition, guidance=3.0))  # a fresh adapter is the base
    assert torch.equal(policy.velocity(x, 0.5, condition).detach(), model.velocity(x, 0.5, condition).detach())
    assert (guided - policy.velocity(x, 0.5, condition)).abs().max() > 1e-3
    found = check_policy(policy, objective, tiny_runs.groups(settings)[:1])
    assert (found.error, found.reference_error) == (0.0, None)
    log = tiny_runs.log_without_timing(train(settings))
    assert log[-1]["policy/loss"] < 0.7 * log[0]["policy/loss"]


def test_a_guided_reference_needs_guidance(pipeline):
    settings = tiny_runs.with_objective("ram", pipeline, adapter__reference_guidance=1.0)
    said = r"adapter\.reference_guidance 1 is none for plain \(guidance of the kind cfg\)"
    with pytest.raises(ConfigError, match=said):
        first_policy(settings, None, "cpu")

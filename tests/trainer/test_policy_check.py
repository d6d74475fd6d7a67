"""Before the first update, replaying a rollout gives back its own log-probs to the bit, or the run stops."""

from __future__ import annotations

import math

import pytest
import tiny_runs
import torch

from flowbench.config import TrainConfig
from flowbench.errors import NotFinite, PolicyMismatch
from flowbench.trainer import check_policy, train


def check(settings: TrainConfig, *, moved: float = 0.0, change=lambda model: None):
    policy = tiny_runs.policy(settings, moved=moved)
    change(policy.model)
    return check_policy(policy, tiny_runs.objective(settings), tiny_runs.groups(settings)[:1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["flow", "cps", "dance"])
@pytest.mark.parametrize("layers", ["pipeline", "fused"])
def test_replay_is_exact(request, layers, kind, guidance, dtype):
    folder = request.getfixturevalue(layers)
    settings = tiny_runs.config(folder, rollout__kind=kind, rollout__guidance=guidance, model__dtype=dtype)
    fresh = check(settings)
    assert (fresh.points, fresh.error, fresh.reference_error) == (3, 0.0, 0.0)
    # exactly the B matrices are reached, but for that of the last block's unread text queries
    assert fresh.with_gradient == fresh.parameters // 2 - 1
    moved = check(settings, moved=0.05)
    assert (moved.error, moved.reference_error) == (0.0, None)
    assert moved.with_gradient == moved.parameters - 2


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("layers", ["pipeline", "fused"])
def test_replay_of_one_row_that_a_group_shares_is_exact(request, layers, guidance):
    folder = request.getfixturevalue(layers)
    settings = tiny_runs.config(folder, rollout__guidance=guidance, rollout__same_latent=True)
    fresh = check(settings)
    assert (fresh.points, fresh.error, fresh.reference_error) == (3, 0.0, 0.0)
    assert check(settings, moved=0.05).error == 0.0


def test_it_leaves_no_gradient_behind(pipeline):
    settings = tiny_runs.config(pipeline)
    policy = tiny_runs.policy(settings)
    check_policy(policy, tiny_runs.objective(settings), tiny_runs.groups(settings)[:1])
    assert all(parameter.grad is None for parameter in policy.model.adapter_parameters().values())


def test_only_the_window_is_replayed(pipeline):
    settings = tiny_runs.config(pipeline, rollout__steps=6, rollout__window=2)
    assert check(settings).points == 2


def with_dropout(model):
    """What leaving a network in train mode does to one that has dropout."""
    for layer in model.transformer.modules():
        if hasattr(layer, "lora_dropout"):
            layer.lora_dropout["default"] = torch.nn.Dropout(0.5)
    model.transformer.train()


def other_under_grad(model):
    """A network that computes something slightly else when gradients are on, as autocast caches made others do."""
    velocity = model.velocity
    model.velocity = lambda *args, **options: velocity(*args, **options) * (1 + 1e-6 * torch.is_grad_enabled())


def rounded_rollout(model):
    """A rollout in lower precision than its replay."""
    velocity = model.velocity

    def rounded(*args, **options):
        exact = velocity(*args, **options)
        return exact if torch.is_grad_enabled() else exact.bfloat16().float()

    model.velocity = rounded


def not_a_number(model):
    velocity = model.velocity
    model.velocity = lambda *args, **options: velocity(*args, **options) * math.nan


@pytest.mark.parametrize("change", [with_dropout, other_under_grad, rounded_rollout])
def test_it_fails_loudly_when_the_replay_differs(pipeline, change):
    with pytest.raises(PolicyMismatch, match=r"rollout and replay differ, \|ratio - 1\| is up to"):
        check(tiny_runs.config(pipeline), moved=0.05, change=change)


def test_a_rollout_that_is_not_finite_is_named(pipeline):
    with pytest.raises(NotFinite, match="before the first update, a picture for 'a photo of"):
        check(tiny_runs.config(pipeline), moved=0.05, change=not_a_number)


def test_it_fails_when_no_gradient_arrives(pipeline):
    """The autocast weight cache under no_grad did this elsewhere: training ran, and nothing was learned."""

    def cut(model):
        layer = model.transformer.transformer_blocks[0].attn.to_q.lora_B["default"]
        layer.register_forward_hook(lambda module, inputs, output: output.detach())

    with pytest.raises(PolicyMismatch, match=r"no finite gradient reaches 1 tensors, such as transformer_blocks\.0"):
        check(tiny_runs.config(pipeline), change=cut)


def test_it_fails_when_a_fresh_adapter_is_not_the_reference(pipeline):
    def shift(model):
        velocity, disabled = model.velocity, model.adapter_disabled
        inside = []

        class Disabled:
            def __enter__(self):
                inside.append(disabled())
                inside[-1].__enter__()

            def __exit__(self, *error):
                inside.pop().__exit__(*error)

        model.adapter_disabled = Disabled
        model.velocity = lambda *args, **options: velocity(*args, **options) + 1e-3 * bool(inside)

    with pytest.raises(PolicyMismatch, match=r"a fresh adapter changes the velocity by up to 1.00e-03"):
        check(tiny_runs.config(pipeline), change=shift)


def test_every_run_starts_with_it(pipeline, tmp_path, monkeypatch):
    from flowbench.models.sd3 import SD3Model

    velocity = SD3Model.velocity
    monkeypatch.setattr(
        SD3Model, "velocity", lambda *args, **options: velocity(*args, **options) * (1 + 1e-6 * torch.is_grad_enabled())
    )
    with pytest.raises(PolicyMismatch):
        train(tiny_runs.config(pipeline, tmp_path / "run"))
    assert not (tmp_path / "run" / "log.jsonl").exists()

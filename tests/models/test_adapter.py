from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flowbench.errors import ConfigError, ModelError
from flowbench.models import FlowModel, load_model

TEXTS = ["a red circle", "two stars, one blue"]
DEAD = "transformer_blocks.1.attn.add_q_proj"
"""In the last block the caption's own stream ends, and its query feeds nothing else: a zero gradient by design."""


def velocity(model: FlowModel, guidance: float = 3.0) -> torch.Tensor:
    return model.velocity(model.noise([5, 6]), 0.6, model.encode(TEXTS), guidance=guidance)


def gradients(model: FlowModel) -> dict[str, torch.Tensor]:
    parameters = model.adapter_parameters()
    target = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    loss = (velocity(model) - target).square().mean()
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


@pytest.fixture(params=["plain", "fused"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_default_targets_are_flow_grpos(plain: Path) -> None:
    model = load_model(plain)
    assert model.adapter_parameters() == {}
    model.add_adapter(4, 8.0)
    names = list(model.adapter_parameters())
    assert names == sorted(names)
    first = {name.split(".lora_")[0] for name in names if name.startswith("transformer_blocks.0.")}
    joint = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    assert first == {f"transformer_blocks.0.attn.{name}" for name in joint}
    assert len(names) == 2 * (8 + 7)  # the last block has no to_add_out


def test_all_linear_is_every_linear_layer_of_the_blocks(plain: Path) -> None:
    model = load_model(plain)
    blocks = model.transformer.transformer_blocks
    expected = {f"transformer_blocks.{n}" for n, m in blocks.named_modules() if isinstance(m, torch.nn.Linear)}
    model.add_adapter(4, 8.0, targets="all-linear")
    assert {name.split(".lora_")[0] for name in model.adapter_parameters()} == expected


def test_initial_values_come_from_the_seed_alone(folder: Path) -> None:
    values = []
    for seed, noise in ((1, 10), (1, 11), (2, 10)):
        torch.manual_seed(noise)
        model = load_model(folder)
        model.add_adapter(8, 16.0, seed=seed, targets=["attn.to_q", "norm1.linear"])
        values.append(model.adapter_parameters())
    for name, value in values[0].items():
        assert value.dtype == torch.float32
        assert torch.equal(value, values[1][name])
        assert torch.equal(value, values[2][name]) == (".lora_B." in name)
    a = torch.cat([value.flatten() for name, value in values[0].items() if ".lora_A." in name])
    assert abs(a.std().item() * 8 - 1) < 0.1  # N(0, 1/rank^2): 512 draws
    assert not any(value.any() for name, value in values[0].items() if ".lora_B." in name)


@torch.no_grad()
def test_fresh_adapter_changes_nothing_at_all(folder: Path) -> None:
    model = load_model(folder)
    base = velocity(model)
    model.add_adapter(4, 8.0, targets="all-linear")
    assert torch.equal(velocity(model), base)
    with model.adapter_disabled():
        assert torch.equal(velocity(model), base)


@torch.no_grad()
def test_disabled_adapter_is_the_base_model(folder: Path, moved: Callable[..., None]) -> None:
    model = load_model(folder)
    base = velocity(model)
    model.add_adapter(4, 8.0)
    moved(model)
    tuned = velocity(model)
    assert (tuned - base).abs().max() > 1e-2
    with model.adapter_disabled(), model.adapter_disabled():
        assert torch.equal(velocity(model), base)
    with pytest.raises(ZeroDivisionError), model.adapter_disabled():
        1 / 0  # noqa: B018 - leave by an error
    assert torch.equal(velocity(model), tuned)
    assert all(parameter.requires_grad for parameter in model.adapter_parameters().values())


def test_reference_pass_between_forward_and_backward_loses_no_gradient(
    folder: Path, moved: Callable[..., None]
) -> None:
    model = load_model(folder)
    model.add_adapter(4, 8.0)
    moved(model)
    (velocity(model) ** 2).mean().backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.adapter_parameters().items()}
    for parameter in model.adapter_parameters().values():
        parameter.grad = None
    loss = (velocity(model) ** 2).mean()
    with torch.no_grad(), model.adapter_disabled():
        velocity(model)  # the KL term's reference
    loss.backward()
    for name, parameter in model.adapter_parameters().items():
        assert torch.equal(parameter.grad, expected[name])


@pytest.mark.parametrize("targets", ["attention", "all-linear"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_rollout_and_replay_are_bit_equal(
    folder: Path, targets: str, guidance: float, moved: Callable[..., None]
) -> None:
    model = load_model(folder)
    model.add_adapter(4, 8.0, targets=targets)
    moved(model)
    with torch.no_grad(), model.adapter_frozen():
        rollout = velocity(model, guidance)
        with model.adapter_frozen():
            assert torch.equal(velocity(model, guidance), rollout)
    replay = velocity(model, guidance)
    assert replay.requires_grad
    assert torch.equal(replay, rollout)


def test_fused_adapter_equals_peft(plain: Path, fused: Path, moved: Callable[..., None]) -> None:
    ordinary, quick = load_model(plain), load_model(fused)
    for model in (ordinary, quick):
        model.add_adapter(4, 8.0, targets="all-linear", seed=3)
        moved(model)
    torch.testing.assert_close(velocity(quick), velocity(ordinary), rtol=0, atol=1e-5)
    expected = gradients(ordinary)
    for name, gradient in gradients(quick).items():
        assert (gradient - expected[name]).norm() <= 1e-4 * expected[name].norm(), name
        assert expected[name].any() or name.startswith(DEAD)


def test_frozen_weights_are_computed_once_and_only_without_gradient(fused: Path, moved: Callable[..., None]) -> None:
    model = load_model(fused)
    model.add_adapter(4, 8.0)
    moved(model, seed=1)
    with torch.no_grad():
        before = velocity(model)
    with model.adapter_frozen():
        moved(model, seed=2)  # breaks the promise, to see what is reused
        with torch.no_grad():
            assert torch.equal(velocity(model), before)
        assert not torch.equal(velocity(model), before)
    with torch.no_grad():
        assert not torch.equal(velocity(model), before)


def test_gradient_reaches_every_parameter(folder: Path, moved: Callable[..., None]) -> None:
    model = load_model(folder)
    model.add_adapter(4, 8.0, targets="all-linear")
    for name, gradient in gradients(model).items():  # B = 0: A has nothing to push against
        assert bool(gradient.any()) == (".lora_B." in name and not name.startswith(DEAD)), name
    moved(model)
    for name, gradient in gradients(model).items():
        assert bool(gradient.any()) != name.startswith(DEAD), name
    trainable = [name for name, parameter in model.transformer.named_parameters() if parameter.requires_grad]
    assert all(".lora_" in name for name in trainable)
    assert len(trainable) == len(model.adapter_parameters())


def test_adapter_stays_float32_on_16_bit_weights_and_is_not_fused(fused: Path, moved: Callable[..., None]) -> None:
    model = load_model(fused, dtype="bfloat16")
    model.add_adapter(4, 8.0)
    base = velocity(model).detach()
    moved(model)
    assert {parameter.dtype for parameter in model.adapter_parameters().values()} == {torch.float32}
    assert any(gradient.any() for gradient in gradients(model).values())
    assert not torch.equal(velocity(model), base)
    assert not any("forward" in vars(module) for module in model.transformer.modules())


def pictures(pipeline: Any) -> torch.Tensor:
    return pipeline(
        TEXTS,
        height=16,
        width=16,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        max_sequence_length=0,
        output_type="pt",
    ).images


@pytest.mark.parametrize("targets", ["attention", "all-linear"])
def test_saved_adapter_loads_in_the_pipeline_and_back(
    folder: Path, targets: str, tmp_path: Path, moved: Callable[..., None], open_pipeline: Callable[[Path], Any]
) -> None:
    model = load_model(folder)
    model.add_adapter(4, 12.0, targets=targets)  # alpha 12, rank 4: an alpha that is lost would show
    moved(model)
    ours = model.decode_pixels(model.sample_latents(model.encode(TEXTS), [5, 6], steps=4, guidance=3.0))
    saved = model.save_adapter(tmp_path / "adapter")
    save_file({"moment": torch.zeros(1)}, saved / "optimizer.safetensors")  # a trainer's state beside it is ignored

    pipeline = open_pipeline(folder)
    before = pictures(pipeline)
    pipeline.load_lora_weights(saved)
    torch.testing.assert_close(pictures(pipeline), ours, rtol=0, atol=1e-4)
    assert (before - ours).abs().max() > 1e-2

    again = load_model(folder, adapter=saved)
    assert list(again.adapter_parameters()) == list(model.adapter_parameters())
    assert torch.equal(velocity(again), velocity(model))
    config = json.loads((saved / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 12.0, "LORA")
    assert config["base_model_name_or_path"] == str(folder)


def test_pipelines_own_save_is_read(
    plain: Path, tmp_path: Path, moved: Callable[..., None], open_pipeline: Callable[[Path], Any]
) -> None:
    from diffusers import StableDiffusion3Pipeline

    model, targets = load_model(plain), ("attn.to_q", "attn.add_v_proj")
    model.add_adapter(4, 12.0, targets=targets)
    moved(model)
    StableDiffusion3Pipeline.save_lora_weights(
        tmp_path,
        transformer_lora_layers=dict(model.adapter_parameters()),
        transformer_lora_adapter_metadata={"r": 4, "lora_alpha": 12, "target_modules": list(targets)},
    )
    again = load_model(plain, adapter=tmp_path)
    assert torch.equal(velocity(again), velocity(model))


def test_plain_peft_folder_loads(folder: Path, tmp_path: Path) -> None:
    """The layout that published Flow-GRPO adapters have: written here by PEFT itself."""
    from diffusers import SD3Transformer2DModel
    from peft import LoraConfig, get_peft_model

    targets = ["attn.to_q", "attn.add_k_proj", "attn.to_out.0"]
    torch.manual_seed(0)
    config = LoraConfig(r=3, lora_alpha=6, init_lora_weights=False, target_modules=targets, lora_dropout=0.1)
    reference = get_peft_model(SD3Transformer2DModel.from_pretrained(folder, subfolder="transformer"), config).eval()
    reference.save_pretrained(tmp_path)
    assert all(key.startswith("base_model.model.") for key in load_file(tmp_path / "adapter_model.safetensors"))

    model = load_model(folder, adapter=tmp_path)
    condition = model.encode(TEXTS)
    with torch.no_grad():
        expected = reference(
            hidden_states=model.noise([5, 6]),
            timestep=torch.full((2,), 600.0),
            encoder_hidden_states=condition.embeds,
            pooled_projections=condition.pooled,
            return_dict=False,
        )[0]
        torch.testing.assert_close(velocity(model, 1.0), expected, rtol=0, atol=1e-5)


def test_loading_into_an_adapter_keeps_its_parameters(folder: Path, tmp_path: Path, moved: Callable[..., None]) -> None:
    source, model = load_model(folder), load_model(folder)
    for one in (source, model):
        one.add_adapter(4, 8.0, seed=id(one) % 1000)
    moved(source)
    held = model.adapter_parameters()
    model.load_adapter(source.save_adapter(tmp_path))
    assert all(parameter is held[name] for name, parameter in model.adapter_parameters().items())
    assert torch.equal(velocity(model), velocity(source))


def test_weights_without_configuration_take_alpha_equal_to_rank(plain: Path, tmp_path: Path) -> None:
    model = load_model(plain)
    model.add_adapter(4, 4.0)
    save_file({f"transformer.{n}": p.detach() for n, p in model.adapter_parameters().items()},
              tmp_path / "pytorch_lora_weights.safetensors")  # fmt: skip
    again = load_model(plain, adapter=tmp_path)
    assert torch.equal(velocity(again), velocity(model))
    assert again.transformer.peft_config["default"].lora_alpha == 4


def test_adapters_that_do_not_fit_are_refused(plain: Path, tmp_path: Path) -> None:
    model = load_model(plain)
    with pytest.raises(ModelError, match="has no adapter to save"):
        model.save_adapter(tmp_path)
    with pytest.raises(ConfigError, match=r"'attn\.to_qq': plain has no linear layer"):
        model.add_adapter(4, 8.0, targets=["attn.to_qq"])
    for rank, alpha in ((0, 8.0), (2.5, 8.0), (10**9, 8.0), (4, float("nan")), (4, float("inf"))):
        with pytest.raises(ConfigError, match=r"adapter (rank|alpha) \S+: give"):
            model.add_adapter(rank, alpha)
    with pytest.raises(ConfigError, match="Known: all-linear, attention"):
        model.add_adapter(4, 8.0, targets="everything")
    model.add_adapter(4, 8.0)
    with pytest.raises(ModelError, match="already has an adapter"):
        model.add_adapter(4, 8.0)
    saved = model.save_adapter(tmp_path / "rank4")
    other = load_model(plain)
    other.add_adapter(2, 8.0)
    with pytest.raises(ModelError, match="rank or alpha differ"):
        other.load_adapter(saved)
    few = load_model(plain)
    few.add_adapter(4, 8.0, targets=["attn.to_q"])
    with pytest.raises(ModelError, match=r"26 tensors do not match \(transformer_blocks.0.attn.add_k_proj"):
        few.load_adapter(saved)
    with pytest.raises(ModelError, match="no adapter here"):
        other.load_adapter(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora is not supported"),
        ({"bias": "all"}, "bias all is not supported"),
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"target_modules": ["nothing"]}, "does not fit this model"),
    ],
)
def test_unreadable_configurations_are_refused(
    plain: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    model = load_model(plain)
    model.add_adapter(4, 8.0)
    path = model.save_adapter(tmp_path) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_model(plain, adapter=tmp_path)


def test_damaged_or_foreign_weights_are_refused(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_model(plain, adapter=tmp_path)
    save_file({"text_encoder.layer.lora_A.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ModelError, match="not a plain LoRA weight of the transformer"):
        load_model(plain, adapter=tmp_path)

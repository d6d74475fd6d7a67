"""What a folder with an adapter says: one thing, in finite numbers, or it is refused with the files that disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flowbench.errors import ModelError
from flowbench.models import adapter_files, load_model

MODULE = "transformer_blocks.0.attn.to_q"
CONFIG = {
    "r": 2,
    "lora_alpha": 4,
    "target_modules": [MODULE],
    "rank_pattern": {},
    "alpha_pattern": {},
    "use_rslora": False,
}
DIFFUSERS, PEFT = adapter_files.DIFFUSERS_WEIGHTS, adapter_files.PEFT_WEIGHTS


def matrices(rank: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"A": (rank, 16), "B": (16, rank)}
    return {f"{MODULE}.lora_{m}.weight": torch.randn(shape, generator=generator) for m, shape in shapes.items()}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """An adapter as we write it."""
    return adapter_files.write(tmp_path / "adapter", matrices(), CONFIG, base="shapes", identity="abc float32")


def add_peft(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / PEFT)


def change(folder: Path, **fields: Any) -> None:
    path = folder / adapter_files.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def pack(folder: Path, text: str) -> None:
    """Another text as the metadata of diffusers' file."""
    save_file(load_file(folder / DIFFUSERS), folder / DIFFUSERS, metadata={"lora_adapter_metadata": text})


def test_what_we_write_is_read(written: Path) -> None:
    tensors, config = adapter_files.read(written)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in matrices().items()) and len(tensors) == 2
    assert config == {key: value for key, value in CONFIG.items() if value}
    (written / adapter_files.CONFIG).unlink()
    assert adapter_files.read(written)[1] == config  # the same stands in the metadata
    assert adapter_files.base_identity(written) == "abc float32"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("matrix", ["A", "B"])
def test_a_tensor_that_is_not_finite_is_named(written: Path, value: float, matrix: str) -> None:
    tensors = matrices()
    tensors[f"{MODULE}.lora_{matrix}.weight"][1, 1] = value
    save_file({f"transformer.{name}": tensor for name, tensor in tensors.items()}, written / DIFFUSERS)
    with pytest.raises(
        ModelError, match=rf"{DIFFUSERS}: tensor 'transformer.{MODULE}.lora_{matrix}.weight' is not fini"
    ):
        adapter_files.read(written)


def test_numbers_too_large_for_float32_are_not_finite(written: Path) -> None:
    tensors = {name: tensor.double() for name, tensor in matrices().items()}
    tensors[f"{MODULE}.lora_B.weight"][0, 0] = 1e39
    (written / DIFFUSERS).unlink()
    add_peft(written, tensors)
    with pytest.raises(ModelError, match=r"lora_B\.weight' is not finite"):
        adapter_files.read(written)


def test_two_weight_files_must_hold_the_same(written: Path) -> None:
    add_peft(written, matrices())
    assert len(adapter_files.read(written)[0]) == 2
    for name in matrices():
        changed = matrices()
        changed[name][0, 0] += 1e-3
        add_peft(written, changed)
        with pytest.raises(ModelError, match=rf"{DIFFUSERS} and {PEFT} hold different adapters \({name}\)"):
            adapter_files.read(written)
    add_peft(written, matrices() | {"another.lora_A.weight": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match=r"hold different adapters \(another.lora_A.weight\)"):
        adapter_files.read(written)


@pytest.mark.parametrize(
    "fields",
    [{"lora_alpha": 8}, {"use_rslora": True}, {"alpha_pattern": {"to_q": 1}}, {"r": 1}, {"rank_pattern": {MODULE: 1}}],
)
def test_a_configuration_that_contradicts_the_metadata_is_refused_naming_both(
    written: Path, fields: dict[str, Any]
) -> None:
    change(written, **fields)
    with pytest.raises(ModelError, match=rf"{adapter_files.CONFIG} gives {MODULE} rank .*{DIFFUSERS} \(its metadata\)"):
        adapter_files.read(written)


def test_two_sources_may_say_the_same_in_other_words(written: Path) -> None:
    change(written, r=8, lora_alpha=16.0, rank_pattern={"to_q": 2}, alpha_pattern={MODULE: 4}, target_modules=".*to_q")
    assert adapter_files.read(written)[1]["target_modules"] == ".*to_q"


@pytest.mark.parametrize("fields", [{"r": 3}, {"rank_pattern": {"to_q": 3}}, {"r": 1 << 20}])
def test_a_rank_that_the_tensors_do_not_have_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Before anything of that size is allocated."""
    add_peft(tmp_path, matrices())
    (tmp_path / adapter_files.CONFIG).write_text(json.dumps(CONFIG | fields))
    with pytest.raises(ModelError, match=rf"{PEFT}: {MODULE}.lora_A.weight has rank 2, .*{adapter_files.CONFIG} says"):
        adapter_files.read(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"transformer.r": 2', "nothing", "5", "null", "[1]", '"text"']
)
def test_damaged_metadata_is_one_sentence(written: Path, text: str) -> None:
    pack(written, text)
    with pytest.raises(ModelError, match=r"\(its metadata\): not "):
        adapter_files.read(written)


def test_the_metadata_is_read_by_the_same_list(written: Path) -> None:
    for field, value in (("use_dora", True), ("init_lora_weights", "pissa"), ("r", "2"), ("something", 3)):
        packed = {f"transformer.{key}": each for key, each in (CONFIG | {field: value}).items()}
        pack(written, json.dumps(packed))
        with pytest.raises(ModelError, match=rf"\(its metadata\): .*\b{field}\b"):
            adapter_files.read(written)


@pytest.mark.parametrize(
    "content", ["[]", "5", "null", '"shapes"', '{"base_model_name_or_path": 5}', '{"base_model_name_or_path": ["a"]}',
                '{"base_model_name_or_path": "shapes", "revision": 3}']
)  # fmt: skip
def test_a_base_model_of_the_wrong_type_is_one_sentence(written: Path, content: str) -> None:
    (written / adapter_files.CONFIG).write_text(content)
    with pytest.raises(ModelError, match=rf"{adapter_files.CONFIG}: "):
        load_model(written)


def test_an_adapter_for_a_revision_of_a_hub_model_is_refused(
    plain: Path, tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowbench.models.hub.fetch", lambda name, patterns: plain)
    change(written, base_model_name_or_path="some/model", revision="refs/pr/3")
    with pytest.raises(ModelError, match=r"revision refs/pr/3 of 'some/model'"):
        load_model(written)
    for revision in ("main", "", None):
        change(written, revision=revision)
        assert load_model(written).source == "some/model"


@pytest.mark.parametrize(
    ("key", "tensor"),
    [
        (f"{MODULE}.alpha", torch.tensor(4.0)),
        (f"lora_unet_{MODULE.replace('.', '_')}.lora_down.weight", torch.zeros(2, 16)),
        (f"{MODULE}.lora_magnitude_vector", torch.zeros(16)),
        (f"{MODULE}.lora_B.bias", torch.zeros(16)),
        ("text_encoder.lora_A.weight", torch.zeros(2, 2)),
        (f"another.{MODULE}.lora_A.weight", torch.zeros(2, 16, dtype=torch.int8)),
        (f"another.{MODULE}.lora_A.weight", torch.zeros(2)),
    ],
)
def test_tensors_of_other_kinds_are_refused_by_name(written: Path, key: str, tensor: torch.Tensor) -> None:
    held = {f"transformer.{name}": each for name, each in matrices().items()}
    save_file({**held, key: tensor}, written / DIFFUSERS)
    with pytest.raises(ModelError, match=f"tensor '{key}' is not a plain LoRA weight"):
        adapter_files.read(written)


def test_one_tensor_under_two_names_is_refused(written: Path) -> None:
    held = {f"{prefix}{MODULE}.lora_A.weight": torch.ones(2, 16) for prefix in ("transformer.", "base_model.model.")}
    save_file(held, written / DIFFUSERS)
    with pytest.raises(ModelError, match=rf"holds '{MODULE}.lora_A.weight' under two names"):
        adapter_files.read(written)


def test_rare_fields_that_choose_modules_are_set_up_and_saved_again(
    plain: Path, tmp_path: Path, moved: Callable[..., None]
) -> None:
    """Written by PEFT, and the modules are those that PEFT itself would give an adapter."""
    from diffusers import SD3Transformer2DModel
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=["attn.to_q", "attn.to_k"],
                        exclude_modules=["attn.to_k"], layers_to_transform=0, layers_pattern="transformer_blocks",
                        use_rslora=True)  # fmt: skip
    reference = get_peft_model(SD3Transformer2DModel.from_pretrained(plain, subfolder="transformer"), config)
    reference.save_pretrained(tmp_path / "peft")
    model = load_model(plain, adapter=tmp_path / "peft")
    assert {name.split(".lora_")[0] for name in model.adapter_parameters()} == {MODULE}
    again = load_model(plain, adapter=model.save_adapter(tmp_path / "ours"))
    with torch.no_grad():
        one, two = (each.velocity(each.noise([5]), 0.6, each.encode(["a"]), guidance=1.0) for each in (model, again))
    assert torch.equal(one, two)


def test_an_adapter_on_a_convolution_computes_what_peft_does(plain: Path, fused: Path, tmp_path: Path) -> None:
    from diffusers import SD3Transformer2DModel
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=["pos_embed.proj", "attn.to_q"])
    reference = get_peft_model(SD3Transformer2DModel.from_pretrained(plain, subfolder="transformer"), config)
    reference.save_pretrained(tmp_path)
    with torch.no_grad():
        velocities = [
            model.velocity(model.noise([5]), 0.6, model.encode(["a"]), guidance=1.0)
            for model in (load_model(plain, adapter=tmp_path), load_model(fused, adapter=tmp_path))
        ]
    torch.testing.assert_close(velocities[0], velocities[1], rtol=0, atol=1e-5)

"""What every family has to keep, on a tiny checkpoint of its own and through the real loader.

A row in flowbench/models/families.py signs a family up; tests/tiny.py's MAKERS writes its checkpoint.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tiny import MAKERS

from flowbench.errors import ConfigError, ModelError, RunError, UnknownName
from flowbench.models import FlowModel, ModelSettings, load_model
from flowbench.models.base import Condition
from flowbench.models.families import FAMILIES, INDEX, UNSEEN, GuidanceKind, family_of
from flowbench.recipe_files import recipe_names
from flowbench.sampling import SOLVERS, model_calls
from flowbench.types import Prompt

TEXTS = ["a red circle", "two stars, one blue", "a green heart"]
SEEDS = [3, 2**40 + 1, 0]
DOCS = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def checkpoint(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[family](tmp_path_factory.mktemp("families") / family)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> FlowModel:
    """One for all tests that leave it as it is."""
    return load_model(checkpoint)


def test_a_row_is_a_class_a_recipe_and_a_section(family: str, checkpoint: Path, model: FlowModel) -> None:
    row = FAMILIES[family]
    assert f"{type(model).__module__}:{type(model).__qualname__}" == row.model
    assert family_of(checkpoint) is row
    assert row.default_recipe in recipe_names()
    assert set(row.guidance_kinds) <= set(get_args(GuidanceKind))
    heading = rf"^### .*`{row.pipeline}`"
    assert re.search(heading, DOCS.read_text(encoding="utf-8"), re.MULTILINE), (
        f"docs/models.md: no '### {row.pipeline}'"
    )


def test_defaults_come_from_the_family_and_flowbench_json_overrides_them(
    family: str, checkpoint: Path, tmp_path: Path
) -> None:
    row = FAMILIES[family]
    (tmp_path / INDEX).write_bytes((checkpoint / INDEX).read_bytes())
    plain = ModelSettings.read(tmp_path, "some/model")
    assert plain == ModelSettings(
        name="some/model",
        resolution=row.resolution,
        max_sequence_length=row.max_sequence_length,
        default_recipe=row.default_recipe,
        guidance=row.guidance,
        guidance_kind=row.guidance_kinds[0],
        vocabulary="coco80",
        fuse_adapter=False,
    )
    values = {"name": "x", "resolution": 7, "max_sequence_length": 3, "default_recipe": "r", "guidance": 2.5,
              "guidance_kind": row.guidance_kinds[-1], "vocabulary": "shapes", "fuse_adapter": True}  # fmt: skip
    assert set(values) == {field.name for field in fields(ModelSettings)}
    for key, value in values.items():
        (tmp_path / "flowbench.json").write_text(json.dumps({key: value}))
        changed = ModelSettings.read(tmp_path, "some/model")
        assert {field.name: getattr(changed, field.name) for field in fields(changed)} == (
            {field.name: getattr(plain, field.name) for field in fields(plain)} | {key: value}
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"resolutoin": 32}', "unknown key 'resolutoin'. Did you mean 'resolution'?"),
        ('{"resolution": "32"}', "resolution is '32', but must be of type int"),
        ('{"resolution": true}', "resolution is True, but must be of type int"),
        ('{"guidance_kind": 1}', "guidance_kind is 1, but must be of type str"),
        ('{"guidance_kind": "strong"}', "guidance_kind is 'strong', which {pipeline} cannot do. Write {kinds}."),
        ("[1]", "not a JSON object"),
        ('{"resolution": 0}', "resolution is 0, but must be more than 0"),
        ('{"max_sequence_length": -1}', "max_sequence_length is -1, but must be 0 or more"),
        ('{"guidance": NaN}', "NaN is no number of JSON's"),
        ('{"guidance": -Infinity}', "-Infinity is no number of JSON's"),
    ],
)
def test_bad_settings_are_refused(family: str, checkpoint: Path, tmp_path: Path, content: str, message: str) -> None:
    row = FAMILIES[family]
    (tmp_path / INDEX).write_bytes((checkpoint / INDEX).read_bytes())
    (tmp_path / "flowbench.json").write_text(content)
    with pytest.raises((ModelError, RunError)) as caught:
        ModelSettings.read(tmp_path, "x")
    words = message.replace("{pipeline}", row.pipeline).replace("{kinds}", " or ".join(row.guidance_kinds))
    assert words in str(caught.value)
    assert "flowbench.json" in str(caught.value)


def test_a_kind_of_guidance_of_another_family_is_refused(family: str, checkpoint: Path, tmp_path: Path) -> None:
    others = set(get_args(GuidanceKind)) - set(FAMILIES[family].guidance_kinds)
    (tmp_path / INDEX).write_bytes((checkpoint / INDEX).read_bytes())
    for kind in sorted(others):
        (tmp_path / "flowbench.json").write_text(json.dumps({"guidance_kind": kind}))
        with pytest.raises(ModelError, match=f"guidance_kind is '{kind}', which .* cannot do"):
            ModelSettings.read(tmp_path, "x")


@pytest.mark.parametrize("content", ["[]", "5", "null", '"sd3"', "{}", '{"_class_name": ["a"]}', '{"_class_name": 5}'])
def test_an_index_of_another_type_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(ModelError, match=r"not a JSON object|is not supported"):
        load_model(tmp_path)


def test_a_folder_whose_files_are_of_another_type_does_not_load(family: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    for name, content in (("transformer/config.json", "[]"), (INDEX, None)):
        text = (folder / name).read_text()
        (folder / name).write_text(content or json.dumps(json.loads(text) | {"vae": 5}))
        with pytest.raises(ModelError, match=r"copy: it does not load \("):
            load_model(folder)
        (folder / name).write_text(text)


def test_settings_of_a_folder_are_read_without_torch(checkpoint: Path) -> None:
    folder = str(checkpoint)
    code = (
        "import sys; from pathlib import Path\n"
        "from flowbench.cli.recipes import default_recipe\n"
        "from flowbench.models import ModelSettings\n"
        f"print(ModelSettings.read(Path({folder!r}), 'x').default_recipe, default_recipe({folder!r}))\n"
        "print(default_recipe('some/model'))\n"
        "print(sorted({'torch', 'numpy', 'diffusers', 'transformers', 'peft', 'pydantic'} & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    recipe = family_of(checkpoint).default_recipe
    assert answer.stdout.splitlines() == [f"{recipe} {recipe}", UNSEEN.default_recipe, "[]"]


def test_sigmas_go_from_one_to_zero(model: FlowModel) -> None:
    for steps in (1, 4, 9):
        sigmas = model.sigmas(steps)
        assert (sigmas.shape, sigmas.dtype, sigmas.device.type) == ((steps + 1,), torch.float32, "cpu")
        assert (sigmas[0], sigmas[-1]) == (1, 0)
        assert bool((sigmas.diff() < 0).all())
        assert torch.equal(sigmas, model.sigmas(steps))
    with pytest.raises(ConfigError, match="steps: 0 cannot be"):
        model.sigmas(0)


def velocity(model: FlowModel, condition: Any, guidance: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        return model.velocity(model.noise(SEEDS), 0.7, condition, guidance=guidance)


def test_rows_of_a_condition_are_prompts(model: FlowModel) -> None:
    condition = model.encode(TEXTS)
    assert isinstance(condition, Condition)
    assert len(condition) == 3
    expected = velocity(model, condition)
    assert (expected.shape, expected.dtype) == ((3, *model.latent_shape), torch.float32)
    assert len({row.numpy().tobytes() for row in velocity(model, condition[:1].repeat(3))}) == 3  # by the noise
    alone = [model.encode([text]) for text in TEXTS]
    parts = [condition[:1], condition[1:]]
    same = [condition[[0, 1, 2]], condition[torch.arange(3)], condition[:3], condition.to("cpu")]
    for other in [*same, Condition.cat(parts), Condition.cat(alone), model.encode([*TEXTS, TEXTS[0]])[:3]]:
        assert torch.equal(velocity(model, other), expected)
    turned = velocity(model, condition[[1, 0, 2]])
    assert not torch.equal(turned[0], expected[0])
    assert torch.equal(turned[2], expected[2])
    one = velocity(model, condition[1:2].repeat(3))
    assert torch.equal(one[1], expected[1])
    assert not torch.equal(one[0], expected[0])


def test_size_of_a_batch_and_company_change_nothing(model: FlowModel) -> None:
    options = {"steps": 3, "guidance": 3.0}
    together = model.sample_latents(model.encode(TEXTS), SEEDS, **options)
    for row, text in enumerate(TEXTS):
        alone = model.sample_latents(model.encode([text]), SEEDS[row : row + 1], **options)
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-4)
    prompts = [Prompt(str(number), text) for number, text in enumerate(TEXTS)]
    pictures = [model.generate(prompts, SEEDS, batch_size=size, **options) for size in (1, 2, 3)]
    for samples in pictures:
        assert [(sample.prompt, sample.seed) for sample in samples] == list(zip(prompts, SEEDS, strict=True))
        assert {(sample.image.mode, sample.image.size) for sample in samples} == {("RGB", (model.resolution,) * 2)}


def test_guidance_is_of_the_kind_that_the_model_names(family: str, tmp_path: Path) -> None:
    for kind in FAMILIES[family].guidance_kinds:
        model = load_model(MAKERS[family](tmp_path / kind, guidance_kind=kind))
        assert model.guidance_kind == kind
        assert model.guidance == (1.0 if kind == "none" else FAMILIES[family].guidance)
        assert model.declares(4)["guidance"] == (1.0 if kind == "none" else 4.0)
        condition = model.encode(TEXTS)
        weak, strong = (velocity(model, condition, guidance) for guidance in (2.0, 4.0))
        assert torch.equal(weak, strong) == (kind == "none")
        if kind != "embedded":
            assert torch.equal(velocity(model, condition, 0.0), velocity(model, condition, 1.0))
        if kind == "cfg":
            assert not torch.equal(velocity(model, condition, 1.0), weak)


def test_it_declares_what_makes_its_pictures(family: str, model: FlowModel) -> None:
    row = FAMILIES[family]
    assert model.guidance_kind == row.guidance_kinds[0]
    declared = model.declares(3)
    assert declared == {"guidance": 1.0 if model.guidance_kind == "none" else 3.0, "guidance_kind": model.guidance_kind,
                        "sampler": "ode euler", "negative_prompt": model.negative_prompt}  # fmt: skip
    assert isinstance(declared["guidance"], float)
    assert model.declares(0)["guidance"] == (0.0 if model.guidance_kind == "embedded" else 1.0)
    assert model.declares(3, "heun") == declared | {"sampler": "ode heun"}
    json.dumps(declared)


@torch.no_grad()
def test_euler_is_the_default_to_the_bit(model: FlowModel) -> None:
    """The pictures of all evaluations so far: x + v * dt, with dt the difference of float32 sigmas."""
    condition, x = model.encode(TEXTS), model.noise(SEEDS)
    for sigma, sigma_next in pairwise(model.sigmas(5)):
        x = x + (sigma_next - sigma) * model.velocity(x, float(sigma), condition, guidance=3.0)
    for options in ({}, {"solver": "euler"}):
        assert torch.equal(model.sample_latents(condition, SEEDS, steps=5, guidance=3.0, **options), x)


def test_solvers_call_the_model_as_often_as_they_say_and_company_changes_nothing(
    model: FlowModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition, calls = model.encode(TEXTS), []
    plain = type(model).velocity
    monkeypatch.setattr(type(model), "velocity", lambda *args, **more: calls.append(1) or plain(*args, **more))
    found = []
    for solver in SOLVERS:
        options = {"steps": 5, "guidance": 3.0, "solver": solver}
        calls.clear()
        found.append(model.sample_latents(condition, SEEDS, **options))
        assert len(calls) == model_calls(solver, 5)
        alone = model.sample_latents(condition[1:2], SEEDS[1:2], **options)
        torch.testing.assert_close(alone[0], found[-1][1], rtol=0, atol=1e-4)
        (sample,) = model.generate([Prompt("1", TEXTS[1])], SEEDS[1:2], **options)
        assert sample.image.tobytes() == model.decode(alone)[0].tobytes()
    assert min((one - other).abs().max() for one, other in combinations(found, 2)) > 1e-3
    with pytest.raises(UnknownName, match="Did you mean 'heun'"):
        model.generate([Prompt("1", TEXTS[1])], SEEDS[:1], steps=5, guidance=3.0, solver="hein")


@torch.no_grad()
def test_latents_and_pictures(model: FlowModel) -> None:
    side = model.resolution
    latents = model.sample_latents(model.encode(TEXTS), SEEDS, steps=3)
    pixels = model.decode_pixels(latents)
    assert (pixels.shape, pixels.dtype) == ((3, 3, side, side), torch.float32)
    assert 0 <= pixels.min() < pixels.max() <= 1
    again = model.encode_pixels(pixels)
    assert (again.shape, again.dtype) == (latents.shape, torch.float32)
    assert bool(again.isfinite().all())
    assert torch.equal(model.encode_pixels(pixels), again)  # the mode: no draw
    assert not torch.equal(again[0], again[1])
    for row in range(3):
        torch.testing.assert_close(model.encode_pixels(pixels[[row]])[0], again[row], rtol=0, atol=1e-4)
        torch.testing.assert_close(model.decode_pixels(latents[[row]])[0], pixels[row], rtol=0, atol=1e-4)
    with pytest.raises(ConfigError, match=rf"do not fit. Resize them to the model's \(3, {side}, {side}\)"):
        model.encode_pixels(pixels[..., :-1])


@torch.no_grad()
def test_what_encoding_scales_decoding_scales_back(model: FlowModel) -> None:
    """There and back is the VAE's own way there and back: shift, scale and packing cancel."""
    pixels = torch.rand((3, 3, model.resolution, model.resolution), generator=torch.Generator().manual_seed(0))
    modes = model.vae.encode(2 * pixels - 1).latent_dist.mode()
    expected = (model.vae.decode(modes).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(model.decode_pixels(model.encode_pixels(pixels)), expected, rtol=0, atol=1e-5)


def test_gradient_reaches_the_adapter_but_for_idle_layers(checkpoint: Path, moved: Callable[..., None]) -> None:
    for targets in load_model(checkpoint).adapter_targets:
        model = load_model(checkpoint)
        condition = model.encode(TEXTS)
        base = velocity(model, condition, 3.0)
        model.add_adapter(2, 4.0, targets=targets)
        assert torch.equal(velocity(model, condition, 3.0), base)
        moved(model)
        model.velocity(model.noise(SEEDS), 0.7, condition, guidance=3.0).square().mean().backward()
        parameters = model.adapter_parameters()
        assert parameters
        for name, parameter in parameters.items():
            idle = any(name.startswith(f"{layer}.lora_") for layer in model.idle_layers)
            assert bool(parameter.grad.any()) != idle, name


def test_a_family_has_to_provide_the_whole_seam() -> None:
    seam = {"from_folder", "encode", "sigmas", "velocity", "decode_pixels", "encode_pixels"}
    assert FlowModel.__abstractmethods__ == seam


def test_pipelines_are_known_once() -> None:
    assert len({row.pipeline for row in FAMILIES.values()}) == len(FAMILIES) >= 1
    assert UNSEEN in FAMILIES.values()
    assert set(MAKERS) == set(FAMILIES)

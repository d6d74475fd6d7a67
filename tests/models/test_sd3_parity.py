"""Ours against diffusers' own StableDiffusion3Pipeline on the same tiny weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from tiny import make_pipeline

from flowbench.errors import ConfigError, ModelError
from flowbench.models import load_model
from flowbench.models.base import weights_digest
from flowbench.models.diffusers_parts import frozen
from flowbench.types import Prompt

TEXTS = ["a red circle", "two stars, one blue", "a green heart"]
SEEDS = [3, 2**40 + 1, 0]


@pytest.fixture(params=["plain", "with_t5"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def reference(pipeline: Any, length: int, output: str, guidance: float, steps: int = 6) -> torch.Tensor:
    return pipeline(
        TEXTS,
        negative_prompt="",
        height=16,
        width=16,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        max_sequence_length=length,
        output_type=output,
    ).images


@torch.no_grad()  # attention takes another path, and other roundings, with gradient
def test_encode_equals_the_pipeline_exactly(folder: Path, open_pipeline: Callable[[Path], Any]) -> None:
    model, pipeline = load_model(folder), open_pipeline(folder)
    for encoder in (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3):
        if encoder is not None:  # its weights are where the file is mapped, and a row rounds by their address
            frozen(encoder, torch.device("cpu"))
    condition, empty = model.encode(TEXTS), model.encode([""])
    assert condition.embeds.shape == (3, 24 + model.max_sequence_length, 32)
    for row, text in enumerate(TEXTS):
        embeds, negative, pooled, negative_pooled = pipeline.encode_prompt(
            text, None, None, max_sequence_length=model.max_sequence_length
        )
        assert torch.equal(condition.embeds[[row]], embeds)
        assert torch.equal(condition.pooled[[row]], pooled)
        assert torch.equal(empty.embeds, negative)
        assert torch.equal(empty.pooled, negative_pooled)
    assert (condition.embeds[0] - condition.embeds[1]).abs().max() > 0.1


def test_without_t5_zero_vectors_stand_in(tmp_path: Path, open_pipeline: Callable[[Path], Any]) -> None:
    folder = make_pipeline(tmp_path / "default")  # plain defaults: 256 tokens, like the pipeline
    condition = load_model(folder).encode(["a red circle"])
    with torch.no_grad():
        embeds = open_pipeline(folder).encode_prompt("a red circle", None, None)[0]
    assert condition.embeds.shape == (1, 24 + 256, 32)
    assert torch.equal(condition.embeds, embeds)
    assert not condition.embeds[:, 24:].any()


def test_an_encoded_text_does_not_depend_on_its_company(folder: Path) -> None:
    """To the bit: which prompts a process encodes depends on how many processes there are."""
    model = load_model(folder)
    texts = [f"a photo of {number} stars" for number in range(40)]
    together = model.encode(texts)
    for row, text in enumerate(texts):
        alone = model.encode([text])
        assert torch.equal(together.embeds[row], alone.embeds[0])
        assert torch.equal(together.pooled[row], alone.pooled[0])


def test_the_digest_of_the_base_sees_every_part_that_makes_pictures(folder: Path) -> None:
    model = load_model(folder)
    parts = [model.transformer, model.vae, *model.text_encoders, *([model.t5] if model.t5 else [])]
    setting = f"max_sequence_length {model.max_sequence_length}"
    digests = {model.base_digest}
    assert model.base_digest == weights_digest(parts, setting=setting)  # of all of them, T5 too where there is one
    for part in parts:
        with torch.no_grad():
            next(part.parameters()).add_(1)
        changed = weights_digest(parts, setting=setting)
        assert changed not in digests
        digests.add(changed)
    assert weights_digest(parts, setting=f"{setting}0") not in digests


def test_encode_does_each_text_once(plain: Path) -> None:
    model = load_model(plain)
    seen: list[list[str]] = []
    tokenizer = model.tokenizers[0]
    model.tokenizers[0] = lambda texts, **options: seen.append(texts) or tokenizer(texts, **options)
    model.tokenizers[0].model_max_length = tokenizer.model_max_length
    condition = model.encode(["b", "a", "b", "b"])
    assert seen == [["b"], ["a"]]
    assert torch.equal(condition.embeds[0], condition.embeds[2])
    assert not torch.equal(condition.embeds[0], condition.embeds[1])
    assert not condition.embeds.requires_grad


@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_ode_pictures_equal_the_pipelines(folder: Path, guidance: float, open_pipeline: Callable[[Path], Any]) -> None:
    model, pipeline = load_model(folder), open_pipeline(folder)
    latents = model.sample_latents(model.encode(TEXTS), SEEDS, steps=6, guidance=guidance)
    length = model.max_sequence_length
    torch.testing.assert_close(latents, reference(pipeline, length, "latent", guidance), rtol=0, atol=1e-4)
    pixels = reference(pipeline, length, "pt", guidance)
    torch.testing.assert_close(model.decode_pixels(latents), pixels, rtol=0, atol=1e-4)
    other = model.sample_latents(model.encode(TEXTS), SEEDS, steps=6, guidance=guidance + 1)
    assert (latents - other).abs().max() > 0.05  # guidance matters here, so agreement means something

    pictures = [numpy.asarray(image).astype(int) for image in reference(pipeline, length, "pil", guidance)]
    prompts = [Prompt(str(number), text) for number, text in enumerate(TEXTS)]
    samples = model.generate(prompts, SEEDS, steps=6, guidance=guidance, batch_size=2)
    assert [(sample.prompt, sample.seed) for sample in samples] == list(zip(prompts, SEEDS, strict=True))
    for sample, picture in zip(samples, pictures, strict=True):
        assert sample.image.size == (16, 16)
        assert abs(numpy.asarray(sample.image).astype(int) - picture).max() <= 1


@pytest.mark.parametrize("solver", ["heun", "dpmpp_2m"])
def test_pictures_of_other_solvers_equal_the_pipelines_with_diffusers_schedulers(
    plain: Path, solver: str, open_pipeline: Callable[[Path], Any]
) -> None:
    """The multistep one on our sigmas and whole times: its own begin below 1, and it cuts times to thousandths."""
    from diffusers import DPMSolverMultistepScheduler, FlowMatchHeunDiscreteScheduler

    model, pipeline = load_model(plain), open_pipeline(plain)

    class OnOurSigmas(DPMSolverMultistepScheduler):
        def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
            super().set_timesteps(num_inference_steps, device)
            self.sigmas = model.sigmas(num_inference_steps)
            self.timesteps = self.sigmas[:-1] * self.config.num_train_timesteps

    if solver == "heun":
        pipeline.scheduler = FlowMatchHeunDiscreteScheduler(shift=pipeline.scheduler.config.shift)
    else:
        pipeline.scheduler = OnOurSigmas(prediction_type="flow_prediction", use_flow_sigmas=True)
    latents = model.sample_latents(model.encode(TEXTS), SEEDS, steps=6, guidance=4.5, solver=solver)
    theirs = reference(pipeline, model.max_sequence_length, "latent", 4.5)
    torch.testing.assert_close(latents, theirs, rtol=0, atol=1e-4)
    euler = model.sample_latents(model.encode(TEXTS), SEEDS, steps=6, guidance=4.5)
    assert (latents - euler).abs().max() > 5e-3


def test_noise_is_what_diffusers_draws(plain: Path) -> None:
    from diffusers.utils.torch_utils import randn_tensor

    model = load_model(plain)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    expected = randn_tensor((3, 4, 8, 8), generator=generators, device=torch.device("cpu"), dtype=torch.float32)
    assert torch.equal(model.noise(SEEDS), expected)
    assert torch.equal(model.noise(SEEDS[1:2]), expected[1:2])


def test_results_do_not_depend_on_the_batch(plain: Path) -> None:
    model = load_model(plain)
    whole = model.sample_latents(model.encode(TEXTS), SEEDS, steps=4, guidance=3.0)
    for row, (text, seed) in enumerate(zip(TEXTS, SEEDS, strict=True)):
        alone = model.sample_latents(model.encode([text]), [seed], steps=4, guidance=3.0)
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-4)


def test_velocity_takes_a_noise_level_per_row(plain: Path) -> None:
    model = load_model(plain)
    x, condition = model.noise([1, 2]), model.encode(TEXTS[:2])
    with torch.no_grad():
        both = model.velocity(x, torch.tensor([0.9, 0.2]), condition)
        for row, sigma in enumerate((0.9, 0.2)):
            alone = model.velocity(x, sigma, condition)
            torch.testing.assert_close(both[row], alone[row], rtol=0, atol=1e-5)
        assert (both[1] - model.velocity(x, 0.9, condition)[1]).abs().max() > 1e-3


def test_sigmas_of_shift_3_by_hand(plain: Path) -> None:
    # set_timesteps(2) spaces sigma evenly from 1 to sigma_min = s(1/1000), then shifts: s(u) = 3u / (1 + 2u)
    smallest = 3 * 0.001 / 1.002
    expected = torch.tensor([1.0, 3 * smallest / (1 + 2 * smallest), 0.0])
    model = load_model(plain)
    torch.testing.assert_close(model.sigmas(2), expected, rtol=1e-5, atol=0)
    assert model.sigmas(2).dtype == torch.float32


@pytest.mark.parametrize(
    "options",
    [
        {"shift": 3.0},
        {"shift": 1.0},
        {"use_dynamic_shifting": True},
        {"use_dynamic_shifting": True, "base_shift": 0.3, "max_shift": 2.0, "base_image_seq_len": 4},
    ],
)
def test_sigmas_equal_the_pipelines(
    tmp_path: Path, options: dict[str, Any], open_pipeline: Callable[[Path], Any]
) -> None:
    folder = make_pipeline(tmp_path / "tiny", scheduler=options, max_sequence_length=0)
    model, pipeline = load_model(folder), open_pipeline(folder)
    reference(pipeline, 0, "latent", 1.0, steps=7)
    assert torch.equal(model.sigmas(7), pipeline.scheduler.sigmas)
    assert torch.equal(model.sigmas(7), pipeline.scheduler.sigmas)  # no state from the first call
    assert len(model.sigmas(3)) == 4


def test_bfloat16_runs_with_float32_outside(plain: Path) -> None:
    model, exact = load_model(plain, dtype="bf16"), load_model(plain)
    assert model.transformer.dtype == model.text_encoders[0].dtype == torch.bfloat16
    assert model.vae.dtype == torch.float32
    condition = model.encode(TEXTS)
    with torch.no_grad():
        rough = model.velocity(model.noise(SEEDS), 0.7, condition, guidance=2.0)
        fine = exact.velocity(exact.noise(SEEDS), 0.7, exact.encode(TEXTS), guidance=2.0)
    assert rough.dtype == torch.float32
    assert condition.embeds.dtype == torch.bfloat16
    assert (rough - fine).norm() / fine.norm() < 0.2
    pixels = model.decode_pixels(model.sample_latents(condition, SEEDS, steps=3))
    assert pixels.dtype == torch.float32
    assert pixels.isfinite().all()


def test_pixels_are_in_range(plain: Path) -> None:
    model = load_model(plain)
    pixels = model.decode_pixels(20 * model.noise(range(5)))
    assert pixels.shape == (5, 3, 16, 16)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert [image.mode for image in model.decode(model.noise([1]))] == ["RGB"]


def test_bad_requests_are_refused(plain: Path, tmp_path: Path) -> None:
    model = load_model(plain)
    with pytest.raises(ConfigError, match="1 prompts but 2 seeds"):
        model.generate([Prompt("0", "x")], [1, 2], steps=2, guidance=1.0)
    with pytest.raises(ConfigError, match="steps: 0 cannot be"):
        model.sigmas(0)
    with pytest.raises(ModelError, match=r"resolution 18 does not fit. Use a multiple of 4 up to 32"):
        load_model(make_pipeline(tmp_path / "odd", resolution=18))

"""The shipped model: loads in plain diffusers, draws what it is asked, is small, and its autoencoder loses nothing."""

from __future__ import annotations

import numpy
import pytest
import torch

from flowbench import rewards
from flowbench.images import to_pil, to_tensor
from flowbench.models import load_model
from flowbench.shapes import WEIGHTS, grammar, world
from flowbench.types import Prompt, Sample


@pytest.fixture(scope="module")
def model():
    return load_model("shapes", device="cpu")


def mean_official(samples: list[Sample]) -> float:
    scores = rewards.build("geneval", vocabulary="shapes")(samples)
    return float(numpy.mean([score.parts["official"] for score in scores]))


def pick(tag: str, count: int) -> list[Prompt]:
    pool = [prompt for prompt in grammar.prompts("test") if prompt.tag == tag]
    return [pool[index % len(pool)] for index in range(count)]


@pytest.mark.parametrize("tag", grammar.TAGS)
def test_reconstructions_keep_the_score(model, tag):
    rng = numpy.random.default_rng(11)
    prompts = pick(tag, 200)
    images = [world.render(world.sample_scene(prompt.metadata, rng)) for prompt in prompts]
    with torch.no_grad():
        decoded = model.vae.decode(model.vae.encode(to_tensor(images) * 2 - 1).latent_dist.mean).sample
    assert mean_official([Sample(p, i) for p, i in zip(prompts, to_pil(decoded / 2 + 0.5), strict=True)]) > 0.95


def test_single_objects_are_nearly_right_and_positions_are_not(model):
    def score(tag):
        prompts = pick(tag, 48)
        return mean_official(model.generate(prompts, range(48), steps=10, guidance=model.guidance, batch_size=48))

    assert score("single_object") > 0.85
    assert score("position") < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 256])
def test_the_stock_pipeline_call_draws_it(length):
    from diffusers import StableDiffusion3Pipeline

    pipeline = StableDiffusion3Pipeline.from_pretrained(str(WEIGHTS), text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    prompts = pick("single_object", 32)
    pictures = pipeline(
        [prompt.text for prompt in prompts], num_inference_steps=10, guidance_scale=3.0, max_sequence_length=length,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))], height=32, width=32,
    ).images  # fmt: skip
    assert mean_official([Sample(p, picture) for p, picture in zip(prompts, pictures, strict=True)]) > 0.8

"""The shipped letters model: small, loads in plain diffusers, its autoencoder loses nothing, and it leaves room."""

from __future__ import annotations

import numpy
import pytest
import torch

from flowbench import rewards
from flowbench.errors import ConfigError
from flowbench.images import to_pil, to_tensor
from flowbench.letters import WEIGHTS, grammar, world
from flowbench.models import load_model
from flowbench.rewards.ocr.asked import check_signs
from flowbench.types import Prompt, Sample


@pytest.fixture(scope="module")
def model():
    return load_model("letters", device="cpu")


def pick(tag: str, count: int) -> list[Prompt]:
    pool = [prompt for prompt in grammar.prompts("test") if prompt.tag == tag]
    return [pool[index % len(pool)] for index in range(count)]


def read_exactly(samples: list[Sample]) -> float:
    return float(numpy.mean([score.parts["exact"] for score in rewards.build("letters")(samples)]))


def test_its_recipe_is_its_own(model):
    from flowbench.cli.recipes import recipe_of

    assert (model.name, model.vocabulary, recipe_of("letters", None)) == ("letters", "letters", "letters-ocr")


@pytest.mark.parametrize("tag", grammar.TAGS)
def test_reconstructions_are_read_as_what_they_say(model, tag):
    rng = numpy.random.default_rng(11)
    prompts = pick(tag, 100)
    images = [world.render(world.sample_sign(prompt.metadata["text"], rng)) for prompt in prompts]
    with torch.no_grad():
        decoded = model.vae.decode(model.vae.encode(to_tensor(images) * 2 - 1).latent_dist.mean).sample
    assert read_exactly([Sample(p, i) for p, i in zip(prompts, to_pil(decoded / 2 + 0.5), strict=True)]) > 0.95


def test_one_letter_is_written_more_often_than_four(model):
    def score(tag):
        prompts = pick(tag, 48)
        return read_exactly(model.generate(prompts, range(48), steps=10, guidance=model.guidance, batch_size=48))

    assert score("one_letter") > 0.6 > score("four_letters")


def test_training_on_letters_that_it_cannot_write_is_refused():
    known, unknown = (Prompt("p", f'a sign that says "{text}"', "", {}) for text in ("Ka Y", "KEMO"))
    check_signs([known, unknown], "shapes")  # of another model
    with pytest.raises(ConfigError, match=r"KEMO.': the model 'letters' writes no M O\. It knows the letters ABC"):
        check_signs([known, unknown], "letters")


@pytest.mark.slow
def test_the_stock_pipeline_call_writes_it():
    from diffusers import StableDiffusion3Pipeline

    pipeline = StableDiffusion3Pipeline.from_pretrained(str(WEIGHTS), text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    prompts = pick("one_letter", 32)
    pictures = pipeline(
        [prompt.text for prompt in prompts], num_inference_steps=10, guidance_scale=3.0, max_sequence_length=0,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))], height=32, width=32,
    ).images  # fmt: skip
    assert read_exactly([Sample(p, picture) for p, picture in zip(prompts, pictures, strict=True)]) > 0.6

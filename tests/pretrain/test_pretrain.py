"""The makers of the built-in models: resumable to the bit, an exact attention trick, a pipeline for every world."""

from __future__ import annotations

import importlib

import pytest
import torch

from flowbench.models import load_model
from flowbench.models.built_in import BUILT_IN
from flowbench.pretrain import export, letters_world, text_encoders, transformer, vae
from flowbench.pretrain.__main__ import WORLDS
from flowbench.pretrain.loop import StageConfig, learning_rate, run_stage
from flowbench.store import read_object


def fit(folder, steps, config_steps):
    """A small least-squares problem; stops after `steps` by an exception, as a kill would."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(4, 4))

    def loss_at(step):
        if step == steps:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 4, generator=generator)
        return ((x @ weight - 2 * x) ** 2).mean(), {}

    config = StageConfig(steps=config_steps, lr=0.05, warmup=2, save_every=5, log_every=5)
    try:
        return run_stage(folder, "fit", {"weight": weight}, loss_at, config)
    except KeyboardInterrupt:
        return None


def test_a_killed_stage_resumes_to_the_same_weights(tmp_path):
    whole = fit(tmp_path / "whole", None, 23)
    assert fit(tmp_path / "killed", 13, 23) is None
    resumed = fit(tmp_path / "killed", None, 23)
    assert torch.equal(whole["weight"], resumed["weight"])


def test_learning_rate_by_hand():
    config = StageConfig(steps=100, lr=1.0, warmup=10, cooldown_from=0.5)
    assert [learning_rate(step, config) for step in (0, 9, 10, 50, 75, 99)] == [0.1, 1.0, 1.0, 1.0, 0.5, 0.02]


def test_one_weighted_zero_token_equals_256():
    model = transformer.build_transformer(4, 0)
    for parameter in model.parameters():  # adaLN-zero would hide the attention
        torch.nn.init.normal_(parameter, std=0.05)
    x, text_states, pooled = torch.randn(2, 4, 8, 8), torch.randn(2, 12, 96), torch.randn(2, 96)

    def run(padding, processor):
        model.set_attn_processor(processor)
        states = torch.cat([text_states, torch.zeros(2, padding, 96)], dim=1)
        arguments = {
            "encoder_hidden_states": states,
            "pooled_projections": pooled,
            "timestep": torch.tensor([500.0, 20.0]),
        }
        return model(hidden_states=x, **arguments).sample

    stock = dict(model.attn_processors)
    with torch.no_grad():
        plain = run(256, dict(stock))
        trick = run(1, transformer.PaddedAttention())
        without = run(0, dict(stock))
    torch.testing.assert_close(trick, plain, atol=2e-5, rtol=1e-4)
    assert (without - plain).abs().max() > 1e-3


@pytest.fixture(params=WORLDS)
def world(request):
    return importlib.import_module(WORLDS[request.param]).WORLD


@pytest.fixture
def tokenizer(world, tmp_path):
    text_encoders.build_tokenizer(tmp_path, world)
    return text_encoders.load_tokenizer(tmp_path)


def test_the_longest_prompt_fits(world, tokenizer):
    lengths = [len(tokenizer(prompt.text).input_ids) for prompt in world.prompts("test")]
    assert max(lengths) == world.length == tokenizer.model_max_length
    ids = tokenizer(world.prompts("test")[0].text).input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id


def test_every_slot_has_the_values_that_prompts_have(world, tokenizer):
    prompts = world.prompts("test")[::5]
    batch = text_encoders.encode_batch(tokenizer, world, prompts)
    for row, prompt in enumerate(prompts):
        for slot, value in world.slots_of(prompt).items():
            assert world.slots[slot][batch[slot][row]] == value


def test_the_marks_stand_at_the_tokens_that_say_it(world, tokenizer):
    said = {"shapes": {"first": "first_kind", "second": "second_kind"}}.get(world.name, {})
    for prompt in world.prompts("test")[::7]:
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(prompt.text).input_ids)
        slots = world.slots_of(prompt)
        for mark, place in world.marks_of(prompt).items():
            value = slots[said.get(mark, mark)]
            assert bool(value) == (place >= 0)
            assert place < 0 or tokens[place].removesuffix("</w>").startswith(value.lower())


def test_no_letters_of_a_sign_become_one_token(tmp_path):
    """Not even those of the prompt's own words."""
    text_encoders.build_tokenizer(tmp_path, letters_world.WORLD)
    tokenizer = text_encoders.load_tokenizer(tmp_path)
    for text in ("THAT", "SAYS", "SGN", "GNS", "A"):
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(f'a sign that says "{text}"').input_ids)
        assert "".join(tokens[letters_world.BEFORE : -2]) == text.lower() + "</w>"
        assert len(tokens) == letters_world.BEFORE + len(text) + 2


def test_the_shipped_tokenizer_is_made_anew_to_the_byte(world, tmp_path):
    text_encoders.build_tokenizer(tmp_path, world)
    for file in ("vocab.json", "merges.txt"):
        assert (tmp_path / file).read_bytes() == (BUILT_IN[world.name].folder / "tokenizer" / file).read_bytes()


def test_the_shipped_settings_are_those_of_the_world(world):
    settings = read_object(BUILT_IN[world.name].folder / "flowbench.json")
    assert settings.items() >= {"name": world.name, "resolution": world.size, **world.settings}.items()


def test_all_stages_on_a_few_pictures(world, tokenizer, tmp_path, monkeypatch):
    """From nothing to a pipeline that load_model loads and that draws: that it is made, not that it is good."""
    monkeypatch.setattr(vae, "POOL", 1000)
    config = StageConfig(steps=2, lr=1e-3, warmup=1)
    encoders = [text_encoders.train_text_encoder(tmp_path, index, tokenizer, world, config, 0) for index in (1, 2)]
    autoencoder = vae.train_vae(tmp_path, world, config, 8, 0)
    autoencoder = vae.refine_decoder(tmp_path, world, autoencoder, config, 8, 0)
    corpus = transformer.build_corpus(tmp_path, world, tokenizer, encoders, autoencoder, 500, 0)
    assert corpus.latents.shape == (500, world.latent_channels, world.size // 4, world.size // 4)
    model = transformer.train_transformer(tmp_path, corpus, config, 8, 0)
    export.write_pipeline(tmp_path / "pipeline", world, tmp_path, encoders, autoencoder, model)
    loaded = load_model(tmp_path / "pipeline", device="cpu")
    (sample,) = loaded.generate([world.prompts("test")[0]], [0], steps=2, guidance=1.0)
    assert (loaded.name, sample.image.size) == (world.name, (world.size, world.size))

"""The pretraining script: resumable to the bit, and its attention trick is exact."""

from __future__ import annotations

import torch

from flowbench.shapes.pretrain import text_encoders, transformer
from flowbench.shapes.pretrain.loop import StageConfig, learning_rate, run_stage


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
    model = transformer.build_transformer(0)
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


def test_every_word_is_one_token_and_the_longest_prompt_fits(tmp_path):
    from flowbench.shapes import grammar

    text_encoders.build_tokenizer(tmp_path)
    tokenizer = text_encoders.load_tokenizer(tmp_path)
    longest = 0
    for prompt in grammar.prompts("test"):
        ids = tokenizer(prompt.text).input_ids
        assert len(ids) == len(prompt.text.split()) + 2
        assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
        longest = max(longest, len(ids))
    assert longest == text_encoders.LENGTH

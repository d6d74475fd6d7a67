"""Stage 3: the rectified-flow transformer, trained on cached latents and cached prompt embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from flowbench.images import to_tensor
from flowbench.pretrain.base import World
from flowbench.pretrain.loop import StageConfig, run_stage
from flowbench.tensors import load_tensors, save_tensors

CURRICULUM_STEPS = 1500
"""For the first steps half of every batch comes from the easy tags only."""
CAPTION_DROP = 0.1
PADDED_FRACTION = 0.1
"""Fraction of steps with the zero tokens that the stock pipeline appends in place of T5."""
PADDING_TOKENS = 256


class PaddedAttention:
    """Joint attention in which the last text token stands for PADDING_TOKENS equal ones.

    n equal keys and values in a softmax are one of them with log n added to its logit.
    """

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        def heads(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        image, text = hidden_states, encoder_hidden_states
        query = torch.cat([heads(attn.to_q(image)), heads(attn.add_q_proj(text))], dim=2)
        key = torch.cat([heads(attn.to_k(image)), heads(attn.add_k_proj(text))], dim=2)
        value = torch.cat([heads(attn.to_v(image)), heads(attn.add_v_proj(text))], dim=2)
        bias = torch.zeros(key.shape[2])
        bias[-1] = math.log(PADDING_TOKENS)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.expand(query.shape[2], -1)
        )
        mixed = mixed.transpose(1, 2).flatten(2)
        image_out, text_out = mixed[:, : image.shape[1]], mixed[:, image.shape[1] :]
        if not attn.context_pre_only:
            text_out = attn.to_add_out(text_out)
        return attn.to_out[1](attn.to_out[0](image_out)), text_out


@dataclass(frozen=True)
class Corpus:
    """N latents with their prompts; the last of the P prompts is the empty one."""

    latents: torch.Tensor
    """(N, C, h, w), normalised."""
    prompt_rows: torch.Tensor
    """(N,) int64: the place of each latent's prompt."""
    embeds: torch.Tensor
    """(P, tokens, width): each prompt's embeddings."""
    pooled: torch.Tensor
    """(P, width): each prompt's pooled output."""
    easy: torch.Tensor
    """The places of the easy tags' latents."""


def build_transformer(latent_channels: int, seed: int) -> Any:
    """A fresh SD3Transformer2DModel: 4 blocks, 96 wide, 16 image tokens; adaLN-zero by zeroed modulation weights."""
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(seed)
    transformer: Any = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=latent_channels, out_channels=latent_channels, num_layers=4,
        attention_head_dim=32,
        num_attention_heads=3, joint_attention_dim=96, caption_projection_dim=96, pooled_projection_dim=96,
        pos_embed_max_size=8,
    )  # fmt: skip
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and (".norm1" in name or "norm_out" in name or name == "proj_out"):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return transformer


@torch.no_grad()
def embed(tokenizer: Any, encoders: list[Any], texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the SD3 pipeline makes of texts: penultimate states side by side (N, tokens, 96), pooled outputs (N, 96)."""
    length = tokenizer.model_max_length
    ids = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    outputs = [encoder(input_ids=ids, output_hidden_states=True) for encoder in encoders]
    hidden = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return hidden, torch.cat([output.text_embeds for output in outputs], dim=-1)


@torch.no_grad()
def build_corpus(
    folder: Path, world: World, tokenizer: Any, encoders: list[Any], vae: Any, count: int, seed: int
) -> Corpus:
    """Render `count` pictures for training prompts, encode them; kept in `<folder>/corpus.safetensors`."""
    prompts, every = world.prompts("train"), list(world.tag_weights)
    path = folder / "corpus.safetensors"
    if not path.is_file():
        by_tag = {tag: [k for k, prompt in enumerate(prompts) if prompt.tag == tag] for tag in every}
        weights = numpy.array(list(world.tag_weights.values()), dtype=float)
        latents, rows = [], []
        for start in range(0, count, 500):
            rng = numpy.random.default_rng([seed, 5, start])
            tags = rng.choice(len(every), size=500, p=weights / weights.sum())
            picked = [int(rng.choice(by_tag[every[tag]])) for tag in tags]
            images = [world.picture_of(prompts[row], rng) for row in picked]
            mean = vae.encode(to_tensor(images) * 2 - 1).latent_dist.mean
            latents.append((mean - vae.config.shift_factor) * vae.config.scaling_factor)
            rows += picked
        save_tensors(path, {"latents": torch.cat(latents), "rows": torch.tensor(rows)})
    stored = load_tensors(path)[0]
    embeds, pooled = embed(tokenizer, encoders, [*(prompt.text for prompt in prompts), ""])
    tags_of = [prompts[int(row)].tag for row in stored["rows"]]
    easy = torch.tensor([k for tag in world.easy_tags for k, t in enumerate(tags_of) if t == tag])
    return Corpus(stored["latents"], stored["rows"], embeds, pooled, easy)


def draw_batch(
    corpus: Corpus, step: int, batch: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(clean latents, noise, sigma of shape (B,), prompt rows) of one step, a function of (seed, step)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    picked = torch.randint(len(corpus.latents), (batch,), generator=generator)
    if step < CURRICULUM_STEPS:
        picked[: batch // 2] = corpus.easy[torch.randint(len(corpus.easy), (batch // 2,), generator=generator)]
    clean = corpus.latents[picked]
    noise = torch.randn(clean.shape, generator=generator)
    sigma = torch.sigmoid(torch.randn(batch, generator=generator))  # logit-normal(0, 1), SD3 paper section 3.1
    prompt_rows = corpus.prompt_rows[picked].clone()
    prompt_rows[torch.rand(batch, generator=generator) < CAPTION_DROP] = len(corpus.embeds) - 1
    return clean, noise, sigma, prompt_rows


def train_transformer(folder: Path, corpus: Corpus, config: StageConfig, batch: int, seed: int) -> Any:
    """Rectified flow: regress the velocity noise - clean at sigma * noise + (1 - sigma) * clean."""
    transformer = build_transformer(corpus.latents.shape[1], seed)
    stock, padded = transformer.attn_processors, PaddedAttention()

    def loss_at(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        clean, noise, sigma, rows = draw_batch(corpus, step, batch, seed)
        embeds, pooled = corpus.embeds[rows], corpus.pooled[rows]
        pad = step % round(1 / PADDED_FRACTION) == 0
        if pad:
            embeds = torch.cat([embeds, torch.zeros_like(embeds[:, :1])], dim=1)
        transformer.set_attn_processor(padded if pad else dict(stock))
        level = sigma.view(-1, 1, 1, 1)
        prediction = transformer(
            hidden_states=(1 - level) * clean + level * noise, timestep=sigma * 1000,
            encoder_hidden_states=embeds, pooled_projections=pooled,
        ).sample  # fmt: skip
        return (prediction - (noise - clean)).square().mean(), {}

    transformer.load_state_dict(
        run_stage(folder, "transformer", dict(transformer.named_parameters()), loss_at, config), strict=False
    )
    transformer.set_attn_processor(dict(stock))
    return transformer.eval().requires_grad_(False)

"""The Stable Diffusion 3 family (Esser et al. 2024, arXiv 2403.03206) on diffusers' components.

Text goes through two CLIP encoders and, where there is one, a T5; without it `max_sequence_length` zero vectors stand
in for the T5 tokens, as in diffusers. The transformer and the text encoders hold their weights in the model's dtype (no
autocast: rollout and replay cannot disagree about it), the VAE always in float32, since it overflows in float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flowbench.errors import ModelError
from flowbench.models import diffusers_parts
from flowbench.models.base import Condition, FlowModel, weights_digest
from flowbench.models.settings import ModelSettings

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_JOINT = (*_ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_MLP = tuple(f"{stream}.net.{part}" for stream in ("ff", "ff_context") for part in ("0.proj", "2"))


@dataclass(frozen=True)
class SD3Condition(Condition):
    """B encoded prompts: `embeds` (B, L, D) per token and `pooled` (B, P), in the text encoders' dtype."""

    embeds: torch.Tensor
    pooled: torch.Tensor


class SD3Model(FlowModel[SD3Condition]):
    """SD3 and SD3.5 (medium, large) and small models of the same shape."""

    adapter_targets = {  # noqa: RUF012 - a constant table, annotated in the base class
        "attention": tuple(f"attn.{name}" for name in _JOINT),  # Flow-GRPO's published targets
        "all-linear": (
            *(f"attn.{name}" for name in _JOINT),
            *(f"attn2.{name}" for name in _ATTENTION),  # SD3.5's second attention
            *_MLP,
            "norm1.linear",
            "norm1_context.linear",
        ),
    }

    def __init__(self, pipeline: Any, settings: ModelSettings, source: str, device: torch.device, dtype: torch.dtype):
        """Take the components of a StableDiffusion3Pipeline and freeze their weights."""
        super().__init__(settings, source, device, dtype)
        self.transformer = diffusers_parts.frozen(pipeline.transformer, device)
        self.blocks = tuple(self.transformer.transformer_blocks)
        self.vae = diffusers_parts.frozen_vae(pipeline.vae, device)
        self.text_encoders = [
            diffusers_parts.frozen(encoder, device) for encoder in (pipeline.text_encoder, pipeline.text_encoder_2)
        ]
        self.tokenizers = [pipeline.tokenizer, pipeline.tokenizer_2]
        self.t5 = None if pipeline.text_encoder_3 is None else diffusers_parts.frozen(pipeline.text_encoder_3, device)
        self.t5_tokenizer = pipeline.tokenizer_3
        self.scheduler = pipeline.scheduler
        self.latent_shape = self._latent_shape()
        # The last block keeps only its image half, so what its text queries attend to is never read.
        self.idle_layers = (f"transformer_blocks.{self.transformer.config.num_layers - 1}.attn.add_q_proj",)
        encoders = {"text_encoder": self.text_encoders[0], "text_encoder_2": self.text_encoders[1]}
        t5 = {} if self.t5 is None else {"text_encoder_3": self.t5}
        self.networks = {"transformer": self.transformer, "vae": self.vae, **encoders, **t5}
        self.base_digest = weights_digest(
            self.networks.values(), setting=f"max_sequence_length {self.max_sequence_length}"
        )
        self._empty: SD3Condition | None = None

    @classmethod
    def from_folder(
        cls, folder: Path, settings: ModelSettings, source: str, device: torch.device, dtype: torch.dtype
    ) -> SD3Model:
        """See FlowModel."""
        from diffusers import StableDiffusion3Pipeline

        optional = ("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor")
        pipeline = diffusers_parts.load_pipeline(StableDiffusion3Pipeline, folder, dtype, optional=optional)
        return cls(pipeline, settings, source, device, dtype)

    def _latent_shape(self) -> tuple[int, int, int]:
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        config = self.transformer.config
        side, rest = divmod(self.resolution, factor)
        if rest or side % config.patch_size or side // config.patch_size > config.pos_embed_max_size:
            unit, most = factor * config.patch_size, factor * config.patch_size * config.pos_embed_max_size
            raise ModelError(
                f"{self.name}: resolution {self.resolution} does not fit. Use a multiple of {unit} up to {most}."
            )
        return config.in_channels, side, side

    def declares(self, guidance: float, solver: str = "euler") -> dict[str, Any]:
        """See FlowModel; with a T5 also its tokens per prompt."""
        tokens = {} if self.t5 is None else {"prompt_tokens": self.max_sequence_length}
        return {**super().declares(guidance, solver), **tokens}

    # -- text --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> SD3Condition:
        """Equal to `pipe.encode_prompt`: CLIP tokens (both encoders side by side, zero-padded), then T5 tokens."""
        return diffusers_parts.encode_each(texts, self._encode)

    def _encode(self, texts: list[str]) -> SD3Condition:
        hidden, pooled = zip(*(self._clip(texts, number) for number in (0, 1)), strict=True)
        clip = torch.cat(hidden, dim=-1)
        t5 = self._t5(texts)
        clip = torch.nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return SD3Condition(torch.cat([clip, t5], dim=-2), torch.cat(pooled, dim=-1))

    def _clip(self, texts: list[str], number: int) -> tuple[torch.Tensor, torch.Tensor]:
        length = self.tokenizers[0].model_max_length  # the first tokenizer's, for both: so does the pipeline
        tokens = self.tokenizers[number](
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        output = self.text_encoders[number](tokens.input_ids.to(self.device), output_hidden_states=True)
        return output.hidden_states[-2].to(self.dtype), output[0]

    def _t5(self, texts: list[str]) -> torch.Tensor:
        if self.t5 is None:
            shape = (len(texts), self.max_sequence_length, self.transformer.config.joint_attention_dim)
            return torch.zeros(shape, device=self.device, dtype=self.dtype)
        tokens = self.t5_tokenizer(
            texts, padding="max_length", max_length=self.max_sequence_length, truncation=True, return_tensors="pt"
        )
        return self.t5(tokens.input_ids.to(self.device))[0].to(self.dtype)

    # -- the flow ----------------------------------------------------------------------------------------------------

    def sigmas(self, steps: int) -> torch.Tensor:
        """What the pipeline's scheduler gives for `set_timesteps(steps)`, then 0."""
        if not self.scheduler.config.get("use_dynamic_shifting"):
            return diffusers_parts.sigmas_of(self.scheduler, steps)
        tokens = (self.latent_shape[1] // self.transformer.config.patch_size) ** 2
        mu = diffusers_parts.linear_mu(self.scheduler.config, tokens, max_shift=1.16)
        return diffusers_parts.sigmas_of(self.scheduler, steps, mu=mu)

    def velocity(
        self, x: torch.Tensor, sigma: float | torch.Tensor, condition: SD3Condition, *, guidance: float = 1.0
    ) -> torch.Tensor:
        """See FlowModel. With guidance, [negative, positive] go through the transformer as one batch of 2 B."""
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(len(x))
        weight = self.effective_guidance(guidance)
        if weight == 1.0:
            return self._forward(x, sigma, condition)
        if self._empty is None:
            self._empty = self.encode([self.negative_prompt])
        both = Condition.cat([self._empty.repeat(len(x)), condition])
        negative, positive = self._forward(torch.cat([x, x]), sigma.repeat(2), both).chunk(2)
        return negative + weight * (positive - negative)  # Ho & Salimans 2022, equation 6, in diffusers' scale

    def _forward(self, x: torch.Tensor, sigma: torch.Tensor, condition: SD3Condition) -> torch.Tensor:
        return self.transformer(
            hidden_states=x.to(self.dtype),
            timestep=sigma * self.scheduler.config.num_train_timesteps,
            encoder_hidden_states=condition.embeds.to(self.dtype),
            pooled_projections=condition.pooled.to(self.dtype),
            return_dict=False,
        )[0].float()

    def decode_pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """See FlowModel."""
        return diffusers_parts.decode_pixels(self.vae, latents, self.resolution)

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """See FlowModel."""
        return diffusers_parts.encode_pixels(self.vae, pixels, self.resolution)

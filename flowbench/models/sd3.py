"""The Stable Diffusion 3 family (Esser et al. 2024, arXiv 2403.03206) on diffusers' components.

Text goes through two CLIP encoders and, where there is one, a T5; without it `max_sequence_length` zero vectors stand
in for the T5 tokens, as in diffusers. The transformer and the text encoders hold their weights in the model's dtype (no
autocast: rollout and replay cannot disagree about it), the VAE always in float32, since it overflows in float16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from flowbench.errors import ConfigError, ModelError
from flowbench.models.base import Condition, FlowModel, weights_digest
from flowbench.models.settings import ModelSettings
from flowbench.store import read_json

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_JOINT = (*_ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_MLP = tuple(f"{stream}.net.{part}" for stream in ("ff", "ff_context") for part in ("0.proj", "2"))

PIXELS_AT_ONCE = 1 << 21  # decoded in one go: 8 pictures of 512 x 512, about 10 GB in the SD3 decoder


class SD3Model(FlowModel):
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
        self.transformer = _frozen(pipeline.transformer, device)
        self.vae = _frozen(pipeline.vae, device)
        self.text_encoders = [_frozen(pipeline.text_encoder, device), _frozen(pipeline.text_encoder_2, device)]
        self.tokenizers = [pipeline.tokenizer, pipeline.tokenizer_2]
        self.t5 = None if pipeline.text_encoder_3 is None else _frozen(pipeline.text_encoder_3, device)
        self.t5_tokenizer = pipeline.tokenizer_3
        self.scheduler = pipeline.scheduler
        self.max_sequence_length = settings.max_sequence_length
        self.latent_shape = self._latent_shape()
        # The last block keeps only its image half, so what its text queries attend to is never read.
        self.idle_layers = (f"transformer_blocks.{self.transformer.config.num_layers - 1}.attn.add_q_proj",)
        read = [self.transformer, self.vae, *self.text_encoders, *([] if self.t5 is None else [self.t5])]
        self.base_digest = weights_digest(read, setting=f"max_sequence_length {self.max_sequence_length}")
        self._empty: Condition | None = None

    @classmethod
    def from_folder(
        cls, folder: Path, settings: ModelSettings, source: str, device: torch.device, dtype: torch.dtype
    ) -> SD3Model:
        """Load a diffusers folder, safetensors only. Components that the index leaves empty are passed as None."""
        from diffusers import StableDiffusion3Pipeline

        index = read_json(folder / "model_index.json")
        optional = ("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor")
        absent = {name: None for name in optional if (index.get(name) or [None])[0] is None}
        dtypes = {_dtype_keyword(): {"default": dtype, "vae": torch.float32}}
        try:
            with _no_progress_bars():
                pipeline = StableDiffusion3Pipeline.from_pretrained(
                    folder, use_safetensors=True, local_files_only=True, **dtypes, **absent
                )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise ModelError(f"{folder}: it does not load ({reason}). Check that the folder is whole.") from error
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

    # -- text --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Condition:
        """Equal to `pipe.encode_prompt`: CLIP tokens (both encoders side by side, zero-padded), then T5 tokens.

        One text at a time: in a batch its last digits would depend on what it is encoded with, and so on the number of
        processes that share the prompts of a step.
        """
        unique = list(dict.fromkeys(texts))
        parts = [self._encode([text]) for text in unique]
        row = {text: number for number, text in enumerate(unique)}
        return Condition.cat(parts)[[row[text] for text in texts]]

    def _encode(self, texts: list[str]) -> Condition:
        hidden, pooled = zip(*(self._clip(texts, number) for number in (0, 1)), strict=True)
        clip = torch.cat(hidden, dim=-1)
        t5 = self._t5(texts)
        clip = torch.nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return Condition(torch.cat([clip, t5], dim=-2), torch.cat(pooled, dim=-1))

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

    def _negative(self, rows: int) -> Condition:
        """The empty prompt, encoded once per model, for a whole batch."""
        if self._empty is None:
            self._empty = self.encode([""])
        return self._empty.repeat(rows)

    # -- the flow ----------------------------------------------------------------------------------------------------

    def sigmas(self, steps: int) -> torch.Tensor:
        """What the pipeline's scheduler gives for `set_timesteps(steps)`, then 0; from a fresh scheduler each time."""
        if steps < 1:
            raise ConfigError(f"steps: {steps} is too few. Use 1 or more.")
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        config = scheduler.config
        shift = {"mu": self._dynamic_shift(config)} if config.get("use_dynamic_shifting") else {}
        scheduler.set_timesteps(steps, device="cpu", **shift)
        return scheduler.sigmas.float()

    def _dynamic_shift(self, config: Any) -> float:
        """mu, linear in the number of image tokens (the SD3 pipeline's defaults)."""
        _, height, width = self.latent_shape
        tokens = (height // self.transformer.config.patch_size) * (width // self.transformer.config.patch_size)
        base_tokens, max_tokens = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.16)
        slope = (top - base) / (max_tokens - base_tokens)
        return tokens * slope + (base - slope * base_tokens)

    def velocity(
        self, x: torch.Tensor, sigma: float | torch.Tensor, condition: Condition, *, guidance: float = 1.0
    ) -> torch.Tensor:
        """See FlowModel. With guidance, [negative, positive] go through the transformer as one batch of 2 B."""
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(len(x))
        if guidance <= 1.0:
            return self._forward(x, sigma, condition)
        both = Condition.cat([self._negative(len(x)), condition])
        negative, positive = self._forward(torch.cat([x, x]), sigma.repeat(2), both).chunk(2)
        return negative + guidance * (positive - negative)  # Ho & Salimans 2022, equation 6, in diffusers' scale

    def _forward(self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition) -> torch.Tensor:
        return self.transformer(
            hidden_states=x.to(self.dtype),
            timestep=sigma * self.scheduler.config.num_train_timesteps,
            encoder_hidden_states=condition.embeds.to(self.dtype),
            pooled_projections=condition.pooled.to(self.dtype),
            return_dict=False,
        )[0].float()

    def decode_pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """latents / scaling + shift through the VAE, then from [-1, 1] to [0, 1], clamped."""
        config = self.vae.config
        scaled = latents.float() / config.scaling_factor + config.shift_factor
        at_once = max(1, PIXELS_AT_ONCE // self.resolution**2)
        pixels = torch.cat([self.vae.decode(part, return_dict=False)[0] for part in scaled.split(at_once)])
        return (pixels / 2 + 0.5).clamp(0, 1)


def _frozen(module: Any, device: torch.device) -> Any:
    return module.to(device).eval().requires_grad_(False)


def _dtype_keyword() -> str:
    import diffusers

    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (0, 42) else "torch_dtype"


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [log for log in (diffusers_logging, transformers_logging) if log.is_progress_bar_enabled()]
    for log in shown:
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log in shown:
            log.enable_progress_bar()

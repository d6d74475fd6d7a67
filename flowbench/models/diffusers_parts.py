"""What the families that are built of diffusers' components share: a pipeline from a folder, its schedule, its VAE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from flowbench.bounds import DENOISING_STEPS
from flowbench.errors import ConfigError, ModelError
from flowbench.models.base import Condition, ConditionT
from flowbench.models.families import INDEX
from flowbench.store import read_json
from flowbench.tensors import align

PIXELS_AT_ONCE = 1 << 21
"""through a VAE in one go: 8 pictures of 512 x 512, about 10 GB in the SD3 decoder"""


def load_pipeline(pipeline: Any, folder: Path, dtype: torch.dtype, *, optional: Sequence[str] = ()) -> Any:
    """A diffusers folder as an object of the class `pipeline`: safetensors only, the VAE in float32, the rest in dtype.

    optional: components that folders of this family may lack; those that the index leaves empty are None then.
    Raises ModelError, in one sentence, when it does not load.
    """
    import diffusers
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    index = read_json(folder / INDEX)
    absent = {name: None for name in optional if index.get(name) in (None, [], [None, None])}
    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    keyword = "dtype" if (major, minor) >= (0, 42) else "torch_dtype"
    dtypes = {keyword: {"default": dtype, "vae": torch.float32}}
    try:
        with ExitStack() as stack:
            for log in (diffusers_logging, transformers_logging):
                if log.is_progress_bar_enabled():
                    log.disable_progress_bar()
                    stack.callback(log.enable_progress_bar)
            return pipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True, **dtypes, **absent)
    except Exception as error:  # three libraries read its files, and raise a dozen kinds for damaged ones
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(f"{folder}: it does not load ({reason}). Check that the folder is whole.") from error


def frozen(module: Any, device: torch.device) -> Any:
    """The module on the device, as an evaluation needs it, and none of its weights trained."""
    module = module.to(device).eval().requires_grad_(False)
    align(module)
    return module


def frozen_vae(module: Any, device: torch.device) -> Any:
    """The same of a VAE; on a GPU its convolutions run fastest with the channels last."""
    vae = frozen(module, device)
    return vae.to(memory_format=torch.channels_last) if device.type == "cuda" else vae


def encode_each(texts: Sequence[str], encode: Callable[[list[str]], ConditionT]) -> ConditionT:
    """One row per text; a text that occurs twice is encoded once.

    `encode` gets one text at a time: in a batch its last digits would depend on what it is encoded with, and so on the
    number of processes that share the prompts of a step.
    """
    unique = list(dict.fromkeys(texts))
    row = {text: number for number, text in enumerate(unique)}
    return Condition.cat([encode([text]) for text in unique])[[row[text] for text in texts]]


def sigmas_of(scheduler: Any, steps: int, **options: Any) -> torch.Tensor:
    """(steps + 1,) float32 on the CPU: what `scheduler.set_timesteps(steps, **options)` gives, then 0.

    From a fresh scheduler each time, since one in use counts its steps. One step is [1, 0] (a scheduler that stretches
    its sigmas divides 0 by 0 there). Raises ConfigError for steps that are no whole number from 1 to DENOISING_STEPS,
    ModelError for a scheduler whose sigmas do not go from 1 down to 0.
    """
    if not isinstance(steps, int) or not 1 <= steps <= DENOISING_STEPS:
        raise ConfigError(f"steps: {steps} cannot be. Use a whole number from 1 to {DENOISING_STEPS}.")
    if steps == 1:
        return torch.tensor([1.0, 0.0])
    fresh = type(scheduler).from_config(scheduler.config)
    fresh.set_timesteps(steps, device="cpu", **options)
    sigmas: torch.Tensor = fresh.sigmas.float()
    # One comparison of numbers that are not finite is enough to fail: none of them is less than another.
    if sigmas.shape != (steps + 1,) or not (sigmas[0] == 1 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()):
        some = ", ".join(f"{sigma:g}" for sigma in sigmas[:3].tolist())
        raise ModelError(
            f"the model's scheduler gives {len(sigmas)} sigmas ({some} ...) for {steps} steps, where {steps + 1} are "
            "needed that fall from 1 to 0. Mend its scheduler_config.json, or ask for other steps."
        )
    return sigmas


def linear_mu(config: Any, tokens: int, *, max_shift: float) -> float:
    """A dynamic shift's mu, linear in the number of image tokens and not clamped.

    config: the scheduler's. max_shift: the pipeline's own default, where the config does not say.
    """
    base_tokens, max_tokens = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", max_shift)
    slope = (top - base) / (max_tokens - base_tokens)
    return tokens * slope + (base - slope * base_tokens)


def decode_pixels(vae: Any, latents: torch.Tensor, side: int) -> torch.Tensor:
    """Latents / scaling + shift through an AutoencoderKL; from [-1, 1] to (B, 3, side, side) in [0, 1], clamped.

    Infinite numbers become NaN.
    """
    scaled = latents.float() / vae.config.scaling_factor + vae.config.shift_factor
    at_once = max(1, PIXELS_AT_ONCE // side**2)
    pixels = torch.cat([vae.decode(part, return_dict=False)[0] for part in scaled.split(at_once)])
    return (pixels.masked_fill(pixels.isinf(), float("nan")) / 2 + 0.5).clamp(0, 1)


def encode_pixels(vae: Any, pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(B, 3, side, side) in [0, 1], as [-1, 1], to the mode of an AutoencoderKL's posterior: (mode - shift) * scaling.

    Raises ConfigError for pictures of another size.
    """
    if pixels.shape[1:] != (3, side, side):
        raise ConfigError(
            f"pictures of shape {tuple(pixels.shape[1:])} do not fit. Resize them to the model's (3, {side}, {side})."
        )
    at_once = max(1, PIXELS_AT_ONCE // side**2)
    parts = (2 * pixels.float() - 1).split(at_once)
    modes = torch.cat([vae.encode(part, return_dict=False)[0].mode() for part in parts])
    return (modes - vae.config.shift_factor) * vae.config.scaling_factor

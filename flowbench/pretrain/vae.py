"""Stage 2: the autoencoder, pixels <-> latents a quarter as wide and high (32 x 32 <-> C x 8 x 8).

First encoder and decoder together, then the decoder alone on noised latents: a transformer's latents are never exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import torch

from flowbench.images import to_tensor
from flowbench.pretrain.base import World
from flowbench.pretrain.loop import StageConfig, run_stage

OBJECT_WEIGHT = 4.0
KL_WEIGHT = 1e-3
POOL = 40_000
"""Pictures, made once."""


def build_vae(world: World, seed: int) -> Any:
    """A fresh AutoencoderKL. Narrow: on a CPU, width costs far more than its parameter count says."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=(8, 16, 32), layers_per_block=1,
        latent_channels=world.latent_channels,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, norm_num_groups=8,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False, sample_size=world.size,
    )  # fmt: skip


def pictures(world: World, seed: int, step: int, count: int) -> torch.Tensor:
    """`count` fresh renders, (count, 3, size, size) in [-1, 1]."""
    rng = numpy.random.default_rng([seed, 2, step])
    return to_tensor([world.any_picture(rng) for _ in range(count)]) * 2 - 1


def picture_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 plus squared error, weighted towards the objects (grey is 0 in [-1, 1])."""
    weight = 1 + (OBJECT_WEIGHT - 1) * (target.abs().amax(dim=1, keepdim=True) > 0.05).float()
    error = output - target
    return (weight * (error.abs() + error.square())).mean()


def train_vae(folder: Path, world: World, config: StageConfig, batch: int, seed: int) -> Any:
    """Joint training; sets scaling_factor and shift_factor so that latents have mean 0 and standard deviation 1."""
    vae = build_vae(world, seed)
    data = cached_pictures(folder, world, seed, POOL)

    def loss_at(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = numpy.random.default_rng([seed, 3, step])
        generator = torch.Generator().manual_seed(step)
        target = data[torch.from_numpy(rng.integers(len(data), size=batch))]
        posterior = vae.encode(target).latent_dist
        latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
        error = picture_loss(vae.decode(latents).sample, target)
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        return error + KL_WEIGHT * kl, {"error": float(error.detach()), "kl": float(kl.detach())}

    vae.load_state_dict(run_stage(folder, "vae", dict(vae.named_parameters()), loss_at, config))
    with torch.no_grad():
        latents = torch.cat([vae.encode(part).latent_dist.mean for part in data[:4096].split(256)])
    vae.register_to_config(scaling_factor=float(1 / latents.std()), shift_factor=float(latents.mean()))
    return vae.eval().requires_grad_(False)


def refine_decoder(folder: Path, world: World, vae: Any, config: StageConfig, batch: int, seed: int) -> Any:
    """Decoder only, on latents with normal noise of up to 0.1 of their standard deviation."""
    data = cached_pictures(folder, world, seed, POOL)
    with torch.no_grad():
        latents = torch.cat([vae.encode(part).latent_dist.mean for part in data.split(256)])
    decoder = vae.decoder.requires_grad_(True).train()

    def loss_at(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = torch.from_numpy(numpy.random.default_rng([seed, 4, step]).integers(len(data), size=batch))
        generator = torch.Generator().manual_seed(step)
        level = 0.1 / vae.config.scaling_factor * torch.rand((batch, 1, 1, 1), generator=generator)
        noised = latents[rows] + level * torch.randn(latents[rows].shape, generator=generator)
        return picture_loss(decoder(noised), data[rows]), {}

    decoder.load_state_dict(run_stage(folder, "decoder", dict(decoder.named_parameters()), loss_at, config))
    vae.eval().requires_grad_(False)
    return vae


def cached_pictures(folder: Path, world: World, seed: int, count: int) -> torch.Tensor:
    """A fixed pool of renders, made once and kept beside the states."""
    from flowbench.tensors import load_tensors, save_tensors

    path = folder / "pictures.safetensors"
    if not path.is_file():
        pool = torch.cat([pictures(world, seed, step, 1000) for step in range(count // 1000)])
        save_tensors(path, {"pictures": ((pool + 1) * 127.5).round().to(torch.uint8)})
    return load_tensors(path)[0]["pictures"].float() / 127.5 - 1

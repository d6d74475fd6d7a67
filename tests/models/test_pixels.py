"""Pictures to latents and back: by hand, against diffusers, and on a VAE that was trained to be its own inverse."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from flowbench import images, prompts
from flowbench.models import diffusers_parts, load_model
from flowbench.shapes import world


@torch.no_grad()
def test_encoding_by_hand(plain: Path) -> None:
    """Scaling 1.5305, shift 0.0609 (tests/tiny.py); a last layer without weights gives its bias for any picture."""
    model = load_model(plain)
    last = model.vae.encoder.conv_out  # 4 means, then 4 logarithms of variances
    last.weight.zero_()
    last.bias.copy_(torch.tensor([0.0609, 1.0609, -0.9391, 0.5609, 9.0, 9.0, 9.0, 9.0]))
    latents = model.encode_pixels(torch.rand((2, 3, 16, 16)))
    expected = torch.tensor([0.0, 1.5305, -1.5305, 0.76525])  # e.g. (0.5609 - 0.0609) * 1.5305
    torch.testing.assert_close(latents, expected.view(1, 4, 1, 1).expand(2, 4, 8, 8), rtol=0, atol=1e-6)


@torch.no_grad()
def test_decoding_by_hand(plain: Path) -> None:
    model = load_model(plain)
    last = model.vae.decoder.conv_out
    last.weight.zero_()
    last.bias.copy_(torch.tensor([0.5, -3.0, -0.25]))
    pixels = model.decode_pixels(model.noise([1, 2]))
    expected = torch.tensor([0.75, 0.0, 0.375])  # value / 2 + 0.5, clamped
    torch.testing.assert_close(pixels, expected.view(1, 3, 1, 1).expand(2, 3, 16, 16), rtol=0, atol=0)


@torch.no_grad()
def test_what_goes_into_the_vae_by_hand(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways end in the VAE: 0 to 1 becomes -1 to 1 there, and a latent of 1.5305 z becomes z + 0.0609."""
    model, seen = load_model(plain), []
    encode, decode = model.vae.encode, model.vae.decode
    monkeypatch.setattr(model.vae, "encode", lambda x, **options: seen.append(x) or encode(x, **options))
    monkeypatch.setattr(model.vae, "decode", lambda z, **options: seen.append(z) or decode(z, **options))
    model.encode_pixels(torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16))
    model.decode_pixels(torch.tensor([0.0, 1.5305, -3.061, 0.76525]).view(1, 4, 1, 1).expand(1, 4, 8, 8))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([-1.0, -0.5, 1.0]))
    torch.testing.assert_close(seen[1][0, :, 0, 0], torch.tensor([0.0609, 1.0609, -1.9391, 0.5609]))


@torch.no_grad()
def test_latents_are_those_of_the_image_to_image_pipeline(plain: Path) -> None:
    """It draws from the posterior and adds noise; with hardly any variance, and the noise known, both are undone."""
    from diffusers import StableDiffusion3Img2ImgPipeline

    model = load_model(plain)
    pipeline = StableDiffusion3Img2ImgPipeline.from_pretrained(plain, text_encoder_3=None, tokenizer_3=None)
    for vae in (model.vae, pipeline.vae):
        vae.encoder.conv_out.weight[4:].zero_()
        vae.encoder.conv_out.bias[4:].fill_(-30)
    pictures = [
        Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype="uint8")) for seed in (0, 1)
    ]
    pipeline.scheduler.set_timesteps(4)
    at = pipeline.scheduler.timesteps[1:2].repeat(2)
    sigma = float(pipeline.scheduler.sigmas[1])
    assert 0.1 < sigma < 0.95
    pixels = pipeline.image_processor.preprocess(pictures, height=16, width=16)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    noisy = pipeline.prepare_latents(pixels, at, 2, 1, torch.float32, "cpu", generators)
    again = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    for generator in again:
        torch.randn((1, 4, 8, 8), generator=generator)  # its draw from the posterior
    noise = torch.cat([torch.randn((1, 4, 8, 8), generator=generator) for generator in again])
    latents = model.encode_pixels(images.to_tensor(pictures))
    torch.testing.assert_close((1 - sigma) * latents + sigma * noise, noisy, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_trained_vae_gives_its_pictures_back() -> None:
    """The built-in model's, on pictures of its world that nobody trained on: there and back is nearly nothing."""
    model = load_model("shapes")
    generator = numpy.random.default_rng(0)
    scenes = [world.sample_scene(prompt.metadata, generator) for prompt in prompts.load("shapes", "test")[:24]]
    pixels = images.to_tensor([world.render(scene) for scene in scenes])
    latents = model.encode_pixels(pixels)
    back = model.decode_pixels(latents)
    assert (back - pixels).abs().mean() < 0.02
    assert (model.decode_pixels(latents.roll(1, dims=0)) - pixels).abs().mean() > 0.08
    assert 0.5 < latents.std() < 2  # what scaling is for: noise of variance 1 is mixed with this


@torch.no_grad()
def test_slices_are_as_large_as_memory_allows(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = load_model(plain), []
    encode, decode = model.vae.encode, model.vae.decode
    monkeypatch.setattr(model.vae, "encode", lambda x, **options: sizes.append(len(x)) or encode(x, **options))
    monkeypatch.setattr(model.vae, "decode", lambda z, **options: sizes.append(len(z)) or decode(z, **options))
    pixels = torch.rand((5, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    whole = model.decode_pixels(model.encode_pixels(pixels))
    monkeypatch.setattr(diffusers_parts, "PIXELS_AT_ONCE", 2 * 16 * 16 + 100)
    torch.testing.assert_close(model.decode_pixels(model.encode_pixels(pixels)), whole, rtol=0, atol=1e-5)
    assert sizes == [5, 5, 2, 2, 1, 2, 2, 1]
    monkeypatch.setattr(diffusers_parts, "PIXELS_AT_ONCE", 1)
    assert model.encode_pixels(pixels[:2]).shape == (2, 4, 8, 8)  # one at a time, at least

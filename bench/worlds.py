"""What bench/shapes_world.py and bench/letters_world.py share: pictures with another prompt, pictures through the
autoencoder, the page."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch

from flowbench.images import to_pil, to_tensor
from flowbench.store import write_text
from flowbench.types import Prompt, Sample


def wrong_prompt(samples: Sequence[Sample], content: Callable[[Prompt], object]) -> list[Sample]:
    """Each picture with the next prompt that asks for something else."""
    moved = []
    for index, sample in enumerate(samples):
        others = (samples[(index + shift) % len(samples)].prompt for shift in range(1, len(samples)))
        asked = content(sample.prompt)
        moved.append(Sample(next(other for other in others if content(other) != asked), sample.image))
    return moved


@torch.no_grad()
def reconstructed(model: Any, samples: Sequence[Sample]) -> list[Sample]:
    """Each picture as the model's autoencoder gives it back."""
    pixels = to_tensor([sample.image for sample in samples]) * 2 - 1
    decoded = model.vae.decode(model.vae.encode(pixels).latent_dist.mean).sample
    return [Sample(each.prompt, image) for each, image in zip(samples, to_pil(decoded / 2 + 0.5), strict=True)]


def write_page(out: Path, title: str, command: str, sections: Sequence[tuple[str, Sequence[str]]]) -> None:
    """A Markdown page: how and when it was made, then each heading with its lines."""
    lines = [
        f"# {title}",
        "",
        f"`{command}`, {datetime.date.today()}, {platform.machine()}, torch {torch.__version__}.",
    ]
    for heading, body in sections:
        lines += ["", f"## {heading}", "", *body]
    write_text(out, "\n".join([*lines, ""]))
    click.echo(f"written: {out}")

"""The only place where picture layouts and dtypes are converted.

Tensors are float, (B, 3, H, W), in [0, 1]; PIL pictures are RGB.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flowbench import store

FACTS = "flowbench"
"""The keyword of the text in a PNG file that says what the picture is."""


def to_pil(pixels: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] -> B RGB pictures, rounded to the nearest of 256 levels."""
    array = pixels.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in array]


def to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    """RGB pictures of one size -> (B, 3, H, W) float32 in [0, 1]."""
    array = numpy.stack([to_array(image) for image in images])
    return torch.from_numpy(array).permute(0, 3, 1, 2).float().div(255)


def to_array(image: Image.Image) -> numpy.ndarray:
    """A picture of any mode -> (H, W, 3) uint8, RGB."""
    return numpy.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def png_bytes(image: Image.Image, facts: Mapping[str, Any] | None = None) -> bytes:
    """The picture as a PNG file's bytes; `facts` stand in it as text, under FACTS, as JSON."""
    buffer = io.BytesIO()
    text = PngInfo()
    if facts:
        text.add_itxt(FACTS, store.to_json(facts))
    image.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def grid(rows: Sequence[Sequence[Image.Image]], *, scale: int = 1, gap: int = 4) -> Image.Image:
    """Rows of equal-sized pictures on one white sheet; `scale` repeats pixels (for pictures of 32 px)."""
    width, height = rows[0][0].size
    cell_w, cell_h = width * scale + gap, height * scale + gap
    sheet = Image.new("RGB", (gap + cell_w * max(len(row) for row in rows), gap + cell_h * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            enlarged = image.resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (gap + x * cell_w, gap + y * cell_h))
    return sheet

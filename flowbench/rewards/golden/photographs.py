"""The two photographs of the golden checks, with a caption that is right and one that is wrong for each."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from flowbench import images
from flowbench.types import Prompt, Sample

FOLDER = Path(__file__).parent / "photos"
CAPTIONS = {"cat": "a photo of a cat", "coffee": "a photo of a cup of coffee"}
LABELS = {"cat": "cat", "coffee": "cup"}
"""The COCO class that is on each."""


def photo(name: str) -> Image.Image:
    """The photograph, RGB."""
    return images.read_picture(FOLDER / f"{name}.jpg")


def swapped(image: Image.Image) -> Image.Image:
    """The picture as it looks to a network that takes red for blue."""
    red, green, blue = image.split()
    return Image.merge("RGB", (blue, green, red))


def captioned(name: str, *, right: bool) -> Sample:
    """A photograph with its own caption or the other one's."""
    other = next(each for each in CAPTIONS if each != name)
    return Sample(Prompt(name, CAPTIONS[name if right else other]), photo(name))

"""The colour of a detected object, as GenEval names it: zero-shot CLIP on the object over flat grey.

Source: arXiv 2310.11513 and djghosh13/geneval at af4902f, with clip-benchmark's zero-shot classifier. The object's mask
is cut out onto #999, cropped to its box, brought through CLIP's own preprocessing (short side to 224, centre crop: long
objects lose their ends) and compared with the mean of three texts for each of ten colours.

The published run used open_clip 2.20, where OpenAI's weights brought QuickGELU with them; here the architecture says
so. It ran CLIP in mixed precision; here it runs in `dtype`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import torch
from PIL import Image

from flowbench.errors import RewardError
from flowbench.rewards import openclip
from flowbench.rewards.networks import Placement, place
from flowbench.types import Detection
from flowbench.vocabularies import COLORS

ARCHITECTURE = "ViT-L-14-quickgelu"
ASSET = "clip-vit-l-14"
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")
BACKGROUND = "#999"

NameColor = Callable[[Image.Image, Detection], str]
"""The picture, one of its objects -> one of COLORS."""


@dataclass(frozen=True)
class ColorClassifier:
    """CLIP and, for each class it was asked about, the ten colours' text vectors."""

    clip: openclip.OpenClip
    architecture: str
    _known: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def quick_gelu(self) -> bool:
        """Does the network run with the activation that its weights were trained with?"""
        return any(type(module).__name__ == "QuickGELU" for module in self.clip.model.modules())

    def name(self, image: Image.Image, detection: Detection) -> str:
        """The object's colour."""
        logits = self.logits(image, detection)
        if not logits.isfinite().all():
            raise RewardError("the colour network gave numbers that are not finite. Verify its weights, use float32.")
        return COLORS[int(logits.argmax())]

    def logits(self, image: Image.Image, detection: Detection) -> torch.Tensor:
        """(10,): 100 times the cosine with each of COLORS."""
        seen = self.clip.encode_images([cut_out(image, detection)])[0]
        return 100 * self.text_vectors(detection.label) @ seen

    def text_vectors(self, label: str) -> torch.Tensor:
        """(10, D): for each colour the unit vector along the mean of its three unit text vectors."""
        if label not in self._known:
            texts = [template.format(color=color, name=label) for color in COLORS for template in TEMPLATES]
            vectors = self.clip.encode_texts(texts).unflatten(0, (len(COLORS), len(TEMPLATES)))
            self._known[label] = openclip.unit(vectors.mean(dim=1))
        return self._known[label]


def load(placement: Placement) -> ColorClassifier:
    """The classifier on OpenAI's ViT-L/14. Raises AssetError when the weights cannot be had."""
    return ColorClassifier(openclip.load(ASSET, ARCHITECTURE, placement=placement), ARCHITECTURE)


def when_asked(*, dtype: str = "float32", device: str = "auto") -> NameColor:
    """`load(...).name`, loaded at the first question: most prompts ask for no colour.

    Where to is settled now: the question may come from another thread, whose current CUDA device is another one.
    """
    placement = place(device, dtype)
    loaded: list[ColorClassifier] = []
    loading = Lock()

    def name(image: Image.Image, detection: Detection) -> str:
        with loading:
            if not loaded:
                loaded.append(load(placement))
        return loaded[0].name(image, detection)

    return name


def cut_out(image: Image.Image, detection: Detection) -> Image.Image:
    """The object over flat grey (all of the picture, if it has no mask), cropped to its box (rounded by PIL)."""
    picture = image.convert("RGB")
    if detection.mask is not None:
        grey = Image.new("RGB", picture.size, BACKGROUND)
        picture = Image.composite(picture, grey, Image.fromarray(detection.mask))
    return picture.crop(detection.box)

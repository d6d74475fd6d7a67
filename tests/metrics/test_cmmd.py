"""CMMD: its formula by hand and pair by pair, its preprocessing against the published steps."""

from __future__ import annotations

import io
import math
import urllib.request

import numpy
import pytest
import tiny_clip
import torch
from PIL import Image

from flowbench import metrics
from flowbench.metrics.cmmd import CARD, central_square, mmd
from flowbench.types import Prompt, Sample


def pair_by_pair(x, y, sigma=10.0):
    def mean(a, b):
        values = [math.exp(-float(((p - q) ** 2).sum()) / (2 * sigma**2)) for p in a for q in b]
        return sum(values) / len(values)

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


def unit_rows(seed, number):
    rows = torch.randn(number, 8, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=1, keepdim=True)


def test_one_picture_against_one_is_two_thousand_times_one_minus_k():
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])  # |x - y|^2 = 2
    assert mmd(x, y) == pytest.approx(2000 * (1 - math.exp(-0.01)), rel=1e-12)
    assert mmd(x, -x) == pytest.approx(2000 * (1 - math.exp(-0.02)), rel=1e-12)  # as far as CMMD goes
    assert mmd(x, -x) < CARD.high < mmd(x, -x) * 1.001
    assert mmd(x, y, sigma=1.0, scale=1.0) == pytest.approx(2 * (1 - math.exp(-1)), rel=1e-12)


def test_it_is_the_biased_estimate_of_all_pairs():
    x, y = unit_rows(0, 7), unit_rows(1, 5)
    assert mmd(x, y) == pytest.approx(pair_by_pair(x.double(), y.double()), rel=1e-9)
    assert mmd(x, y) == pytest.approx(mmd(y, x), rel=1e-12)
    assert mmd(x, x.flip(0)) == pytest.approx(0, abs=1e-9)


def test_blocks_of_rows_make_no_difference():
    x, y = unit_rows(2, 1500), unit_rows(3, 1100)
    table = torch.exp(-(torch.cdist(x.double(), y.double()) ** 2) / 200).mean()
    within = [torch.exp(-(torch.cdist(s.double(), s.double()) ** 2) / 200).mean() for s in (x, y)]
    assert mmd(x, y) == pytest.approx(float(1000 * (sum(within) - 2 * table)), rel=1e-6)


def test_pictures_are_brought_into_shape_as_published(weights, picture):
    """google-research/cmmd, io_util.py: central square, PIL's bicubic, / 255, CLIP's mean and std."""
    import open_clip
    from safetensors.torch import load_file

    model = open_clip.CLIP(**open_clip.get_model_config(tiny_clip.TINY_QUICK)).eval()
    model.load_state_dict(load_file(weights / "clip-vit-l-14-336" / "open_clip_model.safetensors"))

    def embed(image):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((32, 32), resample=Image.BICUBIC)
        pixels = numpy.asarray(square).astype(numpy.float32) / 255
        pixels = (pixels - (0.48145466, 0.4578275, 0.40821073)) / (0.26862954, 0.26130258, 0.27577711)
        with torch.no_grad():
            return torch.nn.functional.normalize(
                model.encode_image(torch.tensor(pixels).permute(2, 0, 1)[None].float())
            )

    made, real = [picture(1, (61, 40)), picture(2, (33, 90))], [picture(3, (50, 50)), picture(4, (71, 70))]
    x, y = (torch.cat([embed(image) for image in images]).double() for images in (made, real))
    samples = [Sample(Prompt("p", "x"), image) for image in made]
    found = metrics.build("cmmd")(samples, real)[0].score
    assert found.value == pytest.approx(pair_by_pair(x, y), rel=1e-3)
    assert found.value > 0.01
    assert found.details == {"pictures": 2, "reference": 2}


def test_the_central_square_of_odd_sizes():
    image = Image.fromarray(numpy.arange(7, dtype=numpy.uint8)[None].repeat(4, 0))
    assert numpy.asarray(central_square(image))[0].tolist() == [1, 2, 3, 4]


@pytest.mark.network
def test_the_published_pair_of_pictures():
    """7.696 in the README of sayakpaul/cmmd-pytorch. Needs clip-vit-l-14-336 (1.7 GB) and the two pictures there."""
    pictures = []
    for path in ("reference_images/glowing_512_1.png", "generated_images/glowing_512_2.png"):
        address = f"https://raw.githubusercontent.com/sayakpaul/cmmd-pytorch/main/{path}"
        with urllib.request.urlopen(address) as answer:
            pictures.append(Image.open(io.BytesIO(answer.read())).convert("RGB"))
    reference, made = pictures
    found = metrics.build("cmmd", options={"device": "cpu"})([Sample(Prompt("p", "x"), made)], [reference])
    assert found[0].score.value == pytest.approx(7.696, abs=0.01)

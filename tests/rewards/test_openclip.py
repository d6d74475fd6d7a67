"""OpenAI's weights need QuickGELU, LAION's GELU: with the other one scores are off, and nothing says so."""

from __future__ import annotations

import open_clip
import pytest

from flowbench.metrics import cmmd, diversity
from flowbench.rewards import aesthetic, clip_score, hpsv2
from flowbench.rewards.geneval import colors

BY_OPENAI = [aesthetic.ARCHITECTURE, cmmd.ARCHITECTURE, colors.ARCHITECTURE, diversity.ARCHITECTURE]


@pytest.mark.parametrize("architecture", sorted({*BY_OPENAI, *clip_score.ARCHITECTURES.values()}))
def test_openais_weights_run_with_quickgelu(architecture):
    assert open_clip.get_model_config(architecture)["quick_gelu"] is True


def test_laions_weights_run_with_gelu():
    assert not open_clip.get_model_config(hpsv2.ARCHITECTURE).get("quick_gelu", False)


def test_the_sizes_are_the_published_ones():
    names = (*BY_OPENAI, hpsv2.ARCHITECTURE)
    sizes = {name: open_clip.get_model_config(name)["vision_cfg"]["image_size"] for name in names}
    assert sizes == {"ViT-L-14-quickgelu": 224, "ViT-L-14-336-quickgelu": 336, "ViT-H-14": 224}

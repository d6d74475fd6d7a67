"""LAION's aesthetic predictor v2: how beautiful a picture is, whatever the prompt. About 1 to 10, mostly 4.5 to 6.5.

CLIP ViT-L/14's embedding of the picture, divided by its length, goes through five linear layers with nothing but
dropout between them, so through one affine map. Two ways to get it wrong, both silent: an embedding that is not
normalised gives 20 to 30 (LAION-AI/aesthetic-predictor issue 5); a GELU network under these QuickGELU weights gave 4.44
instead of 5.05 for one picture (axinc-ai/ailia-models PR 1810). HEIM's aesthetics are the older v1 head: another scale.

flow_grpo computes the same with transformers' CLIP, whose centre crop may lie one pixel elsewhere when the picture is
not square; the head's authors preprocess as OpenAI does, and as is done here.

What 16 bits cost (`dtype`), measured with random weights of full size on four photographs, which differ by 0.11: 0.0032
in bfloat16, 0.0004 in float16.

Source: christophschuhmann/improved-aesthetic-predictor, sac+logos+ava1-l14-linearMSE.pth.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowbench import assets
from flowbench.errors import AssetError
from flowbench.rewards import Card, openclip, register
from flowbench.rewards.networks import Affine, fold_head, place
from flowbench.types import RewardFunction, Sample, Score

ARCHITECTURE = "ViT-L-14-quickgelu"
HEAD_FILE = "sac+logos+ava1-l14-linearMSE.pth"
CARD = Card(
    "aesthetic",
    "How beautiful people would find the picture, without looking at the prompt.",
    unit="LAION aesthetic v2 points",
    source="LAION, improved-aesthetic-predictor",
    licence="Apache-2.0 (head), MIT (CLIP)",
    backbone="CLIP ViT-L/14 by OpenAI, QuickGELU, by open_clip",
    revision=f"timm/vit_large_patch14_clip_224.openai; {HEAD_FILE}",
    preprocessing="shorter side to 224, bicubic by PIL; centre crop; embedding divided by its length",
    needs=("clip-vit-l-14", "aesthetic"),
    reference="DrawBench: SD3.5-M 5.39, after Flow-GRPO on GenEval 5.25 (arXiv 2505.05470)",
)


@register("aesthetic", card=CARD)
def aesthetic(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> RewardFunction:
    """The predicted rating. `dtype` is that of CLIP; the head is computed in float64."""
    clip = openclip.load("clip-vit-l-14", ARCHITECTURE, placement=place(device, dtype))
    rate = load_head(assets.folder("aesthetic"))
    width = clip.model.text_projection.shape[-1]  # type: ignore[index]
    if len(rate.weight) != width:
        raise AssetError(
            f"the aesthetic head takes {len(rate.weight)} numbers and CLIP gives {width}: they are not of one model. "
            "Fetch both again."
        )

    def reward(samples: Sequence[Sample]) -> list[Score]:
        if not samples:
            return []
        return [Score(value) for value in rate(clip.encode_images([sample.image for sample in samples], batch_size))]

    return reward


def load_head(folder: Path) -> Affine:
    """The head from its published file. Raises AssetError."""
    path = folder / HEAD_FILE
    return fold_head(assets.read_checkpoint(path), str(path))

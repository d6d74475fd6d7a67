"""CLIPScore: how well picture and prompt agree to OpenAI's CLIP. The backbone is in the name: values of two differ.

Value = 100 x max(cosine, 0), as torchmetrics has it. Other conventions for the same cosine, not used here: 2.5 x
max(cosine, 0) with ViT-B/32 and "A photo depicts" before the text (the paper), 100 x cosine / 30 (flow_grpo), the
cosine itself (DiffusionNFT).

Where we differ: torchmetrics takes the maximum with 0 of the mean over all pictures, we of each picture's value; it
cuts the end token off a text of more than 77, we keep it, as OpenAI's code and transformers' own truncation do.
flow_grpo resizes bilinearly, we as OpenAI does. Texts are cleaned as in OpenAI's code, by open_clip's tokenizer: ftfy,
HTML entities resolved, lower case; transformers' tokenizer, in torchmetrics and flow_grpo, leaves `&amp;` and ’ as they
are.

What 16 bits cost (`dtype`), measured with random weights of full size on four photographs, which differ by 8: ViT-L/14
0.046 in bfloat16 and 0.017 in float16, ViT-B/32 0.078 and 0.005.

Source: Hessel et al. 2021, arXiv 2104.08718; torchmetrics.multimodal.CLIPScore.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flowbench.rewards import Card, Part, openclip, register
from flowbench.rewards.networks import place, score_texts
from flowbench.types import RewardFunction, Sample, Score

ARCHITECTURES = {"clip-vit-l-14": "ViT-L-14-quickgelu", "clip-vit-b-32": "ViT-B-32-quickgelu"}
"""Asset -> architecture by open_clip's name."""

_card = partial(
    Card,
    summary="100 x the cosine of picture and prompt in CLIP's space, not below 0.",
    unit="100 x cosine",
    low=0.0,
    high=100.0,
    source="arXiv 2104.08718, in the unit of torchmetrics",
    licence="MIT (code and weights)",
    rl_scale=1 / 30,
    preprocessing="shorter side to 224, bicubic by PIL; centre crop; text as in OpenAI's code: ftfy, HTML entities "
    "resolved (&amp; is &), lower case, cut to 77 tokens of which the last is the end token",
    parts={"cosine": Part("cosine", "higher")},
)
L_14_CARD = _card(
    "clip_score-vit-l-14",
    backbone="CLIP ViT-L/14 by OpenAI, QuickGELU, by open_clip",
    revision="timm/vit_large_patch14_clip_224.openai",
    needs=("clip-vit-l-14",),
)
B_32_CARD = _card(
    "clip_score-vit-b-32",
    backbone="CLIP ViT-B/32 by OpenAI, QuickGELU, by open_clip",
    revision="timm/vit_base_patch32_clip_224.openai",
    needs=("clip-vit-b-32",),
    reference='CLIP\'s README: CLIP.png, softmax over "a diagram", "a dog", "a cat": .9928, .0042, .0030',
)


@register("clip_score-vit-l-14", card=L_14_CARD)
def clip_score_vit_l_14(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> RewardFunction:
    """CLIPScore with the backbone that torchmetrics and flow_grpo use."""
    return _reward("clip-vit-l-14", dtype, device, batch_size)


@register("clip_score-vit-b-32", card=B_32_CARD)
def clip_score_vit_b_32(*, dtype: str = "float32", device: str = "auto", batch_size: int = 16) -> RewardFunction:
    """CLIPScore with the backbone of the paper, in torchmetrics' unit."""
    return _reward("clip-vit-b-32", dtype, device, batch_size)


def _reward(asset: str, dtype: str, device: str, batch_size: int) -> RewardFunction:
    clip = openclip.load(asset, ARCHITECTURES[asset], placement=place(device, dtype))

    def score(samples: list[Sample]) -> list[Score]:
        texts = [sample.prompt.text for sample in samples]
        cosines = clip.cosines([sample.image for sample in samples], texts, batch_size)
        return [Score(100 * max(cosine, 0.0), {"cosine": cosine}) for cosine in cosines]

    def reward(samples: Sequence[Sample]) -> list[Score]:
        return score_texts(samples, score)

    return reward

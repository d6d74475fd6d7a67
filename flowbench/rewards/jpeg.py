"""How small a picture gets as a JPEG: no network, no weights. The example to copy for a reward of your own.

Source: DDPO (Black et al. 2023, arXiv 2305.13301). Quality 95 as in its code; 1 kB is 1000 bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from flowbench.rewards import Card, register
from flowbench.types import RewardFunction, Sample, Score

CARD = Card("jpeg", "The size as a JPEG of quality 95: negated (smaller is better), or as it is with `larger`.", "kB",
            source="DDPO, arXiv 2305.13301", licence="none needed", rl_scale=1 / 500)  # fmt: skip


@register("jpeg", card=CARD)
def jpeg(*, larger: bool = False) -> RewardFunction:
    """-kB (DDPO's compressibility), or +kB with `larger` (incompressibility)."""
    sign = 1 if larger else -1

    def score(samples: Sequence[Sample]) -> list[Score]:
        return [Score(sign * _kilobytes(sample)) for sample in samples]

    return score


def _kilobytes(sample: Sample) -> float:
    buffer = io.BytesIO()
    sample.image.convert("RGB").save(buffer, format="JPEG", quality=95)
    return buffer.tell() / 1000

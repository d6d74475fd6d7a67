"""A preference-style reward on the built-in world, and the rule behind it: what training on a learned proxy does.

`taste` is a small network that has seen pairs of pictures with labels and nothing else; `taste_rule` is what the labels
were drawn from (flowbench/shapes/taste_rule.py). A policy that trains on the first is watched by the second: the proxy
may go on rising when what it stands for no longer does.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowbench.rewards import Card, register
from flowbench.types import RewardFunction, Sample, Score

CARD = Card("taste", "How much a picture of the built-in world is liked, by a network that has learned it from pairs.",
            "logit", direction="higher", source="ours: flowbench/pretrain/taste.py", licence="none needed",
            preprocessing="scaled to 32 x 32 px", reference="our own labelled pairs", gold="taste_rule")  # fmt: skip
RULE_CARD = Card("taste_rule",
                 "The rule of taste that the labels of `taste` were drawn from: warm, and left of the middle.", "share",
                 0.0, 1.0, "higher", source="ours: flowbench/shapes/taste_rule.py", licence="none needed")  # fmt: skip


@register("taste", card=CARD)
def taste() -> RewardFunction:
    """The network's logit, whatever the prompt."""
    from flowbench.shapes.taste_network import liked, load_network

    network = load_network()

    def score(samples: Sequence[Sample]) -> list[Score]:
        return [Score(value) for value in liked(network, [sample.image for sample in samples])]

    return score


@register("taste_rule", card=RULE_CARD)
def taste_rule() -> RewardFunction:
    """The rule, by the built-in detector."""
    from flowbench.shapes.detector import detect
    from flowbench.shapes.taste_rule import taste as rule

    def score(samples: Sequence[Sample]) -> list[Score]:
        return [Score(rule(detect(sample.image), sample.image.width)) for sample in samples]

    return score

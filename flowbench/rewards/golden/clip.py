"""Golden checks of rewards that compare a picture with its prompt, or judge its looks, through a network."""

from __future__ import annotations

from collections.abc import Iterator

from flowbench.rewards.combine import build
from flowbench.rewards.golden.finding import Finding
from flowbench.rewards.golden.photographs import CAPTIONS, captioned


def captions(reward: str, device: str) -> Iterator[Finding]:
    """Each photograph must score higher under its own caption than under the other one's."""
    scorer = build(reward, options={reward: {"device": device}}, cache=False)
    pairs = {name: scorer([captioned(name, right=True), captioned(name, right=False)]) for name in CAPTIONS}
    for name, (right, wrong) in pairs.items():
        yield Finding(
            reward,
            f"the right caption wins ({name})",
            right.value > wrong.value,
            f"{right.value:.3f} > {wrong.value:.3f}",
        )
    values = [score.value for scores in pairs.values() for score in scores]
    low, high = scorer.card.low, scorer.card.high
    within = all((low is None or value >= low) and (high is None or value <= high) for value in values)
    yield Finding(reward, "values lie in the card's range", within, f"{min(values):.3f} to {max(values):.3f}")


def pickscore(reward: str, device: str) -> Iterator[Finding]:
    """As `captions`; and the logit scale, value / cosine, is about 100 as in the published weights."""
    yield from captions(reward, device)
    score = build(reward, options={reward: {"device": device}}, cache=False)([captioned("cat", right=True)])[0]
    scale = score.value / score.parts["cosine"]
    yield Finding(reward, "the logit scale is about 100", 90 <= scale <= 110, f"{scale:.2f}")


def clip_score(reward: str, device: str) -> Iterator[Finding]:
    """As `captions`; and the network runs with the activation that its weights were trained with."""
    from flowbench.rewards.clip_score import ARCHITECTURES

    yield from captions(reward, device)
    yield _quick_gelu(reward, ARCHITECTURES[reward.replace("clip_score-", "clip-")])


def aesthetic(reward: str, device: str) -> Iterator[Finding]:
    """Photographs lie between 3 and 8, an embedding that is not normalised gives 20 to 30; QuickGELU is on."""
    from flowbench.rewards.aesthetic import ARCHITECTURE

    yield _quick_gelu(reward, ARCHITECTURE)
    scorer = build(reward, options={reward: {"device": device}}, cache=False)
    scores = scorer([captioned(name, right=True) for name in CAPTIONS])
    seen = ", ".join(f"{score.value:.2f}" for score in scores)
    yield Finding(reward, "photographs score 3 to 8", all(3 < score.value < 8 for score in scores), seen)


def _quick_gelu(reward: str, architecture: str) -> Finding:
    """OpenAI's weights under GELU change an aesthetic score from 5.05 to 4.44, which no range would show."""
    import open_clip

    config = open_clip.get_model_config(architecture) or {}
    return Finding(reward, "runs with QuickGELU", config.get("quick_gelu") is True, architecture)

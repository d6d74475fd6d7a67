"""GenEval as rewards: one implementation, four names for four readings of the same verdict.

Source: arXiv 2310.11513 (rule), arXiv 2505.05470 (Flow-GRPO: its partial score as a training reward).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flowbench.errors import ConfigError, RewardError
from flowbench.rewards import Card, register
from flowbench.rewards.geneval import detectors
from flowbench.rewards.geneval.flowgrpo import partial_score
from flowbench.rewards.geneval.rule import Verdict, judge
from flowbench.types import Detection, RewardFunction, Sample, Score

ValueOf = Callable[[Verdict, Sequence[Detection], Mapping[str, Any]], float]

_card = partial(
    Card,
    low=0.0,
    high=1.0,
    source="GenEval, arXiv 2310.11513, judged by the vocabulary's detector (shapes: the exact one)",
    licence="MIT (rule)",
)
CARD = _card("geneval", "Share of the prompt's counts, colours and places that the picture shows.", "share of terms")
OFFICIAL_CARD = _card(
    "geneval_official",
    "1 when the published GenEval rule accepts the picture (at least n objects), else 0.",
    "correct pictures",
    reference="overall, Mask2Former: SD3.5-M .63, after Flow-GRPO .95 (arXiv 2505.05470)",
)
STRICT_CARD = _card(
    "geneval_strict", "1 when the picture shows exactly the objects asked for of each class, else 0.", "exact pictures"
)
FLOWGRPO_CARD = _card(
    "geneval_flowgrpo",
    "The partial score of flow_grpo's reward server, its errors kept; to reproduce published runs.",
    "mean of terms",
    low=None,
    source="yifan123/reward-server (arXiv 2505.05470)",
)


@register("geneval", card=CARD)
def geneval(
    *, detector: str | None = None, extra_price: float = 0.0, strict_share: float = 0.0, vocabulary: str | None = None
) -> RewardFunction:
    """The bounded partial score: the default to train on. See `rule.judge` for its terms.

    `strict_share` of it (0 to 1) is earned by strictly right pictures only: value = (1 - share) x partial + share x
    strict. It is ours, 0 is the published reward: under that, two objects in the wrong order earn 2/3, well above a
    weak policy's mean, and the policy settles on one order for every pair before it has learned the relation.
    """
    if not 0 <= strict_share <= 1:
        raise ConfigError(f"strict_share is {strict_share}. Give a share of the reward, from 0 (none) to 1.")

    def value(verdict: Verdict, found: Sequence[Detection], spec: Mapping[str, Any]) -> float:
        return (1 - strict_share) * verdict.score + strict_share * verdict.strict

    return _reward(value, detector, extra_price, vocabulary)


@register("geneval_strict", card=STRICT_CARD)
def geneval_strict(
    *, detector: str | None = None, extra_price: float = 0.0, vocabulary: str | None = None
) -> RewardFunction:
    """1 for exact counts, colours and places."""
    return _reward(lambda verdict, found, spec: float(verdict.strict), detector, extra_price, vocabulary)


@register("geneval_official", card=OFFICIAL_CARD)
def geneval_official(
    *, detector: str | None = None, extra_price: float = 0.0, vocabulary: str | None = None
) -> RewardFunction:
    """1 where the official rule says correct: the number to report."""
    return _reward(lambda verdict, found, spec: float(verdict.correct), detector, extra_price, vocabulary)


@register("geneval_flowgrpo", card=FLOWGRPO_CARD)
def geneval_flowgrpo(*, detector: str | None = None, vocabulary: str | None = None) -> RewardFunction:
    """flow_grpo's partial score as published (`flowgrpo.partial_score` lists its quirks)."""
    return _reward(lambda verdict, found, spec: partial_score(found, spec, _color), detector, 0.0, vocabulary)


def _reward(value_of: ValueOf, detector: str | None, extra_price: float, vocabulary: str | None) -> RewardFunction:
    """value x (1 - extra_price) ** extras, with every reading of the verdict in the parts.

    `extra_price` is ours: 0 is the published reward, under which extra objects are free lottery tickets.
    """
    if not 0 <= extra_price <= 1:
        raise ConfigError(f"extra_price is {extra_price}. Give a share of the reward, from 0 (free) to 1.")
    name = detectors.choose(detector, vocabulary)
    detect = detectors.build(name)
    labels = detectors.labels(name)

    def score(samples: Sequence[Sample]) -> list[Score]:
        scores = [_no_clauses(sample) for sample in samples]
        places = [place for place, sample in enumerate(samples) if sample.prompt.metadata.get("include")]
        specs = [_spec(samples[place], name, labels) for place in places]
        pictures = detect([samples[place].image for place in places]) if places else []
        for place, spec, found in zip(places, specs, pictures, strict=True):
            verdict = judge(found, spec, _color)
            value = value_of(verdict, found, spec) * (1 - extra_price) ** verdict.extras
            scores[place] = Score(value, _parts(verdict), _note(verdict))
        return scores

    return score


def _no_clauses(sample: Sample) -> Score:
    return Score.unscored(
        f"prompt '{sample.prompt.id}' has no `include` clauses in its metadata: GenEval needs GenEval-style prompts"
    )


def _spec(sample: Sample, detector: str, labels: frozenset[str] | None) -> dict[str, Any]:
    """The prompt's metadata; refused when it names a class that the detector can never find."""
    spec = {"tag": sample.prompt.tag, **sample.prompt.metadata}
    clauses = spec["include"]
    if not isinstance(clauses, Sequence) or not all(isinstance(clause, Mapping) for clause in clauses):
        raise RewardError(
            f"prompt '{sample.prompt.id}': its `include` is {clauses!r}. Write a list of objects like "
            '{"class": "circle", "count": 1}.'
        )
    unknown = {clause.get("class") for clause in spec["include"]} - labels if labels is not None else set()
    if unknown:
        raise RewardError(
            f"prompt '{sample.prompt.id}' asks for '{sorted(map(str, unknown))[0]}', which the detector '{detector}' "
            "does not know. Choose prompts and a detector of one vocabulary."
        )
    return spec


def _color(detection: Detection) -> str:
    if detection.color is None:
        raise RewardError(f"the detector gave no colour for a {detection.label}. Choose a detector that names colours.")
    return detection.color


def _parts(verdict: Verdict) -> dict[str, float]:
    return {
        "official": float(verdict.correct),
        "strict": float(verdict.strict),
        "exclusive": float(verdict.exclusive),
        "partial": verdict.score,
        "extras": float(verdict.extras),
    }


def _note(verdict: Verdict) -> str:
    """Why the picture is not right; failing that, what is too much on it."""
    too_many = f"{verdict.extras} more object{'s' * (verdict.extras > 1)} than asked for" if verdict.extras else ""
    return verdict.reason or too_many

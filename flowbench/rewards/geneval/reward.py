"""GenEval as rewards: one implementation, four names for four readings of the same verdict.

Source: arXiv 2310.11513 (rule), arXiv 2505.05470 (Flow-GRPO: its partial score as a training reward).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from PIL import Image

from flowbench.errors import ConfigError, RewardError
from flowbench.registry import did_you_mean
from flowbench.rewards import Card, Part, plugin_code, register
from flowbench.rewards.geneval import colors, detectors
from flowbench.rewards.geneval.flowgrpo import partial_score
from flowbench.rewards.geneval.rule import ColorOf, Verdict, asked_once, best_first, judge, read_spec
from flowbench.rewards.networks import in_batches
from flowbench.types import Detection, RewardFunction, Sample, Score


class Setup(NamedTuple):
    """Who looks at the pictures: the options that all four rewards share."""

    detector: str | None
    """Its name; None: the vocabulary's default."""
    vocabulary: str | None
    """The object names that the prompts use."""
    dtype: str
    """Of the networks of detector and colours; a detector without one takes no notice of it."""
    device: str
    """Likewise."""
    batch_size: int
    """Likewise; and at most that many pictures' masks are held at a time."""


class Judged(NamedTuple):
    """One picture: what was found on it, what its prompt asks for, who names colours, and the verdict."""

    found: Sequence[Detection]
    spec: Mapping[str, Any]
    color_of: ColorOf
    verdict: Verdict


ValueOf = Callable[[Judged], float]

PARTS = {
    **dict.fromkeys(("official", "strict", "exclusive"), Part("share", "higher")),
    "partial": Part("share of terms", "higher"),
    "extras": Part("objects a picture", "lower"),
}
_card = partial(
    Card,
    version="2",
    low=0.0,
    high=1.0,
    source="GenEval, arXiv 2310.11513, judged by the vocabulary's detector (shapes: the exact one)",
    licence="MIT (rule)",
    backbone="shapes: none; coco80: Mask2Former Swin-S, and CLIP ViT-L/14 for colours",
    preprocessing="coco80: fitted into 1333 x 800 without antialias",
    parts=PARTS,
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
    "The partial score of flow_grpo's reward server with the errors of its rule, to compare with published runs. Three "
    "others are not repeated: it judged a JPEG of quality 75, fed the detector red and blue swapped, and ran the "
    "colour CLIP with GELU instead of QuickGELU.",
    "mean of terms",
    low=None,
    source="yifan123/reward-server (arXiv 2505.05470)",
)


@register("geneval", card=CARD)
def geneval(
    *,
    detector: str | None = None,
    extra_price: float = 0.0,
    strict_share: float = 0.0,
    dtype: str = "float32",
    device: str = "auto",
    batch_size: int = 8,
    vocabulary: str | None = None,
) -> RewardFunction:
    """The bounded partial score: the default to train on. See `rule.judge` for its terms.

    `strict_share` of it (0 to 1) is earned by strictly right pictures only: value = (1 - share) x partial + share x
    strict. It is ours, 0 is the published reward: under that, two objects in the wrong order earn 2/3, well above a
    weak policy's mean, and the policy settles on one order for every pair before it has learned the relation.
    """
    if not 0 <= strict_share <= 1:
        raise ConfigError(f"strict_share is {strict_share}. Give a share of the reward, from 0 (none) to 1.")

    def value(judged: Judged) -> float:
        return (1 - strict_share) * judged.verdict.score + strict_share * judged.verdict.strict

    return _reward(value, Setup(detector, vocabulary, dtype, device, batch_size), extra_price)


@register("geneval_strict", card=STRICT_CARD)
def geneval_strict(
    *,
    detector: str | None = None,
    extra_price: float = 0.0,
    dtype: str = "float32",
    device: str = "auto",
    batch_size: int = 8,
    vocabulary: str | None = None,
) -> RewardFunction:
    """1 for exact counts, colours and places."""
    setup = Setup(detector, vocabulary, dtype, device, batch_size)
    return _reward(lambda judged: float(judged.verdict.strict), setup, extra_price)


@register("geneval_official", card=OFFICIAL_CARD)
def geneval_official(
    *,
    detector: str | None = None,
    extra_price: float = 0.0,
    dtype: str = "float32",
    device: str = "auto",
    batch_size: int = 8,
    vocabulary: str | None = None,
) -> RewardFunction:
    """1 where the official rule says correct: the number to report."""
    setup = Setup(detector, vocabulary, dtype, device, batch_size)
    return _reward(lambda judged: float(judged.verdict.correct), setup, extra_price)


@register("geneval_flowgrpo", card=FLOWGRPO_CARD)
def geneval_flowgrpo(
    *,
    detector: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    batch_size: int = 8,
    vocabulary: str | None = None,
) -> RewardFunction:
    """flow_grpo's partial score as published (`flowgrpo.partial_score` lists its quirks)."""
    setup = Setup(detector, vocabulary, dtype, device, batch_size)
    return _reward(lambda judged: partial_score(judged.found, judged.spec, judged.color_of), setup)


def _code(options: Mapping[str, Any], vocabulary: str | None) -> dict[str, str]:
    """The code of a detector that a plugin brings."""
    return plugin_code(detectors.choose(options.get("detector"), vocabulary), detectors.registry)


for _factory in (geneval, geneval_strict, geneval_official, geneval_flowgrpo):
    _factory.needs, _factory.code = detectors.needs, _code


def _reward(value_of: ValueOf, setup: Setup, extra_price: float = 0.0) -> RewardFunction:
    """value x (1 - extra_price) ** extras, with every reading of the verdict in the parts.

    `extra_price` is ours: 0 is the published reward, under which extra objects are free lottery tickets.
    """
    if not 0 <= extra_price <= 1:
        raise ConfigError(f"extra_price is {extra_price}. Give a share of the reward, from 0 (free) to 1.")
    name = detectors.choose(setup.detector, setup.vocabulary)
    detect = detectors.build(name, dtype=setup.dtype, device=setup.device, batch_size=setup.batch_size)
    name_color = (
        _color_given if detectors.names_colors(name) else colors.when_asked(dtype=setup.dtype, device=setup.device)
    )

    def score(samples: Sequence[Sample]) -> list[Score]:
        scores = [
            Score.unscored(
                f"prompt '{sample.prompt.id}' has no `include` clauses in its metadata: GenEval needs GenEval-style "
                "prompts"
            )
            for sample in samples
        ]
        asked = [place for place, sample in enumerate(samples) if sample.prompt.metadata.get("include")]
        specs = {place: _spec(samples[place], name) for place in asked}
        for places in in_batches(asked, setup.batch_size):
            pictures = [samples[place].image for place in places]
            for place, image, found in zip(places, pictures, detect(pictures), strict=True):
                color_of = asked_once(partial(name_color, image))
                judged = Judged(found, specs[place], color_of, judge(found, specs[place], color_of))
                scores[place] = _score(judged, value_of(judged) * (1 - extra_price) ** judged.verdict.extras)
        return scores

    return score


def _score(judged: Judged, value: float) -> Score:
    """With all readings of the verdict, why the picture is not right (failing that, what is too much on it), and what
    was found of each class: (x0, y0, x1, y1, score), best first, as in GenEval's own results file."""
    verdict = judged.verdict
    parts = {
        "official": float(verdict.correct),
        "strict": float(verdict.strict),
        "exclusive": float(verdict.exclusive),
        "partial": verdict.score,
        "extras": float(verdict.extras),
    }
    too_many = f"{verdict.extras} more object{'s' * (verdict.extras > 1)} than asked for" if verdict.extras else ""
    objects: dict[str, list[list[float]]] = {}
    for detection in best_first(judged.found):
        objects.setdefault(detection.label, []).append([*map(float, detection.box), float(detection.score)])
    return Score(value, parts, verdict.reason or too_many, {"objects": objects})


def _spec(sample: Sample, detector: str) -> dict[str, Any]:
    """The prompt's metadata; refused when it is malformed, or names a class or a colour that can never be found."""
    spec = {"tag": sample.prompt.tag, **sample.prompt.metadata}
    try:
        asked = read_spec(spec)
    except RewardError as error:
        raise RewardError(f"prompt '{sample.prompt.id}': {error}") from None
    known, named = detectors.labels(detector), detectors.colors(detector)
    for clause in (*asked.include, *asked.exclude):
        if clause.color is not None and clause.color not in named:
            raise RewardError(
                f"prompt '{sample.prompt.id}' asks for the colour '{clause.color}', which GenEval has no name for."
                f"{did_you_mean(clause.color.lower(), named)} Its colours: {', '.join(named)}."
            )
        if known is not None and clause.label not in known:
            raise RewardError(
                f"prompt '{sample.prompt.id}' asks for '{clause.label}', which the detector '{detector}' does not know."
                f"{did_you_mean(clause.label.lower(), known)} Choose prompts and a detector of one vocabulary."
            )
    return spec


def _color_given(image: Image.Image, detection: Detection) -> str:
    if detection.color is None:
        raise RewardError(
            f"the detector gave no colour for a {detection.label}. Choose a detector that names colours, or register "
            "it with names_colors=False: then GenEval's colour network is asked."
        )
    return detection.color

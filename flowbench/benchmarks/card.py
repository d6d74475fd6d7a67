"""The settings card of an evaluation, built from what is measured and on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowbench import store
from flowbench.benchmarks.plan import Item
from flowbench.benchmarks.suite import Suite
from flowbench.evals.evaluation import EvaluationCard
from flowbench.prompts import PromptSet, prompts_digest

if TYPE_CHECKING:
    from flowbench.benchmarks.sources import PictureSource


def build_evaluation_card(
    source: PictureSource, suite: Suite, prompt_set: PromptSet, items: Sequence[Item], *, seed: int
) -> EvaluationCard:
    """The card of one evaluation of these pictures; `with_scorers` adds who scored."""
    prompts = list({item.prompt.id: item.prompt for item in items}.values())
    each, uneven = divmod(len(items), len(prompts))
    parts = source.card(suite)
    return replace(
        parts,
        must_agree={
            "suite": suite.name,
            "suite_version": suite.version,
            "prompt_set": f"{prompt_set.name} {prompt_set.version} {suite.split}",
            "prompts": prompts_digest(prompts),
            "num_prompts": len(prompts),
            "images_per_prompt": len(items) / len(prompts) if uneven else each,
            "seed": seed,
            **parts.must_agree,
            "scorers": {},
        },
        noted={**parts.noted, "interval": suite.interval, **store.versions()},
    )


def with_scorers(card: EvaluationCard, scorers: Mapping[str, Mapping[str, Any]], *, interval: str) -> EvaluationCard:
    """The card with the identities of its scorers (name -> what decides its numbers), and how bounds were found."""
    identities = {name: dict(identity) for name, identity in scorers.items()}
    return replace(
        card, must_agree={**card.must_agree, "scorers": identities}, noted={**card.noted, "interval": interval}
    )


def card_key(card: EvaluationCard) -> str:
    """Ten hex digits that name the evaluation's folder: everything that the pictures depend on, and the files' format.

    Of what is only noted, the dtype counts, so that a half-precision run does not find single-precision pictures and
    take them for its own. Who scores does not: the same pictures are scored by others, or anew, in the same folder.
    """
    kept = {"subject": card.subject, "must_agree": card.settings, "declared": card.declared}
    return store.digest({**kept, "dtype": card.noted["dtype"], "format": card.format})[:10]

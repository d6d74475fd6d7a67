"""The settings card of an evaluation: everything that a number depends on, by what a difference means.

subject      what is measured: the model with its noise schedule, and its adapter
must_agree   a difference forbids a comparison
declared     shown in the table; a difference must be allowed and marks the cell
noted        kept for the record
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowbench import store
from flowbench.benchmarks.suite import Suite
from flowbench.prompts import PromptSet, prompts_digest
from flowbench.types import Prompt

if TYPE_CHECKING:
    from flowbench.benchmarks.sources import PictureSource

Card = dict[str, dict[str, Any]]


def build_evaluation_card(
    source: PictureSource, suite: Suite, prompt_set: PromptSet, prompts: Sequence[Prompt], *, seed: int
) -> Card:
    """The card of one evaluation on these prompts; `with_scorers` adds who scored."""
    return {
        "subject": source.subject(suite.steps),
        "must_agree": {
            "suite": suite.name,
            "suite_version": suite.version,
            "prompt_set": f"{prompt_set.name} {prompt_set.version} {suite.split}",
            "prompts": prompts_digest(prompts),
            "num_prompts": len(prompts),
            "images_per_prompt": suite.images_per_prompt,
            "seed": seed,
            **source.agreed(),
            "scorers": {},
        },
        "declared": source.declared(suite),
        "noted": {**source.noted(), **store.versions()},
    }


def with_scorers(card: Mapping[str, Mapping[str, Any]], scorers: Mapping[str, Mapping[str, Any]]) -> Card:
    """The card with the identities of its scorers (name -> what decides its numbers)."""
    must_agree = {**card["must_agree"], "scorers": {name: dict(identity) for name, identity in scorers.items()}}
    return {**{part: dict(fields) for part, fields in card.items()}, "must_agree": must_agree}


def card_key(card: Mapping[str, Mapping[str, Any]]) -> str:
    """Ten hex digits that name the evaluation's folder: everything that the pictures depend on.

    Of what is only noted, the dtype counts, lest a half-precision run find single-precision pictures and take them for
    its own. Who scores does not: the same pictures are scored by others, or anew, in the same folder.
    """
    kept = {part: dict(card[part]) for part in ("subject", "must_agree", "declared")}
    kept["must_agree"].pop("scorers", None)
    return store.digest({**kept, "dtype": card["noted"]["dtype"]})[:10]

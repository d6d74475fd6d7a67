"""The settings card of an evaluation: everything that a number depends on, by what a difference means.

subject      what is measured: the model with its noise schedule, and its adapter
must_agree   a difference forbids a comparison
declared     shown in the table; a difference must be allowed and marks the cell
noted        kept for the record
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowbench import assets, store
from flowbench.benchmarks.suite import Suite
from flowbench.prompts import PromptSet, prompts_digest
from flowbench.types import Prompt

if TYPE_CHECKING:
    from flowbench.models import FlowModel


def build_card(
    model: FlowModel, suite: Suite, prompt_set: PromptSet, prompts: Sequence[Prompt], *, seed: int, batch_size: int
) -> dict[str, dict[str, Any]]:
    """The card of one evaluation of `model` on these prompts."""
    return {
        "subject": {
            "model": model.name,
            "source": model.source,
            "weights": model.base_digest,
            "adapter": adapter_digest(model.adapter_parameters()),
            "sigmas": store.digest(model.sigmas(suite.steps).tolist())[:12],
        },
        "must_agree": {
            "suite": suite.name,
            "suite_version": suite.version,
            "prompt_set": f"{prompt_set.name} {prompt_set.version} {suite.split}",
            "prompts": prompts_digest(prompts),
            "num_prompts": len(prompts),
            "images_per_prompt": suite.images_per_prompt,
            "seed": seed,
            "resolution": model.resolution,
            "scorer": _scorer(suite, prompt_set.vocabulary or model.vocabulary),
        },
        "declared": {
            "steps": suite.steps,
            "guidance": max(1.0, float(suite.guidance)),  # below 1 there is none either
            "sampler": "ode euler",
            "negative_prompt": "",
        },
        "noted": {
            "device": str(model.device),
            "dtype": str(model.dtype),
            "batch_size": batch_size,
            **store.versions(),
        },
    }


def card_key(card: Mapping[str, Mapping[str, Any]]) -> str:
    """Ten hex digits that name the evaluation's folder.

    All of the card counts but what is noted; of that, the dtype, lest a half-precision run find single-precision
    pictures and take them for its own. The code of the rewards does not: the same pictures are scored anew.
    """
    kept = {part: dict(card[part]) for part in ("subject", "must_agree", "declared")}
    kept["must_agree"]["scorer"] = {key: value for key, value in scorer_of(card).items() if key != "code"}
    return store.digest({**kept, "dtype": card["noted"]["dtype"]})[:10]


def scorer_of(card: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who scored: rewards, options, vocabulary, weights and, for rewards of plugins, their `code`."""
    return dict(card["must_agree"]["scorer"])


def adapter_digest(parameters: Mapping[str, Any]) -> str:
    """ "none", or twelve hex digits of the SHA-256 over the adapter's names, shapes and float32 values."""
    if not parameters:
        return "none"
    total = hashlib.sha256()
    for name in sorted(parameters):
        values = parameters[name].detach().float().cpu().contiguous().numpy()
        total.update(f"{name}{values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()[:12]


def _scorer(suite: Suite, vocabulary: str) -> dict[str, Any]:
    """Who scores: the rewards, their options, the vocabulary that picks a detector, the weights they need, and the code
    of those that are not ours (ours changes with the suite's version)."""
    from flowbench import rewards

    names = [suite.reward] if isinstance(suite.reward, str) else list(suite.reward)
    needs = [rewards.needed_weights(name, suite.reward_options.get(name, {}), vocabulary) for name in names]
    return {
        "reward": suite.reward if isinstance(suite.reward, str) else dict(suite.reward),
        "options": {name: dict(options) for name, options in suite.reward_options.items()},
        "vocabulary": vocabulary,
        "weights": assets.identities(need for each in needs for need in each),
        **({"code": code} if (code := rewards.plugin_code(suite.reward)) else {}),
    }

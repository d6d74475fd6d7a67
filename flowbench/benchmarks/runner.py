"""Evaluate a model on a suite: generate what is missing -> score what is missing -> summarise."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import prompts, store
from flowbench.benchmarks import suite as suite_module
from flowbench.benchmarks.card import build_card, card_key, scorer_of
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import Item, batches, limited, plan
from flowbench.benchmarks.suite import Suite
from flowbench.errors import ConfigError, ModelError
from flowbench.evals.score import Record, is_scored, summarise, to_record, unscored_reasons
from flowbench.types import Sample

if TYPE_CHECKING:
    from flowbench.models import FlowModel
    from flowbench.rewards import Reward

Progress = Callable[[str, int, int], None]
"""progress(stage, done, total), with stage "generate" or "score"."""


def evaluate(
    model: FlowModel,
    suite: str | Suite,
    *,
    out: str | Path,
    limit: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    label: str | None = None,
    progress: Progress | None = None,
    **protocol: float | None,
) -> Path:
    """Evaluate `model` and return the folder `<out>/eval/<suite>-<card key>/`.

    It holds records.jsonl (one line per picture), images/, card.json and, when all is done, summary.json.

    `protocol` may hold `steps`, `guidance` and `images_per_prompt` in place of the suite's own; `limit` keeps so many
    prompts, taken in turns from the tags. The pictures' seeds follow from (seed, suite, prompt id, index) alone.

    May be killed at any moment and called again: pictures and scores that are there are not made again, and the summary
    comes out the same. Pictures left unscored by a failing reward are given to it again; after a change of a plugin's
    file all are, and the scores of before lie in records-*.jsonl. Raises ConfigError for a suite that does not fit the
    model, RunError when another process holds the folder.
    """
    suite = suite_module.find(suite).with_protocol(**protocol)
    prompt_set = prompts.find(suite.prompt_set)
    _check_vocabulary(model, suite, prompt_set.vocabulary)
    chosen = limited(prompts.load(suite.prompt_set, suite.split), limit)
    items = plan(chosen, suite=suite.name, images_per_prompt=suite.images_per_prompt, seed=seed)
    card = build_card(model, suite, prompt_set, chosen, seed=seed, batch_size=batch_size)
    folder = Path(out) / "eval" / f"{store.slug(suite.name)}-{card_key(card)}"
    report = progress or _silent
    with store.locked(folder):
        _keep_card(folder, card)
        pictures = Pictures(folder / "images")
        _generate_missing(model, suite, items, pictures, batch_size, report)
        records = _score_missing(suite, prompt_set.vocabulary or model.vocabulary, items, pictures, batch_size, report)
        summary = build_summary(suite, records, label=label or model.name, card=store.read_json(folder / "card.json"))
        store.write_json(folder / "summary.json", summary)
    return folder


def build_summary(suite: Suite, records: Sequence[Record], *, label: str, card: dict[str, Any]) -> dict[str, Any]:
    """What stands in summary.json: the numbers with their intervals, the counts, and the card they hold for."""
    reasons = unscored_reasons(records)
    return {
        "suite": suite.name,
        "label": label,
        "model": card["subject"]["model"],
        "headline": suite.headline,
        "also_show": list(suite.also_show),
        "unseen": list(suite.unseen),
        "prompts": len({record["prompt_id"] for record in records}),
        "images": len(records),
        "unscored": sum(reasons.values()),
        "unscored_reasons": reasons,
        "metrics": summarise(records, suite.metrics),
        "card": card,
    }


def _keep_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card. Scores by other code of a reward than today's are laid aside, to be made anew."""
    path, records = folder / "card.json", folder / "records.jsonl"
    if path.exists():
        before = scorer_of(store.read_json(path)).get("code")
        if before == scorer_of(card).get("code"):
            return
        (folder / "summary.json").unlink(missing_ok=True)  # it would pass for the summary of what comes
        if records.exists():
            os.replace(records, records.with_name(f"records-{store.digest(before)[:10]}.jsonl"))
    store.write_json(path, card)


def _generate_missing(
    model: FlowModel, suite: Suite, items: list[Item], pictures: Pictures, batch_size: int, progress: Progress
) -> None:
    done = 0
    for batch in batches(items, batch_size):
        missing = [item for item in batch if not pictures.has(item.picture)]
        if missing:
            samples = model.generate(
                [item.prompt for item in missing],
                [item.seed for item in missing],
                steps=suite.steps,
                guidance=suite.guidance,
                batch_size=batch_size,
            )
            if len(samples) != len(missing):
                raise ModelError(f"model '{model.name}' gave {len(samples)} pictures, {len(missing)} were asked for.")
            pictures.add([(item.picture, sample.image) for item, sample in zip(missing, samples, strict=True)])
        done += len(batch)
        progress("generate", done, len(items))


def _score_missing(
    suite: Suite, vocabulary: str, items: list[Item], pictures: Pictures, batch_size: int, progress: Progress
) -> list[Record]:
    """The record of every picture. A batch that lacks one is scored whole, so that its composition never varies."""
    path = pictures.folder.parent / "records.jsonl"
    held = {(record["prompt_id"], record["index"]): record for record in store.read_jsonl(path)}
    reward: Reward | None = None
    done = 0
    for batch in batches(items, _whole_prompts(batch_size, suite.images_per_prompt)):
        missing = {item.key for item in batch if item.key not in held or not is_scored(held[item.key])}
        if missing:
            reward = reward or _build_reward(suite, vocabulary)
            for item, record in zip(batch, _score(reward, batch, pictures), strict=True):
                if item.key in missing and held.get(item.key) != record:
                    store.append_jsonl(path, record)
                    held[item.key] = record
        done += len(batch)
        progress("score", done, len(items))
    return [held[item.key] for item in items]


def _whole_prompts(batch_size: int, images_per_prompt: int) -> int:
    """The batch size for scoring: whole prompts, since some rewards judge a prompt's pictures together."""
    return max(1, batch_size // images_per_prompt) * images_per_prompt


def _score(reward: Reward, items: list[Item], pictures: Pictures) -> list[Record]:
    """Score from the files, never from memory: a resumed run then sees what an undisturbed one saw."""
    samples = [Sample(item.prompt, pictures.load(item.picture), item.seed) for item in items]
    scores = reward(samples)
    return [
        to_record(sample, score, index=item.index, image=f"images/{item.picture}")
        for item, sample, score in zip(items, samples, scores, strict=True)
    ]


def _build_reward(suite: Suite, vocabulary: str) -> Reward:
    from flowbench import rewards

    return rewards.build(suite.reward, vocabulary=vocabulary, options=suite.reward_options, on_error="skip")


def _check_vocabulary(model: FlowModel, suite: Suite, vocabulary: str) -> None:
    if vocabulary and model.vocabulary and vocabulary != model.vocabulary:
        raise ConfigError(
            f"suite '{suite.name}' speaks of {vocabulary}, model '{model.name}' draws {model.vocabulary}. "
            "Choose a suite of the model's vocabulary."
        )


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody listens."""

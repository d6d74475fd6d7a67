"""Score pictures that are there already: no model, no generation, the same rewards, records and intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import store
from flowbench.benchmarks.given import Given, pictures_digest
from flowbench.evals.score import Record, is_scored, summarise, to_record, unscored_reasons
from flowbench.prompts import prompts_digest
from flowbench.types import Prompt

if TYPE_CHECKING:
    from flowbench.rewards import Card, Reward

Progress = Callable[[int, int], None]
"""progress(done, total)."""


def score_pictures(
    given: Sequence[Given],
    reward: str,
    *,
    out: str | Path,
    label: str,
    vocabulary: str | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Path:
    """Score the pictures with one reward and return the folder `<out>/eval/<reward>-<key>/`.

    It holds what the folder of an evaluation holds but the pictures: records.jsonl, card.json and, when all is done,
    summary.json; `flowbench compare` reads it. After a kill the same call goes on. Other pictures, prompts, options or
    code of the reward get a folder of their own. Raises what `rewards.build` raises, and RunError for a broken picture.
    """
    from flowbench import rewards

    options = dict(options or {})
    card = build_card(given, _scorer(reward, options, vocabulary))
    folder = Path(out) / "eval" / f"{store.slug(reward)}-{store.digest(_kept(card))[:10]}"
    with store.locked(folder):
        store.write_json(folder / "card.json", card)
        built = rewards.build(reward, vocabulary=vocabulary, options={reward: options}, on_error="skip")
        try:
            records = _score_missing(given, built, folder / "records.jsonl", batch_size, progress)
        finally:
            built.close()
        store.write_json(folder / "summary.json", build_summary(built.card, records, label, card))
    return folder


def build_card(given: Sequence[Given], scorer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings card; see `benchmarks.card`. How the pictures were made is not known, so nothing is declared."""
    prompts = _prompts(given)
    return {
        "subject": {"model": "pictures", "source": "", "adapter": "none", "pictures": pictures_digest(given)},
        "must_agree": {
            "suite": scorer["reward"],
            "prompts": prompts_digest(prompts),
            "num_prompts": len(prompts),
            "images_per_prompt": len(given) / len(prompts),
            "scorer": dict(scorer),
        },
        "declared": {},
        "noted": store.versions(),
    }


def build_summary(scorer: Card, records: Sequence[Record], label: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in summary.json: the value and every part with their intervals."""
    parts = sorted({part for record in records for part in record["parts"]})
    reasons = unscored_reasons(records)
    return {
        "suite": scorer.name,
        "label": label,
        "model": card["subject"]["model"],
        "unit": scorer.unit,
        "direction": scorer.direction,
        "headline": "value",
        "also_show": [],
        "unseen": [],
        "prompts": len({record["prompt_id"] for record in records}),
        "images": len(records),
        "unscored": sum(reasons.values()),
        "unscored_reasons": reasons,
        "metrics": summarise(records, ["value", *parts]),
        "card": dict(card),
    }


def _score_missing(
    given: Sequence[Given], reward: Reward, path: Path, batch_size: int, progress: Progress | None
) -> list[Record]:
    """The record of every picture; those that a failing reward left unscored are given to it again."""
    held = {(record["prompt_id"], record["index"]): record for record in store.read_jsonl(path)}
    done = 0
    for batch in _whole_prompts(given, batch_size):
        missing = {each.key for each in batch if each.key not in held or not is_scored(held[each.key])}
        if missing:
            samples = [each.load() for each in batch]
            for each, sample, score in zip(batch, samples, reward(samples), strict=True):
                record = to_record(sample, score, index=each.index, image=each.name)
                if each.key in missing and held.get(each.key) != record:
                    store.append_jsonl(path, record)
                    held[each.key] = record
        done += len(batch)
        if progress is not None:
            progress(done, len(given))
    return [held[each.key] for each in given]


def _whole_prompts(given: Sequence[Given], size: int) -> Iterator[list[Given]]:
    """Batches of about `size` pictures that never part a prompt's, since some rewards judge those together."""
    batch: list[Given] = []
    for place, each in enumerate(given):
        if batch and each.prompt.id != given[place - 1].prompt.id and len(batch) >= size:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _prompts(given: Sequence[Given]) -> list[Prompt]:
    return list({each.prompt.id: each.prompt for each in given}.values())


def _scorer(reward: str, options: Mapping[str, Any], vocabulary: str | None) -> dict[str, Any]:
    from flowbench import rewards

    card = rewards.registry.card(reward)
    code = rewards.plugin_code(reward)
    return {
        "reward": reward,
        "options": {key: value for key, value in options.items() if key not in ("device", "batch_size")},
        "vocabulary": vocabulary or "",
        "weights": list(card.needs) if card is not None else [],
        **({"code": code} if code else {}),
    }


def _kept(card: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What names the folder: all but what is only noted."""
    return {part: card[part] for part in ("subject", "must_agree", "declared")}

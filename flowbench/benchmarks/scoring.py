"""Score and measure pictures that are there already: no model, no generation, the same rewards and records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import store
from flowbench.benchmarks import geneval_results
from flowbench.benchmarks.existing import ExistingPicture, pictures_digest
from flowbench.benchmarks.records import measure_missing, measure_set, score_missing, whole_prompts
from flowbench.benchmarks.scorers import Scorer
from flowbench.evals.score import Record, is_scored, summarise, unscored_reasons
from flowbench.prompts import prompts_digest
from flowbench.types import Prompt

if TYPE_CHECKING:
    from flowbench.rewards import Card

FILE = "records.jsonl"
Progress = Callable[[int, int], None]
"""progress(done, total)."""


@dataclass(frozen=True)
class Running:
    """How scoring runs, which changes no score: pictures at a time, seconds for one call of the reward, who is told."""

    batch_size: int = 16
    timeout: float | None = None
    progress: Progress | None = None


def score_pictures(
    given: Sequence[ExistingPicture],
    reward: str,
    *,
    out: str | Path,
    label: str,
    vocabulary: str | None = None,
    options: Mapping[str, Any] | None = None,
    running: Running = Running(),
) -> Path:
    """Score the pictures with one reward and return the folder `<out>/eval/<reward>-<key>/`.

    It holds what the folder of an evaluation holds but the pictures: records.jsonl, card.json and, when all is done,
    summary.json; for GenEval rewards results.jsonl as well. `flowbench compare` reads it. After a kill the same call
    goes on. Other pictures, prompts, options, weights or code of the reward get a folder of their own. Raises what
    `rewards.build` raises, and AssetError. A file that is no picture is unscored, with the reason.
    """
    scorer = Scorer(reward, "reward", dict(options or {}), vocabulary or "")
    card = build_card(given, scorer.identity())
    folder = _folder(out, reward, card)
    with store.locked(folder):
        store.write_json(folder / "card.json", card)
        built = scorer.build(running.timeout)
        try:
            batches = list(whole_prompts(given, running.batch_size))
            found = score_missing(batches, lambda: built, [folder / FILE], told=running.progress)
        finally:
            built.close()
        records = [found[each.key] for each in given]
        geneval_results.write(folder, given, records)
        store.write_json(folder / "summary.json", build_summary(built.card, records, label, card))
    return folder


def measure_pictures(
    given: Sequence[ExistingPicture],
    metric: str,
    *,
    out: str | Path,
    label: str,
    options: Mapping[str, Any] | None = None,
    reference: Sequence[ExistingPicture] | None = None,
) -> Path:
    """Measure the pictures with one metric; the folder `<out>/eval/<metric>-<key>/`, as of `score_pictures`.

    `reference`: the pictures that metrics of level "set" compare with. A record is one picture, one prompt or, at level
    "set", all of them. After a kill the same call goes on with the next prompt; a set begins again. Raises what
    `metrics.build` raises, ConfigError without a reference that is needed, and, at level "set", RunError for a broken
    picture; elsewhere that is unscored.
    """
    scorer = Scorer(metric, "metric", dict(options or {}))
    scorer.check()
    compared = {"reference": pictures_digest(reference)} if reference is not None else {}
    card = build_card(given, scorer.identity() | compared)
    folder = _folder(out, metric, card)
    with store.locked(folder):
        store.write_json(folder / "card.json", card)
        built = scorer.build()
        if scorer.level == "set":
            records = measure_set(given, built, folder / FILE, reference)
        else:
            by_picture = scorer.level == "picture"
            batches = list(whole_prompts(given, 1))
            found = measure_missing(batches, lambda: built, [folder / FILE], by_picture=by_picture)
            keys = [each.key for each in given if by_picture or each.index == 0]
            records = [found[key] for key in keys]
        store.write_json(folder / "summary.json", build_summary(built.card, records, label, card))
    return folder


def build_card(given: Sequence[ExistingPicture], scorer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings card; see `benchmarks.card`. How the pictures were made is not known, so nothing is declared."""
    prompts = _prompts(given)
    return {
        "subject": {"model": "pictures", "source": "", "adapter": "none", "pictures": pictures_digest(given)},
        "must_agree": {
            "suite": scorer["reward"],
            "prompts": prompts_digest(prompts),
            "num_prompts": len(prompts),
            "num_images": len(given),
            "images_per_prompt": len(given) / len(prompts),
            "scorer": dict(scorer),
        },
        "declared": {},
        "noted": store.versions(),
    }


def build_summary(scorer: Card, records: Sequence[Record], label: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in summary.json: the value and every part with their intervals."""
    parts = sorted({part for record in records if is_scored(record) for part in record["parts"]})
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


def _prompts(given: Sequence[ExistingPicture]) -> list[Prompt]:
    return list({each.prompt.id: each.prompt for each in given}.values())


def _folder(out: str | Path, name: str, card: Mapping[str, Mapping[str, Any]]) -> Path:
    """Its name is a hash of all of the card but what is only noted."""
    kept = {part: card[part] for part in ("subject", "must_agree", "declared")}
    return Path(out) / "eval" / f"{store.slug(name)}-{store.digest(kept)[:10]}"

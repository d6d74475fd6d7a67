"""Score and measure pictures that are there already: no model, no generation, the same rewards and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import assets, store
from flowbench.benchmarks import geneval_results
from flowbench.benchmarks.given import Given, pictures_digest
from flowbench.errors import RunError
from flowbench.evals.score import Record, is_scored, summarise, to_record, unscored_reasons
from flowbench.prompts import prompts_digest
from flowbench.types import Prompt, Sample, Score

if TYPE_CHECKING:
    from flowbench.metrics import Metric
    from flowbench.rewards import Card, Reward

Progress = Callable[[int, int], None]
"""progress(done, total)."""


@dataclass(frozen=True)
class Running:
    """How scoring runs, which changes no score: pictures at a time, seconds for one call of the reward, who is told."""

    batch_size: int = 16
    timeout: float | None = None
    progress: Progress | None = None


def score_pictures(
    given: Sequence[Given],
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
    from flowbench import rewards

    options = dict(options or {})
    needs = rewards.needed_weights(reward, options, vocabulary)
    scorer = rewards.describe(reward, options, vocabulary=vocabulary)
    card = build_card(given, scorer | {"weights": assets.identities(needs)})
    folder = _folder(out, reward, card)
    with store.locked(folder):
        store.write_json(folder / "card.json", card)
        built = rewards.build(
            reward, vocabulary=vocabulary, options={reward: options}, on_error="skip", timeout=running.timeout
        )
        try:
            records = _score_missing(given, built, folder / "records.jsonl", running)
        finally:
            built.close()
        geneval_results.write(folder, given, records)
        store.write_json(folder / "summary.json", build_summary(built.card, records, label, card))
    return folder


def measure_pictures(
    given: Sequence[Given],
    metric: str,
    *,
    out: str | Path,
    label: str,
    options: Mapping[str, Any] | None = None,
    reference: Sequence[Given] | None = None,
) -> Path:
    """Measure the pictures with one metric; the folder `<out>/eval/<metric>-<key>/`, as of `score_pictures`.

    `reference`: the pictures that metrics of level "set" compare with. A record is one picture, one prompt or, at level
    "set", all of them. After a kill the same call goes on with the next prompt; a set begins again. Raises what
    `metrics.build` raises, ConfigError without a reference that is needed, and, at level "set", RunError for a broken
    picture; elsewhere that is unscored.
    """
    from flowbench import metrics, rewards

    options = dict(options or {})
    compared = {"reference": pictures_digest(reference)} if reference is not None else {}
    metrics.check(metric, options)
    described = metrics.registry.card(metric)
    scorer = rewards.describe(metric, options, table=metrics.registry) | compared
    card = build_card(given, scorer | {"weights": assets.identities(described.needs if described else ())})
    folder = _folder(out, metric, card)
    with store.locked(folder):
        store.write_json(folder / "card.json", card)
        built = metrics.build(metric, options=options, on_error="skip")
        if built.level != "set":
            records = _measure_missing(given, built, folder / "records.jsonl")
        else:
            records = _measure_set(given, built, folder / "records.jsonl", reference)
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


def _score_missing(given: Sequence[Given], reward: Reward, path: Path, running: Running) -> list[Record]:
    """The record of every picture; the prompts of those that a failing reward left unscored are given to it again."""
    held = {(record["prompt_id"], record["index"]): record for record in store.read_jsonl(path)}
    done = 0
    for batch in _whole_prompts(given, running.batch_size):
        missing = {each.key for each in batch if each.key not in held or not is_scored(held[each.key])}
        if missing:
            for each, record in zip(batch, _records(batch, reward), strict=True):
                if each.key in missing and held.get(each.key) != record:
                    store.append_jsonl(path, record)
                    held[each.key] = record
        done += len(batch)
        if running.progress is not None:
            running.progress(done, len(given))
    return [held[each.key] for each in given]


def _records(batch: Sequence[Given], reward: Reward) -> list[Record]:
    """The records of some pictures; those that cannot be read do not take the others with them."""
    samples: list[Sample] = []
    scores: dict[int, Score] = {}
    for place, each in enumerate(batch):
        try:
            samples.append(each.load())
        except RunError as error:
            scores[place] = Score.unscored(str(error))
    readable = [place for place in range(len(batch)) if place not in scores]
    scores |= dict(zip(readable, reward(samples), strict=True))
    return [
        to_record(Sample(each.prompt, None, each.seed), scores[place], index=each.index, image=each.name)  # type: ignore[arg-type]
        for place, each in enumerate(batch)
    ]


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


def _measure_missing(given: Sequence[Given], metric: Metric, path: Path) -> list[Record]:
    """The record of every picture, or of every prompt, prompt by prompt; what is there is not measured again."""
    held = {(record["prompt_id"], record["index"]): record for record in store.read_jsonl(path)}
    found = []
    for batch in _whole_prompts(given, 1):
        keys = [each.key for each in batch] if metric.level == "picture" else [(batch[0].prompt.id, 0)]
        if not all(key in held and is_scored(held[key]) for key in keys):
            for key, record in zip(keys, _measured(batch, metric), strict=True):
                if held.get(key) != record:
                    store.append_jsonl(path, record)
                    held[key] = record
        found += [held[key] for key in keys]
    return found


def _measured(batch: Sequence[Given], metric: Metric) -> list[Record]:
    """The records of one prompt's pictures, or the one of the prompt. A broken picture takes no others with it, but a
    prompt that lacks one is not measured."""
    try:
        samples = [each.load() for each in batch]
    except RunError as error:
        if metric.level == "picture" and len(batch) > 1:
            return [record for each in batch for record in _measured([each], metric)]
        return [_measured_record(batch, Score.unscored(str(error)), 0 if metric.level == "picture" else None)]
    return [_measured_record(batch, each.score, each.index) for each in metric(samples)]


def _measured_record(batch: Sequence[Given], score: Score, place: int | None) -> Record:
    """The record of the picture at `place`, or of the prompt."""
    each = batch[place or 0]
    index, image, seed = (each.index, each.name, each.seed) if place is not None else (0, "", None)
    return to_record(Sample(each.prompt, None, seed), score, index=index, image=image)  # type: ignore[arg-type]


def _measure_set(given: Sequence[Given], metric: Metric, path: Path, reference: Sequence[Given] | None) -> list[Record]:
    """The one record of all pictures beside the reference pictures; kept when it is scored."""
    held = store.read_jsonl(path)
    if held and is_scored(held[-1]):
        return held[-1:]
    others = [each.load().image for each in reference] if reference is not None else None
    (measured,) = metric([each.load() for each in given], others)
    sample = Sample(Prompt("all pictures", ""), None)  # type: ignore[arg-type]
    record = to_record(sample, measured.score, index=0, image="")
    store.write_text(path, store.to_json(record) + "\n")
    return [record]


def _folder(out: str | Path, name: str, card: Mapping[str, Mapping[str, Any]]) -> Path:
    """Its name is a hash of all of the card but what is only noted."""
    kept = {part: card[part] for part in ("subject", "must_agree", "declared")}
    return Path(out) / "eval" / f"{store.slug(name)}-{store.digest(kept)[:10]}"

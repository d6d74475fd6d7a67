"""The stages of an evaluation after its pictures: score what is missing, and sum up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from flowbench import store
from flowbench.benchmarks import records, scorers
from flowbench.benchmarks.card import with_scorers
from flowbench.benchmarks.folder import Work
from flowbench.benchmarks.scorers import Scorer
from flowbench.benchmarks.summary import ScorerRun, build_summary, merge
from flowbench.errors import ConfigError, FlowbenchError, RunError


class _CannotBuild(FlowbenchError):
    """A scorer's own error, known to come from its making and not from its work."""


def refuse_none(ready: Sequence[ScorerRun]) -> None:
    """Raise when not one of the scorers can run, with the reason of each."""
    if not ready or any(each.ran for each in ready):
        return
    error = ready[0].error or FlowbenchError(ready[0].reason)
    if len(ready) == 1:
        raise error
    reasons = " ".join(f"{each.scorer.name}: {each.reason}" for each in ready)
    raise type(error)(
        f"none of the {len(ready)} scorers can run. Name others with --metric NAME, or make the pictures alone with "
        f"--stage generate. {reasons}"
    )


def score_missing(scored: ScorerRun, work: Work) -> ScorerRun:
    """Score what lacks a score; the scorer with the reason when it turns out that it cannot be built."""
    if not scored.ran:
        return scored
    scorer, part = scored.scorer, work.execution.part
    build = cache(partial(_built, scorer, work.execution.timeout))
    files, told = work.score_files(scored), partial(work.execution.told, scorer.name)
    refusal = work.refusal(scored)
    try:
        if scorer.kind == "metric":
            batches = work.batches(1, whole=scorer.level == "prompt")
            records.measure_missing(batches, build, files, by_picture=scorer.level == "picture", part=part, told=told)
        else:
            records.score_missing(work.batches(work.batch_size, whole=False), build, files, part=part, told=told)
    except _CannotBuild as error:
        store.write_json(refusal, {"reason": str(error)})
        return replace(scored, reason=str(error), error=error)
    finally:
        if build.cache_info().currsize and scorer.kind == "reward":
            build().close()
    refusal.unlink(missing_ok=True)
    return scored


def summarise(work: Work, ready: Sequence[ScorerRun], label: str) -> None:
    """records.jsonl, card.json and, last, summary.json, of all that has scored these pictures.

    Scorers of earlier calls stay, and stand in the suite's own order before others; so does one that cannot run today.
    Raises RunError while a stage before it has work left.
    """
    card = store.read_json(work.folder / "card.json")
    scored = [_with_records(work, each) for each in _in_order(work, _all(card, ready))]
    _refuse_unfinished(work, scored)
    suite = (work.suite.own or work.suite).with_scorers([each.scorer.name for each in scored])
    everything = merge(work.items, scored, suite)
    card = with_scorers(card, {each.scorer.name: each.identity for each in scored if each.ran})
    text = "".join(f"{store.to_json(each)}\n" for each in everything)
    summary = build_summary(suite, everything, scored, label=label, card=card)
    summary["records_sha256"] = hashlib.sha256(text.encode("utf-8")).hexdigest()
    store.write_text(work.folder / "records.jsonl", text)
    store.write_json(work.folder / "card.json", card)
    store.write_json(work.folder / "summary.json", summary)


def _built(scorer: Scorer, timeout: float | None) -> Any:
    try:
        return scorer.build(timeout)
    except FlowbenchError as error:
        raise _CannotBuild(str(error)) from error


def _all(card: Mapping[str, Any], ready: Sequence[ScorerRun]) -> list[ScorerRun]:
    """Those asked for, and those that scored these pictures in an earlier call: nothing is lost. One that was asked for
    and cannot run now is taken as it ran before."""
    before = {name: _found_again(name, identity) for name, identity in card["must_agree"]["scorers"].items()}
    held = {
        name: ScorerRun(scorer, card["must_agree"]["scorers"][name], {})
        for name, scorer in before.items()
        if scorer is not None
    }
    found = [
        replace(held[each.scorer.name], kept=each.reason) if not each.ran and each.scorer.name in held else each
        for each in ready
    ]
    asked = {each.scorer.name for each in found}
    return [*found, *(scored for name, scored in held.items() if name not in asked)]


def _in_order(work: Work, scored: Sequence[ScorerRun]) -> list[ScorerRun]:
    """The suite's own scorers first, in its order, lest a later call with others choose another headline."""
    own = (work.suite.own or work.suite).scorers
    places = {name: place for place, name in enumerate(own)}
    return sorted(scored, key=lambda each: places.get(each.scorer.name, len(own)))


def _with_records(work: Work, scored: ScorerRun) -> ScorerRun:
    """With its scores, or with the reason that a stage before this one has left."""
    if not scored.ran:
        return scored
    found = records.held(work.score_files(scored))
    if not found and work.refusal(scored).is_file():
        return replace(scored, reason=store.read_json(work.refusal(scored))["reason"])
    return replace(scored, records=found)


def _refuse_unfinished(work: Work, scored: Sequence[ScorerRun]) -> None:
    there = {each.key for each in work.pictures()}
    if work.makes_all and len(there) < len(work.items):
        lacking = f"{len(work.items) - len(there)} of {len(work.items)}"
        raise RunError(f"{work.folder}: {lacking} pictures are not made yet. Run the stage generate.")
    first = {each.key for each in work.whole() if each.index == 0}
    for each in scored:
        wanted = there if each.scorer.level == "picture" else first
        if each.ran and wanted - set(each.records):
            raise RunError(
                f"{work.folder}: {each.scorer.name} has not scored {len(wanted - set(each.records))} of {len(wanted)} "
                f"{each.scorer.level}s yet. Run the stage score."
            )


def _found_again(name: str, identity: Mapping[str, Any]) -> Scorer | None:
    """None for one whose plugin is not here in this call."""
    try:
        return scorers.find(name, identity.get("options"), identity.get("vocabulary", ""))
    except ConfigError:
        return None

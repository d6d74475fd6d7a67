"""The stages of an evaluation after its pictures: score what is missing, and sum up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from flowbench import store
from flowbench.benchmarks import geneval_results, records, scorers
from flowbench.benchmarks.card import with_scorers
from flowbench.benchmarks.folder import OpenEvaluation
from flowbench.benchmarks.summary import ScorerRun, build_summary, merge
from flowbench.errors import ConfigError, FlowbenchError, RunError, UnknownName
from flowbench.evals.evaluation import EvaluationCard, read_card, read_summary, write_evaluation
from flowbench.terminal import say


class _CannotBuild(FlowbenchError):
    """A scorer's own error, known to come from its making and not from its work."""


def refuse_none(runs: Sequence[ScorerRun]) -> None:
    """Raise when not one of the scorers can run, with the reason of each."""
    if not runs or any(each.ran for each in runs):
        return
    error = runs[0].error or FlowbenchError(runs[0].reason)
    if len(runs) == 1:
        raise error
    reasons = " ".join(f"{each.scorer.name}: {each.reason}" for each in runs)
    raise type(error)(
        f"none of the {len(runs)} scorers can run. Name others with --metric NAME, or make the pictures alone with "
        f"--stage generate. {reasons}"
    )


def score_missing(run: ScorerRun, evaluation: OpenEvaluation) -> ScorerRun:
    """Score what lacks a score; the scorer with the reason when it turns out that it cannot be built."""
    if not run.ran:
        return run
    scorer, share = run.scorer, evaluation.execution.share

    @cache
    def build() -> Any:
        try:
            return scorer.build(evaluation.execution.timeout)
        except FlowbenchError as error:
            raise _CannotBuild(str(error)) from error

    files, progress = evaluation.score_files(run), partial(evaluation.execution.progress, scorer.name)
    fill = partial(
        records.fill, paths=files, share=share, progress=progress, check=evaluation.check_folder,
        is_current=evaluation.is_current(scorer.level),
    )  # fmt: skip
    refusal, total = evaluation.refusal(run), len(evaluation.items)
    try:
        if scorer.kind == "reward":
            fill(evaluation.batches(evaluation.batch_size, whole=False), records.by_reward(build))
        elif scorer.level != "set":
            of_prompt = scorer.level == "prompt"
            make = records.by_metric(build, of_prompt=of_prompt)
            fill(evaluation.batches(1, whole=of_prompt), make, of_prompt=of_prompt)
        elif share.index == 0 and (len(evaluation.there()) == total or not evaluation.makes_all):
            there = evaluation.there()
            sha256 = evaluation.sha256(there)
            records.measure_set(there, build, files[0], scorer.read_reference(), sha256, total=total)
            progress(total, total)
    except _CannotBuild as error:
        store.write_sealed(refusal, {"reason": str(error)})
        return replace(run, reason=str(error), error=error)
    finally:
        if build.cache_info().currsize and scorer.kind == "reward":
            build().close()
    refusal.unlink(missing_ok=True)
    return run


def sum_up(evaluation: OpenEvaluation, ready: Sequence[ScorerRun], label: str) -> None:
    """records.jsonl, card.json and, last, summary.json, of all that has scored these pictures; results.jsonl where a
    GenEval reward has.

    Scorers of earlier calls stay; so does one that cannot run today. The suite's own stand first, in its order, so that
    a later call with others does not choose another headline. Raises RunError while a stage before it has work left.
    """
    card = read_card(evaluation.folder.path)
    first = (evaluation.suite.own or evaluation.suite).scorers
    if not first and evaluation.folder.summary.is_file():  # a suite without any of its own: those of earlier calls
        first = tuple(each.name for each in read_summary(evaluation.folder.path).scorers)
    places = {name: place for place, name in enumerate(first)}
    runs = sorted(_all(card, ready), key=lambda run: places.get(run.scorer.name, len(first)))
    runs = [_with_records(evaluation, run) for run in runs]
    _refuse_unfinished(evaluation, runs)
    suite = (evaluation.suite.own or evaluation.suite).with_scorers([run.scorer.name for run in runs])
    suite = suite.with_protocol(interval=evaluation.suite.interval)
    merged = merge(evaluation.planned, runs)
    identities = {run.scorer.name: run.identity for run in runs if run.ran}
    card = with_scorers(card, identities, interval=suite.interval)
    summary = build_summary(suite, evaluation.planned, merged, runs, label=label, card=card)
    for run in runs:
        if text := "".join(geneval_results.lines(evaluation.planned, run.records)):
            store.write_text(evaluation.folder.geneval_results, text)
            break
    evaluation.check_folder()
    write_evaluation(evaluation.folder.path, summary, merged)


def _all(card: EvaluationCard, ready: Sequence[ScorerRun]) -> list[ScorerRun]:
    """Those asked for, and those that scored these pictures in an earlier call: nothing is lost. One that was asked for
    and cannot run now is taken as it ran before. One whose plugin is not here is left out, which is said on stderr."""
    held = {}
    for name, identity in card.scorers.items():
        try:
            scorer = scorers.find(name, identity.get("options"), vocabulary=identity.get("vocabulary", ""))
            scorer.check()
        except (ConfigError, UnknownName) as error:
            say(
                f"warning: '{name}' has scored these pictures before and is left out of the summary: {error} Give its "
                "--plugin FILE again; its scores are kept.",
                err=True,
            )
            continue
        held[name] = ScorerRun(scorer, identity, {})
    found = [
        replace(held[each.scorer.name], kept=each.reason) if not each.ran and each.scorer.name in held else each
        for each in ready
    ]
    asked = {each.scorer.name for each in found}
    return [*found, *(run for name, run in held.items() if name not in asked)]


def _with_records(evaluation: OpenEvaluation, run: ScorerRun) -> ScorerRun:
    """With its scores, or with the reason that a stage before this one has left."""
    if not run.ran:
        return run
    found = records.held(evaluation.score_files(run), evaluation.is_current(run.scorer.level))
    if not found and evaluation.refusal(run).is_file():
        return replace(run, reason=str(store.read_sealed(evaluation.refusal(run)).get("reason")))
    return replace(run, records=found)


def _refuse_unfinished(evaluation: OpenEvaluation, runs: Sequence[ScorerRun]) -> None:
    path, items = evaluation.folder.path, evaluation.items
    there = {each.key for each in evaluation.there()}
    if evaluation.makes_all and len(there) < len(items):
        lacking = f"{len(items) - len(there)} of {len(items)}"
        raise RunError(f"{path}: {lacking} pictures are not made yet. Run the stage generate.")
    first = {each.key for each in evaluation.whole() if each.index == 0}
    wanted_by = {"picture": there, "prompt": first, "set": {(records.ALL, 0)}}
    for run in runs:
        wanted = wanted_by[run.scorer.level]
        if run.ran and wanted - set(run.records):
            raise RunError(
                f"{path}: {run.scorer.name} has not scored {len(wanted - set(run.records))} of {len(wanted)} "
                f"{run.scorer.level}s yet. Run the stage score."
            )
    for each in evaluation.planned:
        by_hash = {record.image_sha256: run.scorer.name for run in runs if (record := run.of_picture(each))}
        if len(by_hash) > 1:
            one, other = list(by_hash.values())[:2]
            raise RunError(
                f"{path}: {one} and {other} have scored different pictures in the place of {each.name}. Run the stage "
                f"score with both: --metric {one},{other}."
            )

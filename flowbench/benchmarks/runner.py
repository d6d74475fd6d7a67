"""Evaluate a model, or pictures that are there, on a suite: generate what is missing -> score what is missing -> sum
up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import prompts, store
from flowbench.benchmarks import scorers
from flowbench.benchmarks.card import build_evaluation_card, card_key
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.existing import NO_PICTURE
from flowbench.benchmarks.folder import OpenEvaluation
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import batches, limited
from flowbench.benchmarks.sources import ModelSource, PictureSource, RecordedSource
from flowbench.benchmarks.stages import refuse_none, score_missing, sum_up
from flowbench.benchmarks.suite import REAL_WORLD, Suite
from flowbench.benchmarks.suites import catalog
from flowbench.benchmarks.summary import ScorerRun
from flowbench.errors import ConfigError, FlowbenchError, RunError
from flowbench.evals.evaluation import EvaluationCard, read_card, write_card
from flowbench.layout import EvaluationFolder, RunFolder
from flowbench.terminal import say

if TYPE_CHECKING:
    from flowbench.models import FlowModel

EVERYTHING = Execution()


def evaluate(
    model: FlowModel | PictureSource,
    suite: str | Suite,
    *,
    out: str | Path,
    limit: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    label: str | None = None,
    execution: Execution = EVERYTHING,
    **protocol: float | str | None,
) -> Path:
    """Evaluate `model` and return the folder `<out>/eval/<suite>-<card key>/`.

    It holds images/, scores/ (a file per scorer), card.json and, when all is done, records.jsonl (one line per picture)
    and summary.json; for GenEval rewards results.jsonl as well.

    `protocol` may hold `steps`, `guidance`, `solver`, `images_per_prompt` and `interval` in place of the suite's own;
    `limit` keeps that many prompts, taken in turns from the tags. The pictures' seeds follow from (seed, suite, prompt
    id, index) alone. In place of a model, an `ExistingSource` hands over pictures that somebody else has made.

    May be killed at any moment and called again: pictures and scores that are there are not made again, and the summary
    comes out the same. A picture that is damaged or in the place of another is made again, with a line on stderr, and
    so is the score of a picture that is no longer the one that was scored. Pictures left unscored by a failing reward
    are given to it again. A scorer that cannot run (no weights, a licence to accept) is listed with the reason while
    the others run; when none can, its error is raised before a picture is made. Raises ConfigError for a suite that
    does not fit the model, RunError when another process holds the folder.
    """
    source = model if isinstance(model, PictureSource) else ModelSource(model)
    suite = catalog.find(suite).with_protocol(**protocol)
    prompt_set = source.prompts(suite)
    vocabulary = _vocabulary(source, suite, prompt_set.vocabulary)
    every = prompts.load(suite.prompt_set, suite.split) if suite.prompt_set else prompt_set.load(suite.split)
    items = source.plan(suite, limited(every, limit), seed)
    card = build_evaluation_card(source, suite, prompt_set, items, seed=seed)
    card = replace(card, noted={**card.noted, "batch_size": batch_size, "vocabulary": vocabulary})
    name = f"{store.slug(suite.name)}-{card_key(card)}"
    folder = _folder(source, card, RunFolder(Path(out)).evaluation(name))
    if protocol.get("interval") is None and folder.card.is_file():  # that of the call before
        suite = replace(suite, interval=read_card(folder.path).noted["interval"])
    evaluation = OpenEvaluation(
        suite, items, folder, batch_size, execution, source.makes_all, source.elsewhere(suite), name
    )
    ready = _ready(suite, vocabulary, execution)
    with evaluation.held():
        if not folder.card.exists():
            write_card(folder.path, card)
        elif card_key(read_card(folder.path)) != card_key(card):
            raise RunError(f"{folder.card} is the card of another evaluation. Delete it, and evaluate again.")
        if "generate" in execution.stages and not evaluation.elsewhere:
            _generate_missing(source, evaluation, card.declared)
        if "score" in execution.stages:
            ready = [score_missing(run, evaluation) for run in ready]
            refuse_none(ready)
        if "summarise" in execution.stages:
            sum_up(evaluation, ready, label or source.name)
    return folder.path


def _vocabulary(source: PictureSource, suite: Suite, of_prompts: str) -> str:
    """The object names that pictures and prompts share. Raises ConfigError when theirs differ."""
    if of_prompts and source.vocabulary and of_prompts != source.vocabulary:
        raise ConfigError(
            f"suite '{suite.name}' speaks of {of_prompts}, model '{source.name}' draws {source.vocabulary}. Choose a "
            "suite of the model's vocabulary."
        )
    return of_prompts or source.vocabulary or suite.vocabulary or REAL_WORLD


def _folder(source: PictureSource, card: EvaluationCard, new: EvaluationFolder) -> EvaluationFolder:
    """Where the evaluation lies: in `new`; one that is there already stays where it is, and must be this one.

    Raises ConfigError, naming what differs, when what is asked for is another evaluation than the one at hand.
    """
    if not isinstance(source, RecordedSource):
        return new
    before = source.recorded
    if card_key(card) != card_key(before):
        pairs = [(before.settings, card.settings), (before.declared, card.declared), (before.subject, card.subject)]
        differing = [
            f"{name}: {then.get(name)} and {now.get(name)}"
            for then, now in pairs
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        ]
        raise ConfigError(
            f"{source.folder} is another evaluation than this one: they differ in {(*differing, 'dtype')[0]}. Ask for "
            "the same (its --prompts, its suite), or give the model as --ckpt."
        )
    return EvaluationFolder(source.folder)


def _ready(suite: Suite, vocabulary: str, execution: Execution) -> list[ScorerRun]:
    """The suite's scorers, each with its identity or the reason why it cannot run. Raises the reason when none can.

    One that is cheap to build is built once before it scores, so that a bad option is found before a picture is made.
    """
    if not {"score", "summarise"} & set(execution.stages):
        return []
    found = [
        scorers.find(name, suite.options.get(name), vocabulary=vocabulary, reference=suite.reference)
        for name in suite.scorers
    ]
    for scorer in found:
        scorer.check()
        scorer.check_reference()
    runs = []
    for scorer in found:
        try:
            scorer.prepare()
            identity = scorer.identity()
            if "score" in execution.stages and not identity["weights"] and scorer.kind == "reward":
                scorer.build().close()
            runs.append(ScorerRun(scorer, identity, {}))
        except FlowbenchError as error:
            runs.append(ScorerRun(scorer, {}, {}, reason=str(error), error=error))
    refuse_none(runs)
    return runs


def _generate_missing(source: PictureSource, evaluation: OpenEvaluation, declared: Mapping[str, Any]) -> None:
    done, items, suite, execution = 0, evaluation.items, evaluation.suite, evaluation.execution
    common = {"suite": suite.name, "model": source.name, "evaluation": evaluation.name, **declared}
    with Pictures(evaluation.folder.images, execution.share_name) as pictures:
        for number, batch in enumerate(batches(items, evaluation.batch_size)):
            done += len(batch)
            if not execution.share.has(number):
                continue
            there = {item.picture: evaluation.kept(item).damage() for item in batch if pictures.has(item.picture)}
            for name, why in there.items():
                if why:
                    say(f"warning: {evaluation.folder.images / name}: {why}.", err=True)
            missing = [item for item in batch if there.get(item.picture, "missing")]
            if missing:
                made = list(zip(missing, source.make(missing, suite, evaluation.batch_size), strict=True))
                evaluation.check_folder()
                for each, image in made:
                    if isinstance(image, str) and image != NO_PICTURE:
                        store.write_json(evaluation.folder.not_made_of(each.picture), {"reason": image})
                    else:
                        evaluation.folder.not_made_of(each.picture).unlink(missing_ok=True)
                pictures.add(
                    [(each.picture, image, each.facts() | common) for each, image in made if not isinstance(image, str)]
                )
            execution.progress("generate", done, len(items))

"""Evaluate a model on a suite: generate what is missing -> score what is missing -> summarise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import prompts, store
from flowbench.benchmarks import scorers
from flowbench.benchmarks.card import build_evaluation_card, card_key
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.folder import Work
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import Item, batches, limited, plan
from flowbench.benchmarks.scorers import Scorer
from flowbench.benchmarks.sources import ModelSource, PictureSource, RecordedSource
from flowbench.benchmarks.stages import refuse_none, score_missing, summarise
from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.suites import catalog
from flowbench.benchmarks.summary import ScorerRun
from flowbench.errors import ConfigError, FlowbenchError

if TYPE_CHECKING:
    from flowbench.models import FlowModel

REAL_WORLD = "coco80"
"""The vocabulary of pictures of which nobody says it."""
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
    **protocol: float | None,
) -> Path:
    """Evaluate `model` and return the folder `<out>/eval/<suite>-<card key>/`.

    It holds images/, scores/ (a file per scorer), card.json and, when all is done, records.jsonl (one line per picture)
    and summary.json.

    `protocol` may hold `steps`, `guidance` and `images_per_prompt` in place of the suite's own; `limit` keeps so many
    prompts, taken in turns from the tags. The pictures' seeds follow from (seed, suite, prompt id, index) alone. In
    place of a model, a `ExistingSource` hands over pictures that somebody else has made.

    May be killed at any moment and called again: pictures and scores that are there are not made again, and the summary
    comes out the same. Pictures left unscored by a failing reward are given to it again. A scorer that cannot run (no
    weights, a licence to accept) is listed with the reason while the others run; when none can, its error is raised
    before a picture is made. Raises ConfigError for a suite that does not fit the model, RunError when another process
    holds the folder.
    """
    maker = model if not hasattr(model, "generate") else ModelSource(model)  # type: ignore[arg-type]
    suite = catalog.find(suite).with_protocol(**protocol)
    prompt_set = prompts.find(suite.prompt_set)
    _check_vocabulary(maker, suite, prompt_set.vocabulary)
    vocabulary = prompt_set.vocabulary or maker.vocabulary or suite.vocabulary or REAL_WORLD
    chosen = limited(prompts.load(suite.prompt_set, suite.split), limit)
    items = plan(chosen, suite=suite.name, images_per_prompt=suite.images_per_prompt, seed=seed)
    if not maker.makes_all:
        items = [replace(item, seed=None) for item in items]
    maker.check(items)
    card = build_evaluation_card(maker, suite, prompt_set, chosen, seed=seed)
    card["noted"] |= {"batch_size": batch_size, "vocabulary": vocabulary}
    work = Work(suite, items, _folder(maker, suite, card, Path(out)), batch_size, execution, maker.makes_all)
    ready = _prepared(suite, vocabulary, execution.stages)
    with work.held():
        if not (work.folder / "card.json").exists():
            store.write_json(work.folder / "card.json", card)
        if "generate" in execution.stages:
            _generate_missing(maker, work)
        if "score" in execution.stages:
            ready = [score_missing(scored, work) for scored in ready]
            refuse_none(ready)
        if "summarise" in execution.stages:
            summarise(work, ready, label or maker.name)
    return work.folder


def _folder(maker: PictureSource, suite: Suite, card: dict[str, Any], out: Path) -> Path:
    """Where the evaluation lies; one that is there already stays where it is, and must be this one.

    Raises ConfigError, naming what differs, when what is asked for is another evaluation than the one at hand.
    """
    if not isinstance(maker, RecordedSource):
        return out / "eval" / f"{store.slug(suite.name)}-{card_key(card)}"
    if card_key(card) != card_key(maker.card):
        raise ConfigError(
            f"{maker.folder} is another evaluation than this one: they differ in {_difference(maker.card, card)}. Ask "
            "for the same (its --prompts, its suite), or give the model as --ckpt."
        )
    return maker.folder


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    for part in ("must_agree", "declared", "subject"):
        for name in sorted({*before[part], *now[part]} - {"scorers"}):
            if before[part].get(name) != now[part].get(name):
                return f"{name}: {before[part].get(name)} and {now[part].get(name)}"
    return "dtype"


def _prepared(suite: Suite, vocabulary: str, stages: Sequence[str]) -> list[ScorerRun]:
    """The suite's scorers, each with its identity or the reason why it cannot run. Raises the reason when none can."""
    if not {"score", "summarise"} & set(stages):
        return []
    found = {name: scorers.find(name, suite.options.get(name), vocabulary) for name in suite.scorers}
    scorers.refuse_sets(found)
    ready = [_ready(scorer, probe="score" in stages) for scorer in found.values()]
    refuse_none(ready)
    return ready


def _ready(scorer: Scorer, *, probe: bool) -> ScorerRun:
    """`probe`: one that is cheap to build is built once, so that a bad option is found before a picture is made."""
    try:
        scorer.prepare()
        identity = scorer.identity()
        if probe and not identity["weights"] and scorer.kind == "reward":
            scorer.build().close()
        return ScorerRun(scorer, identity, {})
    except FlowbenchError as error:
        return ScorerRun(scorer, {}, {}, reason=str(error), error=error)


def _generate_missing(maker: PictureSource, work: Work) -> None:
    done = 0
    with Pictures(work.images, work.execution.share) as pictures:
        for number, batch in enumerate(batches(work.items, work.batch_size)):
            done += len(batch)
            if not work.execution.part.has(number):
                continue
            missing = [item for item in batch if not pictures.has(item.picture)]
            if missing:
                made = zip(missing, maker.make(missing, work.suite, work.batch_size), strict=True)
                facts = _facts(maker, work)
                pictures.add([(item.picture, image, facts(item)) for item, image in made if image is not None])
            work.execution.told("generate", done, len(work.items))


def _facts(maker: PictureSource, work: Work) -> Callable[[Item], dict[str, Any]]:
    """What a picture's file says of itself."""
    declared = maker.declared(work.suite)
    return lambda item: {
        "prompt": item.prompt.text,
        "prompt_id": item.prompt.id,
        "index": item.index,
        "seed": item.seed,
        "suite": work.suite.name,
        "model": maker.name,
        "evaluation": work.folder.name,
        **declared,
    }


def _check_vocabulary(maker: PictureSource, suite: Suite, vocabulary: str) -> None:
    if vocabulary and maker.vocabulary and vocabulary != maker.vocabulary:
        raise ConfigError(
            f"suite '{suite.name}' speaks of {vocabulary}, model '{maker.name}' draws {maker.vocabulary}. "
            "Choose a suite of the model's vocabulary."
        )

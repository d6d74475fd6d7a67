"""Evaluate a model on a suite: generate what is missing -> score what is missing -> summarise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import prompts, store
from flowbench.benchmarks import records, scorers
from flowbench.benchmarks import suite as suite_module
from flowbench.benchmarks.card import build_card, card_key, with_scorers
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.given import Given
from flowbench.benchmarks.makers import Maker, ModelMaker
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import Item, batches, limited, plan
from flowbench.benchmarks.scorers import Scorer
from flowbench.benchmarks.suite import Suite
from flowbench.benchmarks.summary import Scored, build_summary, merge
from flowbench.errors import ConfigError, FlowbenchError, RunError

if TYPE_CHECKING:
    from flowbench.models import FlowModel

EVERYTHING = Execution()


def evaluate(
    model: FlowModel | Maker,
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
    place of a model, a `GivenMaker` hands over pictures that somebody else has made.

    May be killed at any moment and called again: pictures and scores that are there are not made again, and the summary
    comes out the same. Pictures left unscored by a failing reward are given to it again. A scorer that cannot run (no
    weights, a licence to accept) is listed with the reason while the others run; when none can, its error is raised
    before a picture is made. Raises ConfigError for a suite that does not fit the model, RunError when another process
    holds the folder.
    """
    maker = model if not hasattr(model, "generate") else ModelMaker(model)  # type: ignore[arg-type]
    suite = suite_module.find(suite).with_protocol(**protocol)
    prompt_set = prompts.find(suite.prompt_set)
    _check_vocabulary(maker, suite, prompt_set.vocabulary)
    chosen = limited(prompts.load(suite.prompt_set, suite.split), limit)
    items = plan(chosen, suite=suite.name, images_per_prompt=suite.images_per_prompt, seed=seed)
    maker.check(items)
    card = build_card(maker, suite, prompt_set, chosen, seed=seed, batch_size=batch_size)
    work = _Work(suite, items, Path(out) / "eval" / f"{store.slug(suite.name)}-{card_key(card)}", batch_size, execution)
    ready = _prepared(suite, prompt_set.vocabulary or maker.vocabulary, execution.stages)
    with _held(work):
        if not (work.folder / "card.json").exists():
            store.write_json(work.folder / "card.json", card)
        if "generate" in execution.stages:
            _generate_missing(maker, work)
        if "score" in execution.stages:
            ready = [_score_missing(scored, work) for scored in ready]
            _refuse_none(ready)
        if "summarise" in execution.stages:
            _summarise(maker, work, ready, label or maker.name)
    return work.folder


@dataclass(frozen=True)
class _Work:
    suite: Suite
    items: Sequence[Item]
    folder: Path
    batch_size: int
    execution: Execution

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def pictures(self) -> list[Given]:
        """Those that are there, as scorers want them."""
        return [
            Given(item.prompt, item.index, self.images / item.picture, f"images/{item.picture}", item.seed)
            for item in self.items
            if (self.images / item.picture).is_file()
        ]

    def score_files(self, scored: Scored) -> list[Path]:
        """The scorer's files, the one of this share first."""
        name = scorers.file_name(scored.identity)
        share = f".{self.execution.share}" if self.execution.share else ""
        own = self.folder / "scores" / f"{Path(name).stem}{share}.jsonl"
        return [own, *sorted({*own.parent.glob(f"{Path(name).stem}.*"), own.parent / name} - {own})]


@contextmanager
def _held(work: _Work) -> Iterator[None]:
    """The folder, alone; or, as one of several shares, together with the others, and this share alone."""
    share = work.execution.share
    with store.locked(work.folder, shared=bool(share)):
        if not share:
            yield
            return
        with store.locked(work.folder / ".shares" / share):
            yield


def _prepared(suite: Suite, vocabulary: str, stages: Sequence[str]) -> list[Scored]:
    """The suite's scorers, each with its identity or the reason why it cannot run. Raises the reason when none can."""
    if not {"score", "summarise"} & set(stages):
        return []
    found = {name: scorers.find(name, suite.options.get(name), vocabulary) for name in suite.scorers}
    scorers.refuse_sets(found)
    ready = [_ready(scorer) for scorer in found.values()]
    _refuse_none(ready)
    return ready


def _ready(scorer: Scorer) -> Scored:
    try:
        scorer.prepare()
        return Scored(scorer, scorer.identity(), {})
    except FlowbenchError as error:
        return Scored(scorer, {}, {}, reason=str(error), error=error)


def _refuse_none(ready: Sequence[Scored]) -> None:
    """Raise the first scorer's reason when not one of them can run."""
    if ready and not any(each.ran for each in ready):
        raise ready[0].error or FlowbenchError(ready[0].reason)


def _generate_missing(maker: Maker, work: _Work) -> None:
    pictures = Pictures(work.images, work.execution.share)
    done = 0
    for number, batch in enumerate(batches(work.items, work.batch_size)):
        done += len(batch)
        if not work.execution.part.has(number):
            continue
        missing = [item for item in batch if not pictures.has(item.picture)]
        if missing:
            made = maker.make(missing, work.suite, work.batch_size)
            facts = _facts(maker, work)
            pictures.add(
                [
                    (item.picture, image, facts(item))
                    for item, image in zip(missing, made, strict=True)
                    if image is not None
                ]
            )
        work.execution.told("generate", done, len(work.items))


def _facts(maker: Maker, work: _Work) -> Callable[[Item], dict[str, Any]]:
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


class _CannotBuild(FlowbenchError):
    """A scorer's own error, known to come from its making and not from its work."""


def _score_missing(scored: Scored, work: _Work) -> Scored:
    """Score what lacks a score; the scorer with the reason when it turns out that it cannot be built."""
    if not scored.ran:
        return scored
    scorer = scored.scorer
    build = cache(partial(_built, scorer, work.execution.timeout))
    files = work.score_files(scored)
    part, told = work.execution.part, partial(work.execution.told, scorer.name)
    try:
        if scorer.kind == "metric":
            by_picture = scorer.level == "picture"
            given = work.pictures() if by_picture else _whole(work)
            records.measure_missing(given, build, files, by_picture=by_picture, part=part, told=told)
        else:
            records.score_missing(work.pictures(), build, files, batch_size=work.batch_size, part=part, told=told)
    except _CannotBuild as error:
        return replace(scored, reason=str(error), error=error)
    finally:
        if build.cache_info().currsize and scorer.kind == "reward":
            build().close()
    return scored


def _built(scorer: Scorer, timeout: float | None) -> Any:
    try:
        return scorer.build(timeout)
    except FlowbenchError as error:
        raise _CannotBuild(str(error)) from error


def _whole(work: _Work) -> list[Given]:
    """The pictures of the prompts that have them all: fewer of a prompt would look less diverse."""
    given = work.pictures()
    count: dict[str, int] = {}
    for each in given:
        count[each.prompt.id] = count.get(each.prompt.id, 0) + 1
    return [each for each in given if count[each.prompt.id] == work.suite.images_per_prompt]


def _summarise(maker: Maker, work: _Work, ready: Sequence[Scored], label: str) -> None:
    """records.jsonl, card.json and, last, summary.json."""
    card = store.read_json(work.folder / "card.json")
    scored = [_with_records(work, each) for each in [*ready, *_held_before(card, ready)]]
    _refuse_unfinished(maker, work, scored)
    everything = merge(work.items, scored)
    card = with_scorers(card, {each.scorer.name: each.identity for each in scored if each.ran})
    suite = work.suite.with_scorers([each.scorer.name for each in scored])
    summary = build_summary(suite, everything, scored, label=label, card=card)
    store.write_text(work.folder / "records.jsonl", "".join(f"{store.to_json(each)}\n" for each in everything))
    store.write_json(work.folder / "card.json", card)
    store.write_json(work.folder / "summary.json", summary)


def _with_records(work: _Work, scored: Scored) -> Scored:
    return replace(scored, records=records.held(work.score_files(scored))) if scored.ran else scored


def _refuse_unfinished(maker: Maker, work: _Work, scored: Sequence[Scored]) -> None:
    """A summary is of everything: raise RunError while a stage before it has work left."""
    there = {each.key for each in work.pictures()}
    if maker.makes_all and len(there) < len(work.items):
        lacking = len(work.items) - len(there)
        raise RunError(
            f"{work.folder}: {lacking} of {len(work.items)} pictures are not made yet. Run the stage generate."
        )
    whole = {each.key for each in _whole(work)}
    for each in scored:
        wanted = there if each.scorer.level == "picture" else {key for key in whole if key[1] == 0}
        if each.ran and wanted - set(each.records):
            raise RunError(
                f"{work.folder}: {each.scorer.name} has not scored {len(wanted - set(each.records))} of {len(wanted)} "
                f"{each.scorer.level}s yet. Run the stage score."
            )


def _held_before(card: dict[str, Any], ready: Sequence[Scored]) -> Iterator[Scored]:
    """Those that scored these pictures in an earlier call and were not asked for in this one: nothing is lost."""
    asked = {each.scorer.name for each in ready}
    for name, identity in card["must_agree"]["scorers"].items():
        scorer = _found_again(name, identity) if name not in asked else None
        if scorer is not None:
            yield Scored(scorer, identity, {})


def _found_again(name: str, identity: dict[str, Any]) -> Scorer | None:
    """None for one whose plugin is not here in this call."""
    try:
        return scorers.find(name, identity.get("options"), identity.get("vocabulary", ""))
    except ConfigError:
        return None


def _check_vocabulary(maker: Maker, suite: Suite, vocabulary: str) -> None:
    if vocabulary and maker.vocabulary and vocabulary != maker.vocabulary:
        raise ConfigError(
            f"suite '{suite.name}' speaks of {vocabulary}, model '{maker.name}' draws {maker.vocabulary}. "
            "Choose a suite of the model's vocabulary."
        )

"""What an evaluation is on disk: records, summary and settings card, with one reader and one writer.

card.json       EvaluationCard   written first, and again with the scorers when all is summed up
records.jsonl   Record           one line per picture, from all scorers
summary.json    Summary          written last: its presence says that the evaluation is finished

A file of another format, of something else, damaged or edited is refused in one sentence: card and summary are sealed
(flowbench/store.py), the summary holds the SHA-256 of the records, and these hold those of the pictures. Each class is
the schema of its file.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from flowbench import store
from flowbench.errors import RunError
from flowbench.layout import EvaluationFolder
from flowbench.schema import from_plain
from flowbench.stats.intervals import Interval, interval
from flowbench.stats.methods import DEFAULT, Method
from flowbench.types import Prompt, Score

FORMAT = 3
"""Of card.json and summary.json; a change of their form is another number."""
Level = Literal["picture", "prompt", "set"]
"""What one value is of: a picture, all pictures of a prompt (it stands in the first one's record), or all pictures."""
Key = tuple[str, int]
_WHERE_THERE_ARE_ANY = ("details", "notes", "details_by", "image_sha256")
T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """One picture and what was said of it: by one scorer (scores/), or by all of an evaluation (records.jsonl)."""

    prompt_id: str
    """Unique within the prompt set."""
    index: int
    """Which of its prompt's pictures it is."""
    seed: int | None
    """From which it was made; None where nobody knows."""
    tag: str | None
    """Of the prompt."""
    prompt: str
    """The prompt's text."""
    image: str
    """The picture's path: below the evaluation's folder or, of scored ones, below theirs; "" of a prompt or a set."""
    value: float | None
    """The score, of several scorers the first one's; None: unscored."""
    parts: Mapping[str, float | None]
    """Named parts of the score. Of all scorers: the first one's parts by their names, those of the others as
    "<scorer>/<part>", and each one's value under its name."""
    note: str
    """Why it has this score, or none."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What a reader may want to see and no mean is taken of: boxes, the text that was read."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Of several scorers: each one's note."""
    details_by: Mapping[str, Any] = field(default_factory=dict)
    """Of several scorers: each one's details."""
    image_sha256: str = ""
    """Of the file that was scored; of several that were judged together, one hash over theirs. "": nobody knows."""

    @classmethod
    def of(
        cls, prompt: Prompt, score: Score, *, index: int, seed: int | None, image: str, image_sha256: str = ""
    ) -> Record:
        """What is kept of one score."""
        parts = {name: None if math.isnan(part) else float(part) for name, part in score.parts.items()}
        value = float(score.value) if score.is_scored else None
        asked = (prompt.id, index, seed, prompt.tag, prompt.text)
        return cls(*asked, image, value, parts, score.note, score.details, image_sha256=image_sha256)

    @property
    def key(self) -> Key:
        return self.prompt_id, self.index

    @property
    def is_scored(self) -> bool:
        return self.value is not None

    def measured(self, metric: str) -> float:
        """The value ("value") or a part by its name; NaN where it is unscored."""
        found = self.value if metric == "value" else self.parts.get(metric)
        return math.nan if found is None else found

    def as_json(self) -> dict[str, Any]:
        """As plain data, without the fields of which there is nothing."""
        tree = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in tree.items() if value or name not in _WHERE_THERE_ARE_ANY}


@dataclass(frozen=True)
class MetricSummary:
    """A metric's numbers, and what a reader must know of them."""

    overall: Interval
    """Over tags or over pictures: `Summary.overall` says which."""
    tags: Mapping[str, Interval]
    """By tag, each over its pictures; empty where the prompts have no tags."""
    scorer: str
    """The reward or metric that gives it."""
    unit: str
    """As its card says; "" where it says nothing."""
    direction: Literal["higher", "lower", "none"]
    """Which end is better ("none": neither, it only describes)."""
    level: Level
    """What one value is of."""


@dataclass(frozen=True)
class ScorerStatus:
    """What became of one scorer."""

    name: str
    """Of the reward or metric."""
    status: Literal["scored", "not run"]
    """Whether there are scores of it."""
    reason: str
    """Why it did not run or, where it had run before, could not run again."""
    level: Level
    """What one of its scores is of."""
    unscored: int
    """Pictures (prompts, sets) without a score of it."""
    unscored_reasons: Mapping[str, int]
    """How often each reason left one unscored."""

    @property
    def ran(self) -> bool:
        return self.status == "scored"


@dataclass(frozen=True)
class EvaluationCard:
    """The settings card: everything that a number depends on, by what a difference means."""

    subject: Mapping[str, Any]
    """What is measured: the model with its noise schedule, and its adapter; or the pictures. It may always differ."""
    must_agree: Mapping[str, Any]
    """A difference forbids a comparison; of `scorers`, that of the metrics of the one that differs."""
    declared: Mapping[str, Any]
    """Shown in the table; a difference must be allowed and marks the cell."""
    noted: Mapping[str, Any]
    """Kept for the record."""
    format: int = FORMAT
    """Of the file."""

    @property
    def scorers(self) -> Mapping[str, Mapping[str, Any]]:
        """Who scored: name -> what decides its numbers."""
        found: Mapping[str, Mapping[str, Any]] = self.must_agree["scorers"]
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """What must agree for two evaluations to stand side by side: prompts, pictures, seeds. Who scored is a matter
        of each metric."""
        return {name: value for name, value in self.must_agree.items() if name != "scorers"}

    @property
    def is_of_existing(self) -> bool:
        """Whether somebody else made the pictures: what made them, and with which adapter, is not known."""
        return bool(self.subject["model"] == EXISTING)

    @property
    def is_of_scored(self) -> bool:
        """Whether `flowbench score` made it, of pictures with the prompts that they come with."""
        return self.is_of_existing and bool(self.must_agree["suite"] == SCORED)


PARTS = ("subject", "must_agree", "declared", "noted")
"""Of a card, in the order in which they are shown."""
EXISTING = "pictures"
"""The model's name in the card of an evaluation whose pictures somebody else has made."""
SCORED = "pictures"
"""The suite's name in the card of one that `flowbench score` has made."""
_CARD_NEEDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "subject": {"model": (str,), "adapter": (str,)},
    "must_agree": {
        "suite": (str,),
        "prompts": (str,),
        "num_prompts": (int,),
        "images_per_prompt": (int, float),
        "seed": (int,),
        "resolution": (int, str),
        "scorers": (dict,),
    },
    "noted": {"dtype": (str,), "interval": (str,)},
}
"""Fields that others read, and what they are."""
_POSITIVE = ("num_prompts", "images_per_prompt")


@dataclass(frozen=True)
class Summary:
    """The numbers of a finished evaluation, and the card that they hold for."""

    suite: str
    """Its name."""
    label: str
    """The evaluation's name in tables."""
    model: str
    """The model's name; "pictures" for those of somebody else."""
    headline: str
    """The metric to look at first; "" where nothing scores the pictures."""
    also_show: tuple[str, ...]
    """Metrics beside it."""
    overall: Literal["tags", "pictures"]
    """What a metric's overall number is: the unweighted mean of the tags' means, or the mean over all pictures."""
    unseen: tuple[str, ...]
    """Tags whose prompts stand in the training split too."""
    prompts: int
    """Their number."""
    images: int
    """Pictures: as many as there are records."""
    scorers: tuple[ScorerStatus, ...]
    """In their order: the parts of the first one go by their plain names."""
    metrics: Mapping[str, MetricSummary]
    """By name."""
    card: EvaluationCard
    """The settings that the numbers hold for."""
    records_sha256: str = ""
    """Of records.jsonl, filled in when it is written: two files of different times are noticed."""
    format: int = FORMAT
    """Of the file."""

    def total(self, level: Level) -> int:
        """How many scores a scorer of this level owes."""
        return {"picture": self.images, "prompt": self.prompts, "set": 1}[level]

    @property
    def unscored(self) -> int:
        """By the scorer that gives the headline."""
        name = self.metrics[self.headline].scorer if self.headline in self.metrics else ""
        return sum(each.unscored for each in self.scorers if each.name == name)

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def tags_of(records: Sequence[Record]) -> list[str] | None:
    """The tag of each record; None when the prompts have no tags."""
    tags = [record.tag for record in records if record.tag is not None]
    return tags if len(tags) == len(records) else None


def metric_values(records: Sequence[Record], metric: str) -> list[float]:
    """The metric on each record: a part's name, or "value" for the score itself; NaN where it is not scored."""
    return [record.measured(metric) for record in records]


def metric_intervals(
    records: Sequence[Record], metric: str, *, overall: str = "tags", method: Method = DEFAULT
) -> tuple[Interval, dict[str, Interval]]:
    """A metric's interval over all records, and by tag.

    Over all: of the unweighted mean of the tags' means (`overall="tags"`, GenEval's aggregation), or of the mean over
    all records ("pictures"); by tag it is the mean over records.
    """
    values, tags = metric_values(records, metric), tags_of(records)
    prompt_ids = [record.prompt_id for record in records]

    def alone(places: Sequence[int], strata: Sequence[str] | None = None) -> Interval:
        column, prompts = [values[place] for place in places], [prompt_ids[place] for place in places]
        return interval(column, prompts, strata, method=method)

    by_tag: dict[str, list[int]] = {}
    for place, tag in enumerate(tags or ()):
        by_tag.setdefault(tag, []).append(place)
    over_all = alone(range(len(records)), tags if overall == "tags" else None)
    return over_all, {tag: alone(places) for tag, places in by_tag.items()}


def unscored_reasons(records: Iterable[Record]) -> dict[str, int]:
    """How often each reason left a picture unscored."""
    return dict(sorted(Counter(record.note for record in records if not record.is_scored).items()))


def write_evaluation(folder: Path, summary: Summary, records: Sequence[Record]) -> None:
    """The three files; the summary last."""
    place = EvaluationFolder(folder)
    text = "".join(f"{store.to_json(record.as_json())}\n" for record in records)
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    store.write_text(place.records, text)
    write_card(folder, summary.card)
    store.write_sealed(place.summary, replace(summary, records_sha256=digest).as_json())


def write_card(folder: Path, card: EvaluationCard) -> None:
    """card.json alone, of an evaluation that begins."""
    store.write_sealed(EvaluationFolder(folder).card, asdict(card))


def read_evaluation(folder: Path) -> tuple[Summary, list[Record]]:
    """A finished evaluation. Raises MissingFile for one that is not, RunError for files that do not belong together."""
    place = EvaluationFolder(folder)
    summary, records = read_summary(folder), read_records(place.records)
    held, prompts = len({record.key for record in records}), len({record.prompt_id for record in records})
    if (held, prompts) != (summary.images, summary.prompts):
        raise RunError(
            f"{folder}: summary.json speaks of {summary.images} pictures of {summary.prompts} prompts, records.jsonl "
            f"holds {held} of {prompts}. Run the evaluation again: it mends what is missing."
        )
    if store.file_digest(place.records) != summary.records_sha256:
        raise RunError(
            f"{folder}: records.jsonl is not the one that summary.json speaks of. "
            "Run the evaluation again: it mends it."
        )
    return summary, records


def read_summary(folder: Path) -> Summary:
    """summary.json alone. Raises MissingFile without one, RunError for one of another format or of something else."""
    path = EvaluationFolder(folder).summary
    summary = _read(Summary, store.read_json(path), path, "no evaluation's summary")
    _check_card(summary.card, path)
    return summary


def read_card(folder: Path) -> EvaluationCard:
    """card.json. Raises MissingFile without one, RunError for one of another format or of something else."""
    path = EvaluationFolder(folder).card
    card = _read(EvaluationCard, store.read_json(path), path, "no settings card of an evaluation")
    _check_card(card, path)
    return card


def read_records(path: Path, *, sealed: bool = False) -> list[Record]:
    """The lines of records.jsonl or, each with its seal, of a scorer's file; [] when there is none. Raises RunError for
    a line that is no record, or not as it was written."""
    records = []
    for number, tree in enumerate(store.read_jsonl(path), start=1):
        line = f"{path}, line {number}"
        try:
            records.append(from_plain(Record, {name: value for name, value in tree.items() if name != store.SEAL}))
        except ValueError as error:
            raise RunError(f"{line}, is no record: {error}. Delete the file and evaluate again.") from None
        if sealed and not store.is_sealed(tree):
            raise RunError(
                f"{line}: damaged, or edited by hand. Delete that line and evaluate again: it is made again."
            )
    return records


def _read(kind: type[T], tree: Any, path: Path, what: str) -> T:
    """A card or a summary of today's format."""
    written = tree.get("format") if isinstance(tree, dict) else FORMAT
    if written is None and {"must_agree", "metrics"} & tree.keys():
        written = 1  # what earlier versions left has no number
    if isinstance(written, int) and written != FORMAT:
        when = "an earlier" if written < FORMAT else "a later"
        raise RunError(
            f"{path} was written by {when} flowbench (format {written}, this one reads {FORMAT}). Evaluate again, and "
            f"delete the folder {path.parent}."
        )
    is_object = isinstance(tree, dict)
    try:
        read = from_plain(kind, {name: tree[name] for name in tree if name != store.SEAL} if is_object else tree)
    except ValueError as error:
        raise RunError(f"{path} is {what}: {error}. Name another folder, or delete it and evaluate again.") from None
    store.check_seal(path, tree)
    return read


def _check_card(card: EvaluationCard, path: Path) -> None:
    what = f"{path} is no settings card of an evaluation"
    for part, fields_of in _CARD_NEEDS.items():
        for name, kinds in fields_of.items():
            if name not in getattr(card, part):
                raise RunError(f"{what}: '{part}.{name}' is missing. Evaluate again.")
            value = getattr(card, part)[name]
            if type(value) not in kinds or (name in _POSITIVE and not 0 < value < math.inf):
                raise RunError(f"{what}: '{part}.{name}' is {value!r:.60}. Evaluate again.")
    for name, identity in card.scorers.items():
        if not isinstance(identity, Mapping):
            raise RunError(f"{what}: 'must_agree.scorers.{name}' is {identity!r:.60}. Evaluate again.")

"""Score what is missing: one line per picture (or prompt, or set), appended when it is known, never made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench import store
from flowbench.benchmarks.execution import WHOLE, Share
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.benchmarks.reading import Read, read_ahead
from flowbench.evals.score import Record, is_scored, to_record
from flowbench.types import Prompt, Sample, Score

if TYPE_CHECKING:
    from flowbench.metrics import Metric
    from flowbench.rewards import Reward

Key = tuple[str, int]
Told = Callable[[int, int], None]
"""told(done, total), in pictures."""


def held(paths: Sequence[Path]) -> dict[Key, Record]:
    """What the files hold: the last line of each picture, a scored one before an unscored one of another file."""
    found: dict[Key, Record] = {}
    for path in paths:
        for record in store.read_jsonl(path):
            key = record["prompt_id"], record["index"]
            if key not in found or is_scored(record) or not is_scored(found[key]):
                found[key] = record
    return found


def score_missing(
    batches: Sequence[Sequence[ExistingPicture]],
    reward: Callable[[], Reward],
    paths: Sequence[Path],
    *,
    part: Share = WHOLE,
    told: Told | None = None,
) -> dict[Key, Record]:
    """The record of every picture of this part; new ones are appended to the first of `paths`.

    A batch that lacks a score is scored whole, so that its composition never varies. Pictures that a failing reward
    left unscored are given to it again. The reward is built when there is something to do.
    """

    def made(batch: Sequence[ExistingPicture], pictures: Sequence[Read]) -> list[Record]:
        return _scored(batch, pictures, reward())

    return _fill(batches, made, lambda each: each.key, paths, part, told)


def measure_missing(
    batches: Sequence[Sequence[ExistingPicture]],
    metric: Callable[[], Metric],
    paths: Sequence[Path],
    *,
    by_picture: bool,
    part: Share = WHOLE,
    told: Told | None = None,
) -> dict[Key, Record]:
    """The same for a metric, a prompt in each batch: a record of each picture, or of each prompt under the index 0."""

    def key_of(each: ExistingPicture) -> Key:
        return each.key if by_picture else (each.prompt.id, 0)

    def made(batch: Sequence[ExistingPicture], pictures: Sequence[Read]) -> list[Record]:
        return _measured(batch, pictures, metric(), by_picture)

    return _fill(batches, made, key_of, paths, part, told)


def _fill(
    batches: Sequence[Sequence[ExistingPicture]],
    made: Callable[[Sequence[ExistingPicture], Sequence[Read]], list[Record]],
    key_of: Callable[[ExistingPicture], Key],
    paths: Sequence[Path],
    part: Share,
    told: Told | None,
) -> dict[Key, Record]:
    """Make the records of each batch of this part that lacks one (`made`), and append those that were lacking.

    `key_of`: under which key a picture's record stands; pictures of one key share a record and are of one batch.
    """
    found = held(paths)
    own = [batch if part.has(number) else [] for number, batch in enumerate(batches)]
    missing = [{key for key in map(key_of, batch) if key not in found or not is_scored(found[key])} for batch in own]
    done, total = 0, sum(map(len, batches))
    with closing(read_ahead(batch for batch, lacks in zip(own, missing, strict=True) if lacks)) as read:
        for batch, lacks, size in zip(own, missing, map(len, batches), strict=True):
            done += size
            if lacks:
                keys = dict.fromkeys(map(key_of, batch))
                records = zip(keys, made(batch, next(read)), strict=True)
                new = {key: record for key, record in records if key in lacks and found.get(key) != record}
                if new:
                    store.append_jsonl(paths[0], *new.values())
                    found |= new
            if batch and told is not None:
                told(done, total)
    return found


def measure_set(
    given: Sequence[ExistingPicture], metric: Metric, path: Path, reference: Sequence[ExistingPicture] | None
) -> list[Record]:
    """The one record of all pictures beside the reference pictures; kept when it is scored."""
    before = store.read_jsonl(path)
    if before and is_scored(before[-1]):
        return before[-1:]
    others = [each.load().image for each in reference] if reference is not None else None
    (measured,) = metric([each.load() for each in given], others)
    sample = Sample(Prompt("all pictures", ""), None)  # type: ignore[arg-type]
    record = to_record(sample, measured.score, index=0, image="")
    store.write_text(path, store.to_json(record) + "\n")
    return [record]


def whole_prompts(given: Sequence[ExistingPicture], size: int) -> Iterator[list[ExistingPicture]]:
    """Batches of about `size` pictures that never part a prompt's, since some rewards judge those together."""
    batch: list[ExistingPicture] = []
    for place, each in enumerate(given):
        if batch and each.prompt.id != given[place - 1].prompt.id and len(batch) >= size:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _scored(batch: Sequence[ExistingPicture], pictures: Sequence[Read], reward: Reward) -> list[Record]:
    """The records of some pictures; those that cannot be read do not take the others with them."""
    readable = {place: each for place, each in enumerate(pictures) if isinstance(each, Sample)}
    scores = dict(zip(readable, reward(list(readable.values())), strict=True))
    scores |= {place: Score.unscored(str(each)) for place, each in enumerate(pictures) if place not in readable}
    return [
        to_record(Sample(each.prompt, None, each.seed), scores[place], index=each.index, image=each.name)  # type: ignore[arg-type]
        for place, each in enumerate(batch)
    ]


def _measured(
    batch: Sequence[ExistingPicture], pictures: Sequence[Read], metric: Metric, by_picture: bool
) -> list[Record]:
    """The records of one prompt's pictures, or the one of the prompt. A broken picture takes no others with it, but a
    prompt that lacks one is not measured."""
    samples = [each for each in pictures if isinstance(each, Sample)]
    if len(samples) == len(batch):
        return [_measured_record(batch, each.score, each.index) for each in metric(samples)]
    if by_picture and len(batch) > 1:
        singles = zip(batch, pictures, strict=True)
        return [record for each, picture in singles for record in _measured([each], [picture], metric, by_picture)]
    reason = next(str(each) for each in pictures if not isinstance(each, Sample))
    return [_measured_record(batch, Score.unscored(reason), 0 if by_picture else None)]


def _measured_record(batch: Sequence[ExistingPicture], score: Score, place: int | None) -> Record:
    """The record of the picture at `place`, or of the prompt."""
    each = batch[place or 0]
    index, image, seed = (each.index, each.name, each.seed) if place is not None else (0, "", None)
    return to_record(Sample(each.prompt, None, seed), score, index=index, image=image)  # type: ignore[arg-type]

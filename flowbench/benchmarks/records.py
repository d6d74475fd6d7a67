"""Score what is missing: one line per picture (or prompt, or set), appended when it is known, never made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench import store
from flowbench.benchmarks.execution import Share
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.benchmarks.reading import Read, read_ahead
from flowbench.errors import RunError
from flowbench.evals.evaluation import Key, Record, read_records
from flowbench.types import Prompt, Score

if TYPE_CHECKING:
    from flowbench.metrics import Metric
    from flowbench.rewards import Reward

ALL = "all pictures"
"""In place of a prompt's id: a record of the whole set."""
Progress = Callable[[int, int], None]
"""progress(done, total), in pictures."""
Make = Callable[[Sequence[ExistingPicture], Sequence[Read]], list[Record]]
"""make(batch, its pictures) -> the records of the batch."""
IsCurrent = Callable[[Record], bool]
"""Whether a record is of the picture that lies in its place now."""


def held(paths: Sequence[Path], is_current: IsCurrent) -> dict[Key, Record]:
    """What the files hold: the last line of each picture, a scored one before an unscored one of another file, and one
    of the picture as it is now before one of another that lay in its place."""
    found: dict[Key, Record] = {}
    for path in paths:
        for record in read_records(path, sealed=True):
            before = found.get(record.key)
            if before is not None and before.is_scored:
                other = record.image_sha256 != before.image_sha256
                if not record.is_scored or (other and not is_current(record)):
                    continue
            found[record.key] = record
    return found


def by_reward(reward: Callable[[], Reward]) -> Make:
    """Scores a batch; pictures that cannot be read do not take the others with them. The reward is built when there is
    something to score."""

    def make(batch: Sequence[ExistingPicture], pictures: Sequence[Read]) -> list[Record]:
        readable = {place: each.sample for place, each in enumerate(pictures) if each.sample is not None}
        scores = dict(zip(readable, reward()(list(readable.values())), strict=True))
        return [
            _record(each, scores[place] if place in scores else Score.unscored(read.reason), [read])
            for place, (each, read) in enumerate(zip(batch, pictures, strict=True))
        ]

    return make


def by_metric(metric: Callable[[], Metric], *, of_prompt: bool) -> Make:
    """Measures the pictures of one prompt: a record of each picture or, `of_prompt`, one of them all.

    A broken picture takes no others with it, but a prompt that lacks one is not measured.
    """

    def make(batch: Sequence[ExistingPicture], pictures: Sequence[Read]) -> list[Record]:
        samples = [each.sample for each in pictures if each.sample is not None]
        if len(samples) == len(batch):
            measured = [(each.index or 0, each.score) for each in metric()(samples)]
            judged = [(place, score, pictures if of_prompt else [pictures[place]]) for place, score in measured]
            return [_record(batch[place], score, of, of_prompt=of_prompt) for place, score, of in judged]
        if not of_prompt and len(batch) > 1:
            singles = zip(batch, pictures, strict=True)
            return [record for each, picture in singles for record in make([each], [picture])]
        reason = next(each.reason for each in pictures if each.sample is None)
        return [_record(batch[0], Score.unscored(reason), pictures, of_prompt=of_prompt)]

    return make


def fill(
    batches: Sequence[Sequence[ExistingPicture]],
    make: Make,
    paths: Sequence[Path],
    *,
    of_prompt: bool = False,
    share: Share,
    progress: Progress,
    is_current: IsCurrent,
    check: Callable[[], None],
) -> None:
    """Make the records of each batch of this share that lacks one; those that were lacking are appended to the first of
    `paths`, after a `check` of their folder.

    A batch that lacks a score is scored whole, so that its composition never varies. Pictures that a failing scorer
    left unscored are given to it again, and so are those that are no longer the ones that were scored. `of_prompt`: a
    prompt in each batch, with one record, under the index 0.
    """
    found = held(paths, is_current)
    own = [batch if share.has(number) else [] for number, batch in enumerate(batches)]
    keys = [list(dict.fromkeys((each.prompt.id, 0) if of_prompt else each.key for each in batch)) for batch in own]
    whole = {key for some in keys for key in some if key in found and found[key].is_scored and is_current(found[key])}
    missing = [set(some) - whole for some in keys]
    done, total = 0, sum(map(len, batches))
    with closing(read_ahead(batch for batch, lacks in zip(own, missing, strict=True) if lacks)) as read:
        for batch, some, lacks, size in zip(own, keys, missing, map(len, batches), strict=True):
            done += size
            if lacks:
                records = zip(some, make(batch, next(read)), strict=True)
                new = [record for key, record in records if key in lacks and found.get(key) != record]
                if new:
                    check()
                    store.append_jsonl(paths[0], *(store.sealed(record.as_json()) for record in new))
            if batch:
                progress(done, total)


def measure_set(
    pictures: Sequence[ExistingPicture],
    metric: Callable[[], Metric],
    path: Path,
    reference: Sequence[ExistingPicture],
    sha256: str,
    *,
    total: int,
) -> None:
    """The one record of all pictures, beside the reference pictures of a metric that compares with some; it is made
    again when it is unscored, or of other pictures than those of this hash. One that cannot be read, or is not there,
    leaves the set unscored, with the reason: the number of the others would be that of another set."""
    of_all = Prompt(ALL, f"{total} pictures")
    before = read_records(path, sealed=True)
    if before and before[-1].is_scored and (before[-1].prompt, before[-1].image_sha256) == (of_all.text, sha256):
        return
    try:
        if len(pictures) < total:
            raise RunError(f"{total - len(pictures)} of {total} pictures are not there, and it is a number of them all")
        others = [each.load().image for each in reference]
        (measured,) = metric()([each.load() for each in pictures], others)
        score = measured.score
    except RunError as error:
        score = Score.unscored(str(error))
    record = Record.of(of_all, score, index=0, seed=None, image="", image_sha256=sha256)
    store.write_text(path, store.to_json(store.sealed(record.as_json())) + "\n")


def together(sha256s: Sequence[str]) -> str:
    """One hash for pictures that are judged together: a single picture's own; "" where one has none."""
    return "" if "" in sha256s else sha256s[0] if len(sha256s) == 1 else store.digest(list(sha256s))


def whole_prompts(pictures: Sequence[ExistingPicture], size: int) -> Iterator[list[ExistingPicture]]:
    """Batches of about `size` pictures that never part a prompt's, since some rewards judge those together."""
    batch: list[ExistingPicture] = []
    for place, each in enumerate(pictures):
        if batch and each.prompt.id != pictures[place - 1].prompt.id and len(batch) >= size:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _record(each: ExistingPicture, score: Score, pictures: Sequence[Read], *, of_prompt: bool = False) -> Record:
    """Of the picture, or of its prompt."""
    index, seed, image = (0, None, "") if of_prompt else (each.index, each.seed, each.name)
    sha256 = together([read.sha256 for read in pictures])
    return Record.of(each.prompt, score, index=index, seed=seed, image=image, image_sha256=sha256)

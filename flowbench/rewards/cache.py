"""What a reward has said once, kept for every later training, evaluation and scoring on this machine.

Kept under a SHA-256 over everything that decides a score: the picture's pixels, the prompt's text, tag and metadata,
the reward with its options, version, packages and code, and the contents of its weights. Not part of it: device, batch
size and whatever else changes no more than a score's last digits; the first score that was computed stays.

Which rewards: those that need weights, and those whose card says `cached`; a rule like `jpeg` costs no more than the
look-up. Never one that compares a prompt's pictures, never an unscored picture.

A cache that is damaged, locked or cannot be written is reported once, and scoring goes on without it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench import assets, store
from flowbench.assets.places import CACHE
from flowbench.errors import ConfigError, FlowbenchError
from flowbench.rewards.card import Card
from flowbench.rewards.catalog import describe, needed_weights
from flowbench.terminal import say
from flowbench.types import Sample, Score

if TYPE_CHECKING:
    from flowbench.rewards.cache_file import CacheFile

SWITCH = "FLOWBENCH_SCORE_CACHE"
"""Environment variable: "off" turns the cache off everywhere."""
_FORMAT = 1
"""Of key and value. Another one never finds what this one wrote."""
_WHOLE_MODES = ("RGB", "L", "RGBA")
"""Modes whose bytes are the whole picture; others have a palette beside them."""


def file_path() -> Path:
    """`scores.sqlite` in flowbench's own cache. Raises ConfigError where that is the home of a user who is not here."""
    folder = os.environ.get(CACHE) or "~/.cache/flowbench"
    try:
        return Path(folder).expanduser() / "scores.sqlite"
    except RuntimeError:
        raise ConfigError(f"{CACHE} is '{folder}', and there is no such home folder. Name another one.") from None


def is_on() -> bool:
    """Whether the environment allows the cache."""
    return os.environ.get(SWITCH, "").lower() not in ("off", "0", "no", "false")


def is_imprecise() -> bool:
    """Whether float32 products on a GPU are rounded to TF32 in this process, as training in 16 bits allows: its scores
    differ from those of an evaluation by a thousandth, and are neither kept nor taken from the cache."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.get_float32_matmul_precision() != "highest"


def open_cache(
    name: str, card: Card, *, options: Mapping[str, Any], vocabulary: str | None, path: Path | None = None
) -> RewardCache | None:
    """The scores kept of a reward, or None where none are kept. Raises nothing: what goes wrong is one line on stderr.

    `path`: the file, `file_path()` unless given.
    """
    if not is_on() or is_imprecise():
        return None
    try:
        needs = needed_weights(name, options, vocabulary)
        if not (needs if card.cached is None else card.cached):
            return None
        decides = {
            "format": _FORMAT,
            **describe(name, options, vocabulary=vocabulary),
            "weights": assets.identities(needs),
            "files": {
                key: _contents(value)
                for key, value in options.items()
                if isinstance(value, (str, os.PathLike)) and os.path.exists(value)
            },
        }
        settings, place = store.digest(decides), path or file_path()
    except (FlowbenchError, OSError, TypeError, ValueError) as error:  # Type, Value: an option that is no JSON
        _warn(f"scores of reward '{name}' are not cached: {error}")
        return None
    from flowbench.rewards.cache_file import CacheFile

    return RewardCache(name, settings, CacheFile(place))


class RewardCache:
    """The scores kept of one reward with its settings (their digest); safe to use from several threads."""

    def __init__(self, reward: str, settings: str, file: CacheFile):
        self.reward = reward
        self._settings = settings
        self._file: CacheFile | None = file
        self._hits = self._misses = 0

    def keys(self, samples: Iterable[Sample]) -> list[bytes | None]:
        """The key of each sample; None for one that is not kept (no RGB picture, metadata that are no JSON)."""
        return [self._key(sample) for sample in samples]

    def get(self, keys: Sequence[bytes | None]) -> list[Score | None]:
        """What is kept under the keys, to the last bit as it was; None where nothing is."""
        texts: Mapping[bytes, str] = {}
        if self._file is not None:
            try:
                texts = self._file.get([key for key in keys if key is not None])
            except OSError as error:
                self._give_up(error)
        found: list[Score | None] = [None] * len(keys)
        for place, key in enumerate(keys):
            if key is not None and key in texts:
                found[place] = _score(texts[key])
        hits = sum(score is not None for score in found)
        self._hits, self._misses = self._hits + hits, self._misses + len(found) - hits
        return found

    def put(self, keys: Sequence[bytes | None], scores: Sequence[Score]) -> None:
        """Keep the scores, but for unscored ones and those that JSON would not give back as they are."""
        rows = {}
        for key, score in zip(keys, scores, strict=True):
            if key is not None and score.is_scored and _is_json(score.details):
                content = [score.value, score.parts, score.note, score.details]
                rows[key] = json.dumps(content, separators=(",", ":"))  # not to_json: a part may be NaN
        if rows and self._file is not None:
            try:
                self._file.put(self.reward, rows)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Write down how often a score was found, and let go of the file; the next use opens it again."""
        if self._file is None:
            return
        try:
            self._file.count(self.reward, self._hits, self._misses)
        except OSError as error:
            self._give_up(error)
        else:
            self._hits = self._misses = 0
            self._file.close()

    def _key(self, sample: Sample) -> bytes | None:
        image, prompt = sample.image, sample.prompt
        if getattr(image, "mode", None) not in _WHOLE_MODES:
            return None
        try:
            repeated = {"prompt": prompt.text, "tag": prompt.tag}  # prompt sets do, tables do not
            more = {key: each for key, each in prompt.metadata.items() if key not in repeated or each != repeated[key]}
            asked = store.to_json([self._settings, prompt.text, prompt.tag, more])
            key = hashlib.sha256(f"{asked}\n{image.mode} {image.width} {image.height}\n".encode())
        except (TypeError, ValueError):
            return None
        key.update(image.tobytes())
        return key.digest()

    def _give_up(self, error: OSError) -> None:
        """For this reward, until it is built again: a file that fails once would fail at every batch."""
        self._file = None
        _warn(f"the score cache is not used: {error}")


def _score(text: str) -> Score | None:
    """What `put` has written, or None: a row of something else is no score, whatever its checksum."""
    try:
        value, parts, note, details = json.loads(text)
    except (ValueError, TypeError):
        return None
    sound = isinstance(value, float) and math.isfinite(value) and isinstance(note, str) and isinstance(details, dict)
    if not sound or not isinstance(parts, dict) or not all(isinstance(part, float) for part in parts.values()):
        return None
    return Score(value, parts, note, details)


def _is_json(value: Any) -> bool:
    """Whether JSON gives the value back equal: a tuple would become a list, a number as a key a text."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _contents(path: str | os.PathLike[str]) -> list[list[str]]:
    """Name and SHA-256 of the file, or of every file of the folder: an option may name weights of the user's own."""
    root = Path(path)
    if root.is_file():
        return [["", store.file_digest(root)]]
    files = sorted(each for each in root.rglob("*") if each.is_file())
    return [[each.relative_to(root).as_posix(), store.file_digest(each)] for each in files]


@functools.cache
def _warn(line: str) -> None:
    """Each line once, on stderr: it is for whoever runs the command, and no reason to stop."""
    say(f"warning: {line}", err=True)

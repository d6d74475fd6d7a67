"""One built reward: calls the plugin's function, checks what comes back, gives a failure its name."""

from __future__ import annotations

import inspect
import math
import reprlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from numbers import Real
from typing import Any, Literal

from flowbench.errors import ConfigError, FlowbenchError, RewardError, in_words, writable
from flowbench.registry import did_you_mean
from flowbench.rewards.cache import RewardCache, open_cache
from flowbench.rewards.card import Card
from flowbench.rewards.catalog import registry
from flowbench.rewards.licences import require_accepted
from flowbench.terminal import say
from flowbench.types import RewardFunction, Sample, Score

OnError = Literal["raise", "skip"]


class Reward:
    """A reward ready to score: `reward(samples) -> scores`, as many and in the same order.

    A `per_group` reward is called once for each prompt with all of that prompt's samples, so hand it whole groups.
    A call that fails (an exception, no answer within `timeout` seconds, another number of scores than of samples)
    becomes a RewardError (`on_error="raise"`); with `"skip"` the samples are asked for one by one, so that only those
    which fail alone stay unscored, with the reason. What is no score at all (see `checked`) always raises. With a
    `cache`, only pictures that it does not hold are scored.
    """

    def __init__(
        self,
        name: str,
        function: RewardFunction,
        *,
        card: Card,
        per_group: bool = False,
        on_error: OnError = "raise",
        timeout: float | None = None,
        cache: RewardCache | None = None,
    ):
        self.name = name
        self.card = card
        self.per_group = per_group
        self.parts: dict[str, Reward] = {}
        self._function = function
        self._on_error = on_error
        self._timeout = timeout
        self._cache = cache

    def __call__(self, samples: Sequence[Sample]) -> list[Score]:
        scores: list[Score | None] = [None] * len(samples)
        for places in self._batches(samples):
            for place, score in zip(places, self._look_up([samples[place] for place in places]), strict=True):
                scores[place] = score
        return [score for score in scores if score is not None]

    def close(self) -> None:
        """Let go of what the reward holds (a process, a connection): calls its function's own `close`, if any.

        One that fails is a line on stderr: what was scored is scored.
        """
        try:
            close = getattr(self._function, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            say(f"warning: reward '{self.name}' failed when it was closed: {in_words(error)}", err=True)
        finally:
            if self._cache is not None:
                self._cache.close()

    def _batches(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Places of the samples to score together: all of them, or one list per prompt."""
        if not self.per_group:
            return [list(range(len(samples)))] if samples else []
        groups: dict[str, list[int]] = {}
        for place, sample in enumerate(samples):
            groups.setdefault(sample.prompt.id, []).append(place)
        return list(groups.values())

    def _look_up(self, samples: list[Sample]) -> list[Score]:
        """From the cache what it holds; all others are scored, in one call, and kept."""
        if self._cache is None:
            return self._score(samples)
        keys = self._cache.keys(samples)
        held = self._cache.get(keys)
        missing = [place for place, score in enumerate(held) if score is None]
        if not missing:
            return [score for score in held if score is not None]
        new = self._score([samples[place] for place in missing])
        self._cache.put([keys[place] for place in missing], new)
        scored = iter(new)
        return [next(scored) if score is None else score for score in held]

    def _score(self, samples: list[Sample]) -> list[Score]:
        try:
            scores = self._answer(samples)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # the user's own
                raise
            reason = f"reward '{self.name}' failed: {in_words(error)}"
            if self._on_error == "skip":
                return self._ask_again(samples, reason)
            raise RewardError(
                f"{reason.rstrip('.')}. Mend the cause, or set `on_error: skip` to leave such samples unscored."
            ) from error
        return [checked(score, "reward", self.name) for score in scores]

    def _ask_again(self, samples: list[Sample], reason: str) -> list[Score]:
        """After a failed call: picture by picture, since one of them may be what it stumbled over.

        When the first, the middle and the last one fail too, it is down (or fits none of them), and is not kept busy
        with the others. A group reward needs its group, so there the whole prompt stays unscored.
        """
        if self.per_group or len(samples) == 1:
            return [Score.unscored(reason)] * len(samples)
        probes = dict.fromkeys((0, len(samples) // 2, len(samples) - 1))
        again = {place: self._score([samples[place]])[0] for place in probes}
        if not any(score.is_scored for score in again.values()):
            return [Score.unscored(reason)] * len(samples)
        return [again[place] if place in again else self._score([sample])[0] for place, sample in enumerate(samples)]

    def _answer(self, samples: list[Sample]) -> list[Score]:
        """What the function returns, once it is known to belong to these samples. Any exception is a failed call.

        What it does to its list, a picture or the metadata is not what other rewards see.
        """
        from flowbench.images import guarded

        own = []
        for each in samples:
            prompt = replace(each.prompt, metadata=dict(each.prompt.metadata))
            own.append(Sample(prompt, each.image and guarded(each.image), each.seed))
        scores = self._function(own) if self._timeout is None else self._answer_in_time(own, self._timeout)
        if not isinstance(scores, Sequence) or len(scores) != len(samples):
            got = f"{len(scores)} scores" if isinstance(scores, Sequence) else type(scores).__name__
            raise ValueError(
                f"it got {len(samples)} samples and returned {got}, where a list with one Score for each sample, in "
                "the same order, belongs"
            )
        return list(scores)

    def _answer_in_time(self, samples: list[Sample], seconds: float) -> Any:
        """The function's answer; TimeoutError when it takes longer. A call that hangs is left to its own thread, which
        ends with the process: Python cannot stop it."""
        answer: Future[Any] = Future()
        count = len(samples)

        def call() -> None:
            try:
                answer.set_result(self._function(samples))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=call, name=f"reward {self.name}", daemon=True).start()
        try:
            return answer.result(seconds)
        except FutureTimeout:
            if answer.done():  # in the last moment, or it is a TimeoutError of its own
                return answer.result()
            raise TimeoutError(f"no answer for {count} samples within {seconds:g} s") from None


def checked(score: Any, kind: str, name: str) -> Score:
    """What a reward or metric (`kind`) returned as a score, in plain types, since it goes into JSON and tables.

    Numbers of numpy become floats, its arrays in the details lists; an unscored one always has a reason.
    Raises RewardError for what is no score: another type, a value or part that is infinite or no number, a note that is
    no text, a part whose name is none, details that JSON cannot hold.
    """
    who = f"{kind} '{name}'"
    if not isinstance(score, Score):
        raise RewardError(
            f"{who} returned a {type(score).__name__} where a flowbench.Score belongs. Wrap the number: Score(value)."
        )
    value = _number(score.value, who, "a value")
    if not isinstance(score.note, str):
        raise RewardError(f"{who} returned a note of {reprlib.repr(score.note)}. Give a text, or none.")
    note = writable(score.note) or (f"{who} gave NaN and no reason" if math.isnan(value) else "")
    if not isinstance(score.parts, Mapping) or not isinstance(score.details, Mapping):
        odd = score.details if isinstance(score.parts, Mapping) else score.parts
        raise RewardError(f"{who} returned {reprlib.repr(odd)} for parts or details. Give dicts, or leave them out.")
    for key in score.parts:
        if not isinstance(key, str) or not key.isprintable() or key.strip() != key or key in ("", "value", name):
            raise RewardError(
                f"{who} returned a part with the name {reprlib.repr(key)}. Give parts names of printable characters, "
                f"but not 'value' nor '{name}', which stand for the score itself."
            )
    parts = {key: _number(part, who, f"the part '{key}'") for key, part in score.parts.items()}
    try:
        details = _plain(score.details)
    except Exception as error:
        raise RewardError(
            f"{who} returned details that JSON cannot hold ({in_words(error)}). Give texts, numbers, True, False and "
            "None, and lists and dicts of them."
        ) from error
    return Score(value, parts, note, details)


def _number(value: Any, who: str, what: str) -> float:
    try:
        number = float(value) if isinstance(value, Real) else math.inf
    except Exception:  # an integer without a float, or a number of a plugin's own
        number = math.inf
    if math.isinf(number):
        raise RewardError(
            f"{who} returned {what} of {reprlib.repr(value)}. Give a finite number, or Score.unscored(reason) when "
            "there is none."
        )
    return number


def _plain(value: Any) -> Any:
    """The value in JSON's types. Raises TypeError for what has none, RecursionError for what holds itself."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, (str, int))]:
            raise TypeError(f"{reprlib.repr(odd[0])} is no key of JSON")
        return {writable(key) if isinstance(key, str) else key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else [*map(_plain, value)]
    if callable(as_list := getattr(value, "tolist", None)):  # of numpy, torch, pandas
        return _plain(as_list())
    raise TypeError(f"a {type(value).__name__} is nothing of JSON")


def build_one(
    name: str,
    *,
    vocabulary: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_error: OnError = "raise",
    timeout: float | None = None,
    cache: bool = True,
) -> Reward:
    """Build one registered reward; `cache`: keep its scores, and use kept ones, if it is one whose scores are cached.

    Raises UnknownName, ConfigError (bad options), LicenceError (terms to accept first) or RewardError (all else).
    """
    factory = registry.get(name)
    card = registry.card(name) or Card(name, summary=(inspect.getdoc(factory) or "").partition("\n")[0])
    require_accepted(card)
    settings = settings_of(name, factory, vocabulary, options or {})
    try:
        function = factory(**settings)
    except BaseException as error:
        if isinstance(error, (FlowbenchError, KeyboardInterrupt)):
            raise
        raise RewardError(f"reward '{name}' cannot be built: {in_words(error)}. Check its options.") from error
    if not callable(function):
        raise RewardError(
            f"reward '{name}' was built into a {type(function).__name__}, which cannot be called. "
            "A reward is a factory that returns the function which scores a list of samples."
        )
    per_group = bool(getattr(function, "per_group", False) or getattr(factory, "per_group", False))
    kept = open_cache(name, card, options=options or {}, vocabulary=vocabulary) if cache and not per_group else None
    return Reward(name, function, card=card, per_group=per_group, on_error=on_error, timeout=timeout, cache=kept)


def settings_of(
    name: str,
    factory: Callable[..., Any],
    vocabulary: str | None,
    options: Mapping[str, Any],
    *,
    kind: str = "reward",
) -> dict[str, Any]:
    """The factory's keyword arguments: the given options, checked against its signature, and the vocabulary.

    Numbers are finite, and an option whose default is true, false or a text takes nothing else. Raises ConfigError.
    """
    parameters = inspect.signature(factory).parameters
    takes_anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = [
        key
        for key, parameter in parameters.items()
        if key != "vocabulary" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    for key in options:
        if key not in known and (key == "vocabulary" or not takes_anything):
            listed = f"Its options: {', '.join(known)}." if known else "It has no options."
            raise ConfigError(f"{kind} '{name}' has no option '{key}'.{did_you_mean(key, known)} {listed}")
    for key, value in options.items():
        wanted = _wanted(parameters[key].default if key in known else None, value)
        if wanted:
            raise ConfigError(f"{kind} '{name}': its option '{key}' is {reprlib.repr(value)}. Give {wanted}.")
    missing = [key for key in known if parameters[key].default is inspect.Parameter.empty and key not in options]
    if missing:
        raise ConfigError(
            f"{kind} '{name}' needs a value for its option '{missing[0]}'. Give it, or, if the {kind} is yours: "
            "its parameters are its options, and it returns the function that takes the samples."
        )
    settings = dict(options)
    if "vocabulary" in parameters:
        settings["vocabulary"] = vocabulary
    return settings


def _wanted(default: Any, value: Any) -> str:
    """What an option with this default takes, when the value can be none of it; "" when the factory shall judge."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, str):
        return "a text, in quotation marks if need be" if isinstance(value, Real) else ""
    odd = isinstance(value, bool) if isinstance(default, (int, float)) else False
    return "a finite number" if odd or (isinstance(value, float) and not math.isfinite(value)) else ""

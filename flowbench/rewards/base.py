"""One built reward: calls the plugin's function, checks what comes back, gives a failure its name."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from numbers import Real
from typing import Any, Literal

from flowbench.errors import ConfigError, FlowbenchError, RewardError
from flowbench.registry import did_you_mean
from flowbench.rewards.cache import RewardCache, open_cache
from flowbench.rewards.card import Card
from flowbench.rewards.catalog import registry
from flowbench.rewards.licences import require_accepted
from flowbench.types import RewardFunction, Sample, Score

OnError = Literal["raise", "skip"]


class Reward:
    """A reward ready to score: `reward(samples) -> scores`, as many and in the same order.

    A `per_group` reward is called once for each prompt with all of that prompt's samples, so hand it whole groups.
    A call that fails (an exception, no answer within `timeout` seconds, another number of scores than of samples)
    becomes a RewardError (`on_error="raise"`); with `"skip"` the samples are asked for one by one, so that only those
    which fail alone stay unscored, with the reason. What is no score at all (not a Score, an infinite value) always
    raises. With a `cache`, only pictures that it does not hold are scored.
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
        """Let go of what the reward holds (a process, a connection): calls its function's own `close`, if any."""
        close = getattr(self._function, "close", None)
        if close is not None:
            close()
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
        except (Exception, SystemExit) as error:
            reason = f"reward '{self.name}' failed: {type(error).__name__}: {error}"
            if self._on_error == "skip":
                return self._ask_again(samples, reason)
            raise RewardError(
                f"{reason.rstrip('.')}. Mend the cause, or set `on_error: skip` to leave such samples unscored."
            ) from error
        return [checked(score, f"reward '{self.name}'") for score in scores]

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

    def _answer(self, samples: list[Sample]) -> Sequence[Score]:
        """What the function returns, once it is known to belong to these samples. Any exception is a failed call."""
        scores = self._function(samples) if self._timeout is None else self._answer_in_time(samples, self._timeout)
        if not isinstance(scores, Sequence) or len(scores) != len(samples):
            got = f"{len(scores)} scores" if isinstance(scores, Sequence) else type(scores).__name__
            raise ValueError(
                f"it got {len(samples)} samples and returned {got}, where a list with one Score for each sample, in "
                "the same order, belongs"
            )
        return scores

    def _answer_in_time(self, samples: list[Sample], seconds: float) -> Any:
        """The function's answer; TimeoutError when it takes longer. A call that hangs is left to its own thread, which
        ends with the process: Python cannot stop it."""
        answer: Future[Any] = Future()

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
            raise TimeoutError(f"no answer for {len(samples)} samples within {seconds:g} s") from None


def checked(score: Any, who: str) -> Score:
    """What `who` ("reward 'x'") returned as a score, with plain floats (they go into JSON); an unscored one always has
    a reason. Raises RewardError for what is no score."""
    if not isinstance(score, Score):
        raise RewardError(
            f"{who} returned a {type(score).__name__} where a flowbench.Score belongs. Wrap the number: Score(value)."
        )
    value = _number(score.value, who, "a value")
    note = score.note or (f"{who} gave NaN and no reason" if math.isnan(value) else "")
    parts = {key: _number(part, who, f"the part '{key}'") for key, part in score.parts.items()}
    return Score(value, parts, note, score.details)


def _number(value: Any, who: str, what: str) -> float:
    if not isinstance(value, Real) or math.isinf(value):
        raise RewardError(
            f"{who} returned {what} of {value!r}. Give a finite number, or Score.unscored(reason) when there is none."
        )
    return float(value)


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
    except FlowbenchError:
        raise
    except Exception as error:
        raise RewardError(
            f"reward '{name}' cannot be built: {type(error).__name__}: {error}. Check its options."
        ) from error
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
    """The factory's keyword arguments: the given options, checked against its signature, and the vocabulary."""
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

"""The promises of a reward, checked: what `flowbench` relies on in training, evaluation and scoring."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from flowbench.rewards import Reward, build, registry
from flowbench.testing.samples import sample_pictures
from flowbench.types import Sample, Score

TOLERANCE = 1e-5
"""Largest relative difference that a network's sums may make between batches; a rule makes none."""

Build = Callable[..., Reward]
Check = Callable[[Build, Sequence[Sample], float], "str | None"]


def check_reward(
    name: str,
    samples: Sequence[Sample] | None = None,
    *,
    options: dict[str, Any] | None = None,
    vocabulary: str | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Check a registered reward; AssertionError lists every promise that it breaks.

    `samples`: pictures that it can score, of several prompts, at least two for each; `sample_pictures()` unless given.
    `tolerance`: the largest relative difference between batches. In a test of yours: `check_reward("mine")`.

    length        one Score for each sample, with finite numbers or a reason
    range         values within the card's bounds
    order         the scores follow their samples, whatever their order
    determinism   the same scores on every call, by every build; global random states untouched
    batch size    one at a time (a group reward: one prompt at a time) gives the same scores
    input         samples are left as they were
    bad input     a sample without a picture is unscored with a reason, beside others that are scored
    device        with an option `device`: CUDA, where it is there, gives the CPU's scores (1e-2)
    """
    if not isinstance(name, str):
        raise TypeError(f"check_reward wants the name under which a reward is registered, not a {type(name).__name__}")
    pictures = list(samples) if samples is not None else sample_pictures()
    opened: list[Reward] = []

    def built(**more: Any) -> Reward:
        options_of = {name: {**(options or {}), **more}}
        opened.append(build(name, vocabulary=vocabulary, options=options_of, on_error="skip", cache=False))
        return opened[-1]

    failures = []
    for label, check in _CHECKS.items():
        said = check(built, copy.deepcopy(pictures), tolerance)  # copies: one check's harm is not the next one's
        failures += [f"{label}: {said}"] * bool(said)
        while opened:
            opened.pop().close()
    if failures:
        raise AssertionError(f"reward '{name}' breaks {len(failures)} of its promises:\n" + "\n".join(failures))


def _length(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    scores = built()(samples)
    if len(scores) != len(samples):
        return f"{len(samples)} samples, {len(scores)} scores"
    if not any(score.is_scored for score in scores):
        return f"not one of {len(samples)} samples is scored: {scores[0].note}"
    if built()([]) != []:
        return "no samples must give no scores"
    return None


def _range(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    reward = built()
    low = -math.inf if reward.card.low is None else reward.card.low
    high = math.inf if reward.card.high is None else reward.card.high
    outside = [score.value for score in reward(samples) if score.is_scored and not low <= score.value <= high]
    return f"{outside[0]} is outside the card's range, {low} to {high}" if outside else None


def _order(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    reward = built()
    return _difference(
        reward(samples), reward(samples[::-1])[::-1], tolerance, "reversed, the samples get other scores"
    )


def _determinism(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    before = _random_states(moved=True)
    reward = built()
    first, second, other = reward(samples), reward(samples), built()(samples)
    if _random_states() != before:
        return "it moves a global random state (torch, numpy or random): draw from a generator of your own"
    return _difference(first, second, 0.0, "a second call gives other scores") or _difference(
        first, other, 0.0, "a second build gives other scores"
    )


def _batch_size(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    reward = built()
    groups: dict[str | int, list[Sample]] = {}  # by prompt, or each sample alone
    for place, sample in enumerate(samples):
        groups.setdefault(sample.prompt.id if reward.per_group else place, []).append(sample)
    single: dict[int, Score] = {}
    for group in groups.values():
        single.update(zip((id(sample) for sample in group), reward(group), strict=True))
    alone = [single[id(sample)] for sample in samples]
    return _difference(reward(samples), alone, tolerance, "scored in smaller batches, the samples get other scores")


def _input(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    prompts = copy.deepcopy([sample.prompt for sample in samples])
    built()(samples)
    return "it changes the prompts it is given" if prompts != [sample.prompt for sample in samples] else None


def _bad_input(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    reward = built()
    scored = next((sample for sample in samples if reward([sample])[0].is_scored), samples[0])
    broken = Sample(scored.prompt, None)  # type: ignore[arg-type]
    (alone,) = reward([broken])
    if alone.is_scored:
        return f"a sample without a picture gets {alone.value}: return Score.unscored(reason), or let the error through"
    if reward.per_group:
        return None
    beside = reward([scored, broken])
    if not beside[0].is_scored or beside[1].is_scored:
        return "a sample without a picture must be unscored, and the one beside it scored"
    return None


def _device(built: Build, samples: Sequence[Sample], tolerance: float) -> str | None:
    import torch

    if "device" not in inspect.signature(registry.get(built().name)).parameters:
        return None
    on_cpu = built(device="cpu")(samples)
    if not torch.cuda.is_available():
        return None
    on_cuda = built(device="cuda")(samples)
    return _difference(on_cpu, on_cuda, 1e-2, "on cuda the samples get other scores than on the CPU")


_CHECKS: dict[str, Check] = {
    "length": _length,
    "range": _range,
    "order": _order,
    "determinism": _determinism,
    "batch size": _batch_size,
    "input": _input,
    "bad input": _bad_input,
    "device": _device,
}


def _difference(scores: Sequence[Score], others: Sequence[Score], tolerance: float, what: str) -> str | None:
    """Where the two differ first; None where they agree. `tolerance` is relative, of values below 1 absolute."""
    for place, (score, other) in enumerate(zip(scores, others, strict=True)):
        a, b = score.value, other.value
        close = abs(a - b) <= tolerance * max(abs(a), abs(b), 1.0) if score.is_scored else not other.is_scored
        if not close:
            return f"{what}: {a!r} and {b!r} for number {place}"
    return None


def _random_states(*, moved: bool = False) -> tuple[Any, ...]:
    """The global random states; `moved` on first, since a reward that sets one may have set it to the same before."""
    import random

    import numpy
    import torch

    if moved:
        random.random(), numpy.random.random(), torch.rand(1)
    kind, keys, *rest = numpy.random.get_state()
    return random.getstate(), torch.get_rng_state().tolist(), kind, list(keys), rest

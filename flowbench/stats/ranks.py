"""Which ranks a model can have: a leaderboard's order is a guess wherever two models cannot be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from flowbench.stats.clusters import Design, as_values, enough, mean_of_means
from flowbench.stats.intervals import check_confidence
from flowbench.stats.paired import Direction, draws_for, holm, sign_of
from flowbench.stats.resampling import sign_flip_p


def rank_ranges(
    values: Mapping[str, Sequence[float]],
    prompt_ids: Sequence[Any],
    tags: Sequence[Any] | None = None,
    *,
    direction: Direction = "higher",
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each model can have, by paired comparisons of all pairs.

    values: per model the values of the same rows (prompt and seed); NaN is unscored, and leaves the row out of that
    model's comparisons. One model is better than another if the sign-flip p of `paired_test`, by Holm's correction
    over all pairs, is at most 1 - confidence. Best rank: 1 + the number of better models; worst: all less the number of
    worse ones. Two models with fewer than 20 prompts in common (5 of some tag) are never told apart, so a model
    without a score ranges from first to last. draws: at least; more are made where many pairs need them.
    Raises ConfigError for another direction, a confidence outside (0, 1), lengths that differ or infinite values.
    """
    check_confidence(confidence)
    sign = sign_of(direction)
    scores = {name: sign * as_values(column, prompt_ids, tags) for name, column in values.items()}
    design = Design.of(prompt_ids, tags)
    parts = {pair: design.strata(scores[pair[0]] - scores[pair[1]]) for pair in itertools.combinations(scores, 2)}
    known = {pair: each for pair, each in parts.items() if enough(each)}
    needed = max(draws, draws_for(len(known), 1 - confidence))
    p_values = holm(sign_flip_p(list(known.values()), needed, seed))
    best, worst = dict.fromkeys(scores, 1), dict.fromkeys(scores, len(scores))
    for ((first, second), each), p in zip(known.items(), p_values, strict=True):
        if p > 1 - confidence + 1e-12 or math.isnan(p):
            continue
        better, worse = (first, second) if mean_of_means(each) > 0 else (second, first)
        best[worse] += 1
        worst[better] -= 1
    return {name: (best[name], worst[name]) for name in scores}

"""Rank ranges: by hand, by brute force over paired tests, and what must not change them."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest

from flowbench.errors import ConfigError
from flowbench.evals import draws_for, holm, paired_test, rank_ranges

NAN = math.nan


def test_two_equal_models_and_a_worse_one():
    values = {"same": [1.0] * 60, "worse": [0.0] * 60, "too": [1.0] * 60}
    assert rank_ranges(values, range(60)) == {"same": (1, 2), "worse": (3, 3), "too": (1, 2)}
    assert rank_ranges(values, range(60), direction="lower") == {"same": (2, 3), "worse": (1, 1), "too": (2, 3)}


def test_one_model_and_none():
    assert rank_ranges({"only": [1.0] * 60}, range(60)) == {"only": (1, 1)}
    assert rank_ranges({}, range(60)) == {}


def test_agrees_with_paired_tests_one_by_one():
    rng = numpy.random.default_rng(0)
    ids, tags = numpy.arange(600) // 4, numpy.arange(600) // 200
    values = {f"model {level}": (rng.random(600) < level).astype(float) for level in (0.3, 0.4, 0.5, 0.55, 0.6)}
    values["model 0.4"][:30] = NAN
    pairs = list(itertools.combinations(values, 2))
    tests = [paired_test(values[a], values[b], ids, tags, seed=5) for a, b in pairs]
    best, worst = dict.fromkeys(values, 1), dict.fromkeys(values, 5)
    for (a, b), test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        if p <= 0.05:
            best[b if test.difference > 0 else a] += 1
            worst[a if test.difference > 0 else b] -= 1
    found = rank_ranges(values, ids, tags, seed=5)
    assert found == {name: (best[name], worst[name]) for name in values}
    assert len(set(found.values())) > 2  # some told apart, some not
    assert any(high > low for low, high in found.values())


def test_many_models_can_still_be_told_apart():
    """Of 190 pairs, 2,000 draws would leave no adjusted p below 190 / 2001 = .09, and every range would be 1 to 20."""
    rng = numpy.random.default_rng(0)
    noise = rng.normal(scale=0.01, size=(20, 60))
    values = {str(place): place + noise[place] for place in range(20)}
    assert 190 / 2001 > 0.05 > 190 / draws_for(190)
    assert rank_ranges(values, range(60)) == {str(place): (20 - place, 20 - place) for place in range(20)}


def test_correction_grows_with_the_models():
    """Two models with p of about .02 are told apart alone, and not beside four others."""
    values = {"a": [1.0] * 10 + [0.0] * 30, "b": [0.0] * 10 + [1.0] * 1 + [0.0] * 29}
    p = paired_test(values["a"], values["b"], range(40)).p
    assert 0.005 < p < 0.05
    assert rank_ranges(values, range(40)) == {"a": (1, 1), "b": (2, 2)}
    many = {**values, **{str(place): values["b"] for place in range(4)}}
    assert set(rank_ranges(many, range(40)).values()) == {(1, 6)}


def test_confidence_is_that_of_the_whole_table():
    values = {"a": [1.0] * 10 + [0.0] * 30, "b": [0.0] * 10 + [1.0] * 1 + [0.0] * 29}
    assert rank_ranges(values, range(40), confidence=0.999) == {"a": (1, 2), "b": (1, 2)}


def test_few_prompts_tell_nothing_apart():
    values = {"a": [1.0] * 19, "b": [0.0] * 19}
    assert rank_ranges(values, range(19)) == {"a": (1, 2), "b": (1, 2)}
    tagged = {"a": [1.0] * 44, "b": [0.0] * 44}
    assert rank_ranges(tagged, range(44), ["few"] * 4 + ["many"] * 40) == {"a": (1, 2), "b": (1, 2)}


def test_a_model_without_a_score_can_be_anywhere():
    values = {"a": [1.0] * 60, "b": [0.0] * 60, "unscored": [NAN] * 60}
    assert rank_ranges(values, range(60)) == {"a": (1, 2), "b": (2, 3), "unscored": (1, 3)}


def test_order_of_models_and_rows_does_not_matter():
    rng = numpy.random.default_rng(3)
    ids = numpy.arange(400) // 4
    values = {str(place): (rng.random(400) < 0.4 + 0.07 * place).astype(float) for place in range(5)}
    expected = rank_ranges(values, ids)
    order = rng.permutation(400)
    shuffled = {name: values[name][order] for name in reversed(values)}
    assert rank_ranges(shuffled, ids[order]) == expected


def test_errors():
    with pytest.raises(ConfigError, match="direction 'none'"):
        rank_ranges({"a": [1.0]}, ["p"], direction="none")
    with pytest.raises(ConfigError, match="confidence 1"):
        rank_ranges({"a": [1.0]}, ["p"], confidence=1)
    with pytest.raises(ConfigError, match="one of each per image"):
        rank_ranges({"a": [1.0, 2.0]}, ["p"])

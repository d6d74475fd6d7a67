"""Near duplicates: worked out by hand, and against a plain comparison of all pairs."""

from __future__ import annotations

import random

import pytest

from flowbench.errors import ConfigError
from flowbench.prompts.near_duplicates import RUN, find_matches, words
from flowbench.types import Prompt


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(f"p{number}", text) for number, text in enumerate(texts)]


def kinds(training: list[str], evaluation: str, **settings) -> list[tuple[str, float, str]]:
    found = find_matches(prompts(*training), prompts(evaluation), **settings)
    return [(match.kind, match.share, match.trained.text) for match in found]


def test_the_first_kind_that_holds() -> None:
    training = ["a Red fox, jumping", "a red fox jumping", "a red fox jumping over it"]
    assert kinds(training, "a red fox jumping") == [("text", 1.0, "a red fox jumping")]
    assert kinds(training[:1], "A red  fox jumping!") == [("words", 1.0, "a Red fox, jumping")]
    # runs: {arf, rfj} and {arf, rfj, fjo, joi}: 2 of 4 in common
    assert kinds(training[2:], "a red fox jumping") == [("near", 0.5, "a red fox jumping over it")]
    assert kinds(training[2:], "a red fox jumping", least=0.51) == [("contained", 0.5, "a red fox jumping over it")]
    assert kinds(["a red dog", "red fox a jumping"], "a red fox jumping") == []


def test_the_most_similar_one_is_named_and_of_equals_the_first() -> None:
    training = [
        "one two three four five six",
        "zero one two three four",
        "one two three four seven",
        "one two three four x",
    ]
    # runs of "one two three four": 123, 234; in common 2 of 4, of 3, of 3 and of 3
    assert kinds(training, "one two three four") == [("near", 2 / 3, "zero one two three four")]


def test_short_prompts_are_compared_as_a_whole() -> None:
    assert kinds(["a small dog in the snow"], "small dog", least=0.3) == [("contained", 0.2, "a small dog in the snow")]
    assert kinds(["dog small"], "small dog") == []
    assert kinds(["small dog here"], "small dog") == [("near", 0.5, "small dog here")]
    assert kinds(["!!!"], "???") == [("words", 1.0, "!!!")]  # both without a word
    assert kinds(["a dog"], "???") == []
    assert find_matches([], prompts("a dog")) == find_matches(prompts("a dog"), []) == []


def test_words_have_one_form() -> None:
    assert words("The Cafe\u0301, THE  ca\ufb01!") == ("the", "café", "the", "cafi")
    assert words("Straße") == words("STRASSE")


def test_as_comparing_all_pairs() -> None:
    """A few hundred prompts of few words, more than one block of rows, against sets compared one by one."""
    draws = random.Random(4)
    vocabulary = "abcdefg"

    def some(number: int) -> list[Prompt]:
        return prompts(*(" ".join(draws.choices(vocabulary, k=draws.randint(1, 9))) for _ in range(number)))

    training, evaluation = some(150), some(400)
    found = {match.evaluated.id: match for match in find_matches(training, evaluation, least=0.4)}
    near = contained = 0
    for prompt in evaluation:
        length = min(RUN, len(words(prompt.text)))
        own = runs(prompt.text, length)
        pairs = [(len(own & other) / len(own | other), own <= other, place) for place, other in
                 enumerate(runs(each.text, length) for each in training)]  # fmt: skip
        match = found.get(prompt.id)
        best = max(share for share, _, _ in pairs)
        if any(words(prompt.text) == words(each.text) for each in training):
            assert match is not None and match.kind == "text"
        elif best >= 0.4:
            assert match is not None
            assert (match.kind, match.share) == ("near", pytest.approx(best))
            assert match.trained is training[next(place for share, _, place in pairs if share == best)]
            near += 1
        elif any(holds for _, holds, _ in pairs):
            assert match is not None and match.kind == "contained"
            assert match.share == pytest.approx(max(share for share, holds, _ in pairs if holds))
            contained += 1
        else:
            assert match is None
    assert near > 20 and contained > 5  # both were met


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    every = text.split()
    return {tuple(every[place : place + length]) for place in range(len(every)) if place + length <= len(every)}


def test_a_similarity_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="least is 0"):
        find_matches([], [], least=0)

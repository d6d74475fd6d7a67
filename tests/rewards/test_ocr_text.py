"""The quoted text of a prompt and the three readings of how much of it was rendered: hand-computed numbers."""

from __future__ import annotations

import math
import random

import pytest

from flowbench.errors import RewardError
from flowbench.rewards.ocr import Line, quoted_parts, reading_order, target_text, text_reward
from flowbench.rewards.ocr.lines import read
from flowbench.rewards.ocr.text import VARIANTS


@pytest.mark.parametrize(
    ("target", "recognized", "edit", "substring", "exact"),
    [
        ("COFFEE", "COFFEE", 1, 1, 1),
        ("Grand Opening", "GRAND  opening", 1, 1, 1),  # case and spaces are free
        ("COFFEE", "COFFE", 1 - 1 / 6, 1 - 1 / 6, 0),
        ("sitting", "kitten", 1 - 3 / 7, 1 - 3 / 7, 0),
        ("COFFEE", "COFFEE SHOP", 1 - 4 / 6, 1, 0),  # more than asked for: free under `substring` only
        ("AB", "ABABABAB", 0, 1, 0),  # six insertions, capped at two
        ("COFFEE", "", 0, 0, 0),
        ("No!", "No", 1 - 1 / 3, 1 - 1 / 3, 0),  # punctuation counts
        ("A B C", "ABX", 1 - 1 / 3, 1 - 1 / 3, 0),  # N_ref is counted without the spaces
        ("SALE!", "ＳＡＬＥ！", 1, 0, 1),  # full-width letters; the published rule knows nothing of them
        ("Café", "Cafe\u0301", 1, 1 - 2 / 4, 1),  # one letter, or a letter and an accent
        ("Don’t", "Don't", 1, 1 - 1 / 5, 1),
        ("1990–2000", "1990-2000", 1, 1 - 1 / 9, 1),
        ("北京欢迎你", "北京欢迎", 1 - 1 / 5, 1 - 1 / 5, 0),
        ("one\ttwo", "one two", 1, 1 - 1 / 7, 1),  # the published rule drops spaces, not tabs
    ],
)
def test_variants_by_hand(target: str, recognized: str, edit: float, substring: float, exact: float) -> None:
    values = [text_reward(target, recognized, variant=variant) for variant in VARIANTS]
    assert values == pytest.approx([edit, substring, exact], abs=1e-12)
    assert text_reward(target, recognized) == values[0]


def test_against_an_edit_distance_written_out() -> None:
    """On three hundred random pairs; `substring` against the published rule, word for word."""
    draw = random.Random(0)
    for _ in range(300):
        target = "".join(draw.choices("abC d", k=draw.randint(1, 8))) + "x"
        recognized = "".join(draw.choices("abc d", k=draw.randint(0, 12)))
        wanted, got = target.replace(" ", "").lower(), recognized.replace(" ", "").lower()
        distance = min(_distance(wanted, got), len(wanted))
        assert text_reward(target, recognized) == pytest.approx(1 - distance / len(wanted), abs=1e-12)
        published = 0 if wanted in got else distance
        assert text_reward(target, recognized, variant="substring") == pytest.approx(1 - published / len(wanted))


def _distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        above, row = row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other)))
    return row[-1]


@pytest.mark.parametrize("target", ["", "   ", "\t"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_empty_target_has_no_reward(target: str, variant: str) -> None:
    with pytest.raises(RewardError, match="no character"):
        text_reward(target, "anything", variant=variant)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(RewardError, match=r"'levenshtein'. Use one of: edit, substring, exact"):
        text_reward("a", "a", variant="levenshtein")


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ('a sign that says "OPEN"', ["OPEN"]),
        ("a sign that says “OPEN”", ["OPEN"]),
        ("ein Schild mit „OFFEN“", ["OFFEN"]),
        ("un panneau « OUVERT »", ["OUVERT"]),
        ('a door "Left" and a door "Right"', ["Left", "Right"]),
        ('a door “Left”, one «Middle» and a door "Right"', ["Left", "Middle", "Right"]),
        ("a sign that says 'OPEN'", ["OPEN"]),
        ("a sign that says ‘OPEN’.", ["OPEN"]),
        ("Bob's 'OPEN' sign", ["OPEN"]),
        ("Bob’s ‘OPEN’ sign", ["OPEN"]),
        ("it's a dog's life", []),
        ("the dogs' bowls and the cats' beds", []),
        ("rock 'n' roll on a stage", []),
        ("a banner 'Don't Panic' over a door", ["Don't Panic"]),
        ("a banner ‘Don’t Panic’ over a door", ["Don’t Panic"]),
        ("the letter 'A' and the letter 'B'", ["A", "B"]),
        ("'quoted' and \"wanted\"", ["wanted"]),  # single ones only where there are no double ones
        ("a sign \"the 'best' pie\"", ["the 'best' pie"]),
        ('a sign “say "please"”', ['say "please"']),
        ("'tis the season, y'all, of the '90s and '80s", []),
        ("5' tall and 6' wide", []),
        ('a 6" nail on a card that says "NAILS"', ["NAILS"]),
        ('a card that says "Route 66"', ["Route 66"]),
        ('写着"你好"的牌子', ["你好"]),
        ('a sign that says ""', []),
        ('a sign that says "  "', []),
        ('"" and "SALE"', ["SALE"]),
        ('a sign that says "OPEN', []),
        ("no quotes at all", []),
        ("", []),
    ],
)
def test_quoted_parts(prompt: str, parts: list[str]) -> None:
    assert quoted_parts(prompt) == parts


@pytest.mark.parametrize("white", ["\t", "\u3000", "\u00a0", "\n"])
def test_white_space_that_is_no_space_counts_in_the_published_rule_alone(white: str) -> None:
    """flow_grpo drops " " and nothing else, at the ends as within: of 5 characters, one is not read."""
    target = target_text(f'a sign "{white} OPEN "', {})
    assert target == target_text("", {"text": f" {white} OPEN "}) == f"{white} OPEN"
    seen = read([line(" OPEN ", 0, 0)]).text
    assert [text_reward(target, seen, variant=variant) for variant in VARIANTS] == [1, 1 - 1 / 5, 1]
    seen = read([line(f"{white}OPEN ", 0, 0)]).text
    assert [text_reward(target, seen, variant=variant) for variant in VARIANTS] == [1, 1, 1]
    assert quoted_parts(f'"{white}" and "SALE"') == ["SALE"]


def test_the_metadata_win_over_the_quotes() -> None:
    prompt = 'a "poster" that says "SALE"'
    assert target_text(prompt, {}) == "poster SALE"
    assert target_text(prompt, {"text": "SALE"}) == "SALE"
    assert target_text(prompt, {"text": ["BIG ", "SALE"]}) == "BIG SALE"
    assert target_text(prompt, {"text": ""}) == ""
    assert target_text(prompt, {"text": None}) == "poster SALE"
    for wrong in (7, {"a": 1}, ["SALE", 7]):
        with pytest.raises(RewardError, match="Write a string, or a list of strings"):
            target_text(prompt, {"text": wrong})


def line(text: str, x: float, y: float, *, width: float = 80, height: float = 20, tilt: float = 0) -> Line:
    """A line of text with its top left at (x, y), turned around it by `tilt` degrees (clockwise, as y goes down)."""
    cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    corners = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    return Line(text, 0.9, tuple((x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners))


@pytest.mark.parametrize(
    ("lines", "order"),
    [
        ([line("b", 0, 40), line("a", 0, 0)], "a b"),
        ([line("b", 100, 0), line("a", 0, 0)], "a b"),
        ([line("b", 100, 0), line("a", 0, 10)], "a b"),  # half a line height apart: one row
        ([line("a", 100, 0), line("b", 0, 11)], "a b"),  # more: two rows
        ([line("d", 200, 40), line("b", 200, 2), line("c", 0, 43), line("a", 0, 0)], "a b c d"),  # two columns: across
        ([line(t, 90 * i, 90 * i * math.sin(math.radians(6)), tilt=6) for i, t in enumerate("abcd")], "a b c d"),
        ([line(t, 90 * i, -90 * i * math.sin(math.radians(6)), tilt=-6) for i, t in enumerate("abcd")], "a b c d"),
        ([line("small", 0, 40, height=10), line("BIG", 90, 0, height=60)], "BIG small"),  # the smaller height decides
        ([line("b", 50, 4, tilt=40), line("a", 90, -20, height=80)], "a b"),  # a tilted line is no higher for its tilt
    ],
)  # fmt: skip
def test_reading_order(lines: list[Line], order: str) -> None:
    for start in range(len(lines)):  # whatever order the detector gives them in
        assert " ".join(each.text for each in reading_order(lines[start:] + lines[:start])) == order


def test_reading_drops_what_is_not_sure() -> None:
    lines = [
        line("Fresh ", 0, 0)._replace(confidence=0.9),
        line("Bread", 0, 40)._replace(confidence=0.5),
        line("??", 0, 80)._replace(confidence=0.2),
        line("ghost", 0, 120)._replace(confidence=0.0),
        line("  ", 0, 160),
    ]
    assert read(lines, min_confidence=0.5) == ("Fresh Bread", pytest.approx(0.7))
    assert read(lines) == ("Fresh Bread ??", pytest.approx(1.6 / 3))
    text, confidence = read([])
    assert text == "" and math.isnan(confidence)

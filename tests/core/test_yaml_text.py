"""YAML text as its readers mean it."""

from __future__ import annotations

import re

import pytest
import yaml

from flowbench import store
from flowbench.config import load_config
from flowbench.yaml_text import parse_yaml


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("4E2", 400.0), ("-.5e+1", -5.0), ("2.e3", 2000.0), ("7", 7), ("0.4", 0.4)]
)
def test_a_number_with_an_exponent_is_one(text, number):
    read = parse_yaml(f"x: {{y: [{text}]}}")["x"]["y"][0]
    assert read == number and type(read) is type(number)


@pytest.mark.parametrize("text", ["e4", "1e", "1e4x", "'1e-4'", "v1e-4"])
def test_other_text_stays_text(text):
    assert isinstance(parse_yaml(text), str)


def test_what_we_write_as_json_is_read_back():
    for value in (1e-05, 1e22, 0.1, [1e-7, None], {"a": 3e-300}):
        assert parse_yaml(store.to_json(value)) == value


def test_it_is_as_safe_as_before():
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        parse_yaml("!!python/object/apply:os.getcwd []")


def test_options_in_a_configuration_file_are_numbers_too(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("reward: {name: geneval, options: {geneval: {extra_price: 4e-1}}}\n")
    assert load_config(file).reward.options["geneval"]["extra_price"] == 0.4


@pytest.mark.parametrize(
    "text",
    ["1" * 5000, "[" * 5000, "!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!binary 00", "!!set {a}",
     "!!python/name:os", "!!omap [a: 1]", "{[a]: b}", "a\0b", "a: *b"],
    ids=lambda text: ascii(text[:12]),
)  # fmt: skip
def test_whatever_is_no_data_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)


def test_a_path_is_no_half_of_a_character():
    assert parse_yaml(r"C:\udata\mine.txt") == r"C:\udata\mine.txt"


@pytest.mark.parametrize("text", ["2024-01-31", "2001-99-99", "2024-01-31 12:00:00"])
def test_a_date_is_text(text: str) -> None:
    assert parse_yaml(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r'a: "\uD800"', "half of a surrogate pair"),
        ("steps: 1\nseed: 2\nsteps: 3\n", "the key 'steps' stands twice in the mapping in line 1"),
        ("a: {b: 1, b: 2}", "the key 'b' stands twice"),
        ("[" * 2000 + "]" * 2000, "it is nested too deep"),
    ],
)
def test_what_is_read_wrongly_or_not_at_all_is_an_error(text, why):
    with pytest.raises(yaml.YAMLError, match=re.escape(why)):
        parse_yaml(text)

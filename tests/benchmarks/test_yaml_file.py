"""A suite in a YAML file, and a suite on prompts of one's own."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from flowbench import benchmarks, prompts
from flowbench.errors import ConfigError, MissingFile

SUITE = """
prompt_set: mine.txt
steps: 28
guidance: 4.5
images_per_prompt: 2
scorers: [pickscore, ocr]
options: {ocr: {variant: exact}}
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.txt").write_text('a sign that says "HI"\na cat\n')
    path = tmp_path / "posters.yaml"
    path.write_text(SUITE)
    return path


def test_a_yaml_file_is_a_suite(file):
    suite = benchmarks.find(str(file))
    assert (suite.name, suite.steps, suite.guidance, suite.images_per_prompt) == ("posters", 28, 4.5, 2)
    assert (suite.scorers, suite.metrics, suite.headline) == (("pickscore", "ocr"), ("pickscore", "ocr"), "pickscore")
    assert suite.options == {"ocr": {"variant": "exact"}}
    assert [prompt.text for prompt in prompts.load(suite.prompt_set, suite.split)] == ['a sign that says "HI"', "a cat"]


def test_a_file_may_name_the_solver(file):
    assert benchmarks.find(file).solver == "euler"
    file.write_text(f"{SUITE}solver: dpmpp_2m\n")
    assert benchmarks.find(file).solver == "dpmpp_2m"


def test_a_float_that_is_a_whole_number_is_one(file):
    file.write_text(SUITE.replace("28", "28.0"))
    assert repr(benchmarks.find(file).steps) == "28"


def test_every_field_can_be_written_in_a_file(file):
    """As itself; a wrong type, one that no field has, is refused by name."""
    suite = replace(benchmarks.find(file), overall="pictures", interval="bca", reference="", resolution=64)
    for each in fields(suite):
        if each.name in ("own", "every_part"):
            continue
        value = getattr(suite, each.name)
        others = "\n".join(line for line in SUITE.splitlines() if not line.startswith(f"{each.name}:"))
        plain = json.dumps(list(value) if isinstance(value, tuple) else value)
        file.write_text(f"{others}\n{each.name}: {plain}\n")
        assert getattr(benchmarks.find(file), each.name) == value
        file.write_text(f"{others}\n{each.name}: [1]\n")
        with pytest.raises(ConfigError, match=rf"{each.name} is \[1\]"):
            benchmarks.find(file)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stpes: 3", r"unknown key 'stpes'\. Did you mean 'steps'\?"),
        ("steps: many", r"steps is 'many'\. Give a whole number\."),
        ("steps: true", r"steps is True\. Give a whole number\."),
        ("scorers: pickscore", r"scorers is 'pickscore'\. Give a list of names\."),
        ("options: {ocr: exact}", r"Give a mapping from scorers to their options\."),
        ("options: {jpeg: {}}", r"options for 'jpeg', which is none of its scorers"),
        ("steps: [", r"not valid YAML"),
        ("1: 2", r"unknown key '1'"),
        ("solver: dpm_2m", r"suite 'posters': solver is 'dpm_2m'\. Did you mean 'dpmpp_2m'\?"),
        ("solver: [heun]", r"solver is \['heun'\]\. Give text\."),
        ("overall: 7", r"overall is 7\. Give text\."),
        ("overall: prompts", r"overall is 'prompts'\. Use one of: tags, pictures\."),
        ("steps: 28.5", r"steps is 28.5\. Give a whole number\."),
    ],
)
def test_a_mistake_is_named_with_its_file(file, line, words):
    key = line.split(":")[0]
    others = "\n".join(each for each in SUITE.splitlines() if not each.startswith(f"{key}:"))
    file.write_text(f"{others}\n{line}\n")
    with pytest.raises(ConfigError, match=words):
        benchmarks.find(file)


def test_what_a_suite_needs(tmp_path):
    path = tmp_path / "a.yaml"
    with pytest.raises(MissingFile, match="there is no such file"):
        benchmarks.find(path)
    with pytest.raises(MissingFile, match="there is no such file"):
        benchmarks.find(f"{'a' * 300}.yaml")
    path.write_text("steps: 3\nguidance: 1\n")
    with pytest.raises(ConfigError, match=r"no 'prompt_set'\. A suite needs prompt_set, steps, guidance\."):
        benchmarks.find(path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="not a mapping"):
        benchmarks.find(path)


def test_a_suite_on_prompts_of_ones_own(file):
    suite = benchmarks.find("shapes").with_prompts(file.parent / "mine.txt")
    assert len(prompts.load(suite.prompt_set, suite.split)) == 2
    assert suite.unseen == ()

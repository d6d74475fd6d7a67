"""Prompt sets by name and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowbench import prompts
from flowbench.errors import ConfigError, MissingFile, UnknownName
from flowbench.types import Prompt

GENEVAL_LINE = {
    "tag": "counting",
    "include": [{"class": "ring", "count": 2}],
    "exclude": [{"class": "ring", "count": 3}],
    "prompt": "a photo of two rings",
}


def _file(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_shapes_is_a_prompt_set_with_three_splits():
    found = prompts.find("shapes")
    assert (found.name, found.vocabulary) == ("shapes", "shapes")
    counts = {split: len(prompts.load("shapes", split)) for split in ("train", "dev", "test")}
    assert counts["test"] == 8 + 56 + 40 + 30 + 40 + 40
    assert counts["train"] > counts["test"] > counts["dev"] > 0
    with pytest.raises(ConfigError, match="no split 'validation'"):
        prompts.load("shapes", "validation")


def test_what_is_held_out_of_shapes_stands_in_the_test_alone():
    """By what the prompts say, not by the function that sorts them."""
    loaded = {split: prompts.load("shapes_unseen", split) for split in ("train", "dev", "test")}
    words = ("heart", "ring", "four ")
    assert all(any(word in prompt.text for word in words) for prompt in loaded["test"])
    assert not any(word in prompt.text for split in ("train", "dev") for prompt in loaded[split] for word in words)
    assert {prompt.tag for prompt in loaded["test"]} == {prompt.tag for prompt in loaded["train"]}
    everything = {prompt.id for prompt in prompts.load("shapes", "train")}
    assert {prompt.id for prompt in loaded["train"]} < everything


OWN = [name for name in prompts.prompt_sets.names() if not prompts.find(name).asset]


def test_the_registered_sets_are_found():
    assert {"shapes", "shapes_unseen", "geneval", "geneval_unseen", "ocr"} <= set(OWN)
    assert len(prompts.prompt_sets.names()) >= 14


@pytest.mark.parametrize("name", prompts.prompt_sets.names())
def test_every_registered_set_says_what_it_is(name):
    found = prompts.find(name)
    assert found.name == name and found.version and found.about
    assert "test" in found.splits
    with pytest.raises(ConfigError, match=f"'{name}' has no split 'nothing'. Choose one of {', '.join(found.splits)}"):
        prompts.load(name, "nothing")


@pytest.mark.parametrize("name", OWN)
def test_every_set_of_ours_loads_each_split(name):
    """With unique ids (which `load` checks), plain metadata (which the digest needs), and the same every time."""
    for split in prompts.find(name).splits:
        loaded = prompts.load(name, split)
        assert all(prompt.tag and prompt.text == prompt.metadata["prompt"] for prompt in loaded)
        assert prompts.prompts_digest(loaded) == prompts.prompts_digest(prompts.load(name, split))


def test_txt_is_one_prompt_a_line(tmp_path):
    path = _file(tmp_path, "mine.txt", "a red cat\r\n\n  two dogs \n")
    assert [prompt.text for prompt in prompts.load(path, "test")] == ["a red cat", "two dogs"]
    assert prompts.load(path, "train") == prompts.load(path, "test")


def test_csv_takes_its_prompt_column(tmp_path):
    path = _file(tmp_path, "mine.csv", '\ufeffid,prompt,tag\nx1,"a cat, asleep",pets\n,a dog,\n')
    first, second = prompts.load(path, "test")
    assert (first.id, first.text, first.tag) == ("x1", "a cat, asleep", "pets")
    assert (second.text, second.tag) == ("a dog", None)


def test_tsv_is_read_as_pandas_writes_it(tmp_path):
    path = _file(tmp_path, "mine.tsv", 'prompt\ttag\r\n"a ""STOP"" sign,\tand more"\ttext\r\na 5" nail\t\r\n')
    first, second = prompts.load(path, "test")
    assert (first.text, first.tag) == ('a "STOP" sign,\tand more', "text")
    assert (second.text, second.tag) == ('a 5" nail', None)


def test_jsonl_reads_genevals_lines_as_they_are(tmp_path):
    lines = [GENEVAL_LINE, {"text": "a cat", "id": 7}]
    path = _file(tmp_path, "mine.jsonl", "\n".join(map(json.dumps, lines)))
    first, second = prompts.load(path, "test")
    assert (first.text, first.tag) == ("a photo of two rings", "counting")
    assert first.metadata == GENEVAL_LINE
    assert (second.id, second.text) == ("7", "a cat")


def test_an_id_from_the_text_survives_lines_that_come_and_go(tmp_path):
    before = prompts.load(_file(tmp_path, "a.txt", "a cat\na dog\n"), "test")
    after = prompts.load(_file(tmp_path, "b.txt", "a cow\na dog\na cat\na dog\n"), "test")
    assert {prompt.text: prompt.id for prompt in before}.items() <= {p.text: p.id for p in after[:3]}.items()
    assert after[3].id == after[1].id + "-2"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "\n \n", "holds no prompts"),
        ("a.csv", "", "holds no prompts"),
        ("a.csv", "words,tag\na cat,x\n", r"row 2: no column 'prompt' \(there are: words, tag\)"),
        ("a.csv", "prompt,tag\na cat,x\n,y\n", "row 3: its prompt is empty"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": \n', "line 2: not valid JSON"),
        ("a.jsonl", '{"words": "a"}\n', r"line 1: no column 'prompt' \(there are: words\)"),
        ("a.jsonl", '{"prompt": null}\n', "line 1: its prompt is empty"),
        ("a.jsonl", '["a cat"]\n', "line 1: not a JSON object"),
        ("a.jsonl", '{"prompt": "a", "id": 1}\n{"prompt": "b", "id": "1"}\n', "the id '1' twice"),
        ("a.txt", b"caf\xe9\n", "not UTF-8"),
        ("a.yaml", "a cat\n", "cannot read '.yaml'"),
    ],
)
def test_a_bad_file_is_answered_with_what_and_where(tmp_path, name, text, message):
    with pytest.raises(ConfigError, match=message):
        prompts.load(_file(tmp_path, name, text), "test")


def test_a_missing_file_and_a_misspelt_name_are_different_errors(tmp_path):
    with pytest.raises(MissingFile, match=r"nothing\.txt"):
        prompts.load(tmp_path / "nothing.txt", "test")
    with pytest.raises(UnknownName, match="Did you mean 'shapes'"):
        prompts.load("shaeps", "test")


def test_digest_sees_ids_texts_tags_metadata_and_order():
    base = [Prompt("1", "a", "t", {"include": [1]}), Prompt("2", "b")]
    variants = [
        base,
        base[::-1],
        base[:1],
        [Prompt("x", "a", "t", {"include": [1]}), base[1]],
        [Prompt("1", "A", "t", {"include": [1]}), base[1]],
        [Prompt("1", "a", "u", {"include": [1]}), base[1]],
        [Prompt("1", "a", "t", {"include": [2]}), base[1]],
    ]
    assert len({prompts.prompts_digest(variant) for variant in variants}) == len(variants)
    with pytest.raises(ConfigError, match="metadata of prompts is not plain data"):
        prompts.prompts_digest([Prompt("1", "a", None, {"file": Path("a")})])
    assert prompts.prompts_digest(base) == prompts.prompts_digest([Prompt("1", "a", "t", {"include": [1]}), base[1]])


def test_describe_counts_each_split_by_tag():
    facts = prompts.describe("geneval")
    assert list(facts) == ["about", "version", "vocabulary", "train", "dev", "test"]
    assert facts["test"] == (
        "553 prompts, single_object 80, two_object 99, counting 80, colors 94, position 100, color_attr 100"
    )
    assert facts["train"].startswith("34000 prompts, position 14000, counting 10000,")


def test_describe_fetches_nothing(tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, value in (("FLOWBENCH_ASSETS", mirror), ("FLOWBENCH_CACHE", tmp_path), ("HF_HUB_OFFLINE", "1")):
        monkeypatch.setenv(name, str(value))
    facts = prompts.describe("dpg")
    assert facts["home"].startswith("https://raw.githubusercontent.com/") and facts["licence"] == "Apache-2.0"
    assert facts["splits"] == "test (not here: `flowbench assets pull prompts-dpg`)"
    assert "vocabulary" not in facts

    folder = mirror / "prompts-dpg"
    folder.mkdir()
    rows = "".join(f"made{number},made up {number},why?\n" for number in range(1065))
    (folder / "dpg_bench.csv").write_text(f"item_id,text,question_natural_language\n{rows}")
    assert prompts.describe("dpg")["test"] == "1065 prompts"

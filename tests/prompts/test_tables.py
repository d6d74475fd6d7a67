"""Tables from outside: what is read, in one way only, and what is refused, with its row and the way out."""

from __future__ import annotations

import csv
import io
import json

import pandas
import pytest

from flowbench import prompts
from flowbench.errors import ConfigError
from flowbench.prompts.tables import read_table

TEXTS = [
    "plain",
    "a, b",
    'a "quoted" word',
    '"starts',
    'ends"',
    '""',
    "two\nlines",
    "tab\there",
    "  spaces ",
    "é \u2028 🐈",
]


def table(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def values(path):
    return [row.values for row in read_table(path)]


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_what_pandas_and_the_standard_library_write_comes_back(tmp_path, delimiter):
    ending = "csv" if delimiter == "," else "tsv"
    frame = pandas.DataFrame({"prompt": TEXTS, "id": range(len(TEXTS)), "tag": [None] * len(TEXTS)})
    wanted = [{"prompt": text.strip(), "id": str(place)} for place, text in enumerate(TEXTS)]
    frame.to_csv(tmp_path / f"pandas.{ending}", sep=delimiter, index=False)
    assert values(tmp_path / f"pandas.{ending}") == wanted
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["prompt"], *([text] for text in TEXTS)])
    assert [row["prompt"] for row in values(table(tmp_path, f"library.{ending}", out.getvalue()))] == [
        text.strip() for text in TEXTS
    ]


def test_pandas_index_column_and_the_empty_columns_of_a_spreadsheet_are_no_fault(tmp_path):
    assert values(table(tmp_path, "a.csv", ",prompt,tag\n0,a cat,\n")) == [{"": "0", "prompt": "a cat"}]
    assert values(table(tmp_path, "b.csv", " prompt ,,\n a cat ,,\n,,\n\n")) == [{"prompt": "a cat"}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_end_is_one(tmp_path, end, last):
    text = end.join(["prompt,tag", "a,b", "", '"c\nd",e', "f,"]) + (end if last else "")
    assert values(table(tmp_path, "a.csv", "\ufeff" + text)) == [
        {"prompt": "a", "tag": "b"}, {"prompt": "c\nd", "tag": "e"}, {"prompt": "f"},
    ]  # fmt: skip
    assert values(table(tmp_path, "a.txt", end.join(["a", " ", "b"]))) == [{"prompt": "a"}, {"prompt": "b"}]
    assert values(table(tmp_path, "a.jsonl", end.join(['{"a": 1}', '{"a": 2}']))) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("comma.csv", "prompt,tag\na red square, on a table,colors\n", "row 2: it has 3 cells, the header has 2"),
        ("missing.csv", "prompt,tag\na,b\n\na red square\n", "row 4: it has 1 cells, the header has 2"),
        ("open.csv", 'prompt\na\n"a red square\na blue square\n', "row 3: a quotation mark is never closed"),
        ("two_open.csv", 'prompt\n"a red\n"a blue\n', "row 2: a cell goes on behind its closing quotation mark"),
        ("starts.csv", 'prompt\n"OPEN" sign on a door\n', "row 2: a cell goes on behind its closing quotation mark"),
        ("space.csv", 'image,prompt\n0.png, "a cat"\n', "row 2: a quotation mark in a cell that is not quoted"),
        ("inner.csv", 'prompt,tag\na sign "A, B"\n', "row 2: a quotation mark in a cell that is not quoted"),
        ("starts.tsv", 'prompt\ttag\n"OPEN" sign\tx\n', "row 2: a cell goes on behind its closing quotation mark"),
        ("cells.tsv", "prompt\ttag\na\tb\tc\n", "row 2: it has 3 cells, the header has 2"),
        ("twice.csv", "prompt, prompt\na,b\n", "row 1: the column 'prompt' stands there twice"),
        ("nameless.csv", "prompt,,\na,b,c\n", "row 2: 'c' stands below no name"),
        ("nul.csv", "prompt\na\0b\n", "it holds NUL characters, as text in UTF-16 does"),
        ("utf16.csv", "prompt\na\n".encode("utf-16"), "not UTF-8 text"),
        ("utf16.txt", "a cat".encode("utf-16-le"), "it holds NUL characters"),
        ("twice.jsonl", '{"prompt": "a", "prompt": "b"}', "line 1: not valid JSON .the key 'prompt' stands twice"),
        ("infinite.jsonl", '{"a": 1}\n{"a": [-Infinity]}', "line 2: not valid JSON .-Infinity is no number"),
        ("large.jsonl", '{"a": 1e999}', "line 1: not valid JSON .1e999 is too large a number"),
        ("surrogate.jsonl", '{"a": {"b": ["a \\ud83d cat"]}}', "line 1: a character is half of a surrogate pair"),
        ("surrogate.jsonl", '{"\\udc00": 1}', "line 1: a character is half of a surrogate pair"),
        ("deep.jsonl", '{"a": ' + "[" * 65 + "]" * 65 + "}", "line 1: not valid JSON .nested more than 64 deep"),
        ("deeper.jsonl", '{"a": ' + "[" * 200_000, "line 1: not valid JSON .maximum recursion"),
        ("digits.jsonl", '{"a": ' + "1" * 5000 + "}", "line 1: not valid JSON .Exceeds the limit"),
        ("list.jsonl", "[1]", "line 1: not a JSON object"),
        ("a.parquet", b"PAR1", "cannot read '.parquet'. Use .txt, .csv, .tsv, .jsonl"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused_with_its_row(tmp_path, name, text, words):
    path = table(tmp_path, name, text)
    with pytest.raises(ConfigError, match=words) as refused:
        read_table(path)
    assert str(refused.value).startswith(str(path))


def test_a_field_of_any_length_is_read(tmp_path):
    long = "a" * 200_000  # more than the standard library's reader takes
    assert values(table(tmp_path, "a.csv", f'prompt\n"{long}"\n')) == [{"prompt": long}]


def test_nan_is_null_at_any_depth(tmp_path):
    frame = pandas.DataFrame({"prompt": ["a", "b"], "tag": [None, "x"], "seed": [None, 3]})
    lines = [json.dumps(row) for row in frame.to_dict("records")]  # as people write it, with the token NaN
    assert "NaN" in lines[0]
    first, second = read_table(table(tmp_path, "a.jsonl", "\n".join(lines)))
    assert (first.label("tag"), first.whole_number("seed")) == (None, None)
    assert (second.label("tag"), second.whole_number("seed")) == ("x", 3)
    assert values(table(tmp_path, "b.jsonl", '{"a": [NaN, {"b": NaN}]}')) == [{"a": [None, {"b": None}]}]


@pytest.mark.parametrize("given", ["3", "3.0", '"3"', '"3.0"', "3e0", "-3"])
def test_a_whole_number_may_be_written_in_several_ways(tmp_path, given):
    (row,) = read_table(table(tmp_path, "a.jsonl", f'{{"seed": {given}}}'))
    assert abs(row.whole_number("seed")) == 3


@pytest.mark.parametrize("given", ["3.5", "true", '"x"', '"nan"', "[3]", "1e30", "99999999999999999999999", '"1_0"'])
def test_what_is_no_whole_number_is_refused(tmp_path, given):
    (row,) = read_table(table(tmp_path, "a.jsonl", f'{{"seed": {given}}}'))
    with pytest.raises(ConfigError, match=r"line 1: the seed is .*\. Give a whole number"):
        row.whole_number("seed")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": 5}', "'prompt' is 5. Give text"),
        ('{"prompt": ["a"]}', "Give text"),
        ('{"prompt": "a", "id": true}', "'id' is True. Give text or a whole number"),
        ('{"prompt": "a", "id": 1.5}', "'id' is 1.5. Give text or a whole number"),
        ('{"prompt": "a", "tag": ["x"]}', "Give text or a whole number"),
        ('{"prompt": "a", "include": "dog"}', "'include' is 'dog'. Give a list of objects"),
        ('{"prompt": "a", "exclude": {"class": "dog"}}', "Give a list of objects"),
        ('{"prompt": "a", "caption": "b"}', "prompt and caption could each be the prompt"),
        ('{"text": "a", "caption": "b"}', "text and caption could each be the prompt"),
        ('{"prompt": null, "text": "b"}', "its prompt is empty"),
    ],
)
def test_prompts_of_the_wrong_type_are_refused(tmp_path, line, words):
    with pytest.raises(ConfigError, match=rf"prompt file .*a\.jsonl, line 1: .*{words}"):
        prompts.load(table(tmp_path, "a.jsonl", line), "test")


def test_ids_and_columns_of_a_prompt_file(tmp_path):
    lines = '{"prompt": "a", "id": 7.0, "tag": NaN}\n{"caption": "b", "id": NaN}\n{"prompt": "c", "text": "OPEN"}\n'
    first, second, third = prompts.load(table(tmp_path, "a.jsonl", lines), "test")
    assert (first.id, first.tag, second.text, second.tag) == ("7", None, "b", None)
    assert len(second.id) == 12 and second.metadata == {"prompt": "b"}
    assert third.metadata == {"prompt": "c", "text": "OPEN"}  # what the ocr reward looks for
    (captioned,) = prompts.load(table(tmp_path, "a.csv", "caption,tag\na cat,x\n"), "test")
    assert (captioned.text, captioned.tag) == ("a cat", "x")


def test_the_names_of_files(tmp_path):
    with pytest.raises(ConfigError, match=r"caf\\xe9.txt': the name is not UTF-8"):
        prompts.find(str(tmp_path / "caf\udce9.txt"))
    with pytest.raises(ConfigError, match="it cannot be read"):
        (tmp_path / "folder.txt").mkdir()
        read_table(tmp_path / "folder.txt")

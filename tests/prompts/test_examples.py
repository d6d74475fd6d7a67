"""Tables of pictures to learn from: what is read, and what is refused with its row."""

from __future__ import annotations

import hashlib
import io
import json
import sys

import numpy
import pytest
from PIL import Image

from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.prompts.examples import read_examples


def picture(shade, size=(6, 4)):
    return Image.new("RGB", size, (shade, 0, 255 - shade))


def png(shade):
    buffer = io.BytesIO()
    picture(shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Four pictures, one of them twice, and a file that is none."""
    (tmp_path / "sub").mkdir()
    for name, shade in (("a.png", 10), ("b.png", 90), ("sub/c.png", 200), ("again.png", 10)):
        picture(shade).save(tmp_path / name)
    (tmp_path / "words.png").write_text("no picture")
    return tmp_path


def table(folder, text, name="pairs.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


PAIRS = [
    {"prompt": "a red square", "chosen": "a.png", "rejected": "b.png", "tag": "colors"},
    {"prompt": "two, \"blue\"", "chosen": "sub/c.png", "rejected": "a.png"},
]  # fmt: skip


def test_pairs_of_csv_tsv_and_jsonl_are_the_same(folder):
    csv = 'prompt,chosen,rejected,tag\na red square,a.png,b.png,colors\n"two, ""blue""",sub/c.png,a.png,\n'
    tsv = 'prompt\tchosen\trejected\ttag\na red square\ta.png\tb.png\tcolors\ntwo, "blue"\tsub/c.png\ta.png\t\n'
    lines = "".join(json.dumps(row) + "\n" for row in PAIRS)
    read = [
        read_examples(table(folder, text, name)) for text, name in ((csv, "p.csv"), (tsv, "p.tsv"), (lines, "p.jsonl"))
    ]
    for examples in read:
        assert examples.are_pairs and [row.prompt.text for row in examples.rows] == ["a red square", 'two, "blue"']
        assert [row.prompt.tag for row in examples.rows] == ["colors", None]
        assert [each.path for row in examples.rows for each in row.pictures] == [
            folder / name for name in ("a.png", "b.png", "sub/c.png", "a.png")
        ]
        assert numpy.asarray(examples.rows[1].chosen.load())[0, 0].tolist() == [200, 0, 55]
    assert len({examples.digest for examples in read}) == 1


def test_single_pictures_by_any_of_their_names(folder):
    digests = set()
    for column in ("image", "picture", "file_name", "path"):
        examples = read_examples(table(folder, f"text,{column}\na cat,a.png\na dog,b.png\n"))
        assert not examples.are_pairs and [len(row.pictures) for row in examples.rows] == [1, 1]
        digests.add(examples.digest)
    assert len(digests) == 1
    both = read_examples(table(folder, "prompt,file_name,path\na cat,a.png,a.png\n"))
    assert both.rows[0].chosen.path == folder / "a.png"


def test_the_digest_is_of_prompts_and_contents_not_of_names(folder):
    one = read_examples(table(folder, "prompt,image\na cat,a.png\n"))
    assert read_examples(table(folder, "prompt,image\na cat,again.png\n")).digest == one.digest
    assert read_examples(table(folder, "prompt,image\na dog,a.png\n")).digest != one.digest
    assert read_examples(table(folder, "prompt,image\na cat,b.png\n")).digest != one.digest
    picture(11).save(folder / "a.png")
    assert read_examples(table(folder, "prompt,image\na cat,a.png\n")).digest != one.digest


def test_parquet_of_paths_bytes_and_what_datasets_writes(folder):
    pyarrow = pytest.importorskip("pyarrow")
    datasets = pytest.importorskip("datasets")
    from pyarrow import parquet

    wanted = read_examples(table(folder, "".join(json.dumps(row) + "\n" for row in PAIRS), "p.jsonl"))
    parquet.write_table(pyarrow.Table.from_pylist(PAIRS), folder / "paths.parquet")
    sides = ("chosen", "rejected")
    contents = [{**row, **{side: (folder / row[side]).read_bytes() for side in sides}} for row in PAIRS]
    parquet.write_table(pyarrow.Table.from_pylist(contents), folder / "bytes.parquet")
    features = datasets.Features(
        {"prompt": datasets.Value("string"), "chosen": datasets.Image(), "rejected": datasets.Image()}
    )
    rows = {key: [row[key] for row in PAIRS] for key in ("prompt", "chosen", "rejected")}
    for side in sides:
        rows[side] = [{"bytes": (folder / name).read_bytes(), "path": None} for name in rows[side]]
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "datasets.parquet")
    for name in ("paths", "bytes", "datasets"):
        found = read_examples(folder / f"{name}.parquet")
        assert found.digest == wanted.digest and found.are_pairs
        for mine, theirs in zip(found.rows, wanted.rows, strict=True):
            assert mine.prompt.text == theirs.prompt.text
            assert mine.rejected.load().tobytes() == theirs.rejected.load().tobytes()
    assert found.rows[0].chosen.content == (folder / "a.png").read_bytes()
    assert found.rows[1].rejected.name == f"{folder / 'datasets.parquet'}, row 2, rejected"


def test_the_table_of_an_exported_folder_is_one(folder):
    """`flowbench export --format datasets` writes file_name, prompt, and scores beside them."""
    line = {"file_name": "sub/c.png", "suite": "shapes", "prompt": "a cat", "prompt_id": "p1", "scores/value": 0.5}
    examples = read_examples(table(folder, json.dumps(line), "metadata.jsonl"))
    assert examples.rows[0].chosen.path == folder / "sub/c.png" and examples.rows[0].prompt.text == "a cat"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt,chosen\nx,a.png\n", "pairs.csv, row 2: no column 'rejected' (there are: prompt, chosen). A pair has"),
        ("prompt,rejected\nx,a.png\n", "row 2: no column 'chosen' (there are: prompt, rejected)"),
        ("prompt,won\nx,a.png\n", "row 2: no column 'chosen' and none 'image' (there are: prompt, won)"),
        ("title,image\nx,a.png\n", "row 2: no column 'prompt' (there are: title, image)"),
        ("prompt,chosen,rejected,image\nx,a.png,b.png,b.png\n", "chosen and image could each be the picture"),
        ("prompt,chosen,rejected\nx,a.png,b.png\ny,,b.png\n", "row 3: no picture under 'chosen'. Give the path"),
        ("prompt,chosen,rejected\nx,a.png,\n", "row 2: no picture under 'rejected'"),
        ("prompt,chosen,rejected\n,a.png,b.png\n", "row 2: its prompt is empty"),
        ("prompt,chosen,rejected\nx,a.png,a.png\n", "row 2: chosen and rejected are one picture. A pair is of two"),
        ("prompt,chosen,rejected\nx,a.png,again.png\n", "row 2: chosen and rejected are one picture"),
        ("prompt,image\nx,words.png\n", "row 2: 'image': "),
        ("prompt,file_name,path\nx,a.png,b.png\n", "row 2: file_name and path name two pictures"),
        ("prompt,image\n", "it holds no rows"),
    ],
)
def test_what_is_refused(folder, text, words):
    with pytest.raises(ConfigError) as caught:
        read_examples(table(folder, text))
    assert str(caught.value).startswith(f"data file {folder / 'pairs.csv'}") and words in str(caught.value)


def test_missing_files_are_named(folder):
    with pytest.raises(MissingFile, match=r"data file .*pairs\.csv, row 2: there is no picture .*gone\.png\. Paths"):
        read_examples(table(folder, "prompt,image\nx,gone.png\n"))
    with pytest.raises(MissingFile, match=r"data file .*none\.csv: there is no such file"):
        read_examples(folder / "none.csv")
    with pytest.raises(ConfigError, match=r"cannot read '\.txt'\. Use \.csv, \.tsv, \.jsonl, \.parquet"):
        read_examples(table(folder, "a cat", "prompts.txt"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "x", "chosen": 3, "rejected": "b.png"}, "'chosen' is no path of a picture"),
        ({"prompt": "x", "chosen": ["a.png"], "rejected": "b.png"}, "'chosen' is no path of a picture"),
        ({"prompt": "x", "chosen": {"path": None, "bytes": None}, "rejected": "b.png"}, "no picture under 'chosen'"),
        ({"prompt": 7, "chosen": "a.png", "rejected": "b.png"}, "'prompt' is 7. Give text"),
    ],
)
def test_values_of_another_kind(folder, row, words):
    with pytest.raises(ConfigError) as caught:
        read_examples(table(folder, json.dumps(row), "p.jsonl"))
    assert f"{folder / 'p.jsonl'}, line 1: " in str(caught.value) and words in str(caught.value)


def test_parquet_that_is_none_and_without_pyarrow(folder, monkeypatch):
    pytest.importorskip("pyarrow")
    from pyarrow import Table, parquet

    with pytest.raises(ConfigError, match=r"bad\.parquet: no readable parquet file \("):
        read_examples(table(folder, "PAR1 and nothing", "bad.parquet"))
    parquet.write_table(Table.from_pylist([{"prompt": "x", "image": b"no picture"}]), folder / "p.parquet")
    with pytest.raises(ConfigError, match=r"p\.parquet, row 1: 'image': .*p\.parquet, row 1, image: not a readable"):
        read_examples(folder / "p.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"needs the package pyarrow. Run: pip install"):
        read_examples(folder / "p.parquet")


def test_a_picture_damaged_behind_its_header_is_named_when_it_is_read(folder):
    whole = png(3)
    cut = folder / "cut.png"
    cut.write_bytes(whole[: len(whole) - 25])
    (example,) = read_examples(table(folder, "prompt,image\nx,cut.png\n")).rows
    assert example.chosen.sha256 == hashlib.sha256(cut.read_bytes()).hexdigest()
    with pytest.raises(RunError, match=r"cut\.png: not a readable picture"):
        example.chosen.load()

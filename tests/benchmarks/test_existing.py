"""Which picture belongs to which prompt, in every layout that `flowbench score` reads."""

from __future__ import annotations

import json

import numpy
import pytest
from PIL import Image

from flowbench.benchmarks.existing import pictures_digest, read
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.types import Prompt


def paint(path, color="red", size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def test_genevals_layout(tmp_path):
    for number, words in enumerate(("a photo of a dog", "a photo of two cats")):
        metadata = {"tag": "counting", "include": [{"class": "cat", "count": number + 1}], "prompt": words}
        for k in range(2):
            paint(tmp_path / f"{number:05d}" / "samples" / f"{k:04d}.png")
        paint(tmp_path / f"{number:05d}" / "grid.png")  # GenEval's own generation writes one: no sample
        (tmp_path / f"{number:05d}" / "metadata.jsonl").write_text(json.dumps(metadata))
    given = read(tmp_path)
    assert [(each.prompt.id, each.index, each.name) for each in given] == [
        ("00000", 0, "00000/samples/0000.png"),
        ("00000", 1, "00000/samples/0001.png"),
        ("00001", 0, "00001/samples/0000.png"),
        ("00001", 1, "00001/samples/0001.png"),
    ]
    assert given[2].prompt.text == "a photo of two cats" and given[2].prompt.tag == "counting"
    assert given[2].prompt.metadata["include"] == [{"class": "cat", "count": 2}]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_table_groups_the_pictures_of_a_prompt(tmp_path, ending):
    for name in "abc":
        paint(tmp_path / "p" / f"{name}.png")
    rows = [("p/a.png", "a dog", 3), ("p/b.png", "a cat", 4), ("p/c.png", "a dog", 5)]
    if ending == "csv":
        lines = ["file_name,prompt,seed", *(f"{image},{words},{seed}" for image, words, seed in rows)]
    else:
        lines = [json.dumps({"image": image, "text": words, "seed": seed}) for image, words, seed in rows]
    table = tmp_path / f"t.{ending}"
    table.write_text("\n".join(lines))
    given = read(table)
    assert [(each.prompt.text, each.index, each.name, each.seed) for each in given] == [
        ("a dog", 0, "p/a.png", 3),
        ("a dog", 1, "p/c.png", 5),
        ("a cat", 0, "p/b.png", 4),
    ]


def test_a_table_in_the_folder_and_metadata_that_parts_prompts(tmp_path):
    for name in "ab":
        paint(tmp_path / f"{name}.png")
    rows = [{"file_name": f"{name}.png", "prompt": "two", "include": [{"class": name, "count": 1}]} for name in "ab"]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = read(tmp_path)
    assert first.prompt.id != second.prompt.id
    assert first.prompt.metadata["include"][0]["class"] == "a"


def test_texts_beside_the_pictures(tmp_path):
    paint(tmp_path / "x" / "1.png"), paint(tmp_path / "2.jpg"), paint(tmp_path / "3.webp")
    for path in (tmp_path / "x" / "1.txt", tmp_path / "3.txt"):
        path.write_text("a dog\n")
    given = read(tmp_path)
    assert [(each.name, each.prompt.text, each.index) for each in given] == [
        ("2.jpg", "", 0),
        ("3.webp", "a dog", 0),
        ("x/1.png", "a dog", 1),
    ]


def test_prompts_dealt_to_a_folder_in_turn(tmp_path):
    for k in range(4):
        paint(tmp_path / f"{k:02d}.png")
    prompts = [Prompt("p", "a dog"), Prompt("q", "a cat")]
    assert [(each.prompt.id, each.index) for each in read(tmp_path, prompts)] == [
        ("p", 0),
        ("p", 1),
        ("q", 0),
        ("q", 1),
    ]
    with pytest.raises(ConfigError, match="4 pictures, which cannot be dealt to 3 prompts evenly"):
        read(tmp_path, [*prompts, Prompt("r", "a bus")])


def test_prompts_are_dealt_by_the_numbers_in_the_names(tmp_path):
    for k in range(12):
        paint(tmp_path / f"{k}.png")
    given = read(tmp_path, [Prompt(str(k), f"thing {k}") for k in range(12)])
    assert [each.name for each in given] == [f"{k}.png" for k in range(12)]
    assert [each.prompt.id for each in given] == [str(k) for k in range(12)]


def test_the_column_that_is_the_prompt_asks_for_nothing_else(tmp_path):
    """`text` in the metadata is what the ocr reward looks for; as the prompt's own column it is the prompt."""
    paint(tmp_path / "a.png")
    rows = [
        {"image": "a.png", "text": 'a sign "OPEN"'},
        {"image": "a.png", "prompt": "a sign", "text": "OPEN", "width": 9},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = read(tmp_path / "t.jsonl")
    assert first.prompt.text == 'a sign "OPEN"' and "text" not in first.prompt.metadata
    assert second.prompt.text == "a sign" and second.prompt.metadata["text"] == "OPEN"


def test_what_belongs_to_the_picture_does_not_part_a_prompt(tmp_path):
    paint(tmp_path / "a.png"), paint(tmp_path / "b.png")
    (tmp_path / "t.csv").write_text('image,prompt,width\na.png,"a dog\nand a cat",8\nb.png,"a dog\nand a cat",9\n')
    given = read(tmp_path / "t.csv")
    assert [(each.prompt.text, each.index) for each in given] == [("a dog\nand a cat", 0), ("a dog\nand a cat", 1)]


def test_pictures_are_turned_as_their_camera_says_and_made_rgb(tmp_path):
    image = Image.new("L", (8, 6), 200)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(tmp_path / "a.jpg", exif=exif)
    loaded = read(tmp_path)[0].load().image
    assert loaded.mode == "RGB" and loaded.size == (6, 8)


def test_another_picture_is_another_digest(tmp_path):
    paint(tmp_path / "a.png")
    before = pictures_digest(read(tmp_path))
    assert pictures_digest(read(tmp_path)) == before
    paint(tmp_path / "a.png", "blue")
    assert pictures_digest(read(tmp_path)) != before


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("t.csv", "file,prompt\na.png,a dog", ConfigError, r"no column 'image' \(there are: file, prompt\)"),
        ("t.csv", "image,prompt\n,a dog", ConfigError, "row 2: no picture under 'image'"),
        ("t.csv", "image;prompt\na.png;a dog", ConfigError, r"no column 'image' \(there are: image;prompt\)"),
        ("t.csv", "image,prompt\nno.png,a dog", MissingFile, "row 2: there is no picture"),
        ("t.jsonl", '{"image": "a.png", "prompt": "a", "seed": "x"}', ConfigError, "line 1: the seed is 'x'"),
        ("t.jsonl", '{"image": "a.png", "prompt": "a", "seed": Infinity}', ConfigError, "Infinity is no number"),
        ("t.jsonl", "{image", ConfigError, "line 1: not valid JSON"),
        ("t.jsonl", "[1]", ConfigError, "line 1: not a JSON object"),
        ("t.txt", "a.png", ConfigError, "cannot read '.txt'"),
        ("t.jsonl", "", ConfigError, "the table has no rows"),
        ("t.csv", "image,prompt\n", ConfigError, "the table has no rows"),
        ("t.csv", "image,words\na.png,a dog", ConfigError, r"row 2: no column 'prompt' \(there are: image, words\)"),
        ("t.csv", "image,prompt\na.png,a dog, asleep", ConfigError, "row 2: it has 3 cells, the header has 2"),
        ("t.csv", "image,path,prompt\na.png,b.png,a dog", ConfigError, "row 2: image and path name two pictures"),
        ("t.jsonl", '{"image": {"path": "a.png"}, "prompt": "a"}', ConfigError, "line 1: 'image' is .*Give text"),
        ("t.jsonl", '{"image": "a\\u0000.png", "prompt": "a"}', MissingFile, "line 1: there is no picture"),
        ("t.jsonl", '{"image": "' + "a" * 300 + '.png", "prompt": "a"}', MissingFile, "line 1: there is no picture"),
        ("t.jsonl", '{"image": "a.png", "prompt": "a", "include": "dog"}', ConfigError, "line 1: 'include' is 'dog'"),
        ("t.csv", "image,id,prompt\na.png,1,a cat\na.png,1,a dog", ConfigError, "the id '1' stands for two prompts"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, name, text, error, message):
    paint(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        read(tmp_path / name)


def test_more_mistakes(tmp_path):
    with pytest.raises(MissingFile, match="there is no such folder or file"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no pictures are here"):
        read(tmp_path)
    paint(tmp_path / "0" / "samples" / "0.png")
    (tmp_path / "0" / "metadata.jsonl").write_text('{"tag": "x"}')
    with pytest.raises(ConfigError, match="no text under 'prompt'"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="leave out --prompts"):
        read(tmp_path, [Prompt("p", "a dog")])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.png").write_bytes(b"no picture")
    with pytest.raises(RunError, match="not a readable picture"):
        read(tmp_path / "b")[0].load()
    Image.fromarray(numpy.full((4, 4), 30000, dtype=numpy.uint16)).save(tmp_path / "b" / "a.png")
    with pytest.raises(RunError, match="more than 8 bits a channel"):
        read(tmp_path / "b")[0].load()
    (tmp_path / "b" / "a.txt").write_bytes("ein Käse".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"a\.txt: not UTF-8 text"):
        read(tmp_path / "b")


def test_a_generation_that_is_not_finished_is_refused(tmp_path):
    for name in ("00000", "00001"):
        paint(tmp_path / name / "samples" / "0.png")
        (tmp_path / name / "metadata.jsonl").write_text('{"prompt": "a dog"}')
    (tmp_path / "00002" / "samples").mkdir(parents=True)
    (tmp_path / "00002" / "metadata.jsonl").write_text('{"prompt": "a cat"}')
    with pytest.raises(ConfigError, match="00002: it holds no pictures in samples/"):
        read(tmp_path)
    (tmp_path / "00002" / "metadata.jsonl").unlink()
    assert len(read(tmp_path)) == 2
    paint(tmp_path / "00002" / "samples" / "0.png")
    with pytest.raises(ConfigError, match=r"00002: it holds pictures and no metadata\.jsonl"):
        read(tmp_path)

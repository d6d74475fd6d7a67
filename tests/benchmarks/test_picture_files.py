"""What a folder of pictures holds: what counts, in which order, and what is left out and named."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image

from flowbench.benchmarks.existing import read
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.types import Prompt


def paint(*paths, **settings):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(path, **settings)
    return paths[0]


def names(given):
    return [each.name for each in given]


def prompts(count):
    return [Prompt(f"p{number}", f"thing {number}") for number in range(count)]


def describe(place, **values):
    place.mkdir(parents=True, exist_ok=True)
    (place / "metadata.jsonl").write_text(json.dumps(values))


@pytest.mark.parametrize(
    "hidden",
    [".a.png", "._0.png", ".ipynb_checkpoints/0-checkpoint.png", "x/.thumbs/0.png", "__MACOSX/0.png", "@eaDir/0.png",
     "$RECYCLE.BIN/0.png", "System Volume Information/0.png"],
)  # fmt: skip
def test_hidden_and_system_files_never_count(tmp_path, capsys, hidden):
    paint(tmp_path / "0.png", tmp_path / "1.png", tmp_path / hidden)
    assert names(read(tmp_path, prompts(2))) == ["0.png", "1.png"]
    assert capsys.readouterr().err == ""


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path):
    paint(tmp_path / ".cache" / "0.png")
    assert names(read(tmp_path / ".cache")) == ["0.png"]


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPG", "Png", "avif", "jp2", "webp", "tif", "apng"])
def test_every_ending_of_a_format_that_is_read(tmp_path, capsys, ending):
    kind = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "jp2": "JPEG2000", "apng": "PNG"}.get(ending)
    paint(tmp_path / "0.png")
    paint(tmp_path / f"1.{ending}", **({"format": kind} if kind else {}))
    assert names(read(tmp_path)) == ["0.png", f"1.{ending}"]
    assert read(tmp_path)[1].load().image.size == (8, 6)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("other", ["1.heic", "1.svg", "1.psd", "1.jxl", "1.tga", "1.dds", "1.icns", "1.qoi"])
def test_pictures_of_other_formats_are_counted_and_named(tmp_path, capsys, other):
    paint(tmp_path / "0.png")
    (tmp_path / other).write_bytes(b"anything")
    (tmp_path / "0.txt").write_text("a dog")
    assert names(read(tmp_path)) == ["0.png"]
    words = f"warning: {tmp_path}: left out, since their format is not read; save them as PNG: 1 ({other})\n"
    assert capsys.readouterr().err == words


@pytest.mark.parametrize("other", ["1", "1.png~", "1.png.orig"])
def test_a_picture_whose_name_does_not_say_so_is_named(tmp_path, capsys, other):
    paint(tmp_path / "0.png")
    (tmp_path / other).write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "notes").write_text("no picture")
    assert names(read(tmp_path)) == ["0.png"]
    assert f"1 ({other})" in capsys.readouterr().err


def test_only_the_first_of_many_are_named(tmp_path, capsys):
    paint(tmp_path / "0.png")
    for number in range(12):
        (tmp_path / f"{number}.heic").touch()
    read(tmp_path)
    assert "12 (0.heic, 1.heic, 2.heic, 3.heic, 4.heic, ...)\n" in capsys.readouterr().err


def test_a_link_to_a_folder_is_followed_once(tmp_path, capsys):
    paint(tmp_path / "elsewhere" / "0.png", tmp_path / "here" / "own" / "1.png")
    here = tmp_path / "here"
    (here / "a").symlink_to(tmp_path / "elsewhere")
    (here / "again").symlink_to(tmp_path / "elsewhere")
    (here / "latest").symlink_to(here / "own")
    (here / "round").symlink_to(here)
    (here / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "back").symlink_to(here)
    (here / "gone.png").symlink_to(tmp_path / "nothing")
    assert names(read(here)) == ["a/0.png", "own/1.png"]
    said = capsys.readouterr().err
    assert "they lead to a folder that counts already or that holds this one: 5 (again, latest, round, up, " in said
    assert "links that lead nowhere: 1 (gone.png)" in said


def test_pictures_that_the_table_does_not_name_are_named(tmp_path, capsys):
    paint(tmp_path / "0.png", tmp_path / "train" / "1.png", tmp_path / ".2.png")
    (tmp_path / "metadata.csv").write_text("file_name,prompt\n./0.png,a dog\n")
    assert names(read(tmp_path)) == ["./0.png"]
    assert "since metadata.csv does not name them: 1 (train/1.png)" in capsys.readouterr().err


def test_a_picture_that_stands_twice_and_a_row_without_a_prompt_are_named(tmp_path, capsys):
    paint(tmp_path / "0.png", tmp_path / "1.png")
    (tmp_path / "t.csv").write_text("image,prompt\n0.png,a dog\n./0.png,a cat\n1.png,\n")
    given = read(tmp_path / "t.csv")
    assert [each.prompt.text for each in given] == ["a dog", "a cat", ""]
    said = capsys.readouterr().err
    assert "t.csv: pictures that stand in several rows: 1" in said and "t.csv: rows without a prompt: 1 (row 4)" in said


def test_nan_is_no_prompt(tmp_path):
    paint(tmp_path / "0.png", tmp_path / "1.png")
    (tmp_path / "t.jsonl").write_text('{"image": "0.png", "prompt": NaN}\n{"image": "1.png", "prompt": NaN}\n')
    assert [(each.prompt.id, each.prompt.text) for each in read(tmp_path / "t.jsonl")] == [("0.png", ""), ("1.png", "")]


def test_captions_spaces_in_headers_and_tabs(tmp_path):
    paint(tmp_path / "0.png")
    (tmp_path / "t.csv").write_text("image, caption , seed\n0.png, a dog, 3.0\n")
    (given,) = read(tmp_path / "t.csv")
    assert (given.prompt.text, given.seed, given.prompt.metadata) == ("a dog", 3, {})
    (tmp_path / "metadata.tsv").write_text('file_name\ttext\n0.png\t"a ""STOP"" sign"\n')
    assert read(tmp_path)[0].prompt.text == 'a "STOP" sign'


def test_texts_and_tables_that_are_overlooked_are_named(tmp_path, capsys):
    paint(tmp_path / "0.png", tmp_path / "1.png")
    (tmp_path / "0.txt").write_text("a dog")
    (tmp_path / "9.txt").write_text("a picture that was lost")
    (tmp_path / "captions.csv").write_text("image,prompt\n1.png,a cat\n")
    read(tmp_path)
    said = capsys.readouterr().err
    assert "pictures without a prompt, which others have in a .txt: 1 (1.png)" in said
    assert "tables that are not read; give one as SOURCE: 1 (captions.csv)" in said
    assert "texts without a picture: 1 (9.txt)" in said


@pytest.mark.parametrize("given", [None, 2])
def test_a_table_at_another_level_is_refused_with_the_folder_to_give(tmp_path, given):
    for split in ("test", "train"):
        paint(tmp_path / "set" / split / "0.png")
        (tmp_path / "set" / split / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a dog"}')
    with pytest.raises(ConfigError, match=r"Give the folder .*set/test or .*set/train\."):
        read(tmp_path / "set", given and prompts(given))
    assert read(tmp_path / "set" / "train")[0].prompt.text == "a dog"
    (tmp_path / "set" / "train" / "metadata.csv").write_text("file_name,text\n0.png,a cat\n")
    with pytest.raises(ConfigError, match=r"metadata\.jsonl and metadata\.csv could each be the table"):
        read(tmp_path / "set" / "train")


def test_genevals_layout_takes_what_geneval_takes(tmp_path, capsys):
    place = tmp_path / "00000"
    describe(place, prompt="a dog", tag="colors")
    paint(place / "samples" / "0000.png", place / "samples" / "grid.png", place / "samples" / "0001.jpg",
          place / "samples" / "more" / "0002.png", place / "grid.png", tmp_path / "0003.png")  # fmt: skip
    describe(tmp_path / "00000 copy", prompt="a dog")
    paint(tmp_path / "00000 copy" / "samples" / "0000.png")
    assert names(read(tmp_path)) == ["00000/samples/0000.png"]
    said = capsys.readouterr().err
    assert "GenEval takes only NNNN.png in samples/ of a numbered folder: 5 (" in said
    assert "samples/grid.png" in said and "00000/grid.png" not in said


def test_geneval_one_level_too_high_or_too_low(tmp_path):
    describe(tmp_path / "out" / "images" / "00000", prompt="a dog")
    place = tmp_path / "out" / "images" / "00000"
    paint(place / "samples" / "0000.png")
    for wrong in (tmp_path, tmp_path / "out", place, place / "samples"):
        with pytest.raises(ConfigError, match=r"Give the folder .*out/images\."):
            read(wrong)
    assert names(read(tmp_path / "out" / "images")) == ["00000/samples/0000.png"]


@pytest.mark.parametrize(
    ("layout", "count", "dealt"),
    [
        ({"seed0": "012", "seed1": "012"}, 3, "012012"),  # each folder has them all
        ({"cat": "01", "dog": "01"}, 2, None),  # a prompt a folder, or all in each
        ({"cat": "012", "dog": "012"}, 2, "000111"),  # a prompt a folder
        ({"seed0": "012345", "seed1": "012345", "seed2": "012345"}, 6, "012345012345012345"),
        ({"anime": "012", "photo": "012", "sketch": "012"}, 9, "012345678"),  # a part of the prompts in each
        ({"a": "012", "b": "012", "c": "012", "d": "012"}, 6, None),
        ({"a": "01", "b": "0"}, 3, "012"),
        ({"a": "01", "b": "23"}, 2, None),  # names go on, and yet each folder may have them all
        ({"a": "01", "b": "234"}, 5, "01234"),
        ({"a": "01", "b": "01"}, 1, "0000"),
    ],
)
def test_names_that_begin_anew_in_each_folder(tmp_path, layout, count, dealt):
    for folder, stems in layout.items():
        paint(*(tmp_path / folder / f"{stem}.png" for stem in stems))
    if dealt is None:
        with pytest.raises(ConfigError, match="could each hold pictures of all"):
            read(tmp_path, prompts(count))
        return
    by_name = {each.name: each.prompt.id for each in read(tmp_path, prompts(count))}
    wanted = [f"{folder}/{stem}.png" for folder, stems in layout.items() for stem in stems]
    assert "".join(by_name[name].removeprefix("p") for name in wanted) == dealt


def test_names_that_are_not_utf8(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    paint(tmp_path / "0.png")
    os.rename(tmp_path / "0.png", path)
    with pytest.raises(ConfigError, match=r"caf\\xe9\.png': the name is not UTF-8\. Rename it\."):
        read(tmp_path)
    with pytest.raises(ConfigError, match="the name is not UTF-8"):
        read(os.fsdecode(path))
    with pytest.raises(MissingFile):
        read(tmp_path / ("a" * 300))


def test_a_folder_that_vanishes_while_it_is_walked(tmp_path, monkeypatch):
    paint(tmp_path / "a" / "0.png", tmp_path / "b" / "1.png")
    walk = os.walk

    def vanishing(root, **settings):
        for place, folders, files in walk(root, **settings):
            yield place, folders, files
            if place == str(tmp_path / "a"):
                (tmp_path / "b" / "1.png").unlink()
                (tmp_path / "b").rmdir()

    monkeypatch.setattr(os, "walk", vanishing)
    with pytest.raises(RunError, match=r"b: this folder cannot be read \(No such file or directory\)"):
        read(tmp_path)

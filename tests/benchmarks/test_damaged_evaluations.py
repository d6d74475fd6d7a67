"""Pictures, scores and records of an evaluation are tied by hashes: what is damaged, swapped or edited is noticed."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from painter import Painter, make_suite
from PIL import Image

from flowbench import benchmarks, store
from flowbench.benchmarks import Execution
from flowbench.benchmarks.execution import Share
from flowbench.benchmarks.sources import RecordedSource
from flowbench.errors import RunError
from flowbench.evals import load_results
from flowbench.images import png_bytes

FIRST, SECOND = "images/counting-0-0.png", "images/counting-0-1.png"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One evaluation, of four pictures per tag."""
    root = tmp_path_factory.mktemp("damaged")
    suite = make_suite(root, prompts_per_tag=2, images_per_prompt=2)
    return root, suite, benchmarks.evaluate(Painter(root / "diary.jsonl"), suite, out=root, batch_size=4)


@pytest.fixture
def again(finished, tmp_path):
    """(its folder in a place of its own, a function that evaluates it again and gives the new painter)."""
    _, suite, folder = finished
    copied = Path(shutil.copytree(folder, tmp_path / "eval" / folder.name))

    def evaluate(**settings):
        painter = Painter(tmp_path / "diary.jsonl")
        assert benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=4, **settings) == copied
        return painter

    return copied, evaluate


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.[jp]*")}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    path.write_bytes(content)


def swap(path: Path) -> None:
    other = path.with_name("counting-0-1.png")
    first = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(first)


def facts_of(path: Path) -> dict:
    with Image.open(path) as image:
        return json.loads(image.info["flowbench"])


def from_elsewhere(path: Path) -> None:
    path.write_bytes(png_bytes(Image.new("RGB", (8, 8)), facts_of(path) | {"evaluation": "painting-0123456789"}))


DAMAGE = {
    "a flipped bit": (flip, "it is damaged: broken PNG file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-30]), "it is damaged: "),
    "empty": (lambda path: path.write_bytes(b""), "it is damaged: cannot identify image file"),
    "swapped": (swap, "it was written as another picture: its index differs"),
    "of another evaluation": (from_elsewhere, "it was written as another picture: its evaluation differs"),
    "of nobody": (lambda path: Image.new("RGB", (8, 8)).save(path), "another picture: its prompt_id differs"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_picture_is_named_and_made_again(again, capsys, kind):
    folder, evaluate = again
    before = content_of(folder)
    damage, words = DAMAGE[kind]
    damage(folder / FIRST)
    assert content_of(folder) != before
    painter = evaluate()
    said = capsys.readouterr().err
    assert f"warning: {folder / FIRST}: " in said and words in said
    assert content_of(folder) == before
    assert len(painter.painted()) == (2 if kind == "swapped" else 1)


def test_what_is_whole_is_not_made_again(again, capsys):
    folder, evaluate = again
    before = content_of(folder)
    renamed = folder.with_name("renamed")  # a folder's name is nothing that a picture depends on
    shutil.copytree(folder, renamed)
    assert evaluate().painted() == []
    assert content_of(folder) == before
    source = RecordedSource(renamed)
    suite = make_suite(folder.parents[1], prompts_per_tag=2, images_per_prompt=2)
    benchmarks.evaluate(source, suite, out=folder.parents[1], seed=0)
    assert content_of(renamed) == before and capsys.readouterr().err == ""


def test_without_the_model_a_damaged_picture_is_refused(again):
    folder, _ = again
    flip(folder / FIRST)
    suite = make_suite(folder.parents[1], prompts_per_tag=2, images_per_prompt=2)
    with pytest.raises(RunError, match=r"counting-0-0\.png and others are missing or damaged, and the model is not"):
        benchmarks.evaluate(RecordedSource(folder), suite, out=folder.parents[1])


def test_a_score_is_of_the_picture_that_was_scored(again):
    """Another whole picture in the place of one: its score is made again, and the record names the new file."""
    folder, evaluate = again
    records = load_results(folder).records
    assert all(each.image_sha256 == store.file_digest(folder / each.image) for each in records)
    path = folder / FIRST
    path.write_bytes(png_bytes(Image.new("RGB", (8, 8), (255, 0, 0)), facts_of(path)))
    assert evaluate().painted() == []
    (changed,) = [each for each in load_results(folder).records if each not in records]
    assert (changed.image, changed.value, changed.image_sha256) == (FIRST, 1.0, store.file_digest(path))


def test_a_stage_that_makes_no_pictures_leaves_a_damaged_one_unscored(again):
    folder, evaluate = again
    flip(folder / FIRST)
    shutil.rmtree(folder / "scores")
    evaluate(execution=Execution(("score", "summarise")))
    (unscored,) = [each for each in load_results(folder).records if not each.is_scored]
    assert unscored.image == FIRST
    assert "it is damaged: broken PNG file" in unscored.note and "Evaluate again with the model" in unscored.note
    evaluate()
    assert all(each.is_scored for each in load_results(folder).records)


def test_an_edited_score_is_refused(again):
    folder, evaluate = again
    (path,) = (folder / "scores").iterdir()
    lines = path.read_text().splitlines()
    tree = json.loads(lines[2])
    tree["value"] = 0.99
    lines[2] = json.dumps(tree)
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(RunError, match=r"red-.*\.jsonl, line 3: damaged, or edited by hand\. Delete that line and"):
        evaluate()
    before = store.read_sealed(folder / "summary.json")
    path.write_text("".join(f"{line}\n" for line in [*lines[:2], *lines[3:]]))
    evaluate()  # as it says
    assert store.read_sealed(folder / "summary.json")["metrics"] == before["metrics"]


def test_an_edited_record_is_refused_and_mended(again):
    folder, evaluate = again
    path, before = folder / "records.jsonl", (folder / "records.jsonl").read_bytes()
    path.write_text(path.read_text().replace('"official": 0.0', '"official": 1.0'))
    with pytest.raises(RunError, match=r"records\.jsonl is not the one that summary\.json speaks of"):
        load_results(folder)
    evaluate()
    assert path.read_bytes() == before


def test_scores_of_two_shares_are_of_the_picture_that_is_there(again):
    """A share's file holds the score of the picture that lay there before: the newer one of another file counts."""
    folder, evaluate = again
    (path,) = (folder / "scores").iterdir()
    shutil.copy(path, path.with_name(f"{path.stem}.0-of-2.jsonl"))
    kept = folder / FIRST
    kept.write_bytes(png_bytes(Image.new("RGB", (8, 8), (255, 0, 0)), facts_of(kept)))
    evaluate()
    evaluate(execution=Execution(("summarise",)))
    assert next(each for each in load_results(folder).records if each.image == FIRST).value == 1.0
    lines = {file.name: file.read_bytes() for file in (folder / "scores").iterdir()}
    evaluate(execution=Execution(("score",), Share(0, 2)))
    assert {file.name: file.read_bytes() for file in (folder / "scores").iterdir()} == lines


def test_two_scorers_of_different_pictures_are_not_summed_up(again):
    folder, evaluate = again
    suite = make_suite(folder.parents[1], prompts_per_tag=2, images_per_prompt=2)
    suite = suite.with_scorers(["red", "jpeg"])
    painter = Painter(folder.parents[1] / "diary.jsonl")
    benchmarks.evaluate(painter, suite, out=folder.parents[1], batch_size=4)
    kept = folder / FIRST
    kept.write_bytes(png_bytes(Image.new("RGB", (8, 8), (255, 0, 0)), facts_of(kept)))
    with pytest.raises(RunError, match=r"red and jpeg have scored different pictures in the place of images/counting"):
        evaluate()  # scores with red alone
    benchmarks.evaluate(painter, suite, out=folder.parents[1], batch_size=4)
    assert load_results(folder).records[0].image_sha256


def test_the_card_of_another_evaluation_is_refused(again):
    folder, evaluate = again
    card = store.read_sealed(folder / "card.json")
    card["declared"]["steps"] = 7
    store.write_sealed(folder / "card.json", card)
    with pytest.raises(RunError, match=r"card\.json is the card of another evaluation\. Delete it, and evaluate again"):
        evaluate()


def test_a_reason_of_another_type_is_refused(again):
    folder, evaluate = again
    (path,) = (folder / "scores").iterdir()
    path.rename(folder / "kept.jsonl")
    for content in ("[]", '{"reason": "no weights"}', "{"):
        (folder / "scores" / f"{path.stem}.not-run.json").write_text(content)
        with pytest.raises(RunError, match=r"not-run\.json: (not valid JSON|a list where|damaged, or edited)"):
            evaluate(execution=Execution(("summarise",)))


@pytest.mark.parametrize("what", ["moved", "deleted"])
def test_a_folder_that_goes_away_is_not_made_again(tmp_path, what):
    suite = make_suite(tmp_path, prompts_per_tag=2, images_per_prompt=2)
    out, painter = tmp_path / "runs", Painter(tmp_path / "diary.jsonl")

    def gone(stage, done, total):
        while out.exists() and len(list(out.glob("eval/*/images/*.png"))) < done:
            time.sleep(0.001)  # a thread is writing them
        if out.exists():
            os.rename(out, tmp_path / "elsewhere") if what == "moved" else shutil.rmtree(out)

    for stages in (("generate",), ("score",)):
        shutil.rmtree(out, ignore_errors=True)
        if stages == ("score",):
            benchmarks.evaluate(painter, suite, out=out, batch_size=4, execution=Execution(("generate",)))
        with pytest.raises(RunError, match="was moved or deleted while this process worked in it"):
            benchmarks.evaluate(painter, suite, out=out, batch_size=4, execution=Execution(stages, progress=gone))
        assert not out.exists()
        shutil.rmtree(tmp_path / "elsewhere", ignore_errors=True)

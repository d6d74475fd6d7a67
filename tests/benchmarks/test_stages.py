"""Stages by themselves, shares of them in several processes, and an evaluation that goes on without its model."""

from __future__ import annotations

import shutil

import pytest
from painter import Painter, make_suite

from flowbench import assets, benchmarks, rewards, store
from flowbench.benchmarks import Execution
from flowbench.benchmarks.execution import Share
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.scorers import Scorer
from flowbench.benchmarks.sources import RecordedSource
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.evals import load_results
from flowbench.rewards import Card
from flowbench.types import Score


@pytest.fixture
def painter(tmp_path):
    return Painter(tmp_path / "diary.jsonl")


def content(folder):
    pictures = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    return store.read_json(folder / "summary.json"), pictures, (folder / "records.jsonl").read_bytes()


def test_the_stages_one_by_one_come_out_as_all_at_once(tmp_path, painter):
    suite = make_suite(tmp_path)
    whole = benchmarks.evaluate(painter, suite, out=tmp_path / "whole")
    for stage, files in (("generate", {"images"}), ("score", {"images", "scores"}), ("summarise", None)):
        folder = benchmarks.evaluate(painter, suite, out=tmp_path / "parts", execution=Execution((stage,)))
        if files:
            assert {path.name for path in folder.iterdir()} - {"card.json", ".lock"} == files
    assert content(folder) == content(whole)


def test_a_summary_of_unfinished_work_is_refused(tmp_path, painter):
    suite = make_suite(tmp_path)
    with pytest.raises(RunError, match=r"36 of 36 pictures are not made yet\. Run the stage generate\."):
        benchmarks.evaluate(painter, suite, out=tmp_path, execution=Execution(("summarise",)))
    benchmarks.evaluate(painter, suite, out=tmp_path, execution=Execution(("generate",)))
    with pytest.raises(RunError, match=r"red has not scored 36 of 36 pictures yet\. Run the stage score\."):
        benchmarks.evaluate(painter, suite, out=tmp_path, execution=Execution(("summarise",)))


def test_an_unknown_stage_and_a_share_of_several_are_refused():
    with pytest.raises(ConfigError, match=r"no stage 'scor'\. Use some of: generate, score, summarise"):
        Execution(("scor",))
    with pytest.raises(ConfigError, match="one stage at a time"):
        Execution(("generate", "score"), Share(0, 2))


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_any_number_of_shares_makes_the_same_evaluation(tmp_path, painter, shares):
    suite = make_suite(tmp_path)
    whole = benchmarks.evaluate(painter, suite, out=tmp_path / "whole", batch_size=5)
    painter.diary.unlink()
    for stage in ("generate", "score"):
        for index in reversed(range(shares)):
            execution = Execution((stage,), Share(index, shares))
            benchmarks.evaluate(painter, suite, out=tmp_path / "shared", batch_size=5, execution=execution)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path / "shared", batch_size=5)
    assert content(folder) == content(whole)
    assert len(painter.painted()) == len(set(painter.painted())) == 36
    lines = [len(store.read_jsonl(path)) for path in (folder / "scores").iterdir()]
    assert sum(lines) == 36  # every score once
    assert len(lines) == min(shares, 6 if shares > 1 else 1)  # six batches of two prompts' pictures


def test_what_a_killed_share_left_is_taken_over(tmp_path):
    from PIL import Image

    killed = Pictures(tmp_path, "0-of-2")
    (tmp_path / ".ready-0-of-2").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / ".ready-0-of-2" / "a.png")
    (tmp_path / ".staging-1-of-2").mkdir()
    assert not killed.has("a.png")
    other = Pictures(tmp_path, "1-of-2")
    assert not other.has("a.png")  # it may still be at work
    assert Pictures(tmp_path).has("a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_shares_hold_the_folder_together_and_keep_others_out(tmp_path):
    with store.locked(tmp_path, shared=True), store.locked(tmp_path, shared=True):
        assert _refused(tmp_path, shared=False)
    with store.locked(tmp_path):
        assert _refused(tmp_path, shared=True)
    assert not _refused(tmp_path, shared=False)


def _refused(folder, *, shared):
    try:
        with store.locked(folder, shared=shared):
            return False
    except RunError as error:
        return "is in use by process" in str(error)


def test_an_evaluation_is_scored_again_without_its_model(tmp_path, painter):
    suite = make_suite(tmp_path)
    whole = benchmarks.evaluate(painter, suite, out=tmp_path / "whole", guidance=2.0, limit=7, seed=3)
    made = Execution(("generate",))
    folder = benchmarks.evaluate(
        painter, suite, out=tmp_path / "a", guidance=2.0, limit=7, seed=3, label="painter", execution=made
    )
    source = RecordedSource(folder)
    again = source.settings({}) | {"label": None}
    assert benchmarks.evaluate(source, suite, **again) == folder
    assert content(folder) == content(whole)
    (folder / "images" / "counting-0-1.png").unlink()
    with pytest.raises(RunError, match=r"counting-0-1\.png and others are missing or damaged, and the model is not"):
        benchmarks.evaluate(source, suite, **again)


def group_size():
    def score(samples):
        return [Score(float(len(samples)), {"official": 1.0}) for _ in samples]

    score.per_group = True
    return score


def test_a_prompt_whose_pictures_are_still_being_made_waits(tmp_path, painter, monkeypatch):
    """A reward that compares a prompt's pictures never sees some of them, whenever the scoring comes."""
    monkeypatch.setitem(rewards.registry._targets, "group_size", group_size)
    suite = make_suite(tmp_path, scorers=("group_size",), metrics=("official",), also_show=(), images_per_prompt=4)
    for index in range(2):
        made = Execution(("generate",), Share(index, 2))
        folder = benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=6, execution=made)
        benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=6, execution=Execution(("score",)))
    benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=6)
    records = store.read_jsonl(folder / "records.jsonl")
    assert [record["value"] for record in records] == [4.0] * 48


def test_another_number_of_shares_takes_over_what_a_killed_one_left(tmp_path, painter):
    from PIL import Image

    suite = make_suite(tmp_path)
    made = Execution(("generate",), Share(0, 2))
    folder = benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=36, execution=made)
    for left in (".ready", ".ready-2-of-3"):
        (folder / "images" / left).mkdir()
        path = next((folder / "images").glob("*.png"))
        path.rename(folder / "images" / left / path.name)
    benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=36, execution=made)
    assert len(painter.painted()) == 36
    assert {path.suffix for path in (folder / "images").iterdir()} == {".png"}
    assert Image.open(next((folder / "images").iterdir())).size == (8, 8)


def test_why_a_scorer_could_not_be_built_is_known_to_later_stages(tmp_path, painter, monkeypatch):
    def fails():
        raise ConfigError("the package 'nowhere' is not installed. Install it.")

    monkeypatch.setitem(rewards.registry._targets, "fails", fails)
    monkeypatch.setitem(rewards.registry._cards, "fails", Card("fails", needs=("aesthetic",)))
    suite = make_suite(tmp_path, scorers=("red", "fails"), metrics=(), headline="", also_show=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "prepare", lambda self: None)
        patch.setattr(assets, "identities", lambda names: ["aesthetic here"] * len(list(names)))
        for stage in ("generate", "score", "summarise"):
            folder = benchmarks.evaluate(painter, suite, out=tmp_path, execution=Execution((stage,)))
    assert load_results(folder).not_run == {"fails": "the package 'nowhere' is not installed. Install it."}


def test_another_evaluation_than_the_one_at_hand_is_refused_and_nothing_is_written(tmp_path, painter):
    folder = benchmarks.evaluate(painter, make_suite(tmp_path), out=tmp_path / "a")
    source = RecordedSource(folder)
    (tmp_path / "other.txt").write_text("a cat\n")
    other = make_suite(tmp_path).with_prompts(tmp_path / "other.txt")
    with pytest.raises(ConfigError, match=r"another evaluation than this one: they differ in num_prompts: 12 and 1"):
        benchmarks.evaluate(source, other, **source.settings({}))
    assert [path.name for path in (tmp_path / "a" / "eval").iterdir()] == [folder.name]


def test_an_evaluation_that_was_copied_stays_where_it_is(tmp_path, painter):
    suite = make_suite(tmp_path)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path / "a")
    copied = shutil.copytree(folder, tmp_path / "b" / "mine")
    source = RecordedSource(copied)
    assert benchmarks.evaluate(source, suite, **(source.settings({}) | {"out": tmp_path / "c"})) == copied
    assert not (tmp_path / "c").exists()


def test_a_damaged_card_is_said_so(tmp_path):
    for text in ("[]", '{"subject": {}}', '{"format": 3}'):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(RunError, match="is no settings card"):
            RecordedSource(tmp_path)
    (tmp_path / "card.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match="was written by an earlier flowbench"):
        RecordedSource(tmp_path)


def test_a_folder_that_is_no_evaluation(tmp_path):
    with pytest.raises(MissingFile, match=r"card\.json"):
        RecordedSource(tmp_path)

"""The runner: what it writes, and that a killed evaluation comes out as if nothing had happened."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from painter import TAGS, Painter, make_suite
from PIL import Image

from flowbench import benchmarks, rewards, store
from flowbench.benchmarks.execution import Execution
from flowbench.benchmarks.pictures import Pictures
from flowbench.benchmarks.plan import image_seed
from flowbench.benchmarks.sources import RecordedSource
from flowbench.errors import ConfigError, NotFinite, RunError
from flowbench.evals import evaluation
from flowbench.registry import load_plugin_file


@pytest.fixture
def painter(tmp_path):
    return Painter(tmp_path / "diary.jsonl")


def test_numbers_of_an_evaluation(tmp_path, painter):
    """Every number again by hand, from the seeds of the records."""
    suite = make_suite(tmp_path, prompts_per_tag=8)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=5, label="mine")
    records = store.read_jsonl(folder / "records.jsonl")
    summary = store.read_json(folder / "summary.json")
    assert folder.parent == tmp_path / "eval"
    assert folder.name.startswith("painting-")
    assert len(records) == 3 * 8 * 3 == summary["images"]
    tag_means = []
    for tag in TAGS:
        verdicts = [record["seed"] % 256 >= 128 for record in records if record["tag"] == tag]
        tag_means.append(sum(verdicts) / 24)
        assert summary["metrics"]["official"]["tags"][tag]["mean"] == pytest.approx(tag_means[-1])
    overall = summary["metrics"]["official"]["overall"]
    assert overall["mean"] == pytest.approx(sum(tag_means) / 3)
    assert overall["low"] < overall["mean"] < overall["high"]
    assert (summary["label"], summary["model"], summary["scorers"][0]["unscored"]) == ("mine", "painter", 0)
    assert summary["card"] == store.read_sealed(folder / "card.json")
    for record in records:
        with Image.open(folder / record["image"]) as image:
            assert image.getpixel((0, 0))[0] == record["seed"] % 256


def test_a_finished_evaluation_is_not_made_again(tmp_path, painter):
    suite = make_suite(tmp_path)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path)
    files = [*folder.glob("scores/*"), *folder.rglob("*.png")]
    before = [path.stat().st_mtime_ns for path in files]
    assert benchmarks.evaluate(painter, suite, out=tmp_path) == folder
    assert len(painter.painted()) == 36
    assert len(files) == 37
    assert before == [path.stat().st_mtime_ns for path in files]


def test_only_the_missing_pictures_are_painted(tmp_path, painter):
    suite = make_suite(tmp_path)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path)
    summary = (folder / "summary.json").read_bytes()
    painter.diary.unlink()
    for name in ("counting-1-0.png", "single_object-3-2.png"):
        (folder / "images" / name).unlink()
    benchmarks.evaluate(painter, suite, out=tmp_path)
    assert [prompt_id for prompt_id, _ in painter.painted()] == ["single_object-3", "counting-1"]
    assert (folder / "summary.json").read_bytes() == summary


def test_other_settings_get_a_folder_of_their_own(tmp_path, painter):
    suite = make_suite(tmp_path)
    folders = {
        benchmarks.evaluate(painter, suite, out=tmp_path),
        benchmarks.evaluate(painter, suite, out=tmp_path, guidance=2.0),
        benchmarks.evaluate(painter, suite, out=tmp_path, limit=3),
        benchmarks.evaluate(painter, suite, out=tmp_path, seed=1),
        benchmarks.evaluate(painter, suite, out=tmp_path, solver="dpmpp_2m"),
    }
    assert len(folders) == 5


@pytest.mark.parametrize(("solver", "calls"), [("euler", 7), ("heun", 13), ("dpmpp_2m", 7)])
def test_the_solver_makes_the_pictures_and_stands_in_the_card_with_its_model_calls(tmp_path, painter, solver, calls):
    folder = benchmarks.evaluate(painter, make_suite(tmp_path, solver=solver), out=tmp_path, steps=7, limit=1)
    assert painter.solver == solver
    card = evaluation.read_card(folder)
    assert (card.declared["sampler"], card.noted["model_calls_per_picture"]) == (f"ode {solver}", calls)
    assert evaluation.read_summary(folder).card.noted["model_calls_per_picture"] == calls


def test_what_a_reward_cannot_score_is_unscored_and_counted_not_zero(tmp_path, painter):
    suite = make_suite(tmp_path, options={"red": {"blind_to": "a counting 2"}})
    folder = benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=36)
    records = store.read_jsonl(folder / "records.jsonl")
    blind = [record for record in records if record["prompt_id"] == "counting-2"]
    assert [record["value"] for record in blind] == [None] * 3
    assert "too dark to see" in blind[0]["note"]
    summary = store.read_json(folder / "summary.json")
    (red,) = summary["scorers"]
    assert red["unscored"] == 3 == sum(red["unscored_reasons"].values())
    seen = [r["seed"] % 256 >= 128 for r in records if r["tag"] == "counting" and r["prompt_id"] != "counting-2"]
    assert summary["metrics"]["official"]["tags"]["counting"]["mean"] == pytest.approx(sum(seen) / 9)


def test_a_mended_reward_scores_what_it_could_not_before(tmp_path, painter):
    switch = tmp_path / "server-is-down"
    suite = make_suite(tmp_path, options={"red": {"switch": str(switch)}})
    whole = benchmarks.evaluate(painter, suite, out=tmp_path / "whole")
    switch.touch()
    broken = benchmarks.evaluate(painter, suite, out=tmp_path / "broken")
    summary = store.read_json(broken / "summary.json")
    assert summary["scorers"][0]["unscored"] == 36
    assert summary["metrics"]["official"]["overall"]["mean"] is None
    switch.unlink()
    benchmarks.evaluate(painter, suite, out=tmp_path / "broken")
    assert (broken / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()


PLUGIN = """
from flowbench import Score
from flowbench.rewards import register

@register("level")
def level():
    return lambda samples: [Score(0.0, {"official": VALUE}) for _ in samples]
"""


def test_a_rewritten_reward_scores_the_same_pictures_anew(tmp_path, painter, monkeypatch):
    """The numbers of a plugin's old code are neither shown as those of its new code nor lost."""
    folders = []
    for value in ("0.0", "1.0", "1.0"):
        (tmp_path / "level.py").write_text(PLUGIN.replace("VALUE", value))
        for name in [name for name in sys.modules if name.startswith("flowbench_plugin_level_")]:
            monkeypatch.delitem(sys.modules, name)  # as in a new process
        monkeypatch.delitem(rewards.registry._targets, "level", raising=False)
        load_plugin_file(tmp_path / "level.py")
        suite = make_suite(tmp_path, scorers=("level",), metrics=("official",), also_show=())
        folders.append(benchmarks.evaluate(painter, suite, out=tmp_path))
        mean = store.read_json(folders[-1] / "summary.json")["metrics"]["official"]["overall"]["mean"]
        assert mean == float(value)
    assert len(set(folders)) == 1
    files = [store.read_jsonl(file) for file in folders[0].glob("scores/*")]
    by_code = [{record["parts"]["official"] for record in file} for file in files]
    assert sorted(by_code, key=min) == [{0.0}, {1.0}]
    assert len(painter.painted()) == 36  # every picture once


def test_a_suite_of_another_vocabulary_is_refused(tmp_path, painter):
    painter.vocabulary = "coco80"
    with pytest.raises(ConfigError, match="speaks of shapes, model 'painter' draws coco80"):
        benchmarks.evaluate(painter, "shapes", out=tmp_path)


def test_a_metric_that_no_score_has_is_refused_with_the_known_ones(tmp_path, painter):
    suite = make_suite(tmp_path, metrics=("oficial",), headline="oficial", also_show=())
    with pytest.raises(ConfigError, match=r"metric 'oficial'\. Known: green, official, red, value"):
        benchmarks.evaluate(painter, suite, out=tmp_path)


def test_a_folder_in_use_is_refused(tmp_path, painter):
    suite = make_suite(tmp_path)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path)
    with store.locked(folder), pytest.raises(RunError, match=str(os.getpid())):
        benchmarks.evaluate(painter, suite, out=tmp_path)


def test_progress_counts_to_the_end(tmp_path, painter):
    seen = []
    suite = make_suite(tmp_path)
    execution = benchmarks.Execution(progress=lambda *step: seen.append(step))
    benchmarks.evaluate(painter, suite, out=tmp_path, batch_size=10, execution=execution)
    assert seen[0] == ("generate", 10, 36)
    assert ("generate", 36, 36) in seen
    assert seen[-1] == ("red", 36, 36)


def test_a_batch_of_pictures_arrives_whole_or_not_at_all(tmp_path, monkeypatch):
    """Stop at every single rename while a batch is kept: afterwards all pictures of the batch are there, or none."""
    names = ["a.png", "b.png", "c.png"]
    batch = [(name, Image.new("RGB", (2, 2)), {}) for name in names]
    outcomes = set()
    for stop_at in range(1, 9):
        folder = tmp_path / str(stop_at)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", _stopping(os.replace, stop_at))
            try:
                with Pictures(folder) as pictures:
                    pictures.add(batch)
                stopped = False
            except KeyboardInterrupt:
                stopped = True
        again = Pictures(folder)
        present = [again.has(name) for name in names]
        assert len(set(present)) == 1
        assert sorted(path.name for path in folder.iterdir()) == (names if present[0] else [])
        outcomes.add((stopped, present[0]))
    assert outcomes == {(True, False), (True, True), (False, True)}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_kill_at_any_moment_and_resume(tmp_path):
    """kill -9 at 20 and more random moments until it ends: as an undisturbed run, and no picture made twice."""
    whole, work = tmp_path / "whole", tmp_path / "killed"
    expected = _evaluate_slowly(whole)
    moments = random.Random(0)
    kills = 0
    while True:
        existed = {path.name: path.stat().st_mtime_ns for path in work.glob("eval/*/images/*.png")}
        painted_before = len(Painter(work / "diary.jsonl").painted())
        longest = 0.03 + max(0, kills - 40) / 1000  # short enough for a fast machine, and a slow one comes to an end
        finished = not _killed(work, moments.uniform(0.0, longest))
        _check_round(work, existed, painted_before)
        if finished:
            break
        kills += 1
    assert kills >= 20
    assert _comparable(next((work / "eval").iterdir())) == _comparable(expected)


def _check_round(work: Path, existed: dict[str, int], painted_before: int) -> None:
    """What stood there before a round was neither touched nor painted again."""
    now = {path.name: path.stat().st_mtime_ns for path in work.glob("eval/*/images/*.png")}
    assert {name: now[name] for name in existed} == existed
    places = [name.removesuffix(".png").rpartition("-") for name in existed]
    done = {(prompt_id, image_seed(0, "painting", prompt_id, int(index))) for prompt_id, _, index in places}
    assert not done & set(Painter(work / "diary.jsonl").painted()[painted_before:])


def _comparable(folder: Path) -> tuple:
    summary = store.read_json(folder / "summary.json")
    pictures = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    return summary, pictures, sorted(map(json.dumps, store.read_jsonl(folder / "records.jsonl")))


def _evaluate_slowly(work: Path) -> Path:
    work.mkdir(exist_ok=True)
    suite = make_suite(work, prompts_per_tag=12, options={"red": {"pause": 0.01}})
    return benchmarks.evaluate(Painter(work / "diary.jsonl", pause=0.02), suite, out=work, batch_size=4)


def _killed(work: Path, delay: float) -> bool:
    """Evaluate in a process of its own, killed `delay` seconds after its first new mark; False if it ended first."""
    marks = _marks(work)
    process = multiprocessing.get_context("fork").Process(target=_evaluate_slowly, args=(work,))
    process.start()
    while process.is_alive() and _marks(work) == marks:
        time.sleep(0.001)
    process.join(delay)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _marks(work: Path) -> int:
    files = [work / "diary.jsonl", *work.glob("eval/*/scores/*.jsonl")]
    return sum(path.stat().st_size for path in files if path.exists())


def _stopping(replace, stop_at: int):
    calls = itertools.count(1)

    def counted(*args):
        if next(calls) == stop_at:
            raise KeyboardInterrupt
        return replace(*args)

    return counted


class Faint(Painter):
    """Of these prompts it makes no picture: its numbers are not finite."""

    fails: tuple[str, ...] = ("counting-2",)

    def generate(self, prompts, seeds, **settings):
        made = [None if s.prompt.id in self.fails else s for s in super().generate(prompts, seeds, **settings)]
        if None in made:
            raise NotFinite("model 'painter': its latents are not finite.", made)
        return made


def test_a_picture_that_cannot_be_made_is_unscored_with_the_reason_and_the_rest_is_finished(tmp_path, painter, capsys):
    suite = make_suite(tmp_path)
    whole = benchmarks.evaluate(painter, suite, out=tmp_path / "whole", batch_size=4)
    faint = Faint(tmp_path / "faint.jsonl")
    folder = benchmarks.evaluate(faint, suite, out=tmp_path / "faint", batch_size=4)
    assert "of 4 pictures are not made: model 'painter': its latents are not finite." in capsys.readouterr().err
    expected = store.read_jsonl(whole / "records.jsonl")
    for record, other in zip(store.read_jsonl(folder / "records.jsonl"), expected, strict=True):
        if record["prompt_id"] == "counting-2":
            assert (record["value"], record["note"]) == (None, "model 'painter': its latents are not finite.")
            assert not (folder / record["image"]).exists()
        else:
            assert record == other
    summary = store.read_json(folder / "summary.json")
    assert summary["scorers"][0]["unscored_reasons"] == {"model 'painter': its latents are not finite.": 3}
    assert summary["metrics"]["official"]["tags"]["counting"]["count"] == 9
    again = benchmarks.evaluate(
        RecordedSource(folder), suite, out=tmp_path / "faint", batch_size=4
    )  # without the model
    assert (again, store.read_json(again / "summary.json")["scorers"]) == (folder, summary["scorers"])
    faint.fails, before = (), len(faint.painted())
    benchmarks.evaluate(faint, suite, out=tmp_path / "faint", batch_size=4)
    assert [prompt for prompt, _ in faint.painted()[before:]] == ["counting-2"] * 3
    assert (folder / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    assert not list(folder.rglob("*.not-made.json"))


def test_an_evaluation_of_which_no_picture_can_be_made_is_finished_stage_by_stage(tmp_path):
    suite, faint = make_suite(tmp_path), Faint(tmp_path / "faint.jsonl")
    faint.fails = tuple(f"{tag}-{number}" for tag in TAGS for number in range(4))
    for stage in ("generate", "score", "summarise"):
        folder = benchmarks.evaluate(faint, suite, out=tmp_path, execution=Execution(stages=(stage,)))
    summary = store.read_json(folder / "summary.json")
    assert (summary["images"], summary["scorers"][0]["unscored"]) == (36, 36)
    assert summary["metrics"]["official"]["overall"]["mean"] is None


@pytest.mark.parametrize("content", ["", "[]", "5", "{}", '{"reason": 5}'])
def test_a_damaged_reason_for_a_picture_is_one_sentence(tmp_path, content):
    suite, faint = make_suite(tmp_path), Faint(tmp_path / "faint.jsonl")
    folder = benchmarks.evaluate(faint, suite, out=tmp_path)
    (folder / "images" / "counting-2-0.png.not-made.json").write_text(content)
    with pytest.raises(RunError, match=r"counting-2-0\.png\.not-made\.json: (it holds no reason|not valid JSON)"):
        benchmarks.evaluate(faint, suite, out=tmp_path, execution=Execution(stages=("score",)))

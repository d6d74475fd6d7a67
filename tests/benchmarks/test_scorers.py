"""Several scorers of one suite: whose number is whose, what cannot run, and what earlier calls leave."""

from __future__ import annotations

import json
import math

import pytest
from painter import Painter, make_suite
from PIL import Image

from flowbench import benchmarks, metrics, rewards, store
from flowbench.benchmarks import Execution, existing
from flowbench.benchmarks.execution import Share
from flowbench.benchmarks.scorers import Scorer, find
from flowbench.errors import AssetError, ConfigError, MissingFile, RunError, UnknownName
from flowbench.evals import load_results
from flowbench.rewards import Card
from flowbench.types import Score


@pytest.fixture
def painter(tmp_path):
    return Painter(tmp_path / "diary.jsonl")


def blue(*, top: float = 255.0):
    return lambda samples: [Score(sample.image.getpixel((0, 0))[2] / top, {"half": 0.5}) for sample in samples]


def spread():
    def measure(samples):
        levels = [sample.image.getpixel((0, 0))[0] for sample in samples]
        return Score(float(max(levels) - min(levels)))

    return measure


def needy():
    raise AssertionError("it is never built: its weights are not here")


def broken():
    raise ConfigError("the package 'nowhere' is not installed. Install it.")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Known under these names in this file only."""
    cards = {"blue": Card("blue", unit="share", direction="lower"), "needy": Card("needy", needs=("pickscore",))}
    for name, factory in {"blue": blue, "needy": needy, "broken": broken}.items():
        monkeypatch.setitem(rewards.registry._targets, name, factory)
        monkeypatch.setitem(rewards.registry._cards, name, cards.get(name))
    spread.level = "prompt"
    monkeypatch.setitem(metrics.registry._targets, "spread", spread)
    monkeypatch.setitem(metrics.registry._cards, "spread", Card("spread", unit="levels", direction="none"))


def several(tmp_path, *scorers, **fields):
    return make_suite(tmp_path, scorers=scorers, metrics=(), headline="", also_show=(), **fields)


def test_each_scorers_numbers_stand_under_its_name(tmp_path, painter):
    folder = benchmarks.evaluate(painter, several(tmp_path, "red", "blue", "spread"), out=tmp_path)
    records = store.read_jsonl(folder / "records.jsonl")
    summary = store.read_json(folder / "summary.json")
    for record in records:
        red, blue = (record["seed"] % 256) / 255, (record["seed"] >> 16) % 256 / 255
        parts = {"official": float(red >= 128 / 255), "green": 0.5, "red": red, "blue": blue, "blue/half": 0.5}
        assert {name: record["parts"].get(name) for name in parts} == parts
        assert record["value"] == red
    first = [record for record in records if record["prompt_id"] == "counting-1"]
    levels = [record["seed"] % 256 for record in first]
    assert [record["parts"].get("spread") for record in first] == [max(levels) - min(levels), None, None]
    assert list(summary["metrics"]) == ["blue", "red", "spread"]  # JSON's own order; the suite's is red first
    assert (summary["headline"], summary["metrics"]["blue"]["direction"]) == ("red", "lower")
    assert [summary["metrics"][name]["unit"] for name in ("red", "blue", "spread")] == ["", "share", "levels"]
    assert summary["metrics"]["spread"]["level"] == "prompt"


def test_a_metric_of_prompts_counts_prompts(tmp_path, painter):
    folder = benchmarks.evaluate(painter, several(tmp_path, "red", "spread", prompts_per_tag=8), out=tmp_path)
    records = store.read_jsonl(folder / "records.jsonl")
    entry = store.read_json(folder / "summary.json")["metrics"]["spread"]["overall"]
    values = [record["parts"]["spread"] for record in records if record["index"] == 0]
    assert (entry["count"], entry["unscored"]) == (24, 0)
    assert entry["mean"] == pytest.approx(sum(values) / 24)
    assert entry["low"] < entry["mean"] < entry["high"]


def test_what_cannot_run_is_listed_with_the_reason_while_the_rest_runs(tmp_path, painter, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    folder = benchmarks.evaluate(painter, several(tmp_path, "needy", "red", "broken"), out=tmp_path)
    results = load_results(folder)
    assert (results.headline, results.metrics) == ("needy", ("needy", "broken", "red"))  # the suite's own, as ever
    assert math.isnan(results.mean("needy"))
    assert results.mean("red") > 0
    assert {record.value for record in results.records} == {None}
    assert results.records[0].note.startswith("needy did not run: 'pickscore' is not here")
    assert "red/official" in results.records[0].parts
    assert "'pickscore' is not here" in results.not_run["needy"]
    assert "HF_HUB_OFFLINE forbids" in results.not_run["needy"]
    assert results.not_run["broken"] == "the package 'nowhere' is not installed. Install it."
    assert list(results.card.scorers) == ["red"]


def test_when_none_can_run_that_is_said_before_a_picture_is_made(tmp_path, painter, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match="'pickscore' is not here"):
        benchmarks.evaluate(painter, several(tmp_path, "needy"), out=tmp_path)
    assert painter.painted() == []


def test_other_scorers_later_keep_the_pictures_and_the_first_ones_numbers(tmp_path, painter):
    suite = make_suite(tmp_path)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path)
    before = load_results(folder)
    again = benchmarks.evaluate(painter, suite.with_scorers(["blue"]), out=tmp_path)
    after = load_results(again)
    assert again == folder
    assert len(painter.painted()) == 36
    assert after.headline == before.headline == "official"
    assert after.metrics == (*before.metrics, "blue")
    assert all(after.interval(metric) == before.interval(metric) for metric in before.metrics)
    assert after.interval("blue").count == 36
    assert set(after.card.scorers) == {"blue", "red"}


def test_what_cannot_run_today_keeps_yesterdays_scores(tmp_path, painter, monkeypatch):
    suite = make_suite(tmp_path)
    before = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))

    def gone(self):
        if self.name == "red":
            raise AssetError("its weights are gone. Fetch them.")

    monkeypatch.setattr(Scorer, "prepare", gone)
    after = load_results(benchmarks.evaluate(painter, suite.with_scorers(["red", "blue"]), out=tmp_path))
    assert after.headline == "official"
    assert after.interval("official") == before.interval("official")
    status = after.summary.scorers[0]
    assert (status.name, status.status, status.reason) == ("red", "scored", "its weights are gone. Fetch them.")
    assert after.not_run == {}


def test_a_bad_option_is_found_before_a_picture_is_made(tmp_path, painter, monkeypatch):
    def picky(*, size: int = 3):
        if not isinstance(size, int):
            raise ConfigError("size must be a whole number. Give one.")
        return lambda samples: [Score(1.0) for _ in samples]

    monkeypatch.setitem(rewards.registry._targets, "picky", picky)
    with pytest.raises(ConfigError, match="size must be a whole number"):
        benchmarks.evaluate(painter, several(tmp_path, "picky", options={"picky": {"size": "abc"}}), out=tmp_path)
    assert painter.painted() == []


def test_a_second_scorer_that_fails_on_every_picture_is_a_dash(tmp_path, painter):
    suite = make_suite(
        tmp_path, scorers=("blue", "red"), metrics=("blue", "red/official"), headline="blue", also_show=(),
        options={"red": {"switch": str(tmp_path)}},
    )  # fmt: skip
    results = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    assert math.isnan(results.mean("red/official"))
    assert [(each.name, each.unscored) for each in results.summary.scorers] == [("blue", 0), ("red", 36)]


def test_other_options_of_a_scorer_are_another_file_of_scores(tmp_path, painter):
    suite = make_suite(tmp_path)
    folder = benchmarks.evaluate(painter, suite, out=tmp_path)
    strict = load_results(folder).mean("official")
    benchmarks.evaluate(painter, make_suite(tmp_path, options={"red": {"limit": 0}}), out=tmp_path)
    assert load_results(folder).mean("official") == 1.0 > strict
    assert len(list((folder / "scores").iterdir())) == 2
    benchmarks.evaluate(painter, suite, out=tmp_path)
    assert load_results(folder).mean("official") == strict


def test_with_scorers_keeps_what_the_suite_shows_of_them():
    suite = benchmarks.find("drawbench").with_scorers(["pickscore", "imagereward", "jpeg"])
    assert (suite.metrics, suite.headline) == (("imagereward", "pickscore", "jpeg"), "imagereward")
    assert suite.also_show == ("pickscore",)
    shapes = benchmarks.find("shapes")
    assert shapes.with_scorers(["geneval", "jpeg"]).metrics == (*shapes.metrics, "jpeg")
    assert shapes.with_scorers(["jpeg"]).metrics == ("jpeg",)
    assert shapes.with_scorers(["jpeg", "geneval"]).metrics == ("jpeg",)  # GenEval's parts then have other names


def test_scorers_are_rewards_or_metrics_by_name():
    assert (find("jpeg").kind, find("vendi").kind, find("vendi").level) == ("reward", "metric", "prompt")
    with pytest.raises(UnknownName, match=r"unknown reward or metric 'vend'\. Did you mean 'vendi'\?"):
        find("vend")
    with pytest.raises(ConfigError, match="no option 'size'"):
        find("jpeg", {"size": 3}).check()


def test_a_name_that_is_a_reward_and_a_metric_is_refused(tmp_path, painter, monkeypatch):
    monkeypatch.setitem(metrics.registry._targets, "jpeg", spread)
    with pytest.raises(ConfigError, match="'jpeg' is a reward and a metric, which no table could tell apart"):
        benchmarks.evaluate(painter, make_suite(tmp_path, scorers=("jpeg",)), out=tmp_path)


def distance(*, offset: float = 0.0):
    def measure(samples, reference):
        levels = [[picture.getpixel((0, 0))[0] for picture in side] for side in
                  ([sample.image for sample in samples], reference)]  # fmt: skip
        return Score(abs(sum(levels[0]) / len(levels[0]) - sum(levels[1]) / len(levels[1])) + offset, {"spread": 1.0})

    return measure


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """A metric of sets under the name "distance", and a folder of two pictures to compare with."""
    distance.level = "set"
    card = Card("distance", unit="levels", direction="lower", parts={"spread": rewards.Part("levels", "none")})
    monkeypatch.setitem(metrics.registry._targets, "distance", distance)
    monkeypatch.setitem(metrics.registry._cards, "distance", card)
    folder = tmp_path / "photos"
    folder.mkdir()
    for level in (10, 30):
        Image.new("RGB", (8, 8), (level, 0, 0)).save(folder / f"{level}.png")
    return folder


def test_a_suite_may_compare_with_reference_pictures(tmp_path, painter, reference):
    suite = several(tmp_path, "red", "distance", reference=str(reference))
    results = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    reds = [record.seed % 256 for record in results.records]
    entry = results.summary.metrics["distance"]
    assert entry.overall.mean == pytest.approx(abs(sum(reds) / len(reds) - 20))
    assert (entry.overall.count, entry.level, entry.direction, entry.unit, entry.tags) == (
        1,
        "set",
        "lower",
        "levels",
        {},
    )
    assert math.isnan(entry.overall.low)  # one number: how sure it is, nobody knows
    assert {record.parts["distance"] for record in results.records} == {None}  # it is no picture's
    assert results.card.scorers["distance"]["reference"] == existing.pictures_digest(existing.read(reference))
    assert results.summary.scorers[1].unscored == 0


def test_other_reference_pictures_are_another_number_and_the_same_ones_are_compared_once(
    tmp_path, painter, reference, monkeypatch
):
    suite = several(tmp_path, "red", "distance", reference=str(reference))
    first = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(existing.ExistingPicture, "load", None)  # a second call reads no picture
        folder = benchmarks.evaluate(painter, suite, out=tmp_path)
    assert store.to_json(load_results(folder).summary.as_json()) == store.to_json(first.summary.as_json())
    Image.new("RGB", (8, 8), (200, 0, 0)).save(reference / "10.png")
    second = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    assert second.folder == first.folder
    assert second.mean("distance") != first.mean("distance")
    assert second.mean("red") == first.mean("red")


def test_a_set_is_measured_when_all_its_pictures_are_there(tmp_path, painter, reference):
    """By the first share alone, and never on a part of the pictures."""
    suite = several(tmp_path, "distance", reference=str(reference))
    whole = benchmarks.evaluate(painter, suite, out=tmp_path / "whole")
    for index in range(2):
        for stage in ("generate", "score"):
            execution = Execution((stage,), Share(index, 2))
            folder = benchmarks.evaluate(painter, suite, out=tmp_path / "b", batch_size=18, execution=execution)
        assert not list(folder.glob("scores/*.jsonl"))  # share 1 came when half was there, share 2 leaves it to share 1
    with pytest.raises(RunError, match="distance has not scored 1 of 1 sets yet"):
        benchmarks.evaluate(painter, suite, out=tmp_path / "b", execution=Execution(("summarise",)))
    benchmarks.evaluate(painter, suite, out=tmp_path / "b", batch_size=18)
    assert load_results(folder).mean("distance") == load_results(whole).mean("distance")


def test_a_reference_picture_that_cannot_be_read_leaves_the_set_unscored(tmp_path, painter, reference):
    (reference / "10.png").write_bytes(b"no picture")
    suite = several(tmp_path, "red", "distance", reference=str(reference))
    results = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    assert math.isnan(results.mean("distance")) and results.mean("red") > 0
    (reason,) = results.summary.scorers[1].unscored_reasons
    assert "not a readable picture" in reason


def test_a_set_with_a_gap_is_unscored_since_it_would_be_another_set(tmp_path, reference):
    pictures = tmp_path / "closed"
    pictures.mkdir()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(pictures / "counting-0.png")
    suite = several(tmp_path, "distance", reference=str(reference))
    source = benchmarks.ExistingSource(existing.read(pictures), "closed")
    results = load_results(benchmarks.evaluate(source, suite, out=tmp_path))
    total = len(results.records)
    assert math.isnan(results.mean("distance"))
    (reason,) = results.summary.scorers[0].unscored_reasons
    assert reason == f"{total - 1} of {total} pictures are not there, and it is a number of them all"


def test_a_metric_beside_reference_pictures_needs_some(tmp_path, painter, reference):
    with pytest.raises(ConfigError, match=r"metric 'distance' compares with reference pictures, and none are named"):
        benchmarks.evaluate(painter, several(tmp_path, "red", "distance"), out=tmp_path)
    with pytest.raises(MissingFile, match="no such folder"):
        benchmarks.evaluate(painter, several(tmp_path, "red", "distance", reference="nowhere"), out=tmp_path)
    assert painter.painted() == []


def test_a_part_that_no_card_names_only_describes(tmp_path, painter):
    """Of card-less plugins too: nobody says whether its higher end is the better one."""
    suite = make_suite(tmp_path, scorers=("blue", "red"), metrics=("blue", "half", "red/official", "red/green"),
                       headline="blue", also_show=())  # fmt: skip
    metrics_of = load_results(benchmarks.evaluate(painter, suite, out=tmp_path)).summary.metrics
    facts = {name: (entry.scorer, entry.unit, entry.direction) for name, entry in metrics_of.items()}
    assert facts == {
        "blue": ("blue", "share", "lower"),
        "half": ("blue", "", "none"),
        "red/official": ("red", "share", "higher"),
        "red/green": ("red", "level", "none"),
    }


def test_scores_of_a_plugin_that_is_not_here_today_do_not_stand_in_the_way(tmp_path, painter, monkeypatch, capsys):
    suite = make_suite(tmp_path)
    benchmarks.evaluate(painter, suite.with_scorers(["blue"]), out=tmp_path)
    monkeypatch.delitem(rewards.registry._targets, "blue")
    results = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    assert [each.name for each in results.summary.scorers] == ["red"]
    said = capsys.readouterr().err
    assert "'blue' has scored these pictures before and is left out of the summary" in said and "--plugin FILE" in said


def test_the_interval_of_the_call_before_stays(tmp_path, painter):
    suite = make_suite(tmp_path)
    first = benchmarks.evaluate(painter, suite, out=tmp_path, interval="bca")
    again = benchmarks.evaluate(painter, suite, out=tmp_path)
    assert again == first and load_results(again).card.noted["interval"] == "bca"
    other = benchmarks.evaluate(painter, suite, out=tmp_path, interval="analytic")
    assert other == first and load_results(other).card.noted["interval"] == "analytic"


def test_a_number_of_a_prompt_gives_no_reason_on_its_other_pictures(tmp_path, painter, monkeypatch):
    monkeypatch.setattr(metrics.registry, "_targets", dict(metrics.registry._targets))  # ends with this test

    @metrics.register("tests_alike", level="prompt", card=rewards.Card("tests_alike"))
    def alike():
        return lambda samples: Score(float(len(samples)))

    suite = make_suite(tmp_path).with_scorers(["tests_alike"])
    results = load_results(benchmarks.evaluate(painter, suite, out=tmp_path))
    assert results.mean("tests_alike") == suite.images_per_prompt
    assert {record.note for record in results.records} == {""}


def test_a_pictures_file_says_how_it_was_made(tmp_path, painter):
    from PIL import Image

    folder = benchmarks.evaluate(painter, make_suite(tmp_path), out=tmp_path, guidance=2.5)
    record = store.read_jsonl(folder / "records.jsonl")[0]
    with Image.open(folder / record["image"]) as image:
        facts = json.loads(image.text["flowbench"])
    assert {key: facts[key] for key in ("prompt", "seed", "model", "guidance", "steps", "evaluation")} == {
        "prompt": record["prompt"],
        "seed": record["seed"],
        "model": "painter",
        "guidance": 2.5,
        "steps": 2,
        "evaluation": folder.name,
    }

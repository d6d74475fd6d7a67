"""`flowbench score`: pictures that are there, any rewards, records, tables, resuming, comparing."""

from __future__ import annotations

import json
import time

import numpy
import pytest
import tiny_clip
from PIL import Image

from flowbench import metrics, rewards, store
from flowbench.rewards import registry
from flowbench.shapes import grammar, world
from flowbench.types import Sample, Score


@pytest.fixture
def drawn(tmp_path):
    """GenEval's layout: 24 prompts of the built-in world, two pictures each, rendered right but for the last 8."""
    rng = numpy.random.default_rng(0)
    prompts = [prompt for prompt in grammar.prompts("test")][::9][:24]
    for number, prompt in enumerate(prompts):
        folder = tmp_path / "made" / f"{number:05d}"
        (folder / "samples").mkdir(parents=True)
        (folder / "metadata.jsonl").write_text(
            json.dumps({**prompt.metadata, "tag": prompt.tag, "prompt": prompt.text})
        )
        for k in range(2):
            scene = world.sample_scene(prompt.metadata, rng) if number < 16 else []
            world.render(scene).save(folder / "samples" / f"{k:04d}.png")
    return tmp_path / "made"


@pytest.fixture
def spoiled():
    """A reward that fails on some pictures, until it is mended."""
    state = {"broken": True, "asked": 0}

    def score(batch):
        state["asked"] += len(batch)
        if state["broken"] and any(sample.prompt.id > "00019" for sample in batch):
            raise ConnectionError("no answer")
        return [Score(0.5) for _ in batch]

    registry.add("spoiled", lambda: score, card=rewards.Card("spoiled", unit="halves"))
    yield state
    registry._targets.pop("spoiled"), registry._cards.pop("spoiled")


def only(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def test_genevals_layout_gets_the_same_scores_as_the_reward_itself(flowbench, drawn, tmp_path):
    out = tmp_path / "out"
    words = ("score", drawn, "--reward", "geneval_official,jpeg", "--vocabulary", "shapes", "--out", out)
    result = flowbench(*words, "--format", "json")
    assert result.exit_code == 0, result.output
    (summary,) = json.loads(result.stdout)
    # 16 of 24 prompts are drawn right; the mean of the tags' means weighs them otherwise
    assert summary["images"] == 48 and [each["unscored"] for each in summary["scorers"]] == [0, 0]
    records = store.read_jsonl(only(out, "eval/pictures-*/records.jsonl"))
    assert sum(record["value"] for record in records) == 32
    results = store.read_jsonl(only(out, "eval/pictures-*/results.jsonl"))
    assert [line["correct"] for line in results] == [record["value"] == 1 for record in records]
    assert set(results[0]) == {"filename", "tag", "prompt", "correct", "reason", "metadata", "details"}
    assert json.loads(results[0]["metadata"])["include"] and results[-1]["reason"].startswith("expected ")
    (label, boxes), *_ = json.loads(results[0]["details"]).items()
    assert label in results[0]["prompt"] and len(boxes[0]) == 5 and boxes[0][4] > 0.3
    assert json.loads(results[-1]["details"]) == {}
    reward = rewards.build("geneval_official", vocabulary="shapes")
    for record in records[::7]:
        sample = Sample(
            next(p for p in [*grammar.prompts("test")] if p.text == record["prompt"]),
            Image.open(drawn / record["image"]).convert("RGB"),
        )
        assert reward([sample])[0].value == record["value"]
    jpeg, extras = summary["metrics"]["jpeg"], summary["metrics"]["extras"]
    assert jpeg["unit"] == "kB" and jpeg["overall"]["mean"] < 0
    assert (extras["unit"], extras["direction"]) == ("objects a picture", "lower")  # every part is measured too
    table = flowbench(*words).stdout
    assert "geneval_official ↑" in table and "correct pictures" in table and "kB" in table


def test_what_was_scored_is_not_scored_again_and_failures_are(flowbench, drawn, tmp_path, spoiled):
    words = ("score", drawn, "--reward", "spoiled", "--out", tmp_path / "out", "--batch-size", "4")
    failed = flowbench(*words)
    assert failed.exit_code == 2
    assert "spoiled: 8 of 48 pictures are unscored, most often because reward 'spoiled' failed" in failed.stderr
    records = store.read_jsonl(only(tmp_path / "out", "eval/pictures-*/records.jsonl"))
    assert [record["value"] for record in records] == [0.5] * 40 + [None] * 8
    assert flowbench(*words, "--max-error-rate", "0.2").exit_code == 0
    spoiled |= {"broken": False, "asked": 0}
    assert flowbench(*words).exit_code == 0
    assert spoiled["asked"] == 8
    spoiled["asked"] = 0
    assert flowbench(*words).exit_code == 0
    assert spoiled["asked"] == 0


def test_two_folders_of_pictures_can_be_compared(flowbench, drawn, tmp_path):
    common = ("--reward", "geneval", "--vocabulary", "shapes")
    flowbench("score", drawn, *common, "--out", tmp_path / "a")
    rng = numpy.random.default_rng(1)
    for number, prompt in enumerate([*grammar.prompts("test")][::9][:24]):
        if number >= 16:
            for k in range(2):
                world.render(world.sample_scene(prompt.metadata, rng)).save(drawn / f"{number:05d}/samples/{k:04d}.png")
    flowbench("score", drawn, *common, "--out", tmp_path / "b")
    result = flowbench("compare", tmp_path / "b", tmp_path / "a", "--metric", "official", "--format", "json")
    assert result.exit_code == 0, result.output
    overall = json.loads(result.stdout)[0]
    assert overall["candidate"] == 1.0 and overall["paired"]["difference"] > 0.2 and overall["paired"]["p"] < 0.05


def test_options_of_a_reward_follow_by_name(flowbench, drawn, tmp_path):
    words = ("score", drawn, "--reward", "jpeg", "--out", tmp_path / "out", "--format", "json")
    small, large = (json.loads(flowbench(*words, *more).stdout)[0] for more in ((), ("jpeg.larger=true",)))
    assert small["metrics"]["jpeg"]["overall"]["mean"] == -large["metrics"]["jpeg"]["overall"]["mean"]
    assert len(list((tmp_path / "out" / "eval").glob("*/scores/*.jsonl"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reward", "jpg"], "Did you mean 'jpeg'?"),
        (["--reward", ","], "',' names nothing: write a name"),
        (["--reward", "jpeg", "larger=true"], "write NAME.OPTION=VALUE"),
        (["--reward", "jpeg", "jpeg.lager=true"], "Did you mean 'larger'?"),
        (["--reward", "jpeg", "geneval.x=1"], "'geneval' is not in use. In use: jpeg."),
        ([], "nothing to score with"),
        (
            ["--metric", "fid"],
            "metric 'fid' compares with reference pictures, and none are named. Give them: --reference",
        ),
        (["--metric", "saturation", "--reference", "."], "--reference has no use here"),
        (["--metric", "edge_density", "edge_density.treshold=1"], "Did you mean 'threshold'?"),
        (["--reward", "jpeg", "--prompts", "nowhere.txt"], "nowhere.txt: there is no such file"),
    ],
)
def test_mistakes_are_one_sentence(flowbench, drawn, words, message):
    result = flowbench("score", drawn, *words)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_a_broken_picture_takes_no_other_with_it(flowbench, drawn, tmp_path):
    (drawn / "00003" / "samples" / "0001.png").write_bytes(b"no picture")
    result = flowbench("score", drawn, "--reward", "jpeg", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    records = store.read_jsonl(only(tmp_path / "out", "eval/pictures-*/records.jsonl"))
    (broken,) = [record for record in records if record["value"] is None]
    assert "not a readable picture" in broken["note"] and broken["image"] == "00003/samples/0001.png"
    assert "1 of 48 pictures unscored (" in result.stdout


def test_scorings_stand_in_leaderboards_with_dashes_for_what_is_not_known(flowbench, drawn, tmp_path):
    for name in ("a", "b"):
        flowbench("score", drawn, "--reward", "jpeg", "--out", tmp_path / name, "--label", name)
    result = flowbench("leaderboard", tmp_path / "a", tmp_path / "b", "--format", "markdown")
    assert result.exit_code == 0, result.output
    assert "| a | – | – | measured |" in result.stdout
    assert "(baseline)" not in result.stdout  # what made them is not known
    result = flowbench("leaderboard", tmp_path / "b", "--base", tmp_path / "a", "--format", "markdown")
    assert "| a (baseline) | – | – | measured |" in result.stdout


def test_licences_are_asked_about_before_anything_is_scored(flowbench, drawn, tmp_path, spoiled):
    gated = rewards.Card("gated", licence="AGPL-3.0", terms="copyleft")
    registry.add("gated", lambda: lambda batch: [Score(1.0)] * len(batch), card=gated)
    spoiled["broken"] = False
    try:
        words = ("score", drawn, "--reward", "spoiled,gated", "--out", tmp_path / "out")
        refused = flowbench(*words)
        assert refused.exit_code == 2 and "--accept-licence gated" in refused.stderr
        assert spoiled["asked"] == 0
        assert flowbench(*words, "--accept-licence", "gated").exit_code == 0
    finally:
        registry._targets.pop("gated"), registry._cards.pop("gated")


def test_a_reward_that_hangs_is_left_after_the_time_limit(flowbench, drawn, tmp_path):
    registry.add("hanging", lambda: lambda batch: time.sleep(30), card=rewards.Card("hanging"))
    try:
        words = ("score", drawn, "--reward", "hanging", "--out", tmp_path / "out", "--batch-size", "48")
        result = flowbench(*words, "--timeout", "0.05")
        assert result.exit_code == 2 and "no answer for 48 samples within 0.05 s" in result.stderr
    finally:
        registry._targets.pop("hanging"), registry._cards.pop("hanging")


def test_metrics_of_all_levels_beside_rewards(flowbench, drawn, tmp_path, tiny_weights, monkeypatch):
    from flowbench.metrics import diversity

    monkeypatch.setattr(diversity, "ARCHITECTURE", tiny_clip.TINY_QUICK)

    def sides(samples, reference):
        return Score(100.0 * len(samples) + len(reference), {"half": len(samples) / 2})

    sides_of = lambda: sides  # noqa: E731 - a factory without options
    sides_of.level = "set"
    card = rewards.Card("sides", direction="lower", parts={"half": rewards.Part("pictures", "none")})
    monkeypatch.setitem(metrics.registry._targets, "sides", sides_of)
    monkeypatch.setitem(metrics.registry._cards, "sides", card)
    words = ("score", drawn, "--metric", "vendi,saturation", "--reward", "jpeg", "--out", tmp_path / "out")
    result = flowbench(*words, "--format", "json")
    assert result.exit_code == 0, result.output
    (summary,) = json.loads(result.stdout)
    vendi, saturation = (summary["metrics"][name] for name in ("vendi", "saturation"))
    assert (vendi["overall"]["count"], saturation["overall"]["count"]) == (24, 48)  # per prompt, per picture
    assert 1 <= vendi["overall"]["mean"] <= 2
    assert vendi["unit"] == "effective number of pictures"
    reference = ("--reference", drawn / "00000" / "samples")
    beside = flowbench("score", drawn, "--metric", "sides", *reference, "--out", tmp_path / "out", "--format", "json")
    assert beside.exit_code == 0, beside.output
    (summary,) = json.loads(beside.stdout)
    assert [each["name"] for each in summary["scorers"]] == ["jpeg", "vendi", "saturation", "sides"]  # in one folder
    whole, half = summary["metrics"]["sides"], summary["metrics"]["sides/half"]
    assert (whole["overall"]["mean"], whole["overall"]["count"], whole["overall"]["low"]) == (4802.0, 1, None)
    assert (whole["level"], half["overall"]["mean"], half["unit"]) == ("set", 24.0, "pictures")
    assert summary["metrics"]["vendi"] == vendi
    refused = flowbench("score", drawn, "--metric", "saturation", *reference)
    assert refused.exit_code == 2


def test_another_kind_of_interval(flowbench, drawn, tmp_path):
    (tmp_path / "plain").mkdir()
    for number, path in enumerate(sorted(drawn.glob("*/samples/*.png"))):
        path.rename(tmp_path / "plain" / f"{number}.png")  # without prompts, so that each is its own
    words = ("score", tmp_path / "plain", "--metric", "edge_density", "--out", tmp_path / "out")
    shown = [flowbench(*words, *more).stdout for more in ((), ("--interval", "bca"), ("--interval", "analytic"))]
    for text, kind in zip(shown, ("Wilson's score", "BCa bootstrap", "Student's t"), strict=True):
        assert f"48 prompts x 1 picture; brackets: 95 % interval over prompts ({kind}" in " ".join(text.split())
    (folder,) = (tmp_path / "out" / "eval").iterdir()  # other bounds of the same pictures
    assert store.read_json(folder / "card.json")["noted"]["interval"] == "analytic"
    assert store.read_json(folder / "summary.json")["metrics"]["edge_density"]["overall"]["draws"] == 0


def test_an_interrupted_metric_is_not_measured_twice(flowbench, drawn, tmp_path):
    asked = []

    def sizes(samples):
        asked.append(samples[0].prompt.id)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return Score(float(len(samples)))

    metrics.register("sizes", card=rewards.Card("sizes", unit="pictures"), level="prompt")(lambda: sizes)
    try:
        words = ("score", drawn, "--metric", "sizes", "--out", tmp_path / "out")
        assert flowbench(*words).exit_code == 130
        assert flowbench(*words).exit_code == 0
    finally:
        metrics.registry._targets.pop("sizes"), metrics.registry._cards.pop("sizes")
    assert asked == [f"{number:05d}" for number in (0, 1, 2, 3, 4, *range(4, 24))]

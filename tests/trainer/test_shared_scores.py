"""Training and `flowbench score` share the score cache: a picture is scored once, whoever asks."""

from __future__ import annotations

import json

import numpy
import pytest
import tiny_runs

from flowbench import Score, benchmarks, rewards
from flowbench.benchmarks import existing
from flowbench.benchmarks.suites.existing_pictures import PICTURES
from flowbench.rewards import registry
from flowbench.trainer import train


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Turn the cache on; register a reward whose scores are cached; the samples that it was really asked to score."""
    monkeypatch.setenv("FLOWBENCH_SCORE_CACHE", "on")
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "cache"))
    seen = []

    @rewards.register("tests_seen", card=rewards.Card("tests_seen", cached=True))
    def factory():
        def score(samples):
            seen.extend(samples)
            return [Score(float(numpy.asarray(sample.image).mean()) / 255) for sample in samples]

        return score

    yield seen
    del registry._targets["tests_seen"], registry._cards["tests_seen"]


def test_the_same_run_again_and_its_pictures_on_disk_cost_no_scores(pipeline, tmp_path, asked):
    settings = {"reward__name": "tests_seen", "steps": 1}
    first = train(tiny_runs.config(pipeline, tmp_path / "first", **settings))
    pictures = {sample.image.tobytes(): sample for sample in asked}
    assert len(asked) == 16
    asked.clear()
    again = train(tiny_runs.config(pipeline, tmp_path / "again", **settings))
    assert asked == []
    assert tiny_runs.log_without_timing(again) == tiny_runs.log_without_timing(first)
    assert tiny_runs.adapter_bytes(again) == tiny_runs.adapter_bytes(first)

    lines = []
    for number, sample in enumerate(pictures.values()):
        sample.image.save(tmp_path / f"{number}.png")
        row = {**sample.prompt.metadata, "image": f"{number}.png", "prompt": sample.prompt.text}
        lines.append(json.dumps(row))
    (tmp_path / "pictures.jsonl").write_text("\n".join(lines))
    source = benchmarks.ExistingSource(existing.read(tmp_path / "pictures.jsonl"), "x")
    folder = benchmarks.evaluate(source, PICTURES.with_scorers(["tests_seen"]), out=tmp_path)
    assert json.loads((folder / "summary.json").read_text())["metrics"]["tests_seen"]["overall"]["count"] == 16
    assert asked == []
    train(tiny_runs.config(pipeline, tmp_path / "without", reward__cache=False, **settings))
    assert len(asked) == 16

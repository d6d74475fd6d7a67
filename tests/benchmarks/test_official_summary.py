"""Our summary of a GenEval evaluation is the one that GenEval's own rule makes of the same results file."""

from __future__ import annotations

import json
from statistics import fmean

import pytest
from PIL import Image

from flowbench import benchmarks
from flowbench.benchmarks import existing
from flowbench.benchmarks.suites.existing_pictures import PICTURES
from flowbench.evals import load_results
from flowbench.rewards.geneval import Detection, detectors

TAGS = {"single_object": 7, "two_object": 5, "counting": 6}


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    """It sees as many cats as the picture's red level says."""

    def build():
        def cats(image):
            return [Detection("cat", 0.95, (0, 0, 4, 4), color="red")] * image.getpixel((0, 0))[0]

        return lambda images: [cats(image) for image in images]

    monkeypatch.setitem(detectors.registry._targets, "cats", build)
    monkeypatch.setitem(detectors.registry._cards, "cats", detectors.DetectorCard("coco80"))


@pytest.fixture
def scored(tmp_path):
    """Tags of unequal sizes, so that no other mean gives the same number; results.jsonl beside the summary."""
    number = 0
    for tag, prompts in TAGS.items():
        for _ in range(prompts):
            folder = tmp_path / "outputs" / f"{number:05d}"
            (folder / "samples").mkdir(parents=True)
            wanted = {"include": [{"class": "cat", "count": 1 + number % 3}], "tag": tag, "prompt": f"cats, {number}"}
            (folder / "metadata.jsonl").write_text(json.dumps(wanted) + "\n")
            for index in range(4):
                cats = (number * 5 + index * 3) % 4
                Image.new("RGB", (8, 8), (cats, 0, 0)).save(folder / "samples" / f"{index:04d}.png")
            number += 1
    found = existing.read(tmp_path / "outputs")
    suite = PICTURES.with_scorers(["geneval_official"], {"geneval_official": {"detector": "cats"}})
    return benchmarks.evaluate(benchmarks.ExistingSource(found, "x"), suite, out=tmp_path)


def test_the_numbers_are_those_of_the_published_rule(scored):
    """djghosh13/geneval, evaluation/summary_scores.py: the mean of `correct` by tag; overall, the mean of the tags'."""
    lines = [json.loads(line) for line in (scored / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 4 * sum(TAGS.values())
    by_tag = {tag: fmean(line["correct"] for line in lines if line["tag"] == tag) for tag in TAGS}
    assert len(set(by_tag.values())) == 3
    entry = load_results(scored).summary.metrics["official"]
    assert {tag: found.mean for tag, found in entry.tags.items()} == pytest.approx(by_tag, abs=1e-12)
    assert entry.overall.mean == pytest.approx(fmean(by_tag.values()), abs=1e-12)
    assert entry.overall.mean != pytest.approx(fmean(line["correct"] for line in lines), abs=1e-3)

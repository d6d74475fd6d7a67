"""One reward, three users: training, evaluation and `flowbench score` give a picture the same score."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby

import numpy
import pytest
from painter import Painter

from flowbench import benchmarks, rewards, store
from flowbench.benchmarks import existing
from flowbench.benchmarks.suites.existing_pictures import PICTURES
from flowbench.evals import load_results
from flowbench.letters import grammar, world
from flowbench.testing import sample_pictures
from flowbench.trainer.scoring import RewardThread
from flowbench.types import Sample

NAMES = [name for name in rewards.registry.names() if not rewards.plugin_code(name)]
RULES = {"jpeg", "letters", "ocr"}
GENEVAL = {"geneval", "geneval_strict", "geneval_official", "geneval_flowgrpo"}


SIGNS = {"E": ("E", "L"), "TA": ("TA", "TX"), "KEYS": ("KEY", "KEYS")}
"""What prompts of the letters world ask for -> what the signs of two pictures say."""


def pictures(name):
    """The sample pictures, asked for what the tiny detector takes most of them for; of the letters world its signs."""
    if name == "letters":
        rng = numpy.random.default_rng(0)
        return [
            Sample(grammar.prompt(asked), world.render(world.sample_sign(said[turn], rng)), turn)
            for turn in (0, 1)
            for asked, said in SIGNS.items()
        ]
    clauses = {"include": [{"class": "traffic light", "count": 8}]}  # that many on two of the six
    return [
        replace(sample, prompt=replace(sample.prompt, tag="single_object", metadata=clauses))
        for sample in sample_pictures()
    ]


class Show(Painter):
    """A model that hands out the given samples: the k-th call for a prompt gets its k-th picture."""

    vocabulary = "coco80"

    def __init__(self, diary, samples):
        super().__init__(diary)
        self._left = list(samples)

    def generate(self, prompts, seeds, **settings):
        found = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            place = next(i for i, sample in enumerate(self._left) if sample.prompt.id == prompt.id)
            found.append(Sample(prompt, self._left.pop(place).image, seed))
        return found


@pytest.fixture
def evaluated(tmp_path, tiny_weights):
    """Evaluates the sample pictures with a reward: the folder, and {(prompt id, index): record}."""
    path = tmp_path / "prompts.jsonl"

    def evaluate(name):
        samples = pictures(name)
        prompts = list({sample.prompt.id: sample.prompt for sample in samples}.values())
        path.write_text(
            "".join(json.dumps({"id": p.id, "prompt": p.text, "tag": p.tag, **p.metadata}) + "\n" for p in prompts)
        )
        suite = benchmarks.Suite(
            name="all",
            prompt_set=str(path),
            steps=1,
            guidance=1.0,
            images_per_prompt=2,
            scorers=(name,),
        )
        folder = benchmarks.evaluate(Show(tmp_path / "diary", samples), suite, out=tmp_path / "run", batch_size=3)
        return folder, {(each["prompt_id"], each["index"]): each for each in store.read_jsonl(folder / "records.jsonl")}

    return evaluate


@pytest.mark.parametrize("name", NAMES)
def test_training_evaluation_and_scoring_agree(name, evaluated, tmp_path):
    folder, records = evaluated(name)
    assert len(records) == 6 and all(record["value"] is not None for record in records.values())
    assert len({record["value"] for record in records.values()}) > 1
    rows = [{**_clauses(name, each), "image": each["image"], "id": each["prompt_id"], "prompt": each["prompt"]}
            for each in records.values()]  # fmt: skip
    table = folder / "pictures.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = existing.read(table)
    suite, source = PICTURES.with_scorers([name]), benchmarks.ExistingSource(found, "x")
    scored = benchmarks.evaluate(source, suite, out=tmp_path / "scores", batch_size=2)
    in_scoring = {record.key: record.value for record in load_results(scored).records}
    in_training = _as_in_training(name, found)
    exact = name in RULES or name in GENEVAL
    close = {"rel": 1e-5, "abs": 1e-7}  # a cosine near 0 is no more exact than the unit vectors that it comes from
    for key, record in records.items():
        for value in (in_scoring[key], in_training[key]):
            assert value == (record["value"] if exact else pytest.approx(record["value"], **close))


def _clauses(name, record):
    prompt = next(sample.prompt for sample in pictures(name) if sample.prompt.id == record["prompt_id"])
    return {"tag": prompt.tag, **prompt.metadata}


def _as_in_training(name, pictures):
    """Group by group, through the thread that scores beside the sampling."""
    reward = rewards.build(name, vocabulary="coco80")
    found = {}
    with RewardThread(reward) as scorer:
        for _, group in groupby(pictures, key=lambda each: each.prompt.id):
            members = list(group)
            scores = scorer.submit([each.load() for each in members]).result()
            found |= {each.key: score.value for each, score in zip(members, scores, strict=True)}
    return found

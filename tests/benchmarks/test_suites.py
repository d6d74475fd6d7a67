"""Suites, the plan of pictures, and the settings card."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch
from painter import Painter, make_suite

from flowbench import benchmarks, prompts
from flowbench.benchmarks import scorers
from flowbench.benchmarks.card import build_evaluation_card, card_key
from flowbench.benchmarks.plan import image_seed, limited, plan
from flowbench.benchmarks.sources import ModelSource
from flowbench.errors import ConfigError, NameTaken, UnknownName
from flowbench.models.adapter_files import adapter_digest
from flowbench.types import Prompt

NEEDING_A_NETWORK = ("drawbench", "hpdv2", "partiprompts", "pickscore")
BUILT_IN = ("geneval", "geneval_unseen", "ocr", "shapes", "shapes_dev", "shapes_unseen", *NEEDING_A_NETWORK)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_suite_names_prompts_and_scorers_that_exist(name):
    suite = benchmarks.find(name)
    assert suite.name == name
    assert prompts.find(suite.prompt_set)
    for scorer in suite.scorers:
        found = scorers.find(scorer, suite.options.get(scorer))
        assert (found.kind, found.level) == ("reward", "picture")
    assert {suite.scorer_of(metric) for metric in suite.metrics} == set(suite.scorers)
    assert suite.headline in suite.metrics
    assert suite.source or name.startswith("shapes")


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in NEEDING_A_NETWORK])
def test_the_prompts_of_suites_that_need_no_network(name):
    suite = benchmarks.find(name)
    loaded = prompts.load(suite.prompt_set, suite.split)
    assert set(suite.unseen) <= {prompt.tag for prompt in loaded}
    assert all(prompt.tag for prompt in loaded)


def test_shapes_measures_the_published_verdict_and_what_gives_a_hack_away():
    suite = benchmarks.find("shapes")
    assert (suite.headline, suite.also_show, suite.images_per_prompt) == ("official", ("exclusive", "strict"), 4)
    assert suite.options["geneval"]["extra_price"] == 0.0


def test_unseen_tags_are_exactly_those_whose_prompts_stand_in_the_training_split():
    suite = benchmarks.find("shapes")
    trained_on = {prompt.text for prompt in prompts.load("shapes", "train")}
    shared = {prompt.tag for prompt in prompts.load("shapes", "test") if prompt.text in trained_on}
    assert shared == set(suite.unseen)


def test_a_misspelt_suite_is_answered_with_the_close_name():
    with pytest.raises(UnknownName, match="Did you mean 'shapes'"):
        benchmarks.find("shape")


def test_register_refuses_a_second_suite_of_the_same_name():
    first = benchmarks.register("test_register", prompt_set="shapes", steps=4, guidance=1.0)
    assert benchmarks.find("test_register") is first
    benchmarks.register("test_register", prompt_set="shapes", steps=4, guidance=1.0)
    with pytest.raises(NameTaken):
        benchmarks.register("test_register", prompt_set="shapes", steps=5, guidance=1.0)


def test_a_suite_that_shows_what_it_does_not_measure_is_refused():
    with pytest.raises(ConfigError, match="shows 'strict'"):
        benchmarks.Suite("x", "shapes", 4, 1.0, metrics=("official",), headline="official", also_show=("strict",))


def test_protocol_changes_only_what_is_named():
    suite = benchmarks.find("shapes")
    changed = suite.with_protocol(steps=None, guidance=3.0, interval="bca")
    assert changed == dataclasses.replace(suite, guidance=3.0, interval="bca")
    with pytest.raises(ConfigError, match=r"interval is 'bayes'\. Use one of: wilson, percentile, bca, analytic"):
        suite.with_protocol(interval="bayes")
    with pytest.raises(
        ConfigError, match=r"solver is 'hein'\. Did you mean 'heun'\? Use one of: euler, heun, dpmpp_2m\."
    ):
        suite.with_protocol(solver="hein")
    with pytest.raises(ConfigError, match="no setting 'headline'"):
        suite.with_protocol(headline=1)


def test_image_seed_is_the_documented_function():
    expected = int.from_bytes(hashlib.sha256(b"7/shapes/colors-red-ring/2").digest()[:4], "big")
    assert image_seed(7, "shapes", "colors-red-ring", 2) == expected
    assert image_seed(7, "shapes_dev", "colors-red-ring", 2) != expected


def test_a_pictures_seed_does_not_depend_on_what_else_is_evaluated():
    some = [Prompt("a", "A"), Prompt("b", "B")]
    both = plan(some, suite="s", images_per_prompt=2, seed=0)
    alone = plan(some[1:], suite="s", images_per_prompt=4, seed=0)
    assert [item.seed for item in both[2:]] == [item.seed for item in alone[:2]]
    assert len({item.seed for item in both}) == 4


def test_file_names_stay_inside_and_never_meet():
    some = [Prompt("../a/b", "x"), Prompt("a-b", "y"), Prompt("a b", "z")]
    items = plan(some, suite="s", images_per_prompt=1, seed=0)
    names = [item.picture for item in items]
    assert len(set(names)) == 3
    assert not any("/" in name or name.startswith(".") for name in names)


def test_limit_takes_prompts_in_turns_from_the_tags():
    tags = ["a"] * 4 + ["b"] * 2 + ["c"] * 4
    some = [Prompt(f"{tag}{place}", "x", tag) for place, tag in enumerate(tags)]
    assert [prompt.id for prompt in limited(some, 8)] == ["a0", "a1", "a2", "b4", "b5", "c6", "c7", "c8"]
    assert [prompt.id for prompt in limited(some, 2)] == ["a0", "b4"]
    assert limited(some, None) == some == limited(some, 99)
    with pytest.raises(ConfigError, match="--limit 0"):
        limited(some, 0)


def _card(tmp_path, model=None, **changes):
    suite = make_suite(tmp_path).with_protocol(**changes)
    prompt_set = prompts.find(suite.prompt_set)
    chosen = prompts.load(suite.prompt_set, "test")
    source = ModelSource(model or Painter(tmp_path / "d"))
    return build_evaluation_card(source, suite, prompt_set, source.plan(suite, chosen, 0), seed=0)


def test_card_key_follows_what_a_number_depends_on(tmp_path):
    key = card_key(_card(tmp_path))
    assert len(key) == 10
    assert key == card_key(_card(tmp_path))
    noted = _card(tmp_path)
    noted.noted["torch"] = "another"
    assert card_key(noted) == key
    half = _card(tmp_path)
    half.noted["dtype"] = "torch.float16"
    assert card_key(_card(tmp_path, interval="bca")) == key  # the same pictures, other bounds
    trained = Painter(tmp_path / "d", adapter={"a": torch.ones(2)})
    others = [card_key(half), card_key(_card(tmp_path, guidance=2.0)), card_key(_card(tmp_path, trained))]
    assert len({key, *others}) == 4


def test_adapter_digest_sees_values_names_and_shapes():
    digests = [
        adapter_digest({"a": torch.zeros(4)}),
        adapter_digest({"b": torch.zeros(4)}),
        adapter_digest({"a": torch.zeros(2, 2)}),
        adapter_digest({"a": torch.tensor([0.0, 0.0, 0.0, 1e-7])}),
    ]
    assert len(set(digests)) == 4
    assert adapter_digest({"a": torch.zeros(4, requires_grad=True)}) == digests[0]
    assert adapter_digest({}) == "none"

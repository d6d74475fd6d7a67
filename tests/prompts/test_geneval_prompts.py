"""GenEval's prompts: the official file byte for byte, and splits that share nothing with it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from flowbench import prompts
from flowbench.errors import ConfigError
from flowbench.prompts import geneval, geneval_templates, geneval_unseen
from flowbench.prompts.leakage import content, leakage
from flowbench.types import Prompt
from flowbench.vocabularies import COCO80

OFFICIAL = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"
TAGS = {"single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100, "color_attr": 100}
SETS = ("geneval", "geneval_unseen")


def splits(name: str) -> dict[str, list[Prompt]]:
    return {split: prompts.load(name, split) for split in ("train", "dev", "test")}


def tags(of: Sequence[Prompt]) -> Counter[str | None]:
    return Counter(prompt.tag for prompt in of)


def classes(of: Sequence[Prompt]) -> set[str]:
    return {clause["class"] for prompt in of for clause in prompt.metadata["include"]}


def test_the_official_file_byte_for_byte() -> None:
    lines = list(geneval.metadata_lines())
    assert len(lines) == 553
    assert hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest() == OFFICIAL


def test_the_test_split_is_the_official_file_in_its_order() -> None:
    loaded = prompts.load("geneval", "test")
    assert [json.dumps(prompt.metadata) for prompt in loaded] == list(geneval.metadata_lines())
    assert list(tags(loaded).items()) == list(TAGS.items())
    assert prompts.find("geneval").vocabulary == "coco80"


def test_a_numpy_that_draws_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geneval, "_SEED", 44)
    geneval._official_lines.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"numpy .* draws other numbers .* `--prompts FILE`"):
            list(geneval.metadata_lines())
    finally:
        monkeypatch.undo()
        geneval._official_lines.cache_clear()
    assert len(list(geneval.metadata_lines())) == 553


def test_training_has_the_published_proportions() -> None:
    """Position : Counting : Attr : Colors : Two : Single = 7 : 5 : 3 : 1 : 1 : 0."""
    expected = {"position": 7, "counting": 5, "color_attr": 3, "colors": 1, "two_object": 1}
    for name, unit in (("geneval", 2000), ("geneval_unseen", 1000)):
        assert tags(prompts.load(name, "train")) == {tag: unit * weight for tag, weight in expected.items()}


@pytest.mark.parametrize("name", SETS)
def test_the_splits_share_no_text_and_no_picture_asked_for(name: str) -> None:
    loaded = splits(name)
    for one, other in (("train", "test"), ("train", "dev"), ("dev", "test")):
        rows = {(row.tag, row.slot): row for row in leakage(loaded[one], loaded[other])}
        assert {tag for tag, _ in rows} == set(tags(loaded[other]))
        assert all(row.shared == 0 for (_, slot), row in rows.items() if slot in ("text", "content"))


def test_a_mirrored_wording_counts_as_shared() -> None:
    """So that the test above means something: "left of" turned round, and a pair named in the other order."""
    held = {content(prompt.metadata) for prompt in prompts.load("geneval", "test")}
    here = prompts.load("geneval", "test")
    [left] = [prompt for prompt in here if prompt.tag == "position" and " left of " in prompt.text][:1]
    other, one = (clause["class"] for clause in left.metadata["include"])
    assert content(geneval_templates.position(other, one, "right of")) in held
    [pair] = [prompt for prompt in here if prompt.tag == "two_object"][:1]
    one, other = (clause["class"] for clause in pair.metadata["include"])
    assert content(geneval_templates.two_object(other, one)) in held


def test_repeated_lines_are_spread_evenly() -> None:
    """Only where a tag has fewer prompts than lines, and then no prompt more than one time more often than another."""
    train = prompts.load("geneval", "train")
    for tag, lines in tags(train).items():
        times = Counter(prompt.text for prompt in train if prompt.tag == tag)
        assert max(times.values()) - min(times.values()) <= 1
        assert (max(times.values()) > 1) == (tag in ("counting", "colors")), (tag, lines)


def test_ours_is_ours_for_good() -> None:
    """Digests of the draws: a training run can be repeated with another numpy, and after changes here."""
    digests = {
        (name, split): prompts.prompts_digest(each)[:12] for name in SETS for split, each in splits(name).items()
    }
    assert digests == {
        ("geneval", "train"): "22dec8a9bf91",
        ("geneval", "dev"): "20e322b3b998",
        ("geneval", "test"): "d68e39267041",
        ("geneval_unseen", "train"): "03882b781748",
        ("geneval_unseen", "dev"): "f144dcec9e9b",
        ("geneval_unseen", "test"): "840405194dc3",
    }


def test_unseen_objects_are_never_trained_on() -> None:
    loaded = splits("geneval_unseen")
    held_out = set(geneval_unseen.HELD_OUT)
    assert len(held_out) == 20 and held_out < set(COCO80)
    assert classes(loaded["test"]) == held_out
    assert classes(loaded["train"]) == set(COCO80) - held_out
    assert classes(loaded["dev"]) <= set(COCO80) - held_out
    assert set(tags(loaded["test"])) == set(TAGS)
    official = {content(prompt.metadata) for prompt in prompts.load("geneval", "test")}
    assert official.isdisjoint(content(prompt.metadata) for prompt in loaded["train"] + loaded["dev"])


def test_unseen_objects_come_from_every_group_of_coco() -> None:
    """COCO orders its classes by group; person, the first, is one of its own. A quarter of each, rounded."""
    groups = {"person": 1, "vehicle": 8, "outdoor": 5, "animal": 10, "accessory": 5, "sports": 10, "kitchen": 7,
              "food": 10, "furniture": 6, "electronic": 6, "appliance": 5, "indoor": 7}  # fmt: skip
    assert sum(groups.values()) == 80
    start = 0
    for group, size in groups.items():
        names = set(COCO80[start : start + size])
        assert abs(len(names & set(geneval_unseen.HELD_OUT)) - size / 4) < 1, group
        start += size


def pool_metadata(pool: geneval_templates.Pool) -> list[dict[str, Any]]:
    return [pool.make(number) for number in range(pool.size)]


def test_a_pool_holds_every_prompt_once() -> None:
    """Sizes by counting: n; n(n-1); 3n; 10m; 4n(n-1); 90m(m-1), with m = n - 1 classes that are not person."""
    pools = geneval_templates.pools(("person", "cat", "bus", "orange"))
    sizes = {"single_object": 4, "two_object": 12, "counting": 12, "colors": 30, "position": 48, "color_attr": 540}
    for tag, size in sizes.items():
        made = pool_metadata(pools[tag])
        assert len({metadata["prompt"] for metadata in made}) == len(made) == size
        assert {metadata["tag"] for metadata in made} == {tag}
    assert not any("person" in metadata["prompt"] for metadata in pool_metadata(pools["color_attr"]))
    assert "a photo of four buses" in {metadata["prompt"] for metadata in pool_metadata(pools["counting"])}
    assert "a photo of an orange orange" in {metadata["prompt"] for metadata in pool_metadata(pools["colors"])}


def test_every_official_prompt_is_in_the_pools() -> None:
    pools = geneval_templates.pools(COCO80)
    asked = {tag: {json.dumps(pool.make(number)) for number in range(pool.size)}
             for tag, pool in pools.items() if tag != "color_attr"}  # fmt: skip
    for line in geneval.metadata_lines():
        tag = json.loads(line)["tag"]
        assert tag == "color_attr" or line in asked[tag]


def test_listing_prompt_sets_needs_no_numpy() -> None:
    program = (
        "import sys\nfrom flowbench import prompts\n"
        "[prompts.find(name) for name in prompts.prompt_sets.names()]\nprint('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

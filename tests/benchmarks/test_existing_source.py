"""Pictures of a closed model on a suite: which picture answers which prompt, and the prompts that it refused."""

from __future__ import annotations

import json

import pytest
from painter import Painter, make_suite
from PIL import Image

from flowbench import benchmarks, store
from flowbench.benchmarks import ExistingSource, existing
from flowbench.benchmarks.sources import RecordedSource
from flowbench.errors import ConfigError
from flowbench.evals import load_results


def rows(folder, entries):
    """A folder of flat pictures with a table: entries of (prompt, red level)."""
    folder.mkdir()
    lines = []
    for number, (text, red) in enumerate(entries):
        Image.new("RGB", (8, 8), (red, 0, 0)).save(folder / f"{number}.png")
        lines.append({"file_name": f"{number}.png", "prompt": text})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_pictures_answer_the_prompts_of_their_text(tmp_path):
    suite = make_suite(tmp_path, images_per_prompt=2)
    entries = [
        (f"a  {tag} {n}", 200 if n else 20) for n in range(4) for tag in ("counting", "single_object", "two_object")
    ]
    source = rows(tmp_path / "closed", [*entries, *entries])
    folder = benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path)
    results = load_results(folder)
    assert (results.label, results.card.subject["model"]) == ("closed", "pictures")
    assert results.card.must_agree["resolution"] == 8
    assert results.mean("official") == pytest.approx(3 / 4)
    assert {record.parts["official"] for record in results.records if record.prompt_id.endswith("-0")} == {0.0}
    with Image.open(folder / results.records[0].image) as image:
        assert image.getpixel((0, 0)) == (20, 0, 0)


def test_a_prompt_that_was_refused_is_unscored_and_never_a_zero(tmp_path):
    suite = make_suite(tmp_path, images_per_prompt=2)
    entries = [(f"a {tag} {n}", 200) for n in range(4) for tag in ("counting", "single_object", "two_object")] * 2
    source = rows(tmp_path / "closed", entries[:-1])
    (source / "0.png").write_bytes(b"no picture")
    results = load_results(benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path))
    damaged, missing = results.summary.scorers[0].unscored_reasons.items()
    assert ("0.png: not a readable picture" in damaged[0], damaged[1]) == (True, 1)
    assert missing == ("there is no picture of it", 1)
    assert results.mean("official") == 1.0
    lacking = [record.key for record in results.records if not record.is_scored]
    assert sorted(lacking) == [("counting-0", 0), ("two_object-3", 1)]


def test_files_named_after_ids_without_any_text(tmp_path):
    suite = make_suite(tmp_path, images_per_prompt=1, prompts_per_tag=2)
    folder = tmp_path / "named"
    folder.mkdir()
    for tag in ("counting", "single_object", "two_object"):
        for number in range(2):
            Image.new("RGB", (8, 8), (255 * number, 0, 0)).save(folder / f"{tag}-{number}-0.png")
    results = load_results(benchmarks.evaluate(ExistingSource(existing.read(folder), "named"), suite, out=tmp_path))
    assert {record.prompt_id: record.value for record in results.records} == {
        f"{tag}-{number}": float(number) for tag in ("counting", "single_object", "two_object") for number in range(2)
    }


def test_ids_that_end_in_digits(tmp_path):
    """HPDv2 numbers its prompts: anime-00012.png is the prompt anime-00012, and no second picture of "anime"."""
    prompts = tmp_path / "q.jsonl"
    prompts.write_text(
        "".join(json.dumps({"id": f"anime-{n:05d}", "prompt": f"p {n}", "tag": "a"}) + "\n" for n in (1, 12))
    )
    folder = tmp_path / "named"
    folder.mkdir()
    for number in (1, 12):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"anime-{number:05d}.png")
    suite = make_suite(tmp_path, images_per_prompt=1).with_prompts(prompts)
    results = load_results(benchmarks.evaluate(ExistingSource(existing.read(folder), "named"), suite, out=tmp_path))
    assert [record.value for record in results.records] == [1 / 255, 12 / 255]


def test_pictures_with_a_gap_are_scored_again_and_nobody_claims_a_seed(tmp_path):
    source = rows(tmp_path / "closed", [("a counting 0", 1), ("a counting 1", 200)])
    suite = make_suite(tmp_path, images_per_prompt=1)
    folder = benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path)
    results = load_results(folder)
    assert {record.seed for record in results.records} == {None}
    with Image.open(folder / "images" / "counting-0-0.png") as image:
        assert json.loads(image.text["flowbench"])["seed"] is None
    source = RecordedSource(folder)
    assert benchmarks.evaluate(source, suite, **source.settings({})) == folder
    assert load_results(folder).summary == results.summary


def test_other_sizes_are_another_resolution(tmp_path):
    seen = set()
    for number, sizes in enumerate([(8, 16), (8, 32), (8, 8), (16, 16)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for place, size in enumerate(sizes):
            Image.new("RGB", (size, size)).save(folder / f"{place}.png")
        source = ExistingSource(existing.read(folder), "x")
        seen.add(source.card(benchmarks.find("shapes")).must_agree["resolution"])
    assert {8, 16} < seen
    assert len(seen) == 4


def test_the_suites_vocabulary_holds_for_a_file_of_its_prompts(tmp_path):
    """GenEval's prompts from a file, for pictures that know no vocabulary: never the built-in world's detector."""
    suite = benchmarks.find("geneval").with_prompts(tmp_path / "mine.jsonl").with_scorers(["jpeg"])
    (tmp_path / "mine.jsonl").write_text(json.dumps({"prompt": "a cat", "tag": "x"}) + "\n")
    source = rows(tmp_path / "closed", [("a cat", 1)])
    folder = benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path)
    assert store.read_json(folder / "card.json")["noted"]["vocabulary"] == "coco80"
    assert RecordedSource(folder).vocabulary == "coco80"


def test_pictures_of_other_prompts_are_refused(tmp_path):
    source = rows(tmp_path / "closed", [("a boat", 1)])
    with pytest.raises(ConfigError, match="closed: no picture belongs to a prompt of the suite"):
        benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), make_suite(tmp_path), out=tmp_path)


def test_other_pictures_are_another_evaluation(tmp_path):
    suite = make_suite(tmp_path)
    source = rows(tmp_path / "closed", [("a counting 0", 1)])
    first = benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path)
    Image.new("RGB", (8, 8), (9, 9, 9)).save(source / "0.png")
    assert benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path) != first
    assert store.read_json(first / "card.json")["declared"] == {}


def test_the_two_kinds_share_the_ground_of_a_comparison(tmp_path):
    """All that must agree does, when the pictures have the model's size: closed and open models stand in one table."""
    from flowbench.evals.results import check_comparable

    suite = make_suite(tmp_path, images_per_prompt=1)
    entries = [(f"a {tag} {n}", 200) for n in range(4) for tag in ("counting", "single_object", "two_object")]
    source = rows(tmp_path / "closed", entries)
    closed = load_results(benchmarks.evaluate(ExistingSource(existing.read(source), "closed"), suite, out=tmp_path))
    opened = load_results(benchmarks.evaluate(Painter(tmp_path / "diary.jsonl"), suite, out=tmp_path))
    differences = check_comparable(closed, opened, allow_mismatch=True)
    declared = ["guidance", "guidance_kind", "negative_prompt", "sampler", "steps"]
    assert [words.partition(":")[0] for words in differences] == declared

"""Finished evaluations as files: what is damaged, foreign or of another format is refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
import shutil

import pytest
from evaluations import write_evaluation
from several_scorers import change, write_suite

from flowbench import store
from flowbench.errors import ConfigError, RunError
from flowbench.evals import evaluation
from flowbench.evals.evaluation import Record
from flowbench.evals.results import find_one, find_results, load_results
from flowbench.evals.versus import compare_evaluations
from flowbench.reports import tables, write_gallery
from flowbench.types import Prompt, Score


@pytest.fixture
def folder(tmp_path):
    return write_evaluation(tmp_path / "run/eval/painting-1", lambda tag, number, index: number % 2)


def test_what_is_written_is_what_is_read(folder, tmp_path):
    """Every field of every class, NaN and None as they were; a second writing is the same to the byte."""
    results = load_results(folder)
    assert (results.records[0].value, results.records[0].parts) == (0.0, {"official": 0.0})
    copied = tmp_path / "copied"
    evaluation.write_evaluation(copied, results.summary, results.records)
    for name in ("records.jsonl", "summary.json", "card.json"):
        assert (copied / name).read_bytes() == (folder / name).read_bytes()
    assert load_results(copied).records == results.records
    assert math.isnan(results.summary.metrics["official"].tags["counting"].low)  # ten prompts are too few
    assert store.read_sealed(folder / "card.json") == store.read_json(folder / "summary.json")["card"]


def test_a_record_keeps_what_a_score_says_and_nothing_empty():
    prompt = Prompt("p", "a cat", "animals")
    unscored = Record.of(prompt, Score.unscored("no answer"), index=1, seed=None, image="images/p-1.png")
    assert unscored.as_json() == {
        "prompt_id": "p", "index": 1, "seed": None, "tag": "animals", "prompt": "a cat", "image": "images/p-1.png",
        "value": None, "parts": {}, "note": "no answer",
    }  # fmt: skip
    scored = Record.of(prompt, Score(0.5, {"a": math.nan, "b": 1}, "", {"box": [1]}), index=0, seed=3, image="")
    assert (scored.as_json()["parts"], scored.as_json()["details"]) == ({"a": None, "b": 1.0}, {"box": [1]})
    assert scored.measured("value") == 0.5 and math.isnan(scored.measured("a")) and math.isnan(scored.measured("none"))


@pytest.mark.parametrize("method", ["wilson", "percentile", "bca", "analytic"])
def test_every_interval_that_is_written_says_what_it_is(tmp_path, method):
    folder = write_evaluation(tmp_path / "one", lambda *at: at[1] % 3 / 2, method=method)
    summary = store.read_json(folder / "summary.json")
    found = [entry["overall"] for entry in summary["metrics"].values()]
    found += [each for entry in summary["metrics"].values() for each in entry["tags"].values()]
    assert len(found) == 8
    drawn = 2000 if method in ("percentile", "bca") else 0
    assert {(each["method"], each["confidence"], each["draws"]) for each in found} == {(method, 0.95, drawn)}
    assert summary["card"]["noted"]["interval"] == method


FOREIGN = [
    ({}, "'suite' is missing"),
    ([1], "it is no mapping"),
    ({"loss": 3}, "'loss' is none of its fields"),
    ({"card": "a card"}, "'card' is no mapping"),
    ({"images": "60"}, "'images' is '60' where a whole number belongs"),
    ({"images": True}, "'images' is True where a whole number belongs"),
    ({"also_show": "value"}, "'also_show' is 'value' where a list belongs"),
    ({"overall": "prompts"}, "'overall' is 'prompts', none of tags, pictures"),
    ({"headline": None}, "'headline' is None where text belongs"),
    ({"metrics": {"official": {}}}, "'metrics.official.overall' is missing"),
    ({"scorers": [{"name": "x"}]}, r"'scorers\[0\].status' is missing"),
]


@pytest.mark.parametrize(("content", "why"), FOREIGN)
def test_a_summary_of_something_else_is_refused(folder, content, why):
    if isinstance(content, dict) and content and "loss" not in content:
        content = store.read_json(folder / "summary.json") | content
    store.write_json(folder / "summary.json", content)
    for read in (load_results, find_results):
        with pytest.raises(RunError, match=rf"summary\.json is no evaluation's summary: {why}\. Name another folder"):
            read(folder)


@pytest.mark.parametrize("value", ["1e999", '"0.5"', "[]", "1" + 400 * "0"])
def test_a_number_that_is_none_is_refused(folder, value):
    change(folder, lambda summary: summary["metrics"]["official"]["overall"].update(mean=12345.5))
    path = folder / "summary.json"
    path.write_text(path.read_text().replace("12345.5", value))
    with pytest.raises(RunError, match=r"'metrics\.official\.overall\.mean' is .* where a finite number belongs"):
        load_results(folder)


def test_an_edited_mean_is_noticed_by_whoever_reads_it(folder, tmp_path):
    """And by each of the commands that show numbers, since all read by the same function."""
    path = folder / "summary.json"
    tree = store.read_json(path)
    tree["metrics"]["official"]["overall"]["mean"] = 0.99
    store.write_json(path, tree)
    for read in (load_results, find_results, evaluation.read_summary):
        with pytest.raises(RunError, match=r"summary\.json: damaged, or edited by hand \(its content and"):
            read(folder)
    tree.pop("sha256")
    store.write_json(path, tree)
    with pytest.raises(RunError, match=r"summary\.json: damaged, or edited by hand \(its SHA-256 is missing"):
        load_results(folder)
    card = store.read_json(folder / "card.json")
    card["must_agree"]["seed"] = 7
    store.write_json(folder / "card.json", card)
    with pytest.raises(RunError, match=r"card\.json: damaged, or edited by hand"):
        evaluation.read_card(folder)


def test_an_edited_card_is_noticed_by_who_reads_the_numbers(folder):
    card = store.read_json(folder / "card.json")
    card["declared"]["guidance"] = 2.0
    store.write_json(folder / "card.json", card)
    with pytest.raises(RunError, match=r"card\.json: damaged, or edited by hand"):
        load_results(folder)


def test_a_card_that_lacks_what_others_read_is_refused(folder):
    change(folder, lambda summary: summary["card"]["must_agree"].pop("seed"))
    with pytest.raises(RunError, match=r"no settings card of an evaluation: 'must_agree\.seed' is missing"):
        load_results(folder)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("must_agree", "num_prompts", "30"),
        ("must_agree", "num_prompts", 0),
        ("must_agree", "images_per_prompt", -1),
        ("must_agree", "seed", None),
        ("must_agree", "scorers", ["painting"]),
        ("must_agree", "scorers", {"painting": "yes"}),
        ("subject", "adapter", 3),
        ("noted", "interval", True),
    ],
)
def test_a_card_with_another_type_of_value_is_refused(folder, part, name, value):
    change(folder, lambda summary: summary["card"][part].update({name: value}))
    with pytest.raises(RunError, match=rf"no settings card of an evaluation: '{part}\.{name}[.a-z]*' is "):
        load_results(folder)


def test_numbers_of_prompts_that_do_not_agree_are_refused(folder):
    change(folder, lambda summary: summary.update(prompts=0))
    with pytest.raises(RunError, match=r"60 pictures of 0 prompts, records\.jsonl holds 60 of 30"):
        load_results(folder)


def test_another_format_is_refused_by_name(folder):
    """What earlier versions wrote had no number; it is told apart from what is no evaluation at all."""
    change(folder, lambda summary: (summary.pop("format"), summary["card"].pop("format")))
    with pytest.raises(RunError, match=r"was written by an earlier flowbench \(format 1.* Evaluate again, and delete"):
        load_results(folder)
    change(folder, lambda summary: summary.update(format=99))
    with pytest.raises(RunError, match=r"was written by a later flowbench \(format 99"):
        find_one(folder)
    store.write_json(folder / "card.json", {"subject": {}, "must_agree": {}})
    with pytest.raises(RunError, match=r"card\.json was written by an earlier flowbench"):
        evaluation.read_card(folder)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("value", "0.5", "'value' is '0.5' where a finite number belongs"),
        ("index", 0.5, "'index' is 0.5 where a whole number belongs"),
        ("parts", {"official": "yes"}, "'parts.official' is 'yes' where a finite number belongs"),
        ("parts", [1.0], r"'parts' is \[1.0\] where a mapping belongs"),
        ("prompt", None, "'prompt' is None where text belongs"),
        ("colour", "red", "'colour' is none of its fields"),
    ],
)
def test_a_line_that_is_no_record_is_refused(folder, field, value, why):
    path = folder / "records.jsonl"
    trees = [record.as_json() for record in load_results(folder).records]
    trees[2][field] = value
    store.write_text(path, "".join(f"{store.to_json(tree)}\n" for tree in trees))
    with pytest.raises(RunError, match=rf"records\.jsonl, line 3, is no record: {why}"):
        load_results(folder)


def test_records_of_another_time_are_noticed(folder):
    """Killed between the two files, an evaluation has as many records as before, and another summary."""
    records = folder / "records.jsonl"
    records.write_text(records.read_text().replace('"value": 0.5', '"value": 0.25'))
    with pytest.raises(
        RunError, match=r"records\.jsonl is not the one that summary\.json speaks of\. Run .* mends it\."
    ):
        load_results(folder)


def test_one_of_several_has_to_be_named(folder, tmp_path):
    assert find_one(tmp_path / "run").folder == folder
    write_evaluation(tmp_path / "run/eval/painting-2", lambda *at: 1, label="another")
    with pytest.raises(
        ConfigError, match=r"run holds 2 evaluations; name one of them: .*painting-1 \(model\), .*another"
    ):
        find_one(tmp_path / "run")


@pytest.mark.parametrize(
    ("overall", "words"), [("tags", "the unweighted mean of 3 tags"), ("pictures", "the mean over all pictures")]
)
def test_every_table_and_page_says_which_mean_it_shows(folder, overall, words):
    change(folder, lambda summary: summary.update(overall=overall))
    results = load_results(folder)
    other = {"tags": "mean over all", "pictures": "unweighted"}[overall]
    texts = [
        " ".join(tables.summary_table(results).notes),
        " ".join(tables.leaderboard_table(_board(results)).notes),
        " ".join(tables.comparison_table(compare_evaluations(results, results)).notes),
        write_gallery(results).read_text(),
    ]
    assert all(words in text and other not in text for text in texts)


KINDS = {
    "wilson": "95 % interval over prompts (Wilson's score, clustered)",
    "percentile": "95 % interval over prompts (percentile bootstrap of 2,000 draws)",
    "bca": "95 % interval over prompts (BCa bootstrap of 2,000 draws)",
    "analytic": "95 % interval over prompts (Student's t, clustered)",
}


@pytest.mark.parametrize("method", KINDS)
def test_every_table_and_page_says_what_its_brackets_are_in_the_same_words(tmp_path, method):
    from html import unescape

    from flowbench.reports.export import export_model_card
    from flowbench.reports.pages.index import index_page

    results = load_results(write_evaluation(tmp_path / "eval/one", lambda *at: at[1] % 2, method=method))
    texts = [
        " ".join(tables.summary_table(results).notes),
        " ".join(tables.scores_table(results).notes),
        " ".join(tables.leaderboard_table(_board(results)).notes),
        unescape(write_gallery(results).read_text()),
        export_model_card(results, tmp_path / "card.md").read_text(),
        unescape(index_page(tmp_path)),
    ]
    others = [words for name, words in KINDS.items() if name != method]
    assert all(KINDS[method] in text for text in texts)
    assert not any(other in text for text in texts for other in others)
    assert tables.leaderboard_table(_board(results)).data[0]["interval"] == KINDS[method]


def test_rows_of_unlike_intervals_are_named_both(tmp_path):
    from flowbench.evals.leaderboard import build_leaderboard

    both = [
        load_results(write_evaluation(tmp_path / method, lambda *at: at[1] % 2, label=method, method=method))
        for method in ("percentile", "bca")
    ]
    note = tables.leaderboard_table(build_leaderboard(both)).notes[0]
    draws = "bootstrap of 2,000 draws"
    assert note.endswith(f"brackets: 95 % interval over prompts (percentile {draws} or BCa {draws}).")
    assert compare_evaluations(*both).lines[0].paired.method == "percentile"  # they may be compared all the same


def test_an_evaluation_is_found_by_its_card_and_finished_by_its_summary(tmp_path):
    write_suite(tmp_path / "eval/one", {"sharp": lambda number, index: 1.0}, label="one")
    shutil.copytree(tmp_path / "eval/one", tmp_path / "eval/begun")
    (tmp_path / "eval/begun/summary.json").unlink()
    assert [each.label for each in find_results(tmp_path)] == ["one"]


def test_records_and_summaries_are_frozen(folder):
    results = load_results(folder)
    with pytest.raises(dataclasses.FrozenInstanceError):
        results.records[0].value = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        results.summary.label = "another"


def _board(results):
    from flowbench.evals.leaderboard import build_leaderboard

    return build_leaderboard([results])

"""Finished evaluations as files: what does not belong together is refused in one sentence."""

from __future__ import annotations

import pytest
from evaluations import write_evaluation

from flowbench import store
from flowbench.errors import ConfigError, RunError
from flowbench.evals.results import find_one, find_results, load_results
from flowbench.evals.versus import compare_evaluations
from flowbench.reports import tables, write_gallery


@pytest.fixture
def folder(tmp_path):
    return write_evaluation(tmp_path / "run/eval/painting-1", lambda tag, number, index: number % 2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "'suite' is missing"),
        ([1], "no mapping"),
        ({"loss": 3}, "'suite' is missing"),
        ("card", "no mapping"),
        ("must_agree", "'must_agree' is missing"),
    ],
)
def test_a_summary_of_something_else_is_refused(folder, content, why):
    if content == "card":
        content = store.read_json(folder / "summary.json") | {"card": "a card"}
    elif content == "must_agree":
        content = store.read_json(folder / "summary.json") | {"card": {"subject": {}}}
    store.write_json(folder / "summary.json", content)
    for read in (load_results, find_results):
        with pytest.raises(RunError, match=rf"summary\.json is no evaluation's summary: .*{why}"):
            read(folder)


def test_records_of_another_time_are_noticed(folder):
    """Killed between the two files, an evaluation has as many records as before, and another summary."""
    records, summary = folder / "records.jsonl", store.read_json(folder / "summary.json")
    store.write_json(folder / "summary.json", summary | {"records_sha256": store.file_digest(records)})
    assert load_results(folder).records
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
    store.write_json(folder / "summary.json", store.read_json(folder / "summary.json") | {"overall": overall})
    results = load_results(folder)
    other = {"tags": "mean over all", "pictures": "unweighted"}[overall]
    texts = [
        " ".join(tables.summary_table(results).notes),
        " ".join(tables.leaderboard_table(_board(results)).notes),
        " ".join(tables.comparison_table(compare_evaluations(results, results)).notes),
        write_gallery(results).read_text(),
    ]
    assert all(words in text and other not in text for text in texts)


def _board(results):
    from flowbench.evals.leaderboard import build_leaderboard

    return build_leaderboard([results])

"""Which evaluations share a leaderboard, and as what: given pictures, unlike settings, training that others printed."""

from __future__ import annotations

import json

import pytest
from evaluations import write_evaluation
from several_scorers import write_suite

from flowbench import store
from flowbench.evals import leaderboard, published
from flowbench.evals.results import load_results
from flowbench.reports import tables
from flowbench.reports.tables.leaderboards import leaderboard_table


def _half(tag, number, index):
    return number % 2


def _given(folder, **changes):
    """An evaluation of pictures that somebody else has made: nothing is declared."""
    write_evaluation(folder, lambda *at: 1, label="closed", model="pictures", **changes)
    summary = store.read_sealed(folder / "summary.json")
    summary["card"]["declared"] = {}
    store.write_sealed(folder / "summary.json", summary)
    return folder


def test_given_pictures_are_no_base_and_no_baseline(tmp_path):
    base = write_evaluation(tmp_path / "base", _half, label="base")
    closed = _given(tmp_path / "closed")
    (board,) = leaderboard.find_leaderboards([closed, base])
    assert [(row.results.label, row.is_base) for row in board.rows] == [("base", True), ("closed", False)]
    assert board.baseline.label == "base"
    assert board.rows[1].gain.difference == pytest.approx(0.5)
    shown = dict(zip(*(tables.leaderboard_table(board).header, tables.leaderboard_table(board).rows[1]), strict=True))
    assert shown["gain"].endswith("†") and shown["guidance"] == "–"
    (alone,) = leaderboard.find_leaderboards([closed])
    assert alone.baseline is None and not alone.rows[0].is_base


def test_given_pictures_are_base_rows_when_named(tmp_path):
    trained = write_evaluation(tmp_path / "trained", _half, label="trained", adapter="f00")
    (board,) = leaderboard.find_leaderboards([trained], [_given(tmp_path / "closed")])
    assert board.baseline.label == "closed"


def test_tables_of_unlike_settings_name_the_fields(tmp_path):
    for seed in (0, 1):
        write_evaluation(tmp_path / f"run/eval/seed-{seed}", _half, label=f"seed {seed}", adapter="f00", seed=seed)
    boards = leaderboard.find_leaderboards([tmp_path / "run"])
    assert [leaderboard_table(board).notes[-1] for board in boards] == [
        "Not comparable with the other table of painting: seed: 0 and 1.",
        "Not comparable with the other table of painting: seed: 1 and 0.",
    ]
    assert json.loads(store.to_json(leaderboard.to_json(boards[0])))["apart"] == list(boards[0].apart)
    (alone,) = leaderboard.find_leaderboards([tmp_path / "run/eval/seed-0"])
    assert alone.apart == ()


def test_of_three_tables_each_names_the_two_others(tmp_path):
    for label, settings in (("first", {}), ("second", {"seed": 1}), ("third", {"seed": 2, "prompts": "xyz"})):
        write_evaluation(tmp_path / "run/eval" / label, _half, label=label, adapter="f00", **settings)
    boards = leaderboard.find_leaderboards([tmp_path / "run"])
    first = next(board for board in boards if board.rows[0].results.label == "first")
    assert sorted(first.apart) == [
        "Not comparable with the table of 'second': seed: 0 and 1.",
        "Not comparable with the table of 'third': prompts: abc and xyz; seed: 0 and 2.",
    ]


def test_a_table_of_another_scorer_says_so(tmp_path):
    scores = {"sharp": lambda number, index: number % 7}
    one = write_suite(tmp_path / "one", scores, label="one")
    two = write_suite(tmp_path / "two", scores, label="two", weights={"sharp": "new"})
    boards = leaderboard.find_leaderboards([one, two])
    assert boards[0].apart == (
        "Not comparable with the other table of several: who scored sharp (weights: ['old'] and ['new']).",
    )


def test_an_adapter_from_the_hub_was_trained_on_what_the_table_says(tmp_path):
    hub = "jieliu/SD3.5M-FlowGRPO-GenEval"
    folder = write_evaluation(tmp_path / "hub", lambda *at: 1, label="from the hub", adapter="f00", suite="geneval")
    summary = store.read_sealed(folder / "summary.json")
    summary["card"]["subject"]["adapter_source"] = hub
    summary["metrics"]["official"] |= {"scorer": "geneval", "unit": "", "direction": "higher", "level": "picture"}
    store.write_sealed(folder / "summary.json", summary)
    other = write_evaluation(tmp_path / "other", _half, label="own", adapter="f01", suite="geneval")
    table = published.load("geneval")
    (board,) = leaderboard.find_leaderboards([folder, other], published=[table])
    assert {row.results.label: row.trained_on for row in board.rows} == {"from the hub": ("geneval",), "own": ()}
    shown = leaderboard_table(board)
    column = shown.header.index("official ↑")
    assert shown.rows[0][column].endswith("‡") and not shown.rows[1][column].endswith("‡")
    assert leaderboard.build_leaderboard([load_results(folder)]).rows[0].trained_on == ()


def test_guidance_of_another_kind_is_a_models_own_choice(tmp_path):
    """As its weight is: models of two families stand in one table without leave, and the gain is marked."""
    folders = []
    for label, kind in (("base", "cfg"), ("other", "embedded")):
        folders.append(write_evaluation(tmp_path / label, _half, label=label, adapter="" if kind == "cfg" else "f00"))
        summary = store.read_sealed(folders[-1] / "summary.json")
        summary["card"]["declared"]["guidance_kind"] = kind
        store.write_sealed(folders[-1] / "summary.json", summary)
    (board,) = leaderboard.find_leaderboards(folders, allow_mismatch=False)
    assert [row.differs for row in board.rows] == [(), ("guidance_kind: embedded and cfg",)]


def _sampled(folder, sampler, calls=None):
    """An evaluation of a trained model whose card names its sampler."""
    write_evaluation(folder, lambda *at: 1, label=folder.name, adapter=folder.name)
    summary = store.read_sealed(folder / "summary.json")
    summary["card"]["declared"]["sampler"] = sampler
    summary["card"]["noted"] |= {} if calls is None else {"model_calls_per_picture": calls}
    store.write_sealed(folder / "summary.json", summary)
    return folder


def test_a_solver_other_than_eulers_has_a_column_with_its_model_calls(tmp_path):
    base = write_evaluation(tmp_path / "base", _half, label="base")
    cards = {"a": ("ode heun", 39), "b": ("ode dpmpp_2m",), "c": ("of a friend", 8), "d": ("ode euler", 20)}
    (board,) = leaderboard.find_leaderboards(
        [base, *(_sampled(tmp_path / name, *card) for name, card in cards.items())]
    )
    table = leaderboard_table(board)
    assert table.header[:5] == ("model", "guidance", "steps", "solver", "origin")
    assert {row[0]: row[3] for row in table.rows} == {
        "base (baseline)": "–", "a": "heun, 39 calls", "b": "dpmpp_2m", "c": "–", "d": "euler, 20 calls"
    }  # fmt: skip
    assert "solver: how the steps were taken, and how often the model was called for one picture." in table.notes
    calls = {"base": None, "a": 39, "b": None, "c": 8, "d": 20}
    assert {line["model"]: line["model_calls_per_picture"] for line in table.data} == calls
    rows = leaderboard.to_json(board)["rows"]
    assert {row["label"]: row["model_calls_per_picture"] for row in rows} == calls


def test_of_euler_alone_the_steps_say_all(tmp_path):
    (board,) = leaderboard.find_leaderboards([_sampled(tmp_path / name, "ode euler", 20) for name in "ab"])
    table = leaderboard_table(board)
    assert table.header[:4] == ("model", "guidance", "steps", "origin")
    assert not any(note.startswith("solver") for note in table.notes)

"""What others printed: consistent data, kept apart from what is measured."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
import yaml
from evaluations import write_evaluation
from several_scorers import change, write_suite

from flowbench.errors import ConfigError, MissingFile, UnknownName
from flowbench.evals import leaderboard, published
from flowbench.evals.results import load_results
from flowbench.reports.tables import formats
from flowbench.reports.tables.leaderboards import leaderboard_table

TAGS = {"single_object", "two_object", "counting", "colors", "position", "color_attr"}


def _rows(name: str):
    return [pytest.param(row, id=f"{place} {row.model}") for place, row in enumerate(published.load(name).rows)]


def test_the_shipped_tables_are_found():
    assert published.names() == ["drawbench", "geneval"]
    assert len(published.load("geneval").rows) >= 40
    assert len(published.load("drawbench").rows) == 8


@pytest.mark.parametrize("row", _rows("geneval"))
def test_a_geneval_row_agrees_with_itself(row):
    """Overall is the mean of the six tags. Two decimals each leave .01; what does not round to it says so."""
    assert all(0 <= value <= 1 for value in (*row.values.values(), *row.tags.values()))
    assert set(row.tags) <= TAGS
    if set(row.tags) != TAGS:
        return
    mean = sum(row.tags.values()) / 6
    assert abs(mean - row.values["official"]) <= 0.01 + 1e-9
    claimed = re.search(r"six printed tags average \.(\d{3})", row.note)
    if claimed:
        assert round(mean, 3) == pytest.approx(int(claimed[1]) / 1000)
    assert bool(claimed) == (abs(mean - row.values["official"]) > 0.005 + 1e-9)


def test_the_rows_whose_tags_do_not_average_to_their_overall_are_these():
    marked = [row.model for row in published.load("geneval").rows if "six printed tags average" in row.note]
    assert marked == ["SDXL", "SD3.5-M", "Qwen-Image-RL"]
    complete = [row for row in published.load("geneval").rows if set(row.tags) == TAGS]
    assert len(complete) >= 15


def test_the_two_mislabelled_rows_stand_under_their_own_names():
    rows = {row.mislabelled_as: row for row in published.load("geneval").rows if row.mislabelled_as}
    assert {name: (row.model, row.values["official"], row.resolution) for name, row in rows.items()} == {
        "SD3.5-L": ("SD3 8B (d38) + DPO, 512 px", 0.71, 512),
        "SD3 medium": ("SD3 8B (d38) + DPO, 1024 px", 0.74, 1024),
    }


@pytest.mark.parametrize("row", [*_rows("geneval"), *_rows("drawbench")])
def test_every_row_says_where_it_comes_from(row):
    assert row.source and row.measured_by in published.MEASURED_BY
    assert row.origin in ("copied", "re-measured")
    assert (row.origin == "re-measured") == (row.measured_by == "re-measured")
    assert row.values or row.tags


def test_units_are_those_of_our_scorers():
    """A published PickScore may share a column with ours only because both are in the same unit."""
    from flowbench.rewards import registry

    checked = 0
    for name in published.names():
        for metric in published.load(name).metrics.values():
            if metric.unit and metric.scorer in registry.names():
                assert metric.unit == registry.card(metric.scorer).unit
                checked += 1
    assert checked >= 3


def test_flow_grpos_drawbench_row_stands_as_printed():
    rows = {row.model: row for row in published.load("drawbench").rows}
    best = rows["SD3.5-M + Flow-GRPO on GenEval, KL"]
    assert best.values == {
        "aesthetic": 5.25,
        "deqa": 4.01,
        "imagereward": 1.03,
        "pickscore": 22.37,
        "unifiedreward": 3.51,
    }
    assert best.trained_on == ("geneval",)


@pytest.fixture
def board(tmp_path):
    """Measured rows of a suite called geneval, of three tags, with what others printed below."""
    base = write_evaluation(tmp_path / "base", lambda tag, number, index: int(number % 4 == 0), suite="geneval")
    mine = write_evaluation(tmp_path / "mine", lambda *at: 1, suite="geneval", label="mine", adapter="f00")
    (board,) = leaderboard.find_leaderboards([base, mine], published=[published.load("geneval")])
    return board


def test_one_suite_and_the_printed_numbers_of_another_are_refused(tmp_path):
    mine = write_evaluation(tmp_path / "mine", lambda *at: 1, suite="shapes")
    printed = [published.load("geneval")]
    with pytest.raises(ConfigError, match=r"--published is of geneval, --suite shapes keeps none of it\."):
        leaderboard.find_leaderboards([mine], suite="shapes", published=printed)
    both = leaderboard.find_leaderboards([mine], published=printed)
    assert [board.suite for board in both] == ["shapes", "geneval"]


def test_published_rows_take_no_part_in_ranks_and_gains(board):
    assert len(board.rows) == 2 and len(board.published.rows) >= 40
    alone = leaderboard.build_leaderboard([board.rows[1].results], [board.rows[0].results])
    assert [(row.ranks, row.gain) for row in board.rows] == [(row.ranks, row.gain) for row in alone.rows]
    table = leaderboard_table(board)
    copied = range(2, len(table.rows))
    assert table.copied == set(copied)
    assert not {place for place in table.bold if place[0] in table.copied}
    for place in copied:
        row = dict(zip(table.header, table.rows[place], strict=True))
        assert row["rank"] == row["gain"] == row["p"] == row["guidance"] == "–"
        assert "[" not in row["official ↑"] and row["origin"].startswith(("copied [", "re-measured ["))


def test_published_rows_keep_their_digits_and_their_order(board):
    table = leaderboard_table(board)
    official = table.header.index("official ↑")
    shown = {row[0]: row[official] for row in table.rows[2:]}
    assert (shown["SD 2.1"], shown["Flow-CPS"]) == ("0.50", "0.972")
    means = [row.values.get("official", -math.inf) for row in board.published.rows]
    assert means == sorted(means, reverse=True)
    trained = next(row for row in table.rows if row[0] == "SD3.5-M + Flow-GRPO")
    assert trained[official] == "0.95‡"  # by its own account trained on what is measured


def test_another_protocol_is_pointed_out(board):
    notes = " ".join(leaderboard_table(board).notes)
    assert "The protocol of the printed rows is 553 prompts x 4 pictures: the measured rows are not that" in notes
    assert "SD3 8B (d38) + DPO, 512 px [" in notes and "often mislabelled 'SD3.5-L'" in notes
    assert "GenEval README: measured by the source." in notes


def test_csv_and_json_carry_the_provenance(board):
    lines = list(csv.DictReader(io.StringIO(formats.to_csv(leaderboard_table(board)))))
    assert [line["origin"] for line in lines[:2]] == ["measured", "measured"]
    again = next(line for line in lines if line["model"] == "Z-Image" and line["origin"] == "re-measured")
    assert (again["official"], again["official low"], again["measured by"]) == ("0.74342", "", "re-measured")
    data = leaderboard.to_json(board)
    assert {row["origin"] for row in data["published"]} == {"copied", "re-measured"}
    assert all(row["source"] for row in data["published"])


def test_without_measured_rows_a_table_stands_alone():
    boards = leaderboard.find_leaderboards([], published=[published.load("geneval"), published.load("drawbench")])
    assert [board.suite for board in boards] == ["geneval", "drawbench"]
    table = leaderboard_table(boards[1])
    assert table.header[:2] == ("model", "origin")
    assert table.header[2] == "imagereward ↑ (standard deviations)"  # the headline first
    row = dict(zip(table.header, next(row for row in table.rows if row[0].endswith("GenEval, KL")), strict=True))
    assert (row["imagereward ↑ (standard deviations)"], row["pickscore ↑ (logit scale x cosine)"]) == ("1.03", "22.37")
    assert len(table.rows) == 8


def test_weights_that_others_have_published_numbers_for_are_re_measured(tmp_path):
    def written(label, **subject):
        folder = write_evaluation(tmp_path / label, lambda *at: 1, suite="geneval", label=label)
        change(folder, lambda summary: summary["card"]["subject"].update(subject))
        return load_results(folder)

    known = written("known", source="stabilityai/stable-diffusion-3.5-medium")
    own = written("own", source="me/mine")
    (board,) = leaderboard.find_leaderboards([known.folder, own.folder], published=[published.load("geneval")])
    assert {row.results.label: row.origin for row in board.rows} == {"known": "re-measured", "own": "measured"}


def _written(tmp_path, **changes):
    table = {
        "suite": "several", "title": "mine", "headline": "sharp", "prompts": 25, "images_per_prompt": 2,
        "metrics": {"sharp": {"scorer": "sharp", "unit": "unit of sharp", "direction": "higher"}},
        "rows": [{"model": "<b>theirs</b>", "values": {"sharp": 2.5}, "source": "a paper", "measured_by": "self"}],
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (table | changes).items() if value is not None}))
    return path


def test_a_table_of_ones_own_joins_its_suite_and_units_never_mix(tmp_path):
    run = write_suite(tmp_path / "run", {"sharp": lambda number, index: number % 7})
    same = published.load(_written(tmp_path))
    (board,) = leaderboard.find_leaderboards([run], published=[same])
    table = leaderboard_table(board)
    assert table.rows[-1][table.header.index("sharp ↑ (unit of sharp)")] == "2.50"
    metrics = {"sharp": {"scorer": "sharp", "unit": "parsecs", "direction": "higher"}}
    (board,) = leaderboard.find_leaderboards([run], published=[published.load(_written(tmp_path, metrics=metrics))])
    table = leaderboard_table(board)
    assert table.rows[-1][table.header.index("sharp ↑ (unit of sharp)")] == "–"
    assert table.rows[-1][table.header.index("sharp ↑ (parsecs)")] == "2.50"
    assert table.rows[0][table.header.index("sharp ↑ (parsecs)")] == "–"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "'surprise' is none of its fields"),
        ({"headline": None}, "'headline' is missing"),
        ({"headline": "blunt"}, "the headline 'blunt' is none of the metrics sharp"),
        (
            {"rows": [{"model": "x", "source": "y", "measured_by": "hearsay"}]},
            "'rows[0].measured_by' is 'hearsay', none of self, re-measured, copied, unknown",
        ),
        ({"rows": [{"model": "x", "source": "y", "measured_by": "self", "values": {"loud": 1}}]}, "x has 'loud'"),
        (
            {"rows": [{"model": "x", "source": "y", "measured_by": "self", "values": {"sharp": "high"}}]},
            "'rows[0].values.sharp' is 'high' where a finite number belongs",
        ),
        (
            {"rows": [{"model": "x", "source": "y", "measured_by": "self", "values": {"sharp": math.nan}}]},
            "'rows[0].values.sharp' is nan where a finite number belongs",
        ),
        (
            {"rows": [{"model": "x", "source": "y", "measured_by": "self", "values": {"sharp": None}}]},
            "x: sharp is empty; give a number, or leave it out",
        ),
        ({"rows": ["x"]}, "'rows[0]' is no mapping"),
        (
            {"metrics": {"sharp": {"scorer": "", "unit": "", "direction": "up"}}},
            "'metrics.sharp.direction' is 'up', none of higher, lower, none",
        ),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        published.load(_written(tmp_path, **changes))


def test_unknown_tables_and_files():
    with pytest.raises(UnknownName, match=r"no published table 'genevall'\. Did you mean 'geneval'\?"):
        published.load("genevall")
    with pytest.raises(MissingFile):
        published.load("nowhere.yaml")

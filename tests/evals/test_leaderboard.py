"""Results, comparisons, the leaderboard and its tables."""

from __future__ import annotations

import csv
import io
import json

import pytest
from evaluations import TAGS, write_evaluation

from flowbench import store
from flowbench.errors import CardMismatch, ConfigError, MissingFile, RunError
from flowbench.evals import leaderboard, tables
from flowbench.evals.compare import paired_test
from flowbench.evals.results import check_comparable, compare_all, compare_results, find_results, load_results


def _weak(tag, number, index):
    return int(number % 4 == 0)


def _strong(tag, number, index):
    return int(number % 4 == 0 or tag == "counting" or index == 1)


@pytest.fixture
def weak(tmp_path):
    return load_results(write_evaluation(tmp_path / "run/eval/painting-weak", _weak, label="base"))


@pytest.fixture
def strong(tmp_path):
    folder = tmp_path / "run/eval/painting-strong"
    return load_results(write_evaluation(folder, _strong, label="trained", adapter="f00"))


def test_comparison_by_hand(weak, strong):
    """Of 10 prompts, 0, 4 and 8 are right in `weak`. `strong` adds picture 1 of the other 7, and all of counting."""
    counting = compare_results(strong, weak, tag="counting")
    single = compare_results(strong, weak, tag="single_object")
    assert counting.difference == pytest.approx(0.7)
    assert single.difference == pytest.approx(0.35)
    overall = compare_results(strong, weak)
    assert overall.difference == pytest.approx((0.7 + 0.35 + 0.35) / 3)
    assert overall.low <= overall.difference <= overall.high
    # All 21 prompts that differ go one way: no flip of signs but the two extreme ones reaches that (2 in 2**21).
    assert overall.p == pytest.approx(1 / 2001)
    assert compare_results(weak, strong).difference == pytest.approx(-overall.difference)


def test_comparison_pairs_by_prompt_and_index_not_by_place(weak, strong):
    path = strong.folder / "records.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    shuffled = load_results(strong.folder)
    assert shuffled.records[0] != strong.records[0]
    assert compare_results(shuffled, weak).difference == pytest.approx(compare_results(strong, weak).difference)
    assert compare_results(shuffled, weak).p == compare_results(strong, weak).p


def test_compare_all_has_a_line_per_metric_and_tag(weak, strong):
    lines = compare_all(strong, weak)
    assert [(line.metric, line.tag) for line in lines] == [(m, t) for m in ("official", "value") for t in (None, *TAGS)]
    assert lines[0].candidate - lines[0].baseline == pytest.approx(lines[0].paired.difference)
    assert lines[4].paired.difference == pytest.approx(lines[0].paired.difference / 2)


def test_unscored_pictures_leave_the_pair(tmp_path, weak):
    def partly(tag, number, index):
        return None if (tag, number) == ("counting", 1) else _strong(tag, number, index)

    results = load_results(write_evaluation(tmp_path / "partly", partly, adapter="f00"))
    paired = compare_results(results, weak, tag="counting")
    assert paired.unscored == 2
    assert paired.difference == pytest.approx(6 / 9)
    assert "2 of 60 pictures unscored (no answer)" in " ".join(tables.summary_table(results).notes)


@pytest.mark.parametrize("field", ["suite", "prompts", "images_per_prompt", "seed"])
def test_settings_that_must_agree_forbid_a_comparison(tmp_path, weak, field):
    other = load_results(write_evaluation(tmp_path / "other", _strong, **{field: "another"}))
    for call in (compare_results, check_comparable):
        with pytest.raises(CardMismatch, match=f"differ in {field}: another and"):
            call(other, weak, allow_mismatch=True)
    with pytest.raises(CardMismatch, match=field):
        leaderboard.build_leaderboard([other], [weak])


def test_declared_settings_need_leave_and_are_named(tmp_path, weak):
    guided = load_results(write_evaluation(tmp_path / "guided", _strong, guidance=3.0))
    with pytest.raises(CardMismatch, match=r"guidance: 3\.0 and 1\.0.*--allow-mismatch"):
        compare_results(guided, weak)
    assert check_comparable(guided, weak, allow_mismatch=True) == ["guidance: 3.0 and 1.0"]
    assert compare_results(guided, weak, allow_mismatch=True).difference > 0


def test_find_results_takes_a_run_or_an_evaluation(tmp_path, weak, strong):
    assert [each.label for each in find_results(tmp_path / "run")] == ["base", "trained"]
    assert [each.label for each in find_results(strong.folder, "painting")] == ["trained"]
    with pytest.raises(MissingFile, match="no finished evaluation of suite 'shapes'"):
        find_results(tmp_path / "run", "shapes")
    with pytest.raises(MissingFile, match="flowbench eval"):
        load_results(tmp_path)


def test_records_that_went_missing_are_noticed(weak):
    path = weak.folder / "records.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:-1]))
    with pytest.raises(RunError, match=r"60 pictures, records\.jsonl holds 59"):
        load_results(weak.folder)


@pytest.fixture
def board(tmp_path, weak, strong):
    """The base twice (the guided one is better), a trained model that beats both, and one that does not."""
    guided = load_results(
        write_evaluation(tmp_path / "guided", lambda *at: int(at[1] % 2 == 0), label="base, guided", guidance=3.0)
    )
    failed = load_results(write_evaluation(tmp_path / "failed", lambda *at: 0, label="failed", adapter="bad"))
    return leaderboard.build_leaderboard([failed, strong, guided], [weak, guided])


def test_gain_is_measured_against_the_better_base(board):
    assert [row.results.label for row in board.rows] == ["base", "base, guided", "trained", "failed"]
    assert board.baseline.label == "base, guided"
    assert [row.gain is None for row in board.rows] == [True, True, False, False]
    trained = board.rows[2]
    # strong: counting 1, the others .3 + .7 / 2 = .65; guided: .5 everywhere
    assert trained.gain.difference == pytest.approx((1 + 0.65 + 0.65) / 3 - 0.5)
    assert trained.differs == ("guidance: 1.0 and 3.0",)
    values = {key: [] for key in ("a", "b", "ids", "tags")}
    for tag in TAGS:
        for number in range(10):
            for index in range(2):
                values["a"].append(_strong(tag, number, index))
                values["b"].append(number % 2 == 0)
                values["ids"].append(f"{tag}-{number}")
                values["tags"].append(tag)
    direct = paired_test(values["a"], values["b"], values["ids"], values["tags"])
    assert trained.gain.p == pytest.approx(direct.p)
    assert (trained.gain.low, trained.gain.high) == pytest.approx((direct.low, direct.high))


def test_an_empty_leaderboard_and_one_without_base():
    with pytest.raises(ConfigError, match="no evaluation to rank"):
        leaderboard.build_leaderboard([])


def test_without_base_rows_there_is_no_gain_column(strong, weak):
    board = leaderboard.build_leaderboard([weak, strong])
    assert [row.results.label for row in board.rows] == ["trained", "base"]
    assert "gain" not in tables.leaderboard_table(board).header


def test_table_shows_the_numbers_and_their_footnotes(board):
    table = tables.leaderboard_table(board)
    assert table.header == (
        *("model", "guidance", "steps", "official ↑", "gain", "p", "value"),
        *("single_object*", "two_object", "counting"),
    )
    trained = dict(zip(table.header, table.rows[2], strict=True))
    assert trained["official ↑"].startswith("0.767 [0.")
    assert trained["gain"].startswith("+0.267 [+0.")
    assert trained["gain"].endswith("]†")
    assert (trained["counting"], trained["value"], trained["guidance"]) == ("1.000", "0.383", "1")
    assert table.rows[1][0] == "base, guided (baseline)"
    assert table.rows[0][4:6] == ("–", "–")
    notes = " ".join(table.notes)
    assert "30 prompts x 2 pictures" in notes
    assert "* the training split holds the same prompts: evaluated on unseen seeds" in notes
    assert "† trained, settings other than the baseline's: guidance: 1.0 and 3.0" in notes


def test_markdown_has_one_cell_per_column_whatever_the_label(tmp_path):
    results = load_results(write_evaluation(tmp_path / "x", _weak, label="a|b *c*"))
    text = tables.to_markdown(tables.leaderboard_table(leaderboard.build_leaderboard([results])))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(lines[0].split("|")) - 1}
    assert "a\\|b \\*c\\*" in text


def test_csv_and_json_hold_the_same_rows(board):
    table = tables.leaderboard_table(board)
    assert [tuple(row) for row in csv.reader(io.StringIO(tables.to_csv(table)))] == [table.header, *table.rows]
    data = json.loads(store.to_json(leaderboard.to_json(board)))
    assert data["baseline"] == "base, guided"
    assert data["unseen_seeds_only"] == ["single_object"]
    assert [row["label"] for row in data["rows"]] == [row.results.label for row in board.rows]
    assert data["rows"][2]["gain"]["difference"] == pytest.approx(board.rows[2].gain.difference)
    assert data["rows"][2]["metrics"]["official"]["tags"]["counting"]["mean"] == 1.0


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_terminal_loses_no_number_at_any_width(board, weak, strong, width):
    from rich.console import Console

    for table in (
        tables.leaderboard_table(board),
        tables.comparison_table(strong, weak, compare_all(strong, weak)),
        tables.summary_table(strong),
    ):
        console = Console(width=width, file=io.StringIO())
        console.print(tables.to_rich(table, width))
        shown = console.file.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        assert "…" not in shown
        for row in table.rows:
            assert all(cell in shown for cell in row[1:])


def test_numbers_as_text():
    assert tables.number(float("nan")) == tables.number(None) == "–"
    assert tables.bounded({"mean": 0.5, "low": None, "high": None}) == "0.500"
    assert tables.p_value(1 / 2001) == "0.0005"
    assert tables.p_value(0.0321) == "0.032"


def test_evaluations_that_may_not_be_compared_get_a_board_each(tmp_path, weak, strong):
    """A hasty look at a part of the prompts, left in the run's folder, does not stand in the way of the whole one."""
    write_evaluation(tmp_path / "run/eval/painting-hasty", _strong, label="hasty", adapter="f00", prompts_per_tag=3)
    boards = leaderboard.find_leaderboards([tmp_path / "run"])
    assert [[row.results.label for row in board.rows] for board in boards] == [["base", "trained"], ["hasty"]]
    assert boards[0].rows[1].gain.difference == pytest.approx((0.7 + 0.35 + 0.35) / 3)
    assert boards[1].baseline is None
    with pytest.raises(ConfigError, match="no evaluation of suite 'shapes'"):
        leaderboard.find_leaderboards([tmp_path / "run"], suite="shapes")


def test_named_bases_are_the_base_rows_and_no_others(tmp_path, weak, strong):
    other = write_evaluation(tmp_path / "other", lambda *at: 0, label="another base")
    (board,) = leaderboard.find_leaderboards([tmp_path / "run"], [other])
    assert [(row.results.label, row.is_base) for row in board.rows] == [
        ("another base", True), ("trained", False), ("base", False),
    ]  # fmt: skip


def test_base_rows_with_which_nothing_may_be_compared_are_refused(tmp_path, strong):
    base = write_evaluation(tmp_path / "hasty", _weak, label="hasty base", prompts_per_tag=3)
    with pytest.raises(CardMismatch, match="'trained' and 'hasty base' cannot be compared: they differ in num_prompts"):
        leaderboard.find_leaderboards([strong.folder], [base])

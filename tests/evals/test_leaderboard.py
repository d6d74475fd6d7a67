"""Results, comparisons, the leaderboard and its tables."""

from __future__ import annotations

import csv
import io
import json

import pytest
from evaluations import TAGS, write_evaluation
from several_scorers import change, describe, write_suite

from flowbench import store
from flowbench.errors import CardMismatch, ConfigError, MissingFile, RunError
from flowbench.evals import evaluation, leaderboard
from flowbench.evals.provenance import in_domain, training_of
from flowbench.evals.results import check_comparable, find_results, load_results
from flowbench.evals.versus import compare_evaluations, compare_results
from flowbench.reports import tables
from flowbench.stats.intervals import Interval
from flowbench.stats.paired import paired_test


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
    evaluation.write_evaluation(strong.folder, strong.summary, strong.records[::-1])
    shuffled = load_results(strong.folder)
    assert shuffled.records[0] != strong.records[0]
    assert compare_results(shuffled, weak).difference == pytest.approx(compare_results(strong, weak).difference)
    assert compare_results(shuffled, weak).p == compare_results(strong, weak).p


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
    another = 7 if field in ("images_per_prompt", "seed") else "another"
    other = load_results(write_evaluation(tmp_path / "other", _strong, **{field: another}))
    for call in (compare_results, check_comparable):
        with pytest.raises(CardMismatch, match=f"differ in {field}: {another} and"):
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
    with pytest.raises(RunError, match=r"60 pictures of 30 prompts, records\.jsonl holds 59"):
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
        *("model", "guidance", "steps", "origin", "rank", "official ↑", "gain", "p", "p Holm", "value ↑"),
        *("single_object*", "two_object", "counting"),
    )
    trained = dict(zip(table.header, table.rows[2], strict=True))
    assert trained["official ↑"].startswith("0.767 [0.")
    assert trained["gain"].startswith("+0.267 [+0.")
    assert trained["gain"].endswith("]†")
    assert (trained["counting"], trained["guidance"], trained["origin"]) == ("1.000", "1", "measured")
    assert trained["value ↑"].startswith("0.383 [0.")
    assert table.rows[1][0] == "base, guided (baseline)"
    assert table.rows[0][6:9] == ("–", "–", "–")
    notes = " ".join(table.notes)
    assert "30 prompts x 2 pictures" in notes
    assert "* the training split holds the same prompts: evaluated on unseen seeds" in notes
    assert "† trained; failed, settings other than the baseline's: guidance: 1.0 and 3.0" in notes


def test_markdown_has_one_cell_per_column_whatever_the_label(tmp_path):
    results = load_results(write_evaluation(tmp_path / "x", _weak, label="a|b *c*"))
    text = tables.to_markdown(tables.leaderboard_table(leaderboard.build_leaderboard([results])))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(lines[0].split("|")) - 1}
    assert "a\\|b \\*c\\*" in text


def test_csv_and_json_hold_the_same_rows(board):
    written = list(csv.DictReader(io.StringIO(tables.to_csv(tables.leaderboard_table(board)))))
    data = json.loads(store.to_json(leaderboard.to_json(board)))
    for line, row in zip(written, data["rows"], strict=True):
        overall, counting = row["metrics"]["official"]["overall"], row["metrics"]["official"]["tags"]["counting"]
        assert (line["model"], line["origin"], line["guidance"]) == (row["label"], "measured", str(row["guidance"]))
        for name, value in (
            ("official", overall["mean"]), ("official low", overall["low"]), ("official high", overall["high"]),
            ("official counting", counting["mean"]), ("official best rank", row["ranks"]["official"][0]),
        ):  # fmt: skip
            assert float(line[name]) == value, name
        for name, key in (("gain", "difference"), ("gain low", "low"), ("gain p", "p"), ("gain p Holm", "p_holm")):
            assert line[name] == ("" if row["gain"] is None else str(row["gain"][key]))
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
        tables.comparison_table(compare_evaluations(strong, weak)),
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
    nan = float("nan")
    assert tables.bounded(Interval(0.5, nan, nan, 9, 0, "percentile", 0.95, 2000)) == "0.500"
    assert tables.bounded(Interval(0.5, 0.4, 0.6, 90, 0, "bca", 0.95, 2000)) == "0.500 [0.400, 0.600]"
    assert tables.bounded(Interval(nan, nan, nan, 0, 9, "percentile", 0.95, 2000)) == tables.bounded(None) == "–"
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


def test_steps_must_agree_unless_allowed_and_guidance_is_each_models_own(tmp_path, weak):
    hasty = write_evaluation(tmp_path / "hasty", _strong, label="hasty", adapter="f00", steps=5)
    guided = write_evaluation(tmp_path / "guided", _strong, label="guided", adapter="f01", guidance=3.0)
    with pytest.raises(CardMismatch, match=r"'hasty' and 'base' .* differ in steps: 5 and 20\. .*--allow-mismatch"):
        leaderboard.find_leaderboards([weak.folder, hasty], allow_mismatch=False)
    (board,) = leaderboard.find_leaderboards([weak.folder, guided], allow_mismatch=False)
    assert board.rows[1].differs == ("guidance: 3.0 and 1.0",)
    (board,) = leaderboard.find_leaderboards([weak.folder, hasty])
    assert board.rows[1].differs == ("steps: 5 and 20",)
    assert tables.leaderboard_table(board).rows[1][6].endswith("†")


def test_base_rows_alone_have_no_gain_and_too_few_prompts_no_brackets(tmp_path):
    few = [
        load_results(write_evaluation(tmp_path / label, _weak, label=label, guidance=guidance, prompts_per_tag=3))
        for label, guidance in (("one", 1.0), ("two", 3.0))
    ]
    table = tables.leaderboard_table(leaderboard.build_leaderboard([], few))
    assert table.header[:6] == ("model", "guidance", "steps", "origin", "rank", "official ↑")
    assert "gain" not in table.header and not any(note.startswith("gain") for note in table.notes)
    assert table.notes[0].endswith("too few prompts for intervals.") and "[" not in table.rows[0][5]


def test_without_a_baseline_the_value_itself_is_marked(tmp_path, strong):
    other = load_results(write_evaluation(tmp_path / "other", lambda *at: 0, label="other", adapter="f01", steps=5))
    table = tables.leaderboard_table(leaderboard.build_leaderboard([strong, other]))
    assert [row[5].endswith("†") for row in table.rows] == [False, True]
    assert "† other, settings other than the first row's: steps: 5 and 20." in table.notes


def test_ranks_leave_open_what_chance_leaves_open(tmp_path):
    """Two models that differ on one prompt of 30 share a rank; one that never succeeds is behind both for certain."""
    alike = [
        load_results(write_evaluation(tmp_path / label, verdict, label=label, adapter=label))
        for label, verdict in (
            ("first", lambda tag, number, index: 1),
            ("second", lambda tag, number, index: int((tag, number) != ("counting", 3))),
            ("last", lambda tag, number, index: 0),
        )
    ]
    board = leaderboard.build_leaderboard(alike)
    assert [row.ranks["official"] for row in board.rows] == [(1, 2), (1, 2), (3, 3)]
    table = tables.leaderboard_table(board)
    assert [row[4] for row in table.rows] == ["1-2", "1-2", "3"]
    bold = {(row, table.header[column]) for row, column in table.bold}
    assert bold == {(row, name) for row in (0, 1) for name in ("official ↑", "value ↑")}
    (alone,) = [tables.leaderboard_table(leaderboard.build_leaderboard(alike[:1]))]
    assert "rank" not in alone.header and not alone.bold


def test_p_of_the_gains_is_adjusted_for_their_number(board):
    p_values = [row.gain.p for row in board.rows if row.gain]
    adjusted = [row.p_holm for row in board.rows if row.gain]
    assert len(p_values) == 2
    first, second = sorted(p_values)
    assert sorted(adjusted) == pytest.approx([min(1, 2 * first), max(min(1, 2 * first), second)])


def test_one_gain_alone_needs_no_adjustment(weak, strong):
    table = tables.leaderboard_table(leaderboard.build_leaderboard([strong], [weak]))
    assert "p" in table.header and "p Holm" not in table.header


@pytest.mark.parametrize(
    ("reward", "marked"),
    [
        ("name: painting", True),
        ("name: {painting: 1.0, jpeg: 0.1}", True),
        ("name: {jpeg: 1.0, painting: 0}", False),  # weight 0: only logged
        ("name: jpeg", False),
        ("[broken", False),
    ],
)
def test_the_reward_that_was_trained_on_is_marked(tmp_path, weak, reward, marked):
    folder = write_evaluation(tmp_path / "trained/eval/painting-1", _strong, label="trained", adapter="f00")
    (tmp_path / "trained/config.yaml").write_text(f"reward:\n  {reward}\n")
    (tmp_path / "run/config.yaml").write_text(
        "reward:\n  name: painting\n"
    )  # the base was not trained, whatever it says
    table = tables.leaderboard_table(leaderboard.build_leaderboard([load_results(folder)], [weak]))
    columns = [table.header.index(name) for name in ("official ↑", "value ↑")]
    assert table.shaded == ({(1, column) for column in columns} if marked else set())
    assert [table.rows[1][column].endswith("‡") for column in columns] == [marked] * 2
    assert ("‡ trained on this reward" in " ".join(table.notes)) is marked


@pytest.mark.parametrize(("noted", "marked"), [(["jpeg", "painting"], True), (["jpeg"], False), ([], False)])
def test_an_evaluation_outside_its_run_knows_what_was_trained_on(tmp_path, weak, noted, marked):
    folder = write_evaluation(tmp_path / "elsewhere/eval/painting-1", _strong, label="trained", adapter="f00")
    change(folder, lambda summary: summary["card"]["noted"].update(trained_on=noted))
    (row,) = [row for row in leaderboard.build_leaderboard([load_results(folder)], [weak]).rows if not row.is_base]
    assert row.trained_on == tuple(noted)
    assert bool(tables.leaderboard_table(leaderboard.build_leaderboard([row.results], [weak])).shaded) is marked


def test_a_run_and_its_checkpoints_say_what_they_were_trained_on(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000002"
    checkpoint.mkdir(parents=True)
    assert training_of(checkpoint) == training_of("jieliu/SD3.5M-FlowGRPO-GenEval") == ()
    (tmp_path / "run" / "config.yaml").write_text("reward:\n  name: {geneval: 1.0, jpeg: 0, ocr: 0.5}\n")
    assert training_of(tmp_path / "run") == training_of(checkpoint) == ("geneval", "ocr")


def test_a_reward_that_gains_weight_in_a_later_stage_was_trained_on(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "reward:\n  name: {geneval: 1, jpeg: 0, ocr: 0}\n"
        "  schedule: [{step: 5, weights: {jpeg: 0.1}}, {step: 9, weights: {jpeg: 0, ocr: 0}}]\n"
    )
    assert training_of(tmp_path) == ("geneval", "jpeg")


def test_a_run_that_began_from_another_was_trained_on_the_rewards_of_both(tmp_path):
    for name, reward, start in (("first", "jpeg", "second"), ("second", "ocr", "first"), ("lost", "ocr", "gone")):
        (tmp_path / name).mkdir()
        start = tmp_path / start
        (tmp_path / name / "config.yaml").write_text(f"reward: {{name: {reward}}}\nadapter: {{start: {start}}}\n")
    assert training_of(tmp_path / "second") == ("ocr", "jpeg")  # and it ends, though each began from the other
    assert training_of(tmp_path / "lost") == ("ocr",)


def test_variants_of_a_reward_are_in_domain_too():
    assert in_domain("hpsv2.1", ("hpsv2",)) and in_domain("geneval", ("jpeg", "geneval_strict"))
    assert not in_domain("pickscore", ("pick", "score", "pickscore2"))
    assert not in_domain("pickscore", ())


def test_a_metric_that_is_better_when_lower_ranks_upside_down(tmp_path):
    few = write_suite(tmp_path / "few", {"fid_like": lambda number, index: 1 + number % 3}, label="few")
    many = write_suite(tmp_path / "many", {"fid_like": lambda number, index: 5 + number % 3}, label="many", adapter="a")
    turn = {"fid_like": ("points", "lower", "picture")}
    for folder in (few, many):
        describe(folder, turn)
    board = leaderboard.build_leaderboard([load_results(many)], [load_results(few)])
    assert [row.ranks["fid_like"] for row in board.rows] == [(1, 1), (2, 2)]
    assert board.rows[1].gain.difference == pytest.approx(4.0)
    assert tables.leaderboard_table(board).header[5] == "fid_like ↓ (points)"
    second = leaderboard.build_leaderboard([load_results(many), load_results(few)])
    assert [row.results.label for row in second.rows] == ["few", "many"]


def test_every_scorer_has_a_column_with_its_own_unit(tmp_path):
    scores = {"sharp": lambda number, index: number % 7, "calm": lambda number, index: number % 5}
    one = load_results(write_suite(tmp_path / "one", scores, label="one"))
    two = load_results(write_suite(tmp_path / "two", scores, label="two", adapter="f00"))
    board = leaderboard.build_leaderboard([two], [one])
    assert [(column.metric, column.unit) for column in board.columns] == [
        ("sharp", "unit of sharp"),
        ("calm", "unit of calm"),
    ]
    table = tables.leaderboard_table(board)
    assert "sharp ↑ (unit of sharp)" in table.header and "calm ↑ (unit of calm)" in table.header
    assert all("[" in row[table.header.index("calm ↑ (unit of calm)")] for row in table.rows)


def test_what_another_scorer_scored_is_a_dash_with_a_reason(tmp_path):
    scores = {"sharp": lambda number, index: number % 7, "calm": lambda number, index: number % 5}
    one = load_results(write_suite(tmp_path / "one", scores, label="one"))
    two = load_results(write_suite(tmp_path / "two", scores, label="two", adapter="f00", weights={"calm": "new"}))
    table = tables.leaderboard_table(leaderboard.build_leaderboard([two], [one]))
    calm = table.header.index("calm ↑ (unit of calm)")
    assert table.rows[0][calm] != "–" and table.rows[1][calm] == "–"
    assert "two: calm was scored by another scorer (weights: ['new'] and ['old']), so it is not shown." in table.notes
    assert table.data[1]["calm"] is None and table.data[1]["calm best rank"] is None
    other = load_results(write_suite(tmp_path / "three", scores, label="three", weights={"sharp": "new"}))
    with pytest.raises(CardMismatch, match=r"'sharp' was scored by others .*weights: \['new'\] and \['old'\]"):
        leaderboard.build_leaderboard([other], [one])
    boards = leaderboard.find_leaderboards([one.folder, other.folder])
    assert [[row.results.label for row in board.rows] for board in boards] == [["one"], ["three"]]


def test_a_scorer_that_did_not_run_leaves_a_dash_and_its_reason(tmp_path):
    scores = {"sharp": lambda number, index: number % 7, "calm": lambda number, index: number % 5}
    one = load_results(write_suite(tmp_path / "one", scores, label="one"))
    two = load_results(
        write_suite(tmp_path / "two", {"calm": scores["calm"]}, label="two", not_run={"sharp": "no weights."})
    )
    (board,) = leaderboard.find_leaderboards([one.folder, two.folder])
    table = tables.leaderboard_table(board)
    assert [row[0] for row in table.rows] == ["one (baseline)", "two"]
    assert table.rows[1][table.header.index("sharp ↑ (unit of sharp)")] == "–"
    assert "two: sharp did not run: no weights." in table.notes


def test_values_of_prompts_count_once_each(tmp_path):
    """Of a prompt-level metric only the record of index 0 has a value; 25 prompts give 25 pairs, not 50."""
    by_prompt = {"variety": lambda number, index: None if index else number % 5}
    one = write_suite(tmp_path / "one", by_prompt, label="one")
    two = write_suite(
        tmp_path / "two", {"variety": lambda number, index: None if index else number % 5 + 1}, label="two"
    )
    for folder in (one, two):
        describe(folder, {"variety": ("points", "higher", "prompt")})
    versus = compare_evaluations(load_results(two), load_results(one))
    assert versus.lines[0].paired.difference == pytest.approx(1.0)
    assert (versus.lines[0].paired.count, versus.lines[0].paired.unscored) == (25, 0)
    board = leaderboard.build_leaderboard([load_results(two), load_results(one)])
    assert [row.ranks["variety"] for row in board.rows] == [(1, 1), (2, 2)]


def test_a_number_of_the_whole_set_is_shown_and_not_ranked(tmp_path):
    for label, value in (("one", 10.0), ("two", 12.0)):
        folder = write_suite(tmp_path / label, {"sharp": lambda number, index: number % 7}, label=label)
        describe(folder, {"sharp": ("points", "lower", "set")})
        alone = {"mean": value, "low": None, "high": None, "count": 1}
        change(folder, lambda summary, alone=alone: summary["metrics"]["sharp"]["overall"].update(alone))
    board = leaderboard.build_leaderboard([load_results(tmp_path / "two"), load_results(tmp_path / "one")])
    assert [(row.results.label, row.ranks) for row in board.rows] == [("one", {}), ("two", {})]
    assert [row[4] for row in tables.leaderboard_table(board).rows] == ["10.000", "12.000"]

"""`flowbench leaderboard` and `compare` on the command line: formats, files, what others printed, refusals."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

sys.path.append(
    str(Path(__file__).parents[1] / "evals")
)  # the written evaluations that the tests of the tables use too
from evaluations import write_evaluation
from several_scorers import write_suite


@pytest.fixture
def runs(tmp_path):
    """A base and a run that was trained on the suite's own scorer."""
    base = write_evaluation(tmp_path / "base/eval/painting-0", lambda tag, number, index: number % 2, label="base")
    mine = write_evaluation(tmp_path / "mine/eval/painting-1", lambda *at: 1, label="<script>mine", adapter="f00")
    (tmp_path / "mine/config.yaml").write_text("reward: {name: painting}\n")
    return base.parents[1], mine.parents[1]


def test_html_is_written_beside_the_table(flowbench, runs, tmp_path):
    result = flowbench("leaderboard", *runs, "--html", tmp_path / "board.html")
    assert result.exit_code == 0, result.output
    assert result.stderr == f"wrote {tmp_path / 'board.html'}\n"
    assert "base (baseline)" in result.stdout
    page = (tmp_path / "board.html").read_text()
    assert "&lt;script&gt;mine" in page and "<script" not in page


def test_html_without_a_file_writes_into_the_working_folder(flowbench, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert flowbench("leaderboard", *runs, "--html").exit_code == 0
    assert (tmp_path / "leaderboard.html").read_text().startswith("<!doctype html>")
    refused = flowbench("leaderboard", "--html", *runs)  # the first run would be taken for the file
    assert refused.exit_code == 2 and "that is a folder. Put --html last" in refused.stderr


@pytest.mark.parametrize(
    ("style", "sign"),
    [("markdown", "| mine"), ("latex", r"\toprule"), ("html", "<!doctype html>"), ("csv", "suite,model")],
)
def test_every_format_goes_to_a_file(flowbench, runs, tmp_path, style, sign):
    assert flowbench("leaderboard", *runs, "--format", style, "--out", tmp_path / "table").exit_code == 0
    assert sign.replace("| mine", "| base (baseline) | 1 | 20 | measured |") in (tmp_path / "table").read_text()
    assert flowbench("compare", *runs[::-1], "--format", style, "--out", tmp_path / "compared").exit_code == 0
    assert (tmp_path / "compared").read_text()


def test_what_others_printed_needs_no_run(flowbench):
    (board,) = json.loads(flowbench("leaderboard", "--published", "geneval", "--format", "json").stdout)
    assert (board["suite"], board["rows"]) == ("geneval", [])
    assert {row["origin"] for row in board["published"]} == {"copied", "re-measured"}
    drawn = flowbench("leaderboard", "--published", "geneval", "--published", "drawbench", "--suite", "drawbench")
    assert "pickscore ↑ (logit scale x cosine)" in drawn.stdout and "SDXL" not in drawn.stdout


def test_what_others_printed_stands_beside_other_suites(flowbench, runs):
    boards = json.loads(flowbench("leaderboard", *runs, "--published", "geneval", "--format", "json").stdout)
    assert [(board["suite"], len(board["rows"])) for board in boards] == [("painting", 2), ("geneval", 0)]
    assert boards[0]["published"] == []


def test_mistakes_are_one_sentence(flowbench, runs, tmp_path):
    for words, message in (
        ([], "there is nothing to rank"),
        (["--published", "drawbensh"], "Did you mean 'drawbench'?"),
        ([*runs, "--suite", "shapes"], "no evaluation of suite 'shapes'"),
    ):
        result = flowbench("leaderboard", *words)
        assert result.exit_code == 2 and message in result.stderr
        assert result.stderr.count("\n") == 1


def test_other_steps_are_refused_by_name_and_marked_when_allowed(flowbench, runs, tmp_path):
    write_evaluation(tmp_path / "hasty/eval/painting-2", lambda *at: 1, label="hasty", adapter="f01", steps=5)
    words = ("leaderboard", *runs, tmp_path / "hasty")
    refused = flowbench(*words)
    assert refused.exit_code == 2 and "differ in steps: 5 and 20" in refused.stderr
    allowed = flowbench(*words, "--allow-mismatch", "--format", "csv")
    lines = {line["model"]: line["settings differ"] for line in csv.DictReader(io.StringIO(allowed.stdout))}
    assert lines == {"base": "", "<script>mine": "", "hasty": "steps: 5 and 20"}


def test_compare_says_what_it_did_not_compare(flowbench, tmp_path):
    scores = {"sharp": lambda number, index: number % 7, "calm": lambda number, index: number % 5}
    one = write_suite(tmp_path / "one", scores, label="one")
    two = write_suite(tmp_path / "two", scores, label="two", adapter="f00", weights={"calm": "new"})
    result = flowbench("compare", two, one)
    assert result.exit_code == 0, result.output
    assert "calm: not compared, it was scored by others in each (weights: ['new'] and ['old'])." in result.stdout
    assert "Win rate of the candidate on sharp: 0.500" in result.stdout
    refused = flowbench("compare", two, one, "--metric", "calm")
    assert refused.exit_code == 2 and "metric 'calm' was scored by others in each" in refused.stderr

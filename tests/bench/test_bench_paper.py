"""bench/paper.py: its tables can be run, equal runs are one run, and the page from made-up files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowbench import store
from flowbench.config import check_share
from flowbench.errors import ConfigError
from flowbench.trainer.monitor import judges

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import objectives_plan
import objectives_run
import paper
import paper_page
import paper_plan
import paper_watch
from test_bench_objectives import dev_row, result, row


def plan_of(folder, budget=12.0, limit=None, overrides=()):
    return objectives_plan.Plan(budget, limit, overrides, folder / "work", folder / "results" / "data", "", "paper")


@pytest.mark.parametrize("table", paper_plan.TABLES, ids=lambda table: table.name)
def test_every_run_of_a_table_can_be_begun(table, tmp_path):
    """Its settings fit together and to the processes of the comparison, and no two arms are one."""
    plan = plan_of(tmp_path)
    runs = [run for _, run in paper_plan.runs(plan, table)]
    for run in runs:
        check_share(run.config, plan.processes)
        judges.check(run.config.model_copy(update={"monitor": objectives_run.watch_of(run)}))
        assert abs(run.pictures_per_step / 256 - 1) <= 1 / 8
    assert len({run.digest for run in runs}) == len(runs)
    assert {run.seed for run in runs if run.label == table.arms[0].name} == set(table.arms[0].seeds)


def test_one_name_stands_for_the_same_settings_in_all_tables(tmp_path):
    named: dict[str, set[str]] = {}
    for table in paper_plan.TABLES:
        for _, run in paper_plan.runs(plan_of(tmp_path), table):
            named.setdefault(run.name, set()).add(run.digest)
    assert all(len(digests) == 1 for digests in named.values())


def test_an_unknown_table():
    with pytest.raises(ConfigError, match=r"no table 'nois'\. Did you mean 'noise'\? Tables: composition"):
        paper_plan.find("nois")


@pytest.fixture
def docs(tmp_path):
    """The composition's first arm by bench/objectives.py, its second by bench/paper.py, of a KL another budget's."""
    plan = plan_of(tmp_path)
    dev = {"1": 0.4, "1.5": 0.5, "2": 0.5, "3": 0.6}
    base = {
        "format": objectives_plan.FORMAT, "limit": None, "best_guidance": 3.0,
        "dev": {scale: dev_row(score) for scale, score in dev.items()},
        "test": {"1": row(0.4, 0.2, 3.0, 1.0), "1.5": row(0.5, 0.2, 3.0), "3": row(0.6, 0.15, 2.5, 3.0)},
    }  # fmt: skip
    flow = result(plan, "shapes-flow_grpo", 0, [0.7, 0.7, 0.75], row(0.75, 0.1, 1.5))
    free = plan.run("shapes-flow_grpo", 0, "objective.kl_weight=0", label="flow_grpo-no-kl")
    other = plan_of(tmp_path, budget=1.0).run("shapes-flow_grpo", 0, "objective.kl_weight=1e-3", label="x")
    dated = {"date": "2026-12-01"}
    store.write_json(plan.data / "objectives-base.json", base)
    store.write_json(plan.data / "objectives-shapes-flow_grpo-seed0.json", flow | dated)
    store.write_json(plan.data / f"{free.name}.json", flow | dated | {
        "digest": free.digest, "test": row(0.8, 0.05, 1.5), "kl_to_base": 0.5})  # fmt: skip
    store.write_json(plan.data / "paper-x-seed0.json", flow | dated | {"digest": other.digest})
    return tmp_path


def test_the_page_from_the_files_alone(docs):
    (docs / "results" / "paper").mkdir()
    (docs / "results" / "paper" / "composition.md").write_text("*Here:* confirmed.\n")
    done = CliRunner().invoke(paper.main, ["--page", "--docs", str(docs)])
    assert done.exit_code == 0, done.output
    text = (docs / "reproduction.md").read_text()
    assert "*Here:* confirmed." in text and "`python bench/paper.py composition`; 2026-12-01." in text
    first = text.partition("## The weight of the KL")[0]
    lines = {line.split(" | ")[0][2:]: line for line in first.splitlines() if line.startswith("| flow_grpo")}
    # of both: .7 at 100 s holds, ten yardsticks; the base is at .5 then, so .6 after five and .65 after 7.5
    assert "| 5.0 | 7.5 | 10.0 | not reached | 0.750 |" in lines["flow_grpo"] and lines["flow_grpo"].endswith("| – |")
    assert lines["flow_grpo-no-kl"].endswith(
        "| 0.500 | +0.200 [+0.200, +0.200] | +0.050 [+0.050, +0.050] |"
    )  # fmt: skip
    assert "0.50 | 0.25 | 0.500" in lines["flow_grpo-no-kl"]  # colours, layouts, KL
    assert "flow_grpo-kl-1e-3" not in text  # of another budget
    assert "Runs are still missing of: Composition, with and without KL" in text
    assert (docs / "results" / "paper" / "kl.png").read_bytes()[:4] == b"\x89PNG"
    assert "## Denoising steps" not in text  # of which there is nothing


@pytest.mark.parametrize(
    ("alarm", "harms", "word"),
    [
        (None, [None, None], "silent, rightly"),
        (30, [None, None], "false alarm"),
        (None, [None, 40], "missed it"),
        (20, [40, 30], "in time"),  # the checkpoint after 20 steps was sound
        (25, [40, 30], "with it"),
        (10, [10, None], "with it"),
        (35, [40, 30], "late"),
    ],
)
def test_what_the_watch_is_worth_in_a_word(alarm, harms, word):
    run = {"curve": [{"step": step} for step in (10, 20, 30, 40)]}
    assert paper_watch.verdict(run, alarm, harms) == word


def test_alarms_against_what_went_wrong(docs):
    """.6 of the layouts are left at the third checkpoint of three; exclusive falls from .8 to .77, .76 and .74."""
    (outcome, _), *_ = [paper_page.outcomes(plan_of(docs), paper_plan.TABLES[0], paper_plan.results(plan_of(docs)))]
    run = json.loads(json.dumps(outcome.runs[0]))
    outcome.base["dev"]["1.5"]["exclusive"] = 0.8
    for point, (kept, exclusive) in zip(run["curve"], [(0.9, 0.77), (0.8, 0.76), (0.6, 0.74)], strict=True):
        point["dev"]["1.5"] |= {"layout_diversity": 0.2 * kept, "exclusive": exclusive}
    assert (paper_watch.alike(outcome, run), paper_watch.worse(outcome, run)) == (30, 30)
    run["curve"][2]["dev"]["1.5"]["exclusive"] = None  # nothing was scored
    assert paper_watch.worse(outcome, run) is None
    run["curve"][2]["dev"]["1.5"]["exclusive"] = 0.74
    run["watch"] = {"every": 15, "looks": [], "alarms": [{"step": 15, "sentences": ["alike", "grey"]}]}
    outcome = replace(outcome, runs=(run, run | {"watch": run["watch"] | {"alarms": []}}, outcome.runs[0]))
    lines = paper_watch.watch_rows([outcome])
    assert lines[4] == "| flow_grpo | 0 | 30 | 15 | alike; grey | 30 | 30 | in time |"
    assert lines[5] == "| flow_grpo | 0 | 30 | none |  | 30 | 30 | missed it |"
    assert len(lines) == 7 and lines[6] == ""  # the third was not watched
    assert paper_watch.watch_rows([replace(outcome, runs=outcome.runs[2:])]) == []


def test_a_run_from_before_the_watch_does_not_count_where_it_is_asked_for(docs):
    plan = plan_of(docs)
    arm, run = next(each for each in paper_plan.runs(plan, paper_plan.find("composition")) if each[0].watched)
    assert not paper_plan.is_made(arm, run, {run.digest: {}})
    assert paper_plan.is_made(replace(arm, watched=False), run, {run.digest: {}})
    assert paper_plan.is_made(arm, run, {run.digest: {"watch": {}}})
    assert not paper_plan.is_made(arm, run, {})


def test_what_is_there_is_not_run_again(docs, monkeypatch):
    made = []
    monkeypatch.setattr(paper, "carry_out", lambda run: made.append(run.name))
    monkeypatch.setattr(paper, "measured_base", lambda *_: None)
    command = ["kl", "--seeds", "0", "--docs", str(docs), "--work", str(docs / "work")]
    done = CliRunner().invoke(paper.main, command)
    assert done.exit_code == 0, done.output
    weights = ("1e-4", "2e-4", "1e-3", "2e-3", "5e-3")
    assert made == [f"paper-flow_grpo-kl-{weight}-seed0" for weight in weights]
    shown = CliRunner().invoke(paper.main, ["--list", *command]).output.splitlines()
    assert sum(line.endswith("done 2026-12-01") for line in shown) == 2 and len(shown) == 11


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arm"), [("steps", "paper-steps-5"), ("preference", "taste-flow_grpo")])
def test_an_arm_from_the_command_to_the_page(name, arm, tmp_path, monkeypatch):
    """One of each kind of step: yardsticks, training, curve, test, page; on few prompts and a budget of seconds."""
    table = paper_plan.find(name)
    (chosen,) = (each for each in table.arms if each.name == arm)
    monkeypatch.setattr(paper, "find", lambda name: replace(table, arms=(replace(chosen, seeds=(0,)),)))
    overrides = ["rollout.groups=4", "rollout.micro_batch=32", "rollout.bundle=1", "monitor.every=1"]
    words = [name, "--budget", "0.1", "--limit", "24", "--docs", str(tmp_path), "--work", str(tmp_path / "work")]
    done = CliRunner().invoke(paper.main, [*words, *overrides])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "reproduction.md").read_text()
    assert f"| {arm} | 0 |" in text and ("monitor.md" in text) == table.shows_watch
    (path,) = (tmp_path / "results" / "data").glob("*-seed0.json")
    looks = store.read_object(path)["watch"]["looks"]
    assert looks and {"monitor/placement_moved", "monitor/drift"} <= looks[0].keys()
    assert ("monitor/gap_moved" in looks[0]) == (name == "preference")
    again = CliRunner().invoke(paper.main, [*words, *overrides])
    assert "begins" in done.output and "begins" not in again.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--limit", "8"], "for trying the command"),
        (["optimizer.lr=1e-5"], "for trying the command"),
        (["noise", "--seeds", "1"], "no run of these has '1'"),
        (["--seeds", "a"], "no run of these has 'a'"),
    ],
)
def test_what_is_refused_before_anything_is_run(words, why, monkeypatch):
    monkeypatch.setattr(paper, "make", lambda *_: pytest.fail("something was run"))
    monkeypatch.setattr(paper, "write", lambda *_: pytest.fail("the page was written"))
    with pytest.raises(ConfigError, match=why):
        CliRunner().invoke(paper.main, words, catch_exceptions=False)

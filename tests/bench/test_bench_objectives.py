"""bench/objectives.py: what is computed from its results, by hand; the plan; the page from made-up files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from flowbench import store
from flowbench.config import check_share
from flowbench.errors import ConfigError
from flowbench.evals.evaluation import Record
from flowbench.trainer.objectives import OBJECTIVES

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import objectives
import objectives_measure
import objectives_page
import objectives_plan
import objectives_run
from click.testing import CliRunner

LINE = [(0.0, 0.4), (10.0, 0.6), (20.0, 0.8), (30.0, 0.7), (40.0, 0.9), (50.0, 0.9)]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.3, 0.0),  # from the beginning
        (0.5, 5.0),  # half-way to the first point
        (0.6, 10.0),
        (0.7, 15.0),  # .7 at 30 still holds it
        (0.75, 32.5),  # .8 at 20 does not hold at 30; from .7 at 30 to .9 at 40 a quarter of the way
        (0.9, 40.0),
        (0.95, None),
    ],
)
def test_a_score_is_reached_where_the_next_point_holds_it(score, expected):
    assert objectives_page.reached(LINE, score) == (None if expected is None else pytest.approx(expected))


def test_the_last_point_alone_is_not_enough():
    assert objectives_page.reached([(0.0, 0.4), (10.0, 0.5), (20.0, 0.9)], 0.8) is None
    assert objectives_page.reached([(0.0, 0.4), (10.0, 0.5), (20.0, 0.9), (30.0, 0.8)], 0.8) == pytest.approx(17.5)


def test_spread_over_seeds():
    assert objectives_page.spread([None]) == "not reached"
    assert objectives_page.spread([3.0]) == "3.0"
    assert objectives_page.spread([3.0, 1.0, 2.5]) == "2.5 (1.0 to 3.0)"
    assert objectives_page.spread([3.0, None, 2.0]) == "2 of 3: 2.0 to 3.0"
    assert objectives_page.spread([None, 2.0]) == "1 of 2: 2.0"


def test_the_velocity_kl_by_hand():
    """v = 2 x and v_ref = x: the mean of x^2. x0 = 0, so x = sigma noise: mean(noise^2) times the mean of sigma^2."""
    noise = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 3.0]]]])
    found = objectives_measure.mean_velocity_kl(
        lambda x, sigma: 2 * x, lambda x, sigma: x, torch.zeros_like(noise), noise, [1.0, 0.5]
    )
    assert found == pytest.approx(14 / 4 * (1 + 0.25) / 2)
    x0 = torch.full_like(noise, 3.0)  # at sigma 0 only the picture counts, at 1 only the noise
    assert objectives_measure.mean_velocity_kl(lambda x, s: x, lambda x, s: 0 * x, x0, noise, [0.0]) == 9
    assert objectives_measure.mean_velocity_kl(lambda x, s: x, lambda x, s: 0 * x, x0, noise, [1.0]) == 3.5


def test_the_base_is_at_no_distance_from_itself(tmp_path):
    assert objectives_measure.kl_to_base("shapes") == 0


def test_values_by_prompt_leave_out_what_is_not_scored():
    def record(prompt, index, value):
        return Record(prompt, index, None, "tag", prompt, "", value, {"part": value}, "")

    records = [record("a", 0, 1.0), record("a", 1, None), record("a", 2, 0.5), record("b", 0, None)]
    assert objectives_measure.values_by_prompt(records, "part") == {"tag": {"a": 0.75, "b": None}}


def test_effort_of_a_log():
    """Seconds and pictures add up; of the second step's two updates one was skipped."""
    log = [
        {"timing": {"seconds": 2.0, "images_per_second": 16.0}, "optimizer/skipped": 0},
        {"timing": {"seconds": 4.0, "images_per_second": 8.0}, "optimizer/skipped": 1},
    ]
    assert objectives_run.effort(log, 2) == [
        {"seconds": 2.0, "pictures": 32, "updates": 2}, {"seconds": 6.0, "pictures": 64, "updates": 3}
    ]  # fmt: skip


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (9, 1), (10, 1), (11, 2), (600, 60), (607, 61)])
def test_ten_checkpoints_at_most_and_the_last(plan, steps, every):
    config = objectives_run.with_steps(plan.yardstick, steps, Path("run"))
    assert (config.steps, config.save_every) == (steps, every)
    assert config.keep >= -(-steps // every) and config.monitor.every is None


@pytest.fixture
def plan(tmp_path):
    return objectives_plan.Plan(50.0, None, (), tmp_path / "work", tmp_path / "data", "python bench/objectives.py")


def test_the_yardstick_is_the_old_arrangement(plan):
    config = plan.yardstick
    assert (config.objective.name, config.steps, config.rollout.groups * config.rollout.group_size) == (
        "flow_grpo", 20, 256
    )  # fmt: skip
    assert (config.rollout.bundle, config.rollout.micro_batch, config.rollout.keep_graph) == (1, 32, False)
    assert config.optimizer.fused is False


def test_every_objective_with_a_recipe_takes_part(plan):
    names = {run.config.objective.name for run in objectives_plan.first_runs(plan)}
    assert names == set(OBJECTIVES) - set(objectives_plan.SAME_GRADIENT)
    digests = [run.digest for run in objectives_plan.first_runs(plan)]
    assert len(set(digests)) == len(digests)
    assert [run.recipe for run in objectives_plan.first_runs(plan, ["nft"])] == ["shapes-nft"]


def test_the_digest_knows_what_decides_a_result(plan, tmp_path):
    run = plan.run("shapes-nft", 0)
    elsewhere = objectives_plan.Plan(50.0, None, (), tmp_path, tmp_path, "other words")
    assert elsewhere.run("shapes-nft", 0).digest == run.digest
    steps = objectives_plan.Plan(50.0, None, ("steps=7", "out=x", "monitor.every=3"), tmp_path, tmp_path, "")
    assert steps.run("shapes-nft", 0).digest == run.digest
    others = [plan.run("shapes-nft", 1)]
    others += [objectives_plan.Plan(5.0, None, (), tmp_path, tmp_path, "").run("shapes-nft", 0)]
    others += [objectives_plan.Plan(50.0, None, ("optimizer.lr=1e-5",), tmp_path, tmp_path, "").run("shapes-nft", 0)]
    assert len({run.digest, *(each.digest for each in others)}) == 4


def test_the_best_and_both_defaults_get_more_seeds(plan):
    more = list(objectives_plan.more_runs(plan, ["shapes-epg"]))
    assert {(run.recipe, run.seed) for run in more} >= {
        (recipe, seed) for recipe in ("shapes-epg", "shapes-geneval", "shapes-flow_grpo") for seed in (1, 2)
    }
    assert {run.seed for run in more} == {1, 2}
    assert {run.recipe for run in objectives_plan.more_runs(plan, [], ["nft"])} == set()


def row(official, layout, colors, guidance=1.5, prompts=24):
    """A test row in which every prompt has the same values."""
    ids = [f"p{number}" for number in range(prompts)]
    by_prompt = {
        name: {"tag": dict.fromkeys(ids, value)}
        for name, value in (("official", official), ("exclusive", official), ("layout_diversity", layout))
    }
    return {"guidance": guidance, "official": official, "exclusive": official, "object_color_entropy": colors,
            "layout_diversity": layout, "by_prompt": by_prompt}  # fmt: skip


def dev_row(official, layout=0.2, colors=3.0):
    return {"official": official, "object_color_entropy": colors, "layout_diversity": layout}


def result(plan, recipe, seed, scores, test, *, after=10.0, machine="quick, 2 cores"):
    """A run whose checkpoints are 100 seconds apart; each keeps a tenth less of the base's layouts."""
    layouts = [0.2 * (1 - place / 10) for place in range(1, len(scores) + 1)]
    dev = [
        {"1": dev_row(score - 0.1), "1.5": dev_row(score, layout)}
        for score, layout in zip(scores, layouts, strict=True)
    ]
    curve = [
        {"step": 10 * place, "seconds": 100.0 * place, "pictures": 2560 * place, "updates": 10 * place, "dev": each}
        for place, each in enumerate(dev, start=1)
    ]
    return {"recipe": recipe, "seed": seed, "objective": recipe[7:], "digest": plan.run(recipe, seed).digest,
            "commit": "c0ffee", "machine": {"name": machine},
            "yardstick": {"before": 10.0, "after": after}, "curve": curve, "test": test, "steps": 10 * len(scores),
            "pictures_per_step": 256, "budget_in_yardsticks": 50.0, "kl_to_base": 0.01 * seed}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """Flow-GRPO reaches +.10 after 100 s and +.20 nowhere; nft +.20 at 200 s, with seed 1 at 150 s, on slower pace."""
    data, plan = tmp_path / "data", objectives_plan.Plan(12.0, None, (), tmp_path, tmp_path / "data", "")
    dev = {"1": 0.4, "1.5": 0.5, "2": 0.5, "3": 0.6}
    base = {
        "format": objectives_plan.FORMAT, "limit": None, "best_guidance": 3.0,
        "dev": {scale: dev_row(score) for scale, score in dev.items()},
        "test": {"1": row(0.4, 0.2, 3.0, 1.0), "1.5": row(0.5, 0.2, 3.0), "3": row(0.6, 0.15, 2.5, 3.0)},
    }  # fmt: skip
    runs = [
        result(plan, "shapes-geneval", 0, [0.7, 0.7, 0.75], row(0.75, 0.1, 1.5)),
        result(plan, "shapes-nft", 0, [0.7, 0.8, 0.8], row(0.8, 0.18, 2.7)),
        result(plan, "shapes-nft", 1, [0.75, 0.85, 0.85], row(0.9, 0.2, 2.7), after=30.0),
    ]
    store.write_json(data / "objectives-base.json", base)
    for run in runs:
        store.write_json(data / f"objectives-{run['recipe']}-seed{run['seed']}.json", run)
    return tmp_path


def test_runs_of_other_settings_are_left_out_and_named(results):
    """Of another budget, of a recipe as it was, of one that is gone."""
    data, other = results / "data", objectives_plan.Plan(5.0, None, (), results, results / "data", "")
    gone = result(other, "shapes-nft", 2, [0.9, 0.9, 0.9], row(0.9, 0.2, 2.7))
    store.write_json(data / "objectives-shapes-nft-seed2.json", gone)
    store.write_json(data / "objectives-shapes-old-seed0.json", gone | {"recipe": "shapes-old"})
    done = CliRunner().invoke(objectives.main, ["--page", "--results", str(results)])
    assert done.exit_code == 0, done.output
    page = (results / "objectives.md").read_text()
    assert "Left out, of other settings: objectives-shapes-nft-seed2.json, objectives-shapes-old-seed0.json." in page
    assert "commit c0ffee" in page and "| shapes-nft | nft | 0, 1 |" in page and "shapes-old |" not in page
    plan = objectives_plan.Plan(12.0, 8, (), results, results / "data", "")
    with pytest.raises(ConfigError, match="the base is not there, or of other settings"):
        objectives_page.load(plan)


def test_every_recipe_can_be_trained_on_as_many_processes(plan, monkeypatch):
    """Of 8 cores 2: a recipe with bundles of 2 of 8 groups in 2 updates has 2 bundles, one with bundles of 4 too."""
    monkeypatch.setattr("flowbench.cli.train_processes.cores", lambda: 8)
    assert plan.processes == 2
    for recipe in objectives_plan.recipes():
        check_share(plan.run(recipe, 0).config, plan.processes)


def test_the_page_from_the_files_alone(results):
    (results / "objectives_conclusions.md").write_text("What is to be said.\n")
    done = CliRunner().invoke(objectives.main, ["--page", "--results", str(results)])
    assert done.exit_code == 0, done.output
    page = (results / "objectives.md").read_text()
    assert "What is to be said." in page
    table = [line for line in page.splitlines() if line.startswith("| shapes")]
    rows = {line.split(" | ")[0][2:]: line.strip("|\n ").split(" | ") for line in table}
    times = {line.split(" | ")[0][2:]: line for line in reversed(table)}
    # nft: 200 s of 10 s, and with seed 1 150 s of (10 + 30) / 2 s, on a machine whose median yardstick is 10 s
    assert "| 13.8 (7.5 to 20.0); 138 s |" in times["shapes-nft"]
    assert "| 10.0; 100 s | not reached |" in times["shapes-geneval"]
    # at the second checkpoint .8 of the layouts is kept, at the third .7
    assert times["shapes-nft"].endswith("| 0.825 (0.800 to 0.850) | 0.825 (0.800 to 0.850) |")
    assert times["shapes-geneval"].endswith("| 0.750 | 0.700 |")
    assert page.index("| shapes-nft | nft |") < page.index("| shapes-geneval | geneval |")  # the sooner one first
    assert rows["shapes-nft"][1:6] == ["1.5", "0.850", "0.850", "0.90", "0.95"]
    assert rows["shapes-nft"][6:] == ["0.0050", "+0.250 [+0.250, +0.250]", "+0.050 [+0.050, +0.050]"]
    assert rows["shapes-geneval"][4:] == ["0.50", "0.50", "0.0000", "+0.150 [+0.150, +0.150]", "–"]
    assert "differ by more than 10 %: shapes-nft seed 1 (+200%)" in page
    assert (results / "objectives.png").read_bytes()[:4] == b"\x89PNG"


def test_diversity_along_a_run(results):
    """The lower share; nothing measured is none kept, and no checkpoint that keeps enough is no score."""
    nft, _ = objectives_page.load(objectives_plan.Plan(12.0, None, (), results, results / "data", "")).outcomes
    run = json.loads(json.dumps(nft.runs[0]))
    run["curve"][0]["dev"]["1.5"]["object_color_entropy"] = 1.5
    run["curve"][1]["dev"]["1.5"]["layout_diversity"] = None
    run["curve"][2]["dev"]["1.5"] = dev_row(0.75, 0.19, 3.3)
    assert nft.path(run) == [(0.5, 0.7), (0.0, 0.8), (pytest.approx(0.95), 0.75)]
    assert nft.varied(run) == 0.75
    assert nft.varied(run | {"curve": run["curve"][:2]}) is None


def test_prompts_without_a_layout_on_one_side_take_no_part(results):
    nft, _ = objectives_page.load(objectives_plan.Plan(12.0, None, (), results, results / "data", "")).outcomes
    ours = json.loads(json.dumps(nft.runs[0]["test"]))
    ours["by_prompt"]["layout_diversity"]["tag"] |= {"p0": None, "p1": 0.04}
    pairs = objectives_page.paired_values([ours], [nft.base["test"]["1.5"]], "layout_diversity")
    assert len(pairs) == 23 and pairs[0] == (0.04, 0.2, "p1", "tag")


def test_what_is_there_is_not_made_again(plan, monkeypatch):
    made = []
    monkeypatch.setattr(objectives, "carry_out", lambda run: made.append(run.name))
    run = plan.run("shapes-nft", 0)
    store.write_json(run.file, {"digest": "of other settings", "date": "2026-01-01", "machine": {"name": "m"}})
    assert (run.result, run.state) == (None, "to do: its file is of other settings")
    assert objectives._made(run) and made == [run.name]
    store.write_json(run.file, {"digest": run.digest, "date": "2026-01-01", "machine": {"name": "m"}})
    assert run.state == "done 2026-01-01 on m"
    assert objectives._made(run) and made == [run.name]


def test_without_a_run_there_is_no_page(results):
    for path in (results / "data").glob("*seed*"):
        path.unlink()
    done = CliRunner().invoke(objectives.main, ["--page", "--results", str(results)])
    assert (done.exit_code, "no run of these settings is there yet" in done.output) == (1, True)


def test_an_unknown_seed_is_one_sentence(tmp_path):
    words = ["--seeds", "a", "--results", str(tmp_path)]
    with pytest.raises(ConfigError, match=r"no run of these has 'a'\. There are 0, 1, 2"):
        CliRunner().invoke(objectives.main, words, catch_exceptions=False)

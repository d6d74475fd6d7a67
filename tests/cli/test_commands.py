"""The commands on a tiny real pipeline: train, evaluate, compare, rank, report, check, list."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from small import SMALL

import flowbench as package
from flowbench import store

Command = Callable[..., Any]


def test_train_leaves_a_run_and_says_what_to_do_next(world: Any) -> None:
    config = yaml.safe_load((world.run / "config.yaml").read_text())
    assert config["model"]["name"] == str(world.model)
    assert config["rollout"]["groups"] == 2  # the override
    assert config["adapter"]["rank"] == 64  # the recipe that the model's flowbench.json names
    assert [line["step"] for line in store.read_jsonl(world.run / "log.jsonl")] == [1, 2]
    assert (world.run / "report.html").is_file()
    assert f"flowbench eval --ckpt {world.run} --suite shapes" in world.said
    assert f"flowbench leaderboard {world.run}-base {world.run} --suite shapes" in world.said


def test_dev_evaluation_is_logged_and_kept_apart(world: Any, flowbench: Command, tmp_path: Path) -> None:
    prompts, plugin, run = tmp_path / "mine.txt", tmp_path / "suite.py", tmp_path / "run"
    prompts.write_text("a cat\na dog\n")
    fields = f"prompt_set={str(prompts)!r}, split='dev', images_per_prompt=1, steps=2, guidance=1.0, scorers=('jpeg',)"
    plugin.write_text(f"from flowbench import benchmarks\nbenchmarks.register('mine_dev', {fields})\n")
    words = ("--model", world.model, "--prompts", prompts, "--reward", "jpeg", "--plugin", plugin, "--steps", "2")
    trained = flowbench("train", *words, "--out", run, *SMALL, "eval_every=2", "rollout.guidance=2")
    assert trained.exit_code == 0, trained.output
    first, second = store.read_jsonl(run / "log.jsonl")
    assert [name for name in first if name.startswith("eval/")] == []
    assert [name for name in second if name.startswith("eval/")] == ["eval/jpeg"]
    (dev,) = (run / "dev" / "eval").iterdir()
    summary = store.read_json(dev / "summary.json")
    assert summary["suite"] == "mine_dev"
    assert summary["card"]["declared"]["guidance"] == 2.0  # the policy's
    assert second["eval/jpeg"] == summary["metrics"]["jpeg"]["overall"]["mean"]
    assert not (run / "eval").exists()


def test_keep_best_on_a_figure_that_the_run_does_not_have(world: Any, flowbench: Command, tmp_path: Path) -> None:
    prompts, plugin = tmp_path / "mine.txt", tmp_path / "suite.py"
    prompts.write_text("a cat\n")
    fields = f"prompt_set={str(prompts)!r}, split='dev', steps=2, guidance=1.0, scorers=('jpeg', 'edge_density')"
    plugin.write_text(
        f"from flowbench import benchmarks\nbenchmarks.register('two_dev', {fields}, also_show=('edge_density',))\n"
    )
    words = (
        "--model",
        world.model,
        "--prompts",
        prompts,
        "--reward",
        "jpeg",
        "--plugin",
        plugin,
        "--out",
        tmp_path / "run",
    )
    for figure, says in (
        ("jpg", "no figure of the dev evaluation. Did you mean 'jpeg'?"),
        ("edge_density", "more is not better"),
    ):
        result = flowbench("train", *words, *SMALL, "eval_every=1", f"keep_best={figure}")
        assert result.exit_code == 2 and says in result.stderr, result.output
    assert not (tmp_path / "run").exists()


def test_dev_evaluation_needs_a_suite(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a cat\n")
    words = ("--model", world.model, "--prompts", tmp_path / "other.txt", "--reward", "jpeg", "--out", tmp_path / "run")
    result = flowbench("train", *words, *SMALL, "eval_every=1")
    assert result.exit_code == 2
    assert "no suite measures the dev split" in result.stderr
    assert not (tmp_path / "run").exists()


def test_resume_takes_more_steps_and_nothing_else(world: Any, flowbench: Command, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "moved"
    shutil.copytree(world.run, run)
    again = flowbench("train", "--resume", run, "--steps", "3")
    assert again.exit_code == 0, again.output
    assert [line["step"] for line in store.read_jsonl(run / "log.jsonl")] == [1, 2, 3]
    before, after = ((folder / "log.jsonl").read_text().split("\n")[0] for folder in (world.run, run))
    assert before == after
    refused = flowbench("train", "--resume", run, "--seed", "0")
    assert refused.exit_code == 2
    assert refused.stderr == "error: --resume goes on with the run's own settings: leave out --seed.\n"


def test_eval_takes_the_guidance_of_the_policy_and_of_the_model(world: Any) -> None:
    def guidances(folder: Path) -> list[float]:
        cards = [store.read_json(path) for path in folder.glob("eval/*/card.json")]
        return sorted(card["declared"]["guidance"] for card in cards)

    assert guidances(world.run) == [1.0]  # the run's rollouts had none
    assert guidances(world.base) == [1.0, 3.0]  # 3.0: flowbench.json


def test_eval_labels_tell_the_rows_apart(world: Any) -> None:
    labels = {store.read_json(path)["label"] for path in world.base.glob("eval/*/summary.json")}
    assert labels == {"tiny, no guidance", "tiny, guidance 3"}
    assert store.read_json(next(world.run.glob("eval/*/summary.json")))["label"] == "first step-000002"


def test_eval_of_a_checkpoint_goes_into_its_run(world: Any, flowbench: Command) -> None:
    checkpoint = world.run / "checkpoints" / "step-000002"
    words = ("--suite", "shapes_dev", "--limit", "1", "--steps", "2", "--format", "json")
    result = flowbench("eval", "--ckpt", checkpoint, *words)
    (summary,) = json.loads(result.stdout)
    assert summary["label"] == "first step-000002"
    (folder,) = (world.run / "eval").glob("shapes_dev-*")
    assert result.stderr == f"evaluation: {folder}\n"
    import shutil

    shutil.rmtree(folder)


def test_an_adapter_without_its_run_has_a_name_of_its_own(world: Any, flowbench: Command, tmp_path: Path) -> None:
    for name in ("adapter_config.json", "pytorch_lora_weights.safetensors"):
        store.write_bytes(tmp_path / "shared" / name, (world.run / "checkpoints" / "step-000002" / name).read_bytes())
    words = ("--suite", "shapes_dev", "--limit", "1", "--steps", "2", "--guidance", "1", "--format", "json")
    result = flowbench("eval", "--ckpt", tmp_path / "shared", *words, "--out", tmp_path / "out")
    (summary,) = json.loads(result.stdout)
    assert summary["label"] == "shared, no guidance"


def test_eval_again_makes_no_picture_twice(world: Any, flowbench: Command) -> None:
    (folder,) = (world.run / "eval").iterdir()
    before = {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    result = flowbench("eval", "--ckpt", world.run, "--suite", "shapes", "--limit", "6", "--steps", "2")
    assert result.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()} == before
    assert len(before) == 24
    for word in ("official", "exclusive", "single_object", "position"):
        assert word in result.stdout


def test_compare_is_candidate_minus_baseline(world: Any, flowbench: Command) -> None:
    (ours,) = (world.run / "eval").glob("shapes-*")
    theirs = next(path.parent for path in world.base.glob("eval/*/card.json") if _guidance(path) == 1.0)
    result = flowbench("compare", ours, theirs, "--metric", "extras", "--format", "json")
    lines = json.loads(result.stdout)
    overall = next(line for line in lines if line["tag"] is None)
    means = [store.read_json(each / "summary.json")["metrics"]["extras"]["overall"]["mean"] for each in (ours, theirs)]
    assert overall["candidate"] == means[0]
    assert overall["paired"]["difference"] == pytest.approx(means[0] - means[1])
    assert {line["metric"] for line in lines} == {"extras"}


def test_compare_across_guidances_must_be_allowed(world: Any, flowbench: Command) -> None:
    (ours,) = (world.run / "eval").glob("shapes-*")
    theirs = next(path.parent for path in world.base.glob("eval/*/card.json") if _guidance(path) == 3.0)
    refused = flowbench("compare", ours, theirs)
    assert refused.exit_code == 2
    assert "guidance: 1.0 and 3.0" in refused.stderr
    assert flowbench("compare", ours, theirs, "--allow-mismatch").exit_code == 0


def test_leaderboard_measures_gains_against_the_better_base(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (board,) = json.loads(flowbench("leaderboard", world.run, world.base, "--format", "json").stdout)
    assert [row["is_base"] for row in board["rows"]] == [True, True, False]
    headline = {row["label"]: row["metrics"]["official"]["overall"]["mean"] for row in board["rows"]}
    assert headline[board["baseline"]] == max(value for name, value in headline.items() if name != "first step-000002")
    named = flowbench("leaderboard", world.run, "--base", world.base, "--format", "json")
    assert [row["label"] for row in json.loads(named.stdout)[0]["rows"]] == [row["label"] for row in board["rows"]]
    table = tmp_path / "table.md"
    assert flowbench("leaderboard", world.run, "--base", world.base, "--out", table).stdout == f"wrote {table}\n"
    assert "| first step-000002 | 1 | 2 |" in table.read_text()


def test_leaderboard_makes_one_table_per_suite(world: Any, flowbench: Command) -> None:
    out = world.base.parent / "dev"
    flowbench("eval", "--ckpt", world.model, "--suite", "shapes_dev", "--limit", "1", "--steps", "2", "--out", out)
    boards = json.loads(flowbench("leaderboard", world.base, out, "--format", "json").stdout)
    assert [(board["suite"], len(board["rows"])) for board in boards] == [("shapes", 2), ("shapes_dev", 1)]
    only = json.loads(flowbench("leaderboard", world.base, out, "--suite", "shapes_dev", "--format", "json").stdout)
    assert [board["suite"] for board in only] == ["shapes_dev"]


def test_report_holds_the_run_and_its_base(world: Any, flowbench: Command) -> None:
    result = flowbench("report", world.run, "--base", world.base)
    assert result.stdout == f"{world.run / 'report.html'}\n"
    page = (world.run / "report.html").read_text()
    assert "tiny, guidance 3" in page
    assert "data:image/png;base64" in page


@pytest.mark.parametrize("words", [["list", "rewards"], ["score", "pictures", "--reward", "jpeg", "--out", "scored"]])
def test_nothing_that_computes_without_torch_imports_it(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    program = (
        "import sys\nfrom flowbench.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_doctor_policy_says_what_it_checked(world: Any, flowbench: Command) -> None:
    no_window = ("rollout.window=null", "rollout.window_range=null")
    result = flowbench("doctor", "policy", "--model", world.model, *SMALL, *no_window)
    assert result.exit_code == 0, result.output
    assert "points compared: 3, largest |ratio - 1|: 0\n" in result.stdout  # 4 steps, all but the last
    assert "(cpu, float32)" in result.stdout or "(cuda" in result.stdout
    assert result.stdout.endswith("the policy is sound\n")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("rewards", "jpeg"),
        ("objectives", "nft"),
        ("objectives", "mixgrpo"),
        ("suites", "shapes_dev"),
        ("prompts", "shapes"),
        ("recipes", "sd35-geneval"),
        ("models", "shapes"),
    ],
)
def test_list_names_what_there_is(kind: str, name: str) -> None:
    # In a process of its own: other tests register rewards and suites in this one.
    listed = subprocess.run(
        [sys.executable, "-m", "flowbench", "list", kind], capture_output=True, text=True, check=True
    )
    lines = listed.stdout.splitlines()
    assert name in [line.split("  ")[0] for line in lines]
    assert all(len(line.split("  ", 1)) == 2 for line in lines)  # each with a word about it


def test_show_gives_every_thing_of_that_name(flowbench: Command) -> None:
    shown = flowbench("show", "shapes").stdout
    assert "suite shapes\n" in shown
    assert "prompt set shapes\n" in shown
    assert "headline: official" in shown
    geneval = flowbench("show", "geneval").stdout
    assert "extra_price=0.0" in geneval
    assert "official (share; higher is better)" in geneval and "extras (objects a picture; lower is better)" in geneval
    assert "parts" not in flowbench("show", "jpeg").stdout
    assert "objective.behaviour_decay: 0.5" in flowbench("show", "nft").stdout
    mixed = flowbench("show", "mixgrpo").stdout
    assert "licence: its public code is under a custom licence" in mixed
    assert "objective.name: flow_grpo" in mixed and "rollout.window_schedule: progressive" in mixed
    assert "clip_range: 1.0e-5" in flowbench("show", "sd35-geneval-fast").stdout


def test_version_names_the_packages(flowbench: Command) -> None:
    assert flowbench("--version").stdout == f"flowbench, version {package.__version__}\n"
    said = flowbench("version").stdout
    assert said.startswith(f"flowbench {package.__version__}\n")
    assert "\ntorch 2." in said


def test_a_plugin_file_brings_a_reward_to_every_command(world: Any, flowbench: Command, tmp_path: Path) -> None:
    plugin = tmp_path / "redness.py"
    plugin.write_text(
        "from flowbench import Score\n"
        "from flowbench.rewards import register\n\n"
        "@register('redness')\n"
        "def redness(*, scale: float = 1.0):\n"
        "    '''How red a picture is.'''\n"
        "    def score(samples):\n"
        "        return [Score(scale * sample.image.resize((1, 1)).getpixel((0, 0))[0] / 255) for sample in samples]\n"
        "    return score\n"
    )
    assert "How red a picture is." in flowbench("list", "rewards", "--plugin", plugin).stdout
    settings = flowbench("train", "--plugin", plugin, "--reward", "redness=1,jpeg=0", "--print-config").stdout
    assert yaml.safe_load(settings)["reward"]["name"] == {"redness": 1.0, "jpeg": 0.0}
    run = tmp_path / "run"
    words = ("--model", world.model, "--reward", "redness", "--plugin", plugin, "--steps", "1", "--out", run, *SMALL)
    trained = flowbench("train", *words)
    assert trained.exit_code == 0, trained.output
    (line,) = store.read_jsonl(run / "log.jsonl")
    assert 0 < line["reward/mean"] < 1


def _guidance(card: Path) -> float:
    return float(store.read_json(card)["declared"]["guidance"])

"""`flowbench eval` beyond one model on one suite: pictures of others, stages, shares, other scorers, files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flowbench import store

Command = Callable[..., Result]
FEW = ("--suite", "shapes", "--limit", "6", "--steps", "2")


@pytest.fixture(scope="module")
def evaluated(world: Any) -> Path:
    """The base's evaluation at guidance 3."""
    cards = world.base.glob("eval/*/card.json")
    return next(path.parent for path in cards if store.read_json(path)["declared"]["guidance"] == 3.0)


def result_of(out: Path) -> dict[str, Any]:
    (summary,) = out.glob("eval/*/summary.json")
    found: dict[str, Any] = store.read_json(summary)
    return found


def test_other_scorers_with_options(world: Any, flowbench: Command, tmp_path: Path) -> None:
    words = ("--ckpt", world.model, *FEW, "--out", tmp_path, "--metric", "jpeg,saturation", "jpeg.larger=true")
    done = flowbench("eval", *words)
    assert done.exit_code == 0, done.output
    summary = result_of(tmp_path)
    assert [each["name"] for each in summary["scorers"]] == ["jpeg", "saturation"]
    assert summary["metrics"]["jpeg"]["overall"]["mean"] > 0  # plus the size in kB
    assert (summary["metrics"]["jpeg"]["unit"], summary["metrics"]["saturation"]["direction"]) == ("kB", "none")
    options = summary["card"]["must_agree"]["scorers"]["jpeg"]["options"]
    assert options["larger"] is True


def test_the_solver_of_the_command_line_makes_other_pictures(
    world: Any, evaluated: Path, flowbench: Command, tmp_path: Path
) -> None:
    done = flowbench("eval", "--ckpt", world.model, *FEW, "--solver", "heun", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    card, before = result_of(tmp_path)["card"], store.read_json(evaluated / "card.json")
    assert card["declared"] == before["declared"] | {"sampler": "ode heun"}
    assert (before["declared"]["sampler"], before["noted"]["model_calls_per_picture"]) == ("ode euler", 2)
    assert card["noted"]["model_calls_per_picture"] == 3
    (folder,) = tmp_path.glob("eval/shapes-*")
    names = [path.name for path in (evaluated / "images").iterdir()]
    assert all((folder / "images" / name).read_bytes() != (evaluated / "images" / name).read_bytes() for name in names)
    refused = flowbench("compare", folder, evaluated)
    assert refused.exit_code == 2 and "they differ in sampler: ode heun and ode euler" in refused.stderr


def test_several_suites_in_one_call(world: Any, flowbench: Command, tmp_path: Path) -> None:
    words = ("--ckpt", world.model, "--suite", "shapes,shapes_dev", "--limit", "2", "--steps", "1", "--out", tmp_path)
    done = flowbench("eval", *words)
    assert done.exit_code == 0, done.output
    assert {path.parent.name.split("-")[0] for path in tmp_path.glob("eval/*/summary.json")} == {"shapes", "shapes_dev"}
    assert "shapes: tiny" in done.stdout
    assert "shapes_dev: tiny" in done.stdout


def test_pictures_of_a_closed_model(evaluated: Path, flowbench: Command, tmp_path: Path) -> None:
    """An evaluation's own pictures, given back as a table, get the same verdicts."""
    records = store.read_jsonl(evaluated / "records.jsonl")
    rows = [f'{evaluated / record["image"]},"{record["prompt"]}"' for record in records]
    table = tmp_path / "closed.csv"
    table.write_text("image,prompt\n" + "\n".join(rows) + "\n")
    done = flowbench("eval", "--images", table, "--suite", "shapes", "--limit", "6", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    summary, before = result_of(tmp_path / "run"), store.read_json(evaluated / "summary.json")
    for metric in ("official", "partial"):
        assert summary["metrics"][metric]["overall"] == before["metrics"][metric]["overall"]
    assert summary["label"] == "closed"
    refused = flowbench("compare", tmp_path / "run", evaluated)
    assert refused.exit_code == 2
    assert "guidance: None and 3.0" in refused.stderr
    assert flowbench("compare", tmp_path / "run", evaluated, "--allow-mismatch").exit_code == 0


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        (("--ckpt", "shapes", "--images", "."), "not both"),
        (("--images", ".", "--guidance", "3"), "--guidance is for a model"),
        (("--images", ".", "--solver", "heun"), "--solver is for a model"),
        (("--ckpt", "shapes", "--stage", "scor"), "no stage 'scor'"),
        (("--ckpt", "shapes", "--shard", "1/2"), "one stage at a time"),
        (("--ckpt", "shapes", "--shard", "3/2", "--stage", "score"), "'3/2' is no share. Write I/N"),
        (("--ckpt", "shapes", "--metric", "jpg"), "Did you mean 'jpeg'?"),
        (("--ckpt", "shapes", "jpeg.larger=true"), "'jpeg' is not in use. In use: geneval"),
        (("--ckpt", "shapes", "geneval.price=1"), "no option 'price'"),
        (("--ckpt", "shapes", "--prompts", "none.txt"), "there is no such file"),
        (("--ckpt", "shapes", "--prompts", "geneval3"), "unknown prompt set 'geneval3'"),
        (("--ckpt", "shapes", "--suite", "dpg"), "--suite drawbench --prompts dpg --metric NAME"),
        (("--ckpt", "shapes", "--suite", "geneval2"), "'geneval2' is a set of prompts without a suite"),
    ],
)
def test_mistakes(words: tuple[str, ...], needle: str, flowbench: Command, evaluated: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(evaluated / "images")
    done = flowbench("eval", "--suite", "shapes", *words)
    assert done.exit_code == 2
    assert needle in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_stages_and_an_evaluation_without_its_model(world: Any, flowbench: Command, tmp_path: Path) -> None:
    done = flowbench("eval", "--ckpt", world.model, *FEW, "--out", tmp_path, "--stage", "generate")
    assert (done.exit_code, done.stdout) == (0, "")
    (folder,) = (tmp_path / "eval").iterdir()
    assert done.stderr == f"evaluation: {folder} (24 of 24 pictures are there)\n"
    assert not (folder / "scores").exists()
    unfinished = flowbench("report", folder)
    assert (unfinished.exit_code, "this evaluation is not finished" in unfinished.stderr) == (2, True)
    assert flowbench("report", tmp_path).stderr == unfinished.stderr
    scored = flowbench("eval", "--ckpt", folder)  # the model is not read
    assert scored.exit_code == 0, scored.output
    assert result_of(tmp_path)["metrics"]["official"]["overall"]["count"] == 24
    again = flowbench("eval", "--ckpt", folder, "--metric", "jpeg", "--label", "named")
    assert again.exit_code == 0, again.output
    summary = result_of(tmp_path)
    assert (summary["label"], summary["headline"]) == ("named", "official")  # others give no other headline
    assert [each["name"] for each in summary["scorers"]] == ["geneval", "jpeg"]


def test_shares_and_a_stage_without_pictures(world: Any, flowbench: Command, tmp_path: Path) -> None:
    words = ("eval", "--ckpt", world.model, "--suite", "shapes", "--limit", "5", "--steps", "1", "--out", tmp_path)
    nothing = flowbench(*words, "--stage", "score")
    assert nothing.exit_code == 2
    assert "nothing to score: 0 of 20 pictures are made" in nothing.stderr
    (folder,) = (tmp_path / "eval").iterdir()
    share = flowbench(*words, "--stage", "generate", "--shard", "1/2", "--batch-size", "8")
    assert share.stderr == f"evaluation: {folder} (12 of 20 pictures are there)\n"  # of batches of 8, 8 and 4


def test_a_suite_beside_reference_pictures(
    evaluated: Path, flowbench: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    """Named on the command line or by the suite; the number is that of the metric itself."""
    from flowbench import metrics
    from flowbench.rewards import Card
    from flowbench.types import Score

    def sides(samples: Any, reference: Any) -> Score:
        return Score(100.0 * len(samples) + len(reference))

    sides_of: Any = lambda: sides  # noqa: E731 - a factory without options
    sides_of.level = "set"
    monkeypatch.setitem(metrics.registry._targets, "sides", sides_of)
    monkeypatch.setitem(metrics.registry._cards, "sides", Card("sides", direction="lower"))
    words = ("eval", "--images", evaluated / "images", "--out", tmp_path, "--metric", "jpeg,sides")
    needed = flowbench(*words, "--suite", "shapes", "--limit", "6")
    assert (needed.exit_code, "metric 'sides' compares with reference pictures" in needed.stderr) == (2, True)
    done = flowbench(*words, "--suite", "shapes", "--limit", "6", "--reference", evaluated / "images")
    assert done.exit_code == 0, done.output
    assert result_of(tmp_path)["metrics"]["sides"]["overall"]["mean"] == 2424.0
    (folder,) = (tmp_path / "eval").iterdir()
    gallery = flowbench("report", folder)
    assert gallery.exit_code == 0, gallery.output
    assert "--reference REFERENCE" in (folder / "gallery.html").read_text()
    useless = flowbench("eval", "--images", evaluated / "images", "--suite", "shapes", "--reference", tmp_path)
    assert (useless.exit_code, "--reference has no use here" in useless.stderr) == (2, True)


def test_metrics_of_the_built_in_world_need_no_reference(evaluated: Path, flowbench: Command, tmp_path: Path) -> None:
    """On the pictures that the prompts ask for, rendered; the numbers are those of the metrics themselves."""
    import numpy

    from flowbench import metrics, prompts
    from flowbench.shapes.world import render, sample_scene
    from flowbench.types import Sample

    rng, asked = numpy.random.default_rng(0), {each.text: each for each in prompts.load("shapes", "test")}
    samples = []
    for record in store.read_jsonl(evaluated / "records.jsonl"):
        samples.append(Sample(asked[record["prompt"]], render(sample_scene(asked[record["prompt"]].metadata, rng))))
        path = tmp_path / record["image"]
        path.parent.mkdir(exist_ok=True)
        samples[-1].image.save(path)
    words = ("--images", tmp_path / "images", "--suite", "shapes", "--limit", "6", "--out", tmp_path)
    done = flowbench("eval", *words, "--metric", "object_color_entropy,layout_diversity")
    assert done.exit_code == 0, done.output
    found = result_of(tmp_path)["metrics"]
    (colors,) = metrics.build("object_color_entropy")(samples)
    layouts = [each.score.value for each in metrics.build("layout_diversity")(samples)]
    assert found["object_color_entropy"]["overall"]["mean"] == pytest.approx(colors.score.value) != 0
    assert found["layout_diversity"]["overall"]["mean"] == pytest.approx(numpy.mean(layouts)) != 0
    (folder,) = (tmp_path / "eval").iterdir()
    assert flowbench("report", folder).exit_code == 0
    assert "--reference" not in (folder / "gallery.html").read_text()
    useless = flowbench("eval", *words, "--metric", "object_color_entropy", "--reference", evaluated / "images")
    assert (useless.exit_code, "--reference has no use here" in useless.stderr) == (2, True)


def test_another_kind_of_interval_over_the_same_pictures(
    world: Any, evaluated: Path, flowbench: Command, tmp_path: Path
) -> None:
    words = ("eval", "--ckpt", world.model, *FEW, "--out", tmp_path, "--images-per-prompt", "1")
    assert flowbench(*words).exit_code == 0
    done = flowbench(*words, "--interval", "bca")
    assert done.exit_code == 0, done.output
    summary = result_of(tmp_path)  # one folder
    assert {entry["overall"]["method"] for entry in summary["metrics"].values()} == {"bca"}
    (folder,) = (tmp_path / "eval").iterdir()
    kept = flowbench("eval", "--ckpt", folder, "--metric", "jpeg")  # an evaluation keeps its own
    assert kept.exit_code == 0, kept.output
    assert result_of(tmp_path)["metrics"]["jpeg"]["overall"]["method"] == "bca"
    refused = flowbench(*words, "--interval", "bayes")
    assert refused.exit_code == 2


def test_an_evaluation_of_another_format_is_refused_in_a_sentence(
    evaluated: Path, flowbench: Command, tmp_path: Path
) -> None:
    import shutil

    old = tmp_path / "run" / "eval" / evaluated.name
    shutil.copytree(evaluated, old)
    for name in ("card.json", "summary.json"):
        tree = store.read_json(old / name)
        for part in (tree, tree.get("card", {})):
            part.pop("format", None)
        store.write_json(old / name, tree)
    for words in (
        ("compare", old, evaluated),
        ("leaderboard", tmp_path / "run"),
        ("report", old),
        ("eval", "--ckpt", old),
    ):
        done = flowbench(*words)
        assert done.exit_code == 2, done.output
        assert "was written by an earlier flowbench" in done.stderr and "Evaluate again" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_registered_prompt_set_under_a_suites_protocol(world: Any, flowbench: Command, tmp_path: Path) -> None:
    words = ("--ckpt", world.model, "--suite", "ocr", "--prompts", "shapes", "--metric", "jpeg", "--out", tmp_path)
    done = flowbench("eval", *words, "--steps", "1", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert result_of(tmp_path)["card"]["must_agree"]["prompt_set"].startswith("shapes")


@pytest.mark.parametrize("name", ["eval/shapes-typo", "first", "runs/k/eval/shapes-typo"])
def test_a_path_that_is_not_there_is_named_before_a_suite_is_missed(
    name: str, flowbench: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "eval" / "shapes-1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    done = flowbench("eval", "--ckpt", name)
    assert done.exit_code == 2
    assert f"--ckpt {name}: there is no such folder." in done.stderr
    assert ("Did you mean 'shapes-1'?" in done.stderr) == (name == "eval/shapes-typo")


def test_prompts_of_ones_own_and_a_suite_of_ones_own(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a cat\na dog\n")
    words = ("--ckpt", world.model, "--steps", "1")
    failed = flowbench("eval", *words, "--suite", "ocr", "--metric", "jpeg", "--prompts", tmp_path / "mine.txt",
                       "--out", tmp_path / "c", "--stage", "summarise")  # fmt: skip
    assert failed.exit_code == 2
    assert "note:" not in failed.stderr
    own = flowbench("eval", *words, "--suite", "ocr", "--metric", "jpeg", "--prompts", tmp_path / "mine.txt",
                    "--images-per-prompt", "3", "--out", tmp_path / "a")  # fmt: skip
    assert own.exit_code == 0, own.output
    assert "note: ocr is reported at 512 pixels; these pictures have 16." in own.stderr
    assert result_of(tmp_path / "a")["images"] == 6
    (tmp_path / "posters.yaml").write_text("prompt_set: mine.txt\nsteps: 2\nguidance: 1\nscorers: [jpeg]\n")
    suite = flowbench("eval", *words, "--suite", tmp_path / "posters.yaml", "--out", tmp_path / "b")
    assert suite.exit_code == 0, suite.output
    summary = result_of(tmp_path / "b")
    assert (summary["suite"], summary["images"], summary["headline"]) == ("posters", 8, "jpeg")


def test_what_did_not_run_is_said_and_the_rest_is_shown(
    world: Any, flowbench: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ("--ckpt", world.model, *FEW, "--out", tmp_path, "--metric", "jpeg,aesthetic")
    done = flowbench("eval", *words)
    assert done.exit_code == 0, done.output
    assert "'clip-vit-l-14' is not here" in " ".join(done.stdout.split())  # below the table, once
    assert "not run" not in done.stderr
    plain = flowbench("eval", *words, "--format", "csv")
    assert "not run: aesthetic: 'clip-vit-l-14' is not here" in plain.stderr
    assert [each["status"] for each in result_of(tmp_path)["scorers"]] == ["scored", "not run"]
    none = flowbench("eval", *words[:-1], "aesthetic")
    assert none.exit_code == 2
    assert "'clip-vit-l-14' is not here" in none.stderr


@pytest.mark.alone
@pytest.mark.slow
def test_two_processes_make_the_same_evaluation(world: Any, evaluated: Path, tmp_path: Path) -> None:
    words = ["eval", "--ckpt", str(world.model), *FEW, "--out", str(tmp_path), "--processes", "2", "--batch-size", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "flowbench", *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "eval").iterdir()
    assert folder.name == evaluated.name
    for metric, entry in store.read_json(evaluated / "summary.json")["metrics"].items():
        assert result_of(tmp_path)["metrics"][metric] == entry
    assert len(list((folder / "scores").iterdir())) == 2
    failed = subprocess.run(
        [sys.executable, "-m", "flowbench", *words, "--limit", "7", "--metric", "broken"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert failed.returncode == 2
    assert "unknown reward or metric 'broken'" in failed.stderr


def test_drawbench_with_its_four_scorers(
    world: Any, flowbench: Command, tmp_path: Path, tiny_weights: Path, monkeypatch: Any
) -> None:
    """Its protocol on made-up prompts in its format, through the real loaders of four networks, only smaller."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for weights in tiny_weights.iterdir():
        (mirror / weights.name).symlink_to(weights)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(mirror))
    rows = [f"A made-up scene {number},{'Colors' if number % 2 else 'Counting'}" for number in range(200)]
    (mirror / "prompts-drawbench").mkdir()
    (mirror / "prompts-drawbench" / "DrawBench Prompts - Sheet1.csv").write_text("\n".join(["Prompts,Category", *rows]))
    words = ("--suite", "drawbench", "--limit", "40", "--steps", "1")
    for ckpt, out in ((world.model, "base"), (world.run, "trained")):
        done = flowbench("eval", "--ckpt", ckpt, *words, "--guidance", "1", "--out", tmp_path / out)
        assert done.exit_code == 0, done.output
        assert "40 prompts x 1 picture; overall" in done.stdout
    summary = result_of(tmp_path / "trained")
    assert (summary["headline"], summary["images"]) == ("imagereward", 40)
    assert {name: entry["unit"] for name, entry in summary["metrics"].items()} == {
        "aesthetic": "LAION aesthetic v2 points",
        "imagereward": "standard deviations",
        "pickscore": "logit scale x cosine",
        "hpsv2.1": "cosine",
    }
    for name, scorer in summary["card"]["must_agree"]["scorers"].items():
        assert scorer["weights"], name
        overall = summary["metrics"][name]["overall"]
        assert overall["count"] == 40
        assert overall["low"] < overall["mean"] < overall["high"]
    compared = flowbench("compare", tmp_path / "trained", tmp_path / "base", "--format", "csv")
    assert compared.exit_code == 0, compared.output
    ranked = flowbench("leaderboard", tmp_path / "trained", tmp_path / "base", "--published", "drawbench")
    assert ranked.exit_code == 0, ranked.output
    assert "SD3.5-M + Flow-GRPO on GenEval, KL" in ranked.stdout
    noted = [result_of(tmp_path / out)["card"]["noted"].get("trained_on") for out in ("base", "trained")]
    assert noted == [None, ["geneval"]]  # though neither lies in its run

"""What --ckpt and --images mean, and what a source adds to what nobody asked for."""

from __future__ import annotations

import shutil

import pytest
from painter import Painter, make_suite
from PIL import Image

from flowbench import benchmarks
from flowbench.benchmarks.sources import ExistingSource, ModelSource, PictureSource, RecordedSource
from flowbench.config import load_config
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.evals import load_results
from flowbench.run_config import sealed_text

NOTHING = dict.fromkeys(("guidance", "label", "out", "steps", "solver", "limit", "interval"))


@pytest.fixture
def run(tmp_path):
    """A run's folder, as far as names go: its configuration and two checkpoints."""
    folder = tmp_path / "runs" / "mine"
    for name in ("step-000010", "step-000020"):
        (folder / "checkpoints" / name).mkdir(parents=True)
    (folder / "config.yaml").write_text(sealed_text(load_config("shapes-geneval", ["rollout.guidance=2.5"])))
    (folder / "checkpoints" / "latest").write_text("step-000020\n")
    return folder


def test_a_run_brings_its_guidance_its_folder_and_the_name_of_its_newest_checkpoint(run):
    source = PictureSource.find(str(run), None)
    assert isinstance(source, ModelSource)
    assert source.settings(NOTHING) == NOTHING | {"guidance": 2.5, "label": "mine step-000020", "out": str(run)}
    asked = NOTHING | {"guidance": 1.0, "label": "another", "out": "elsewhere"}
    assert source.settings(asked) == asked


def test_a_checkpoint_belongs_to_its_run(run):
    checkpoint = run / "checkpoints" / "step-000010"
    found = PictureSource.find(str(checkpoint), None).settings(NOTHING)
    assert (found["guidance"], found["label"], found["out"]) == (2.5, "mine step-000010", str(run))


def test_a_name_in_a_folder_of_checkpoints_is_no_checkpoint(run, monkeypatch):
    monkeypatch.chdir(run / "checkpoints")
    source = PictureSource.find("shapes", None)
    source._take(Painter(run / "diary"))
    source.model.guidance = 3.0
    found = source.settings(NOTHING)
    assert (found["label"], found["out"]) == ("painter, guidance 3", "runs/eval-shapes")


def test_pictures_know_no_steps_no_guidance_and_no_solver(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "0.png")
    source = PictureSource.find(None, str(folder))
    assert isinstance(source, ExistingSource)
    assert source.settings(NOTHING) == NOTHING | {"label": "closed", "out": "runs/eval-closed"}
    for name in ("guidance", "steps", "solver"):
        with pytest.raises(ConfigError, match=f"--{name} is for a model"):
            source.settings(NOTHING | {name: 3})


def test_an_evaluation_brings_all_that_finds_it_again(tmp_path):
    suite = make_suite(tmp_path)
    painter = Painter(tmp_path / "diary.jsonl")
    protocol = {"guidance": 2.0, "steps": 3, "solver": "heun", "limit": 7, "seed": 5, "interval": "bca",
                "images_per_prompt": 2}  # fmt: skip
    folder = benchmarks.evaluate(painter, suite, out=tmp_path, label="mine", **protocol)
    source = PictureSource.find(str(folder), None)
    assert isinstance(source, RecordedSource)
    assert source.suites() == ["painting"]
    interval = protocol.pop("interval")
    assert source.settings({}) == protocol | {"label": "mine", "out": tmp_path}
    assert source.settings({"interval": "analytic", "label": "yours"})["interval"] == "analytic"
    again = benchmarks.evaluate(source, suite, **source.settings({"interval": None}))
    assert again == folder and load_results(again).interval("official").method == interval
    with pytest.raises(ConfigError, match=r"--limit: .* has its own"):
        source.settings({"limit": 3})
    with pytest.raises(ConfigError, match=r"--solver: .* has its own"):
        source.settings({"solver": "euler"})
    shutil.rmtree(folder / "images")
    with pytest.raises(RunError, match="holds no pictures"):
        PictureSource.find(str(folder), None)


def test_one_of_the_two_has_to_be_named_and_be_there(tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        PictureSource.find("shapes", str(tmp_path))
    with pytest.raises(ConfigError, match="say what to evaluate"):
        PictureSource.find(None, None)
    with pytest.raises(MissingFile, match=r"Did you mean 'shapes'\?"):
        PictureSource.find("shaps", None)
    with pytest.raises(MissingFile, match="there is no such folder"):
        PictureSource.find(str(tmp_path / "none" / "of" / "these"), None)
    assert isinstance(PictureSource.find("somebody/a-model", None), ModelSource)  # a hub id, read when it is loaded

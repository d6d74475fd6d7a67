"""The three ways in for a reward of one's own: a package with an entry point, a plugin file, the decorator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from flowbench import rewards
from flowbench.errors import ConfigError, MissingFile
from flowbench.registry import load_plugin_file
from flowbench.types import Prompt, Sample, Score

REPOSITORY = Path(__file__).parents[2]

USE_IT = """
import json, sys
from PIL import Image
from flowbench import Prompt, Sample, rewards
names = rewards.registry.names()
lazy = "flowbench_brightness" not in sys.modules
reward = rewards.build({"brightness": 1.0, "jpeg": 0.0}, options={"brightness": {"target": 0.5}})
scores = reward([Sample(Prompt("p", "light"), Image.new("RGB", (4, 4), color)) for color in ("black", "white")])
print(json.dumps({"names": names, "lazy": lazy, "unit": reward.parts["brightness"].card.unit,
                  "values": [score.value for score in scores], "heavy": "torch" in sys.modules}))
"""

PLUGIN = """
from flowbench import Score
from flowbench.rewards import register

@register("from_a_file")
def factory(*, value: float = 0.25):
    return lambda samples: [Score(value)] * len(samples)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """tests/plugin_package, really installed (offline) into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(REPOSITORY / "tests" / "plugin_package", folder / "source")  # pip builds in its source
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder / "site"), str(source)], check=True, capture_output=True)
    return folder / "site"


def run_python(code, *path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_installed_package_is_seen_and_used(site):
    seen = run_python(USE_IT, REPOSITORY, site)
    assert "brightness" in seen["names"] and "geneval" in seen["names"]
    assert seen["lazy"], "listing names must not import the plugin"
    assert seen["unit"] == "share of white"
    assert seen["values"] == [0.5, 0.5]
    assert not seen["heavy"], "building light rewards must not import torch"


def test_without_the_package_there_is_no_such_reward():
    names = "import json; from flowbench import rewards; print(json.dumps(rewards.registry.names()))"
    assert "brightness" not in run_python(names, REPOSITORY)


def score_one(reward):
    return reward([Sample(Prompt("p", "a thing"), Image.new("RGB", (4, 4)))])


def test_a_plugin_file(tmp_path, keep_registry, monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN, encoding="utf-8")
    load_plugin_file(path)
    load_plugin_file(path)  # a second time changes nothing
    assert score_one(rewards.build("from_a_file")) == [Score(0.25)]
    with pytest.raises(ConfigError, match="no option 'valu'"):
        rewards.build("from_a_file", options={"from_a_file": {"valu": 1}})
    with pytest.raises(MissingFile):
        load_plugin_file(tmp_path / "none.py")


def test_the_decorator(keep_registry):
    @rewards.register("decorated", card=rewards.Card("decorated", "Ones.", "ones"))
    def factory():
        return lambda samples: [Score(1.0)] * len(samples)

    reward = rewards.build("decorated")
    assert score_one(reward) == [Score(1.0)]
    assert reward.card.unit == "ones"
    assert factory is rewards.registry.get("decorated")

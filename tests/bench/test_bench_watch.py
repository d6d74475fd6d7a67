"""bench/watch.py: its runs can be begun, what is there is not made again, and the page from made-up files."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy
import pytest
from click.testing import CliRunner
from PIL import Image

from flowbench import store
from flowbench.config import load_config
from flowbench.metrics.signals import SIGNALS
from flowbench.registry import load_plugin_file
from flowbench.rewards import build
from flowbench.trainer.monitor import judges
from flowbench.types import Prompt, Sample

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import watch


@pytest.fixture(scope="module", autouse=True)
def plugin():
    load_plugin_file(watch.PLUGIN)


@pytest.mark.parametrize("hack", watch.HACKS, ids=lambda hack: hack.signal)
def test_every_hack_can_be_begun_and_its_signal_is_one(hack, tmp_path):
    words = watch._words(hack, tmp_path)
    config = load_config(words[0], words[3:])  # without --out FOLDER
    judges.check(config)
    held_out = [*config.monitor.held_out, *([judges.GAP] if judges.gold_of(config) else [])]
    assert hack.name in [*(signal.name for signal in SIGNALS), *held_out]


def test_every_signal_has_a_hack():
    assert {signal.name for signal in SIGNALS} | {"held_out", judges.GAP} == {hack.signal for hack in watch.HACKS}


def test_what_the_hacks_are_paid_for_by_hand():
    """Half black, half white: 64 of 1,024 pixels are on the edge. A red picture is saturated, and nothing repeats."""
    halves = numpy.zeros((32, 32, 3), numpy.uint8)
    halves[:, 16:] = 255
    red = Image.new("RGB", (32, 32), (255, 0, 0))
    samples = [Sample(Prompt("p", "p", "", {}), image) for image in (Image.fromarray(halves), red)]
    values = {name: [score.value for score in build(name)(samples)] for name in ("busy", "vivid", "woven")}
    assert values["busy"] == pytest.approx([64 / 1024, 0])
    assert values["vivid"] == pytest.approx([0, 1])
    assert values["woven"][1] == pytest.approx(0, abs=1e-6)


def test_a_sentence_in_short():
    assert watch.in_short("they are alike (placement has moved by -1.1 spreads)") == "placement -1.1"
    assert watch.in_short("something else") == "something else"


def test_the_page_from_the_files_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "carried_out", lambda hack, *_: pytest.fail(f"{hack.signal} was run"))
    looks = [{"step": 5, "reward/mean": 0.25}, {"step": 10, "reward/mean": 0.5}]
    alarms = [{"step": 10, "sentences": ["grey (edges has moved by +2.0 spreads)"]}]
    for hack, step in zip(watch.HACKS, [10, None], strict=False):
        found = {"signal": hack.signal, "title": hack.title, "command": "flowbench train x", "date": "2026-12-01",
                 "step": step, "alarms": alarms if step else [], "looks": looks}  # fmt: skip
        store.write_json(tmp_path / "data" / f"watch-{hack.signal}.json", found)
    done = CliRunner().invoke(watch.main, ["--results", str(tmp_path), "placement", "palette"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "watch.md").read_text()
    row = "| placement | dppo as its recipe is | 10 | 10: edges +2.0 | 0.250 to 0.500 | 2026-12-01 |"
    assert row in page and "![](watch_placement.png)" in page
    assert "| palette | dance_grpo without a KL | none in 120 | none |" in page and "watch_palette" not in page


def test_two_pictures_side_by_side():
    sheet = Image.open(io.BytesIO(watch.beside(Image.new("RGB", (4, 4)), Image.new("RGB", (6, 3)))))
    assert sheet.size == (4 + watch.GAP + 6, 4)

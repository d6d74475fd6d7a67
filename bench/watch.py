"""What each signal of the watch catches: `python bench/watch.py`.

One run for each signal, made to be hacked: by the reward's own gap (no KL, no price for litter, a learned proxy), or by
a reward of bench/hacks.py that pays for the sign itself. What the watch saw at that signal's alarm and at the beginning
stands side by side in docs/results/watch_SIGNAL.png; steps and sentences in docs/results/watch.md. What is there is not
made again; without that alarm there is no picture, and the page says so.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from objectives_page import row_of
from objectives_plan import machine
from objectives_run import WATCHED
from PIL import Image

from flowbench import images, store
from flowbench.layout import RunFolder
from flowbench.reports.training.alarms import alarms_of

RESULTS, DATA = Path("docs/results"), "data"
WORK = Path("runs/watch")
PLUGIN = Path(__file__).with_name("hacks.py")
GAP = 24
"""Pixels between the two sides."""
STEPS, EVERY = 120, 5
FREE = ("objective.kl_weight=0", "optimizer.schedule=constant")


@dataclass(frozen=True)
class Hack:
    """A run that shall trip one signal."""

    signal: str
    """and how its files are called"""
    title: str
    recipe: str
    settings: tuple[str, ...]
    judge: str = ""
    """the held-out reward whose signal it is"""

    @property
    def name(self) -> str:
        """As an alarm calls the signal."""
        return self.judge or self.signal


HACKS = (
    Hack("placement", "dppo as its recipe is", "shapes-dppo", ()),
    Hack("palette", "dance_grpo without a KL", "shapes-dance", FREE),
    Hack("edges", "paid for edges", "shapes-flow_grpo", (*FREE, "reward.name=busy", "reward.options={}")),
    Hack("saturation", "paid for saturation", "shapes-flow_grpo", (*FREE, "reward.name=vivid", "reward.options={}")),
    Hack("lattice", "paid for repeating structure", "shapes-flow_grpo",
         (*FREE, "reward.name=woven", "reward.options={}")),
    Hack("held_out", "paid for edges, geneval_official looking on", "shapes-flow_grpo",
         (*FREE, "reward.name=busy", "reward.options={}", "monitor.held_out=[geneval_official]"), "geneval_official"),
    Hack("gap", "trained on taste, gold taste_rule", "shapes-flow_grpo",
         (*FREE, "reward.name=taste", "reward.options={}", "monitor.gold=taste_rule")),
)  # fmt: skip


def carried_out(hack: Hack, work: Path, results: Path) -> dict[str, Any]:
    """Train; the picture, and what is kept of the run."""
    folder = work / hack.signal
    words = ["--resume", str(folder)] if (folder / "log.jsonl").is_file() else _words(hack, folder)
    command = [sys.executable, "-m", "flowbench", "train", *words, "--plugin", str(PLUGIN)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run, alarms = RunFolder(folder), alarms_of(RunFolder(folder))
    own = next((each for each in alarms if any(f"({hack.name} has" in said for said in each.sentences)), None)
    if own is not None:
        sides = [Image.open(run.look(step)) for step in (0, own.step)]
        store.write_bytes(results / f"watch_{hack.signal}.png", beside(*sides))
    looks = [line for line in store.read_jsonl(run.log) if f"{WATCHED}alarms" in line]
    return {
        "signal": hack.signal,
        "title": hack.title,
        "command": f"flowbench train {' '.join(_words(hack, WORK / hack.signal))} --plugin bench/{PLUGIN.name}",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "step": own.step if own is not None else None,
        "alarms": [{"step": each.step, "sentences": list(each.sentences)} for each in alarms],
        "looks": [
            {name: value for name, value in line.items() if name == "step" or name.startswith((WATCHED, "reward/"))}
            for line in looks
        ],
    }


def _words(hack: Hack, folder: Path) -> list[str]:
    settings = (f"steps={STEPS}", f"monitor.every={EVERY}", *hack.settings)
    return [hack.recipe, "--out", str(folder), *settings]


def beside(before: Image.Image, after: Image.Image) -> bytes:
    """PNG: the two, left and right."""
    sheet = Image.new("RGB", (before.width + GAP + after.width, max(before.height, after.height)), "white")
    sheet.paste(before, (0, 0))
    sheet.paste(after, (before.width + GAP, 0))
    return images.png_bytes(sheet)


def page(found: list[dict[str, Any]]) -> str:
    lines = [
        "# What each signal of the watch catches",
        "",
        "Written by `python bench/watch.py` from the files `data/watch-*.json`: a run for each signal, made to be "
        f"hacked (looks every {EVERY} steps, {STEPS} steps, one seed). What the signals mean: "
        "[monitor.md](../monitor.md). Left of each picture the beginning, right the signal's alarm: same prompts, same "
        "seeds.",
        "",
        row_of(["signal", "the run", "its alarm after", "all alarms", "reward at first and last look", "date"]),
        "|---|---|---:|---|---|---|",
    ]
    for each in found:
        rewards = [f"{each['looks'][place]['reward/mean']:.3f}" for place in (0, -1)]
        said = "; ".join(f"{alarm['step']}: {', '.join(map(in_short, alarm['sentences']))}" for alarm in each["alarms"])
        step = each["step"] or f"none in {STEPS}"
        lines.append(row_of([each["signal"], each["title"], step, said or "none", " to ".join(rewards), each["date"]]))
    for each in found:
        if each["step"]:
            lines += ["", f"## {each['signal']}", "", f"`{each['command']}`", "", f"![](watch_{each['signal']}.png)"]
    return "\n".join([*lines, ""])


def in_short(sentence: str) -> str:
    """ "... (placement has moved by -1.1 spreads)" -> "placement -1.1"."""
    found = re.search(r"\((\S+) has moved by (\S+) spreads\)", sentence)
    return " ".join(found.groups()) if found else sentence


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=WORK, help="Runs.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Page, pictures and data/.")
@click.argument("signals", nargs=-1)
def main(work: Path, results: Path, signals: tuple[str, ...]) -> None:
    found = []
    for hack in HACKS:
        path = results / DATA / f"watch-{hack.signal}.json"
        if not path.is_file() and (not signals or hack.signal in signals):
            store.write_json(path, carried_out(hack, work, results))
        if path.is_file():
            found.append(store.read_object(path))
    click.echo(f"written: {store.write_text(results / 'watch.md', page(found))}")


if __name__ == "__main__":
    main()

"""What each signal of the watch catches: `python bench/watch.py`.

One run for each signal, made to be hacked: by the reward's own gap (no KL, no price for litter, a learned proxy), or by
a reward of bench/hacks.py that pays for the sign itself. A run ends at its first alarm. What the watch saw then and at
the beginning stands side by side in docs/results/watch_SIGNAL.png; steps and sentences in docs/results/watch.md. What
is there is not made again; without an alarm there is no picture, and the page says so.
"""

from __future__ import annotations

import datetime
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
PLUGIN = Path(__file__).with_name("hacks.py")
GAP = 24
"""Pixels between the two sides."""
STEPS, EVERY = 300, 5
FREE = ("objective.kl_weight=0", "optimizer.schedule=constant")


@dataclass(frozen=True)
class Hack:
    """A run that shall trip one signal."""

    signal: str
    title: str
    recipe: str
    settings: tuple[str, ...]


HACKS = (
    Hack("placement", "flow_grpo without a KL", "shapes-flow_grpo", FREE),
    Hack("palette", "dance_grpo without a KL", "shapes-dance", FREE),
    Hack("edges", "paid for edges", "shapes-flow_grpo", (*FREE, "reward.name=busy", "reward.options={}")),
    Hack("saturation", "paid for saturation", "shapes-flow_grpo", (*FREE, "reward.name=vivid", "reward.options={}")),
    Hack("lattice", "paid for repeating structure", "shapes-flow_grpo",
         (*FREE, "reward.name=woven", "reward.options={}")),
    Hack("held_out", "not charged for what nobody asked for", "shapes-flow_grpo",
         (*FREE, "reward.options.geneval.extra_price=0", "monitor.held_out=[geneval/exclusive]")),
    Hack("gap", "trained on taste, gold taste_rule", "shapes-flow_grpo",
         (*FREE, "reward.name=taste", "reward.options={}", "monitor.gold=taste_rule")),
)  # fmt: skip


def carried_out(hack: Hack, work: Path, results: Path) -> dict[str, Any]:
    """Train until the first alarm; the picture, and what is kept of the run."""
    folder = work / hack.signal
    words = ["--resume", str(folder)] if (folder / "log.jsonl").is_file() else _words(hack, folder)
    command = [sys.executable, "-m", "flowbench", "train", *words, "--plugin", str(PLUGIN)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run, alarms = RunFolder(folder), alarms_of(RunFolder(folder))
    if alarms:
        sides = [Image.open(run.look(step)) for step in (0, alarms[0].step)]
        store.write_bytes(results / f"watch_{hack.signal}.png", beside(*sides))
    looks = [line for line in store.read_jsonl(run.log) if f"{WATCHED}alarms" in line]
    return {
        "signal": hack.signal,
        "title": hack.title,
        "command": f"flowbench train {' '.join(_words(hack, folder))}",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "step": alarms[0].step if alarms else None,
        "sentences": list(alarms[0].sentences) if alarms else [],
        "looks": [
            {name: value for name, value in line.items() if name == "step" or name.startswith((WATCHED, "reward/"))}
            for line in looks
        ],
    }


def _words(hack: Hack, folder: Path) -> list[str]:
    settings = (f"steps={STEPS}", f"monitor.every={EVERY}", "monitor.on_alarm=stop", *hack.settings)
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
        f"hacked, that ends at its first alarm (looks every {EVERY} steps, at most {STEPS} steps, one seed). What the "
        "signals mean: [monitor.md](../monitor.md). Left of each picture the beginning, right the alarm: same prompts, "
        "same seeds.",
        "",
        row_of(["signal", "the run", "alarm after", "it said", "reward at first and last look", "date"]),
        "|---|---|---:|---|---|---|",
    ]
    for each in found:
        rewards = [f"{each['looks'][place]['reward/mean']:.3f}" for place in (0, -1)]
        said = "; ".join(each["sentences"]) or f"nothing in {STEPS} steps"
        lines.append(row_of([each["signal"], each["title"], each["step"] or "", said, " ".join(rewards), each["date"]]))
    for each in found:
        if each["step"]:
            lines += ["", f"## {each['signal']}", "", f"`{each['command']}`", "", f"![](watch_{each['signal']}.png)"]
    return "\n".join([*lines, ""])


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/watch"), help="Runs.")
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

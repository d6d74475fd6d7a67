"""The folder in which command lines are tried: small real things of every kind that a command takes, made by the
commands themselves, and what is hostile beside them. Every path is relative to it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from forkserver import ForkServer, Reply, Request
from hostile import AT_IMPORT, CLAUSES, MISBEHAVIOUR, SCORER, json_lines, picture, png, write_hostile

TESTS = Path(__file__).parents[1]
SMALL_TRAINING = (
    "rollout.groups=2",
    "rollout.group_size=2",
    "rollout.micro_batch=2",
    "rollout.bundle=1",
    "rollout.steps=3",
    "rollout.window=1",
    "rollout.window_range=1",
    "adapter.rank=2",
)
TRAIN = ("train", "--model", "tiny", "--reward", "jpeg", "--processes", "1", *SMALL_TRAINING)
EVAL = ("eval", "--suite", "shapes", "--limit", "2", "--images-per-prompt", "2", "--steps", "1")
MADE_BY = (
    ("list", "rewards", "--plugin", "make_tiny.py"),
    (*TRAIN, "--steps", "2", "save_every=1", "sample_every=1", "--out", "run"),
    (*EVAL, "--ckpt", "run"),
    (*EVAL, "--ckpt", "tiny", "--out", "base", "--guidance", "1"),
    ("score", "pictures", "--prompts", "prompts.txt", "--reward", "jpeg", "--out", "scored"),
    ("score", "table.csv", "--plugin", "plugins/good.py", "--reward", "good", "--out", "cached"),
    ("report", "run"),
    ("export", "base", "--format", "geneval", "--out", "exported"),
)
"""In this order; all but the first are what a user would do."""
ENVIRONMENT = {
    "FLOWBENCH_CACHE": "cache",
    "FLOWBENCH_SCORE_CACHE": "on",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "home/hf",
    "HOME": "home",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "SSH_CONNECTION": "none",
}
"""Nothing is fetched, nothing of the user's is seen, and no browser is opened."""
PROMPTS = ("a photo of a red circle", "a photo of two stars", "a photo of a blue heart")
TEXTS = {
    "prompts.txt": "\n".join(PROMPTS) + "\n",
    "prompts.csv": "prompt,tag\n" + "".join(f"{prompt},a\n" for prompt in PROMPTS),
    "prompts.tsv": "prompt\ttag\n" + "".join(f"{prompt}\ta\n" for prompt in PROMPTS),
    "prompts.jsonl": json_lines(*({"prompt": prompt, **CLAUSES} for prompt in PROMPTS)),
    "table.csv": "image,prompt\n" + "".join(f"pictures/{n}.png,{text}\n" for n, text in enumerate(PROMPTS)),
    "table.jsonl": json_lines(*({"image": f"pictures/{n}.png", "prompt": text} for n, text in enumerate(PROMPTS))),
    "suite.yaml": "prompt_set: prompts.txt\nsteps: 1\nguidance: 1\nimages_per_prompt: 1\nscorers: [jpeg]\n",
    "recipe.yaml": "model: {name: tiny}\nreward: {name: jpeg}\nsteps: 1\nout: runs/recipe\n",
    "published.yaml": "suite: shapes\ntitle: printed\nheadline: official\nprompts: 2\nimages_per_prompt: 2\n"
    "decimals: 2\nmetrics:\n  official: {scorer: geneval, unit: '', direction: higher}\nrows:\n"
    "- {model: theirs, values: {official: 0.5}, source: somebody, measured_by: self}\n",
}
MAKE_TINY = """
import sys
sys.path.insert(0, {tests!r})
from tiny import make_pipeline
make_pipeline("tiny", vocabulary="shapes", default_recipe="shapes-flow_grpo", guidance=3.0, name="tiny")
"""
INDEX_PAGE = """
import traceback
from pathlib import Path
from flowbench.reports.pages.index import index_page
try:
    print(index_page(Path("run")), file=open("index.html", "w", encoding="utf-8"))
except Exception:
    traceback.print_exc()
"""
"""The page that `flowbench view` would show, as a plugin."""

Contents = dict[str, tuple[int, int]]
"""Path below a folder -> size and time of change, of every file; of a folder, that it is there."""


class World:
    """A template, made once, and one copy of it to be tried in, which is made like the template again and again."""

    def __init__(self, root: Path, server: ForkServer):
        self._server = server
        self.template, self.box = root / "template", root / "box"
        _write_good(self.template)
        _write_plugins(self.template / "plugins")
        write_hostile(self.template / "hostile")
        for words in MADE_BY:
            reply = server.run(Request(list(words), str(self.template), environment=ENVIRONMENT))
            assert reply.code == 0, f"{' '.join(words)}: {reply}"
        shutil.copytree(self.template / "run" / "checkpoints" / "step-000002", self.template / "adapter")
        shutil.copytree(self.template, self.box, symlinks=True)
        self.clean = contents(self.box)
        """What the copy holds before anything is tried."""

    def run(self, *words: str, interrupt: float | None = None) -> Reply:
        """What a command line does in the copy."""
        return self._server.run(Request(list(words), str(self.box), interrupt=interrupt, environment=ENVIRONMENT))

    def renew(self) -> None:
        """Make the copy what the template is."""
        for path in changes(self.clean, contents(self.box)):
            here, there = self.box / path, self.template / path
            if here.is_dir() and not here.is_symlink():
                shutil.rmtree(here, ignore_errors=True)
            elif os.path.lexists(here):
                here.unlink()
            if there.is_dir() and not there.is_symlink():
                shutil.copytree(there, here, symlinks=True)
            elif os.path.lexists(there):
                shutil.copy2(there, here, follow_symlinks=False)


def changes(before: Contents, after: Contents) -> list[str]:
    """The paths that came, went or changed, folders before what is in them."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def contents(folder: Path) -> Contents:
    found = {}
    for place, folders, files in os.walk(folder):
        below = os.path.relpath(place, folder)
        found |= {os.path.normpath(os.path.join(below, name)): (-1, -1) for name in folders}
        for name in files:
            state = os.lstat(os.path.join(place, name))
            found[os.path.normpath(os.path.join(below, name))] = (state.st_size, state.st_mtime_ns)
    return found


def _write_good(root: Path) -> None:
    for number, prompt in enumerate(PROMPTS):
        samples = root / "in_geneval_layout" / f"{number:05d}" / "samples"
        samples.mkdir(parents=True)
        (samples.parent / "metadata.jsonl").write_text(json_lines({"prompt": prompt, **CLAUSES}))
        for path in (samples / "0000.png", root / "pictures" / f"{number}.png"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(png(picture(number)))
    shutil.copytree(root / "pictures", root / "with_metadata")
    rows = [{"file_name": f"{number}.png", "prompt": prompt} for number, prompt in enumerate(PROMPTS)]
    (root / "with_metadata" / "metadata.jsonl").write_text(json_lines(*rows))
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    asset, data = root / "cache" / "assets" / "prompts-dpg", b"item_id,text\na,a star\n"
    asset.mkdir(parents=True)
    (asset / "dpg_bench.csv").write_bytes(data)
    facts = {"url": "https://example.invalid", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (asset / "flowbench-assets.json").write_text(json.dumps({"dpg_bench.csv": facts}))


def _write_plugins(folder: Path) -> None:
    folder.mkdir()
    (folder.parent / "make_tiny.py").write_text(MAKE_TINY.format(tests=str(TESTS)))
    (folder.parent / "index_page.py").write_text(INDEX_PAGE)
    first = "return [Score(sample.image.getpixel((0, 0))[0] / 255, {'half': 0.5}) for sample in samples]"
    (folder / "good.py").write_text(SCORER.format(name="good", summary="The first pixel.", cached=True, body=first))
    for name, body in MISBEHAVIOUR.items():
        (folder / f"{name}.py").write_text(SCORER.format(name=name, summary="[/] odd", cached=None, body=body))
    for name, text in AT_IMPORT.items():
        (folder / f"{name}.py").write_text(text + "\n")

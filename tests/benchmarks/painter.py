"""A tiny real model, reward and suite for the tests of the runner."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from PIL import Image

from flowbench import benchmarks, rewards
from flowbench.solver_names import sampler_of
from flowbench.types import Sample, Score

TAGS = ("single_object", "two_object", "counting")


class Painter:
    """Draws one flat colour, a function of the seed alone, and keeps a diary of every batch it paints."""

    name, source, vocabulary, resolution = "painter", "painter", "", 8
    device, dtype = torch.device("cpu"), torch.float32
    base_digest, adapter_source = "0123456789ab", ""

    def __init__(self, diary: Path, *, pause: float = 0.0, shift: int = 0, adapter: dict | None = None):
        self.diary, self.pause, self.shift = diary, pause, shift
        self._adapter = adapter or {}

    def adapter_parameters(self) -> dict:
        return self._adapter

    def sigmas(self, steps: int) -> torch.Tensor:
        return torch.linspace(1, 0, steps + 1)

    def declares(self, guidance: float, solver: str = "euler") -> dict:
        settings = {"guidance": max(1.0, float(guidance)), "guidance_kind": "cfg", "negative_prompt": ""}
        return settings | {"sampler": sampler_of(solver)}

    def generate(self, prompts, seeds, *, steps, guidance, batch_size=16, solver="euler"):
        time.sleep(self.pause)
        self.solver = solver
        with open(self.diary, "a") as file:
            file.write(json.dumps([[prompt.id, seed] for prompt, seed in zip(prompts, seeds, strict=True)]) + "\n")
        return [Sample(p, Image.new("RGB", (8, 8), self._color(s)), s) for p, s in zip(prompts, seeds, strict=True)]

    def painted(self) -> list[tuple[str, int]]:
        """(prompt id, seed) of everything painted so far, in order."""
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        return [tuple(entry) for line in lines for entry in json.loads(line)]

    def _color(self, seed: int) -> tuple[int, int, int]:
        return (seed + self.shift) % 256, (seed >> 8) % 256, (seed >> 16) % 256


def red(*, limit: int = 128, blind_to: str = "", switch: str = "", pause: float = 0.0):
    """Right when the red is at least `limit`; raises on prompt `blind_to`, and while the file `switch` is there."""

    def score(samples):
        time.sleep(pause)
        if any(sample.prompt.text == blind_to for sample in samples):
            raise ValueError("too dark to see")
        if switch and Path(switch).exists():
            raise ConnectionError("no answer")
        values = [sample.image.getpixel((0, 0))[0] for sample in samples]
        return [Score(value / 255, {"official": float(value >= limit), "green": 0.5}) for value in values]

    return score


def make_suite(folder: Path, *, prompts_per_tag: int = 4, **fields) -> benchmarks.Suite:
    """A suite over a prompt file in `folder`, scored by `red`."""
    parts = {"official": rewards.Part("share", "higher"), "green": rewards.Part("level", "none")}
    rewards.registry.add("red", red, card=rewards.Card("red", parts=parts))
    path = folder / "prompts.jsonl"
    lines = [
        {"id": f"{tag}-{number}", "prompt": f"a {tag} {number}", "tag": tag}
        for tag in TAGS
        for number in range(prompts_per_tag)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {
        "steps": 2,
        "guidance": 1.0,
        "images_per_prompt": 3,
        "scorers": ("red",),
        "metrics": ("official", "value"),
        "headline": "official",
        "also_show": ("value",),
        "unseen": ("single_object",),
        **fields,
    }
    return benchmarks.Suite(name="painting", prompt_set=str(path), **settings)

"""What the score cache costs: a hit and a miss, beside a rule that is computed each time.

    python bench/cache.py

A hit is the whole way: hash of picture and prompt, look-up among 100,000 kept scores, the score read back. A miss is
that and the new score written. Milliseconds per picture, median of 200 calls with one picture, and per picture of
calls with 16. "jpeg" is the built-in rule: it is not cached, for computing it costs about as much as a hit.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import tempfile
import time

import numpy
from PIL import Image

from flowbench import rewards
from flowbench.rewards.cache import file_path
from flowbench.rewards.cache_file import CacheFile
from flowbench.types import Prompt, RewardFunction, Sample, Score

KEPT = 100_000
CALLS = 200
DETAILS = {"objects": {"cat": [[10.25, 20.5, 300.125, 400.0625, 0.987654321]] * 8}}


@rewards.register("bench", card=rewards.Card("bench", cached=True))
def bench() -> RewardFunction:
    """Costs nothing itself."""
    return lambda samples: [Score(0.1, {"cosine": 0.2}, "a note", DETAILS) for _ in samples]


def pictures(size: int, count: int, seed: int) -> list[Sample]:
    """Smooth pictures with noise, each with a prompt of its own."""
    draws = numpy.random.default_rng((size, seed))
    coarse = draws.integers(0, 256, (count, 8, 8, 3), dtype="uint8")
    made = []
    for number, each in enumerate(coarse):
        smooth = numpy.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC))
        noisy = (smooth + draws.integers(-5, 6, smooth.shape)).clip(0, 255).astype("uint8")
        made.append(Sample(Prompt(str(number), f"a photo of picture {number}, {seed}"), Image.fromarray(noisy)))
    return made


def milliseconds(reward: rewards.Reward, samples: list[Sample], at_a_time: int) -> float:
    """Per picture, the median of the calls."""
    took = []
    for place in range(0, len(samples), at_a_time):
        batch = samples[place : place + at_a_time]
        begin = time.perf_counter()
        reward(batch)
        took.append((time.perf_counter() - begin) / len(batch) * 1000)
    return statistics.median(took)


def row(size: int) -> str:
    """One size of pictures: a miss and a hit by one and by 16, and the rule."""
    cached, rule = rewards.build("bench"), rewards.build("jpeg")
    figures = []
    for at_a_time in (1, 16):
        samples = pictures(size, CALLS, at_a_time)
        figures += [milliseconds(cached, samples, at_a_time) for _ in ("miss", "hit")]
    figures.append(milliseconds(rule, samples, 1))
    return f"| {size} px | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLOWBENCH_CACHE"] = folder
        os.environ["FLOWBENCH_SCORE_CACHE"] = "on"
        text = "x" * 500
        CacheFile(file_path()).put("kept", {hashlib.sha256(b"%d" % each).digest(): text for each in range(KEPT)})
        megabytes = file_path().stat().st_size / 1e6
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(f"{KEPT:,} kept scores, {megabytes:.0f} MB\n")
        print("| picture | miss | hit | miss, 16 at a time | hit, 16 at a time | `jpeg` computed |")
        print("|---|---:|---:|---:|---:|---:|")
        for size in (32, 256, 512, 1024):
            print(row(size), flush=True)


if __name__ == "__main__":
    main()

"""DrawBench: 200 prompts, 11 categories, one picture each, as Flow-GRPO's table reports it.

It was published for human raters and has no automatic metric of its own; papers attach preference models. Each of the
four keeps its own unit and column. ImageReward is the headline because it looks at the prompt, and because the
trainings that one compares here rarely optimise it: a number that was trained on says little about quality.
Source: arXiv 2205.11487 (prompts); arXiv 2505.05470, table 2 (one picture a prompt, 40 steps, guidance 4.5, 512
pixels).
"""

from __future__ import annotations

from flowbench.benchmarks.suite import Suite

DRAWBENCH = Suite(
    name="drawbench",
    prompt_set="drawbench",
    images_per_prompt=1,
    steps=40,
    guidance=4.5,
    resolution=512,
    overall="pictures",
    scorers=("aesthetic", "imagereward", "pickscore", "hpsv2.1"),
    headline="imagereward",
    also_show=("aesthetic", "pickscore", "hpsv2.1"),
    source="arXiv 2205.11487; arXiv 2505.05470, table 2",
    about="No official automatic metric: preference models stand in for the human raters.",
)

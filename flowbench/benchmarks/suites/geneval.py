"""GenEval: 553 prompts in six tags, judged by an object detector.

Headline: `official`, the published verdict, in [0, 1], higher is better; overall = the unweighted mean of the six tags.
As for the built-in world, `exclusive` and `strict` stand beside it, since the published rule never looks at extra
objects. Source: arXiv 2310.11513; steps, guidance and resolution as Flow-GRPO evaluates SD3.5 (arXiv 2505.05470,
section 5).
"""

from __future__ import annotations

from dataclasses import replace

from flowbench.benchmarks.suite import Suite

GENEVAL = Suite(
    name="geneval",
    prompt_set="geneval",
    images_per_prompt=4,
    steps=40,
    guidance=4.5,
    resolution=512,
    scorers=("geneval",),
    options={"geneval": {"extra_price": 0.0}},
    metrics=("official", "exclusive", "strict", "partial", "extras"),
    headline="official",
    also_show=("exclusive", "strict"),
    source="arXiv 2310.11513",
)

GENEVAL_UNSEEN = replace(
    GENEVAL,
    name="geneval_unseen",
    prompt_set="geneval_unseen",
    source="flowbench",
    about="Our own split: objects that its training prompts never name. Not to be compared with published numbers.",
)

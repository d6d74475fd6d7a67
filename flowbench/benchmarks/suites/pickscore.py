"""Human preference on Pick-a-Pic captions, as Flow-GRPO trains and evaluates it: PickScore, one picture each.

Headline: `pickscore`, exp(logit scale) x cosine, mostly 18 to 25, higher is better.
Source: arXiv 2305.01569; arXiv 2505.05470, section 5.
"""

from __future__ import annotations

from flowbench.benchmarks.suite import Suite

PICKSCORE = Suite(
    name="pickscore",
    prompt_set="pickscore",
    images_per_prompt=1,
    steps=40,
    guidance=4.5,
    resolution=512,
    overall="pictures",
    scorers=("pickscore",),
    source="arXiv 2305.01569",
)

"""HPDv2's benchmark: 3,200 prompts in four styles, one picture each, scored by HPS v2.1.

Headline: `hpsv2.1`, a cosine, mostly .2 to .35 (papers print it x 100), higher is better; the mean over all pictures,
which is that of the four styles, since they have 800 prompts each. Published tables give the spread over ten groups of
80 prompts, which is no standard error: here stands an interval.
Source: arXiv 2306.09341.
"""

from __future__ import annotations

from flowbench.benchmarks.suite import Suite

HPDV2 = Suite(
    name="hpdv2",
    prompt_set="hpdv2",
    images_per_prompt=1,
    steps=40,
    guidance=4.5,
    resolution=512,
    overall="pictures",
    scorers=("hpsv2.1",),
    source="arXiv 2306.09341",
)

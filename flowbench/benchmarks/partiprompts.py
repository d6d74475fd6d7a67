"""PartiPrompts: 1,632 prompts in 12 categories, one picture each.

Published for human raters; here with the preference models that papers attach to it, each in its own unit.
Source: arXiv 2206.10789. Steps, guidance and resolution as for DrawBench.
"""

from __future__ import annotations

from flowbench.benchmarks.suite import Suite

PARTIPROMPTS = Suite(
    name="partiprompts",
    prompt_set="partiprompts",
    images_per_prompt=1,
    steps=40,
    guidance=4.5,
    resolution=512,
    overall="pictures",
    scorers=("aesthetic", "imagereward", "pickscore", "hpsv2.1"),
    headline="imagereward",
    also_show=("aesthetic", "pickscore", "hpsv2.1"),
    source="arXiv 2206.10789",
    about="No official automatic metric: preference models stand in for the human raters.",
)

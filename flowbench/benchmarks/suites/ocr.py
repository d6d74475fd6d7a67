"""Text rendering: 200 scenes of our own with quoted text, read back by an OCR engine.

Headline: `edit`, max(1 - edit distance / length, 0), in [0, 1], higher is better. `exact` and `substring` (the
published code's, which forgives text around the target) stand beside it. Ours, so that the package carries it; the
published 1,018 prompts are the prompt set `ocr_flowgrpo` (`--prompts` takes their file).
Source of the measure: arXiv 2505.05470, section 5.
"""

from __future__ import annotations

from flowbench.benchmarks.suite import Suite

OCR = Suite(
    name="ocr",
    prompt_set="ocr",
    images_per_prompt=1,
    steps=40,
    guidance=4.5,
    resolution=512,
    overall="pictures",
    scorers=("ocr",),
    options={"ocr": {"variant": "edit"}},
    metrics=("edit", "exact", "substring"),
    headline="edit",
    also_show=("exact", "substring"),
    source="flowbench; arXiv 2505.05470, section 5",
    about="Our own scenes: not to be compared with numbers on flow_grpo's 1,018 prompts.",
)

"""Pictures with the prompts that they come with, on the scorers that one names: the suite of `flowbench score`.

Every part that a scorer gives is measured beside its value, since no protocol says which of them matter. How the
pictures were made is not known: steps and guidance mean nothing here.
"""

from __future__ import annotations

from flowbench.benchmarks.suite import Suite
from flowbench.evals.evaluation import SCORED

PICTURES = Suite(
    name=SCORED,
    prompt_set="",
    steps=1,
    guidance=1.0,
    images_per_prompt=1,
    scorers=(),
    every_part=True,
)

"""The suites of the letters world: signs with one to four letters, read by RapidOCR and by the exact reader.

Headline: `exact`, 1 when RapidOCR (its recogniser alone, on the sign) reads what was asked for, letter by letter, case
aside; overall = the unweighted mean of the four lengths. Beside it stand `edit`, the share of letters, which training
pays for, and `letters/exact`, the same verdict by the exact reader, which a policy trained on `ocr` has not learned to
please. The signs of one letter are the same in all splits: evaluated on unseen seeds. Needs the extra `ocr`.
"""

from __future__ import annotations

from dataclasses import replace

from flowbench.benchmarks.suite import Suite

LETTERS = Suite(
    name="letters",
    prompt_set="letters",
    split="test",
    images_per_prompt=4,
    steps=10,
    guidance=1.0,
    scorers=("ocr", "letters"),
    options={"ocr": {"detection": False}},
    metrics=("exact", "edit", "letters/exact", "letters/edit"),
    headline="exact",
    also_show=("edit", "letters/exact"),
    unseen=("one_letter",),
)

LETTERS_DEV = replace(LETTERS, name="letters_dev", split="dev")
"""For choices (guidance, checkpoint, recipe): what is chosen on it may then be measured once on `letters`."""

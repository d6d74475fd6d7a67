"""The suites of the built-in world: GenEval's six tags on shapes, judged by the exact detector.

Headline: `official`, GenEval's own verdict, in [0, 1], higher is better; overall = the unweighted mean of the six tags.
That rule asks for "at least n" outside counting, so extra objects cost nothing. A policy that litters its pictures is
found out by `exclusive` (exact counts and nothing else on the picture), `strict` (exact counts) and `extras` (objects
nobody asked for, per picture), which therefore always stand beside it. The reward's price for extra objects is 0 here,
as published; what a run was trained on does not change how it is measured.
"""

from __future__ import annotations

from dataclasses import replace

from flowbench.benchmarks.suite import Suite

SHAPES = Suite(
    name="shapes",
    prompt_set="shapes",
    split="test",
    images_per_prompt=4,
    steps=10,
    guidance=1.0,
    scorers=("geneval",),
    options={"geneval": {"extra_price": 0.0}},
    metrics=("official", "exclusive", "strict", "partial", "extras"),
    headline="official",
    also_show=("exclusive", "strict"),
    unseen=("single_object", "two_object"),
)

SHAPES_DEV = replace(SHAPES, name="shapes_dev", split="dev")
"""For choices (guidance, checkpoint, recipe): what is chosen on it may then be measured once on `shapes`."""

SHAPES_UNSEEN = replace(SHAPES, name="shapes_unseen", prompt_set="shapes_unseen", unseen=())
"""Kinds and counts that training on the prompt set of the same name has never asked for."""

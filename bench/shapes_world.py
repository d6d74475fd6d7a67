"""What the built-in world and model are worth: `python bench/shapes_world.py --out docs/results/shapes.md`.

Detector on ground-truth renders and on wrong prompts, the VAE's reconstructions, the leakage by slot, and the base
model's dev score over guidance (the best of which is the model's default).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy
from worlds import reconstructed, write_page, wrong_prompt

from flowbench import prompts, rewards
from flowbench.benchmarks import evaluate
from flowbench.evals import load_results
from flowbench.models import load_model
from flowbench.prompts.leakage import leakage
from flowbench.shapes import grammar, world
from flowbench.types import Sample


def scored(samples: list[Sample]) -> dict[str, float]:
    """Mean of every part of the GenEval score."""
    scores = rewards.build("geneval", vocabulary="shapes")(samples)
    return {part: float(numpy.mean([score.parts[part] for score in scores])) for part in ("official", "exclusive")}


def renders(tag: str, count: int, seed: int) -> list[Sample]:
    rng = numpy.random.default_rng([seed, grammar.TAGS.index(tag)])
    pool = [prompt for prompt in grammar.prompts("test") if prompt.tag == tag]
    chosen = [pool[int(rng.integers(len(pool)))] for _ in range(count)]
    return [Sample(prompt, world.render(world.sample_scene(prompt.metadata, rng))) for prompt in chosen]


def world_table(model: object, count: int) -> list[str]:
    lines = [
        "| tag | renders right | and nothing else | wrong prompt accepted | reconstructions right | and nothing else |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for tag in grammar.TAGS:
        samples = renders(tag, count, 0)
        sets = (samples, wrong_prompt(samples, grammar.content), reconstructed(model, samples))
        truth, wrong, rebuilt = map(scored, sets)
        values = (truth["official"], truth["exclusive"], wrong["official"], rebuilt["official"], rebuilt["exclusive"])
        lines.append(f"| {tag} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    return lines


def leakage_table() -> list[str]:
    lines = ["| tag | slot | distinct in test | of these in train |", "|---|---|---:|---:|"]
    for row in leakage(prompts.load("shapes", "train"), prompts.load("shapes", "test")):
        lines.append(f"| {row.tag} | {row.slot} | {row.evaluated} | {row.shared} |")
    return lines


def guidance_table(model: object, scales: list[float], out: Path) -> list[str]:
    lines = [
        "| guidance | official | exclusive | " + " | ".join(grammar.TAGS) + " |",
        "|---" * (3 + len(grammar.TAGS)) + "|",
    ]
    for guidance in scales:
        results = load_results(evaluate(model, "shapes_dev", out=out, guidance=guidance, batch_size=32))
        values = [
            results.mean("official"),
            results.mean("exclusive"),
            *(results.mean("official", t) for t in grammar.TAGS),
        ]
        lines.append(f"| {guidance:g} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        click.echo(lines[-1])
    return lines


@click.command(help=__doc__)
@click.option("--model", "name", default="shapes")
@click.option("--count", default=1000, help="Renders per tag.")
@click.option("--guidance", default="1,1.5,2,2.5,3,4", help="Scales to try on dev.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results/shapes.md"))
def main(name: str, count: int, guidance: str, out: Path) -> None:
    model = load_model(name)
    scales = [float(scale) for scale in guidance.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        swept = guidance_table(model, scales, Path(folder))
    shared = [
        "No whole prompt is shared in counting, colors, position and color_attr; single_object and two_object "
        "share all of theirs and are evaluated on unseen seeds.",
        "",
        *leakage_table(),
    ]
    write_page(
        out,
        "The built-in world, measured",
        f"python bench/shapes_world.py --count {count}",
        [
            (f"Detector and autoencoder ({count} scenes per tag, test prompts)", world_table(model, count)),
            ("Base model over guidance (dev split, 4 pictures per prompt, 10 steps)", swept),
            ("What train and test share", shared),
        ],
    )


if __name__ == "__main__":
    main()

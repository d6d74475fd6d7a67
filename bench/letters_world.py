"""What the letters world and its model are worth: `python bench/letters_world.py --out docs/results/letters.md`.

Both readers on ground-truth renders, on wrong prompts and on the VAE's reconstructions (the ceiling of every score
here), what a picture costs them, and the base model's dev score over guidance.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy
from worlds import reconstructed, write_page, wrong_prompt

from flowbench import rewards
from flowbench.benchmarks import evaluate, find
from flowbench.evals import load_results
from flowbench.letters import grammar, world
from flowbench.models import load_model
from flowbench.types import RewardFunction, Sample

READERS = ("ocr", "letters")


def readers() -> dict[str, RewardFunction]:
    """As the suite has them; nothing out of the score cache, which would read no picture and take no time."""
    options = find("letters").options
    return {name: rewards.build(name, options={name: options.get(name, {})}, cache=False) for name in READERS}


def renders(tag: str, count: int) -> list[Sample]:
    rng = numpy.random.default_rng([0, grammar.TAGS.index(tag)])
    pool = [prompt for prompt in grammar.prompts("test") if prompt.tag == tag]
    chosen = [pool[int(rng.integers(len(pool)))] for _ in range(count)]
    return [Sample(prompt, world.render(world.sample_sign(prompt.metadata["text"], rng))) for prompt in chosen]


def exact(reader: RewardFunction, samples: list[Sample]) -> float:
    return float(numpy.mean([score.parts["exact"] for score in reader(samples)]))


def world_table(model: object, count: int) -> list[str]:
    titles = [f"{what}, {reader}" for what in ("renders", "wrong prompts", "reconstructions") for reader in READERS]
    lines = [f"| signs of | {' | '.join(titles)} |", "|---|" + "---:|" * len(titles)]
    built = readers()
    for tag in grammar.TAGS:
        samples = renders(tag, count)
        sets = (samples, wrong_prompt(samples, lambda prompt: prompt.text), reconstructed(model, samples))
        values = [exact(built[reader], each) for each in sets for reader in READERS]
        lines.append(f"| {tag} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
        click.echo(lines[-1])
    return lines


def cost(count: int) -> str:
    """Seconds of a picture, the readers one after the other on the same pictures."""
    samples = [sample for tag in grammar.TAGS for sample in renders(tag, count)]
    spent = {}
    for name, reader in readers().items():
        reader(samples[:4])
        start = time.perf_counter()
        reader(samples)
        spent[name] = (time.perf_counter() - start) / len(samples)
    return (
        f"On the same {len(samples)} renders `ocr` took {spent['ocr'] / spent['letters']:.1f} times as long as "
        f"`letters`, here {1000 * spent['ocr']:.0f} and {1000 * spent['letters']:.0f} ms a picture."
    )


def guidance_table(model: object, scales: list[float], out: Path) -> list[str]:
    titles = ["guidance", "exact", "edit", "letters/exact", *grammar.TAGS]
    lines = [f"| {' | '.join(titles)} |", "|---:" * len(titles) + "|"]
    for guidance in scales:
        results = load_results(evaluate(model, "letters_dev", out=out, guidance=guidance, batch_size=32))
        values = [results.mean(metric) for metric in titles[1:4]]
        values += [results.mean("exact", tag) for tag in grammar.TAGS]
        lines.append(f"| {guidance:g} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        click.echo(lines[-1])
    return lines


@click.command(help=__doc__)
@click.option("--model", "name", default="letters", help="Model name or folder.")
@click.option("--count", default=250, help="Renders for each number of letters.")
@click.option("--guidance", default="1,1.5,2,3,4", help="Scales to try on dev.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results/letters.md"))
def main(name: str, count: int, guidance: str, out: Path) -> None:
    model = load_model(name)
    table = world_table(model, count)
    with tempfile.TemporaryDirectory() as folder:
        swept = guidance_table(model, [float(scale) for scale in guidance.split(",")], Path(folder))
    readers_said = [
        "`ocr` is RapidOCR's recogniser alone, `letters` the exact reader. What they read of renders and of "
        "reconstructions is the ceiling of a policy's score.",
        "",
        *table,
        "",
        cost(min(count, 50)),
    ]
    write_page(
        out,
        "The letters world, measured",
        f"python bench/letters_world.py --count {count}",
        [
            (f"Readers and autoencoder: share read exactly ({count} signs of each length, test prompts)", readers_said),
            ("Base model over guidance (dev split, 4 pictures per prompt, 10 steps)", swept),
        ],
    )


if __name__ == "__main__":
    main()

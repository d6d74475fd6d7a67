"""`python -m flowbench.pretrain.taste --out FILE`: the network of the reward `taste`, from labelled pairs alone.

Seeded; some minutes on one core. A pair is two renders of one training prompt, its label drawn by the rule of taste
(flowbench/shapes/taste_rule.py), which the network does not see. It ends with its agreement on pairs of test prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits

from flowbench.shapes import world
from flowbench.shapes.detector import detect
from flowbench.shapes.grammar import prompts
from flowbench.shapes.taste_network import TasteNetwork, liked, pixels_of
from flowbench.shapes.taste_rule import preference, taste
from flowbench.tensors import save_tensors

PAIRS, HELD_OUT = 40_000, 1_000
STEPS, BATCH, LR = 4_000, 256, 1e-3


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt."""

    first: Image.Image
    second: Image.Image
    tastes: tuple[float, float]
    """by the rule"""
    first_is_liked: bool
    """the label"""


def draw_pairs(split: str, count: int, seed: int) -> list[Pair]:
    """Pairs of a split's prompts, tags first; the i-th is a function of (seed, split, i)."""
    by_tag: dict[str, list] = {}
    for prompt in prompts(split):
        by_tag.setdefault(str(prompt.tag), []).append(prompt)
    tags, pairs = list(by_tag), []
    for number in range(count):
        rng = numpy.random.default_rng([seed, split == "train", number])
        some = by_tag[tags[rng.integers(len(tags))]]
        prompt = some[rng.integers(len(some))]
        both = [world.render(world.sample_scene(dict(prompt.metadata), rng)) for _ in range(2)]
        tastes = [taste(detect(each), each.width) for each in both]
        label = bool(rng.random() < preference(*tastes))
        pairs.append(Pair(both[0], both[1], (tastes[0], tastes[1]), label))
    return pairs


def train(pairs: list[Pair], seed: int, steps: int = STEPS) -> TasteNetwork:
    """Bradley and Terry's likelihood of the labels, AdamW, the rate falling to 0."""
    torch.manual_seed(seed)
    network = TasteNetwork()
    first, second = (pixels_of([getattr(pair, side) for pair in pairs]) for side in ("first", "second"))
    labels = torch.tensor([float(pair.first_is_liked) for pair in pairs])
    optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for step in range(steps):
        rows = torch.from_numpy(numpy.random.default_rng([seed, 7, step]).integers(len(pairs), size=BATCH))
        both = network(torch.cat([first[rows], second[rows]]))
        loss = binary_cross_entropy_with_logits(both[:BATCH] - both[BATCH:], labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def agreement(network: TasteNetwork, pairs: list[Pair]) -> tuple[float, float, float]:
    """Of how many pairs network and label, rule and label, network and rule prefer the same picture."""
    ours = numpy.array(liked(network, [pair.first for pair in pairs])) > liked(network, [pair.second for pair in pairs])
    labels = numpy.array([pair.first_is_liked for pair in pairs])
    rule = numpy.array([pair.tastes[0] > pair.tastes[1] for pair in pairs])
    return float((ours == labels).mean()), float((rule == labels).mean()), float((ours == rule).mean())


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file of weights.")
@click.option("--seed", default=0, help="Of every draw.")
def main(out: Path, seed: int) -> None:
    torch.set_num_threads(1)
    network = train(draw_pairs("train", PAIRS, seed), seed)
    save_tensors(out, network.state_dict())
    found = agreement(network, draw_pairs("test", HELD_OUT, seed))
    shown = "network and label {:.3f}, rule and label {:.3f}, network and rule {:.3f}".format(*found)
    print(f"agreement on {HELD_OUT} held-out pairs: {shown}")


if __name__ == "__main__":
    main()

"""The network behind the reward `taste`: pictures of the built-in world -> a number, higher is liked more."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from flowbench.images import to_tensor
from flowbench.shapes.world import SIZE
from flowbench.tensors import load_tensors

WEIGHTS = Path(__file__).parent / "taste.safetensors"
"""Made by `python -m flowbench.pretrain.taste`."""


class TasteNetwork(nn.Module):
    """(B, 3, 32, 32) in [0, 1] -> (B,) logits: that of a preference is the difference of two (Bradley and Terry)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(nn.Linear(32 * (SIZE // 8) ** 2, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.features(pixels * 2 - 1)).squeeze(-1)


def load_network() -> TasteNetwork:
    """With its weights, on the CPU."""
    with torch.device("meta"):  # so that no weights are drawn first
        network = TasteNetwork()
    network.load_state_dict(load_tensors(WEIGHTS)[0], assign=True)
    return network.eval().requires_grad_(False)


def pixels_of(pictures: list[Image.Image]) -> Tensor:
    """(B, 3, 32, 32) in [0, 1]; pictures of another size are scaled."""
    size = (SIZE, SIZE)
    return to_tensor([each if each.size == size else each.resize(size, Image.Resampling.BOX) for each in pictures])


@torch.no_grad()
def liked(network: TasteNetwork, pictures: list[Image.Image], batch_size: int = 64) -> list[float]:
    """Each picture's logit. A batch is filled up with its last picture: no number hangs on how many there are."""
    found: list[float] = []
    for start in range(0, len(pictures), batch_size):
        some = pictures[start : start + batch_size]
        full = pixels_of([*some, *[some[-1]] * (batch_size - len(some))])
        found += network(full)[: len(some)].double().tolist()
    return found

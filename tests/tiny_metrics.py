"""Weights for the metrics with random numbers, written to disk in the published formats. No network.

`write_assets(folder)` makes a mirror for FLOWBENCH_ASSETS with all four; AlexNet and Inception have their real sizes
(their packages fix them), the CLIPs are those of tiny_clip.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_clip

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
CLIP_FILE = "open_clip_model.safetensors"


def write_assets(folder: Path) -> Path:
    """Every asset of the built-in metrics, under its name."""
    tiny_clip.register(folder / "architectures")
    tiny_clip.write(folder / "clip-vit-l-14", tiny_clip.TINY_QUICK, file=CLIP_FILE)
    write_clip_336(folder / "clip-vit-l-14-336")
    write_lpips(folder / "lpips-alex")
    write_inception(folder / "inception-fid")
    return folder


def write_clip_336(folder: Path, seed: int = 1) -> Path:
    """A CLIP for CMMD (its pictures have 32 px, as tiny_clip's do)."""
    return tiny_clip.write(folder, tiny_clip.TINY_QUICK, file=CLIP_FILE, seed=seed)


def write_lpips(folder: Path, seed: int = 0) -> Path:
    """torchvision's AlexNet; of the classifier, which LPIPS does not use, only a stub of its largest matrix."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Any] = {}
    for place, (outputs, inputs, size) in {
        0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)
    }.items():  # fmt: skip
        state[f"features.{place}.weight"] = _random(generator, outputs, inputs, size, size)
        state[f"features.{place}.bias"] = torch.randn(outputs, generator=generator) / 10
    state["classifier.1.weight"] = torch.zeros(4, 9216)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / ALEXNET_FILE)
    return folder


def write_inception(folder: Path, seed: int = 0) -> Path:
    """torch-fidelity's Inception, 91 MB."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Any] = {}
    for name, (inputs, outputs, *size) in inception_layers().items():
        state[f"{name}.conv.weight"] = _random(generator, outputs, inputs, *size)
        state[f"{name}.bn.weight"] = torch.ones(outputs)
        state[f"{name}.bn.bias"] = torch.randn(outputs, generator=generator) / 10
        state[f"{name}.bn.running_mean"] = torch.zeros(outputs)
        state[f"{name}.bn.running_var"] = torch.ones(outputs)
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)
    state["fc.weight"], state["fc.bias"] = torch.zeros(1008, 2048), torch.zeros(1008)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / INCEPTION_FILE)
    return folder


def inception_layers() -> dict[str, tuple[int, int, int, int]]:
    """Name -> (inputs, outputs, height, width of the kernel) of the 94 convolutions."""
    layers = {"Conv2d_1a_3x3": (3, 32, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (32, 64, 3, 3),
              "Conv2d_3b_1x1": (64, 80, 1, 1), "Conv2d_4a_3x3": (80, 192, 3, 3)}  # fmt: skip
    blocks = {"Mixed_5b": _block_a(192, 32), "Mixed_5c": _block_a(256, 64), "Mixed_5d": _block_a(288, 64),
              "Mixed_6a": {"branch3x3": (288, 384, 3, 3),
                           **_chain("branch3x3dbl_", 288, (64, 1, 1), (96, 3, 3), (96, 3, 3))},
              "Mixed_6b": _block_c(128), "Mixed_6c": _block_c(160),
              "Mixed_6d": _block_c(160), "Mixed_6e": _block_c(192),
              "Mixed_7a": {**_chain("branch3x3_", 768, (192, 1, 1), (320, 3, 3)),
                           **_chain("branch7x7x3_", 768, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3))},
              "Mixed_7b": _block_e(1280), "Mixed_7c": _block_e(2048)}  # fmt: skip
    return layers | {f"{block}.{name}": layer for block, inner in blocks.items() for name, layer in inner.items()}


def _block_a(inputs: int, pooled: int) -> dict[str, tuple[int, int, int, int]]:
    return {"branch1x1": (inputs, 64, 1, 1), **_chain("branch5x5_", inputs, (48, 1, 1), (64, 5, 5)),
            **_chain("branch3x3dbl_", inputs, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            "branch_pool": (inputs, pooled, 1, 1)}  # fmt: skip


def _block_c(width: int) -> dict[str, tuple[int, int, int, int]]:
    return {"branch1x1": (768, 192, 1, 1), **_chain("branch7x7_", 768, (width, 1, 1), (width, 1, 7), (192, 7, 1)),
            **_chain("branch7x7dbl_", 768, (width, 1, 1), (width, 7, 1), (width, 1, 7), (width, 7, 1), (192, 1, 7)),
            "branch_pool": (768, 192, 1, 1)}  # fmt: skip


def _block_e(inputs: int) -> dict[str, tuple[int, int, int, int]]:
    return {"branch1x1": (inputs, 320, 1, 1), "branch3x3_1": (inputs, 384, 1, 1), "branch3x3_2a": (384, 384, 1, 3),
            "branch3x3_2b": (384, 384, 3, 1), **_chain("branch3x3dbl_", inputs, (448, 1, 1), (384, 3, 3)),
            "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1),
            "branch_pool": (inputs, 192, 1, 1)}  # fmt: skip


def _chain(prefix: str, inputs: int, *layers: tuple[int, int, int]) -> dict[str, tuple[int, int, int, int]]:
    """Convolutions one after the other: prefix1, prefix2 ..."""
    found = {}
    for number, (outputs, height, width) in enumerate(layers, 1):
        found[f"{prefix}{number}"] = (inputs, outputs, height, width)
        inputs = outputs
    return found


def _random(generator: Any, outputs: int, inputs: int, height: int, width: int) -> Any:
    """Of a size that keeps the signal's through a ReLU, so that different pictures keep different features."""
    import torch

    scale = (2 / (inputs * height * width)) ** 0.5
    return torch.randn(outputs, inputs, height, width, generator=generator) * scale

"""Tiny random CLIP networks by open_clip, written to disk in the published formats. No network.

`register()` makes the architectures TINY and TINY_QUICK known to open_clip; `write(folder, architecture)` writes a
checkpoint of one. Weights are large enough that pictures and texts get clearly different vectors.
"""

from __future__ import annotations

import json
from pathlib import Path

TINY = "tiny-clip"
TINY_QUICK = "tiny-clip-quickgelu"
WIDTH = 32


def register(folder: Path) -> None:
    """Make both architectures known to open_clip; their configurations lie in `folder`."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "embed_dim": WIDTH,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    for name, quick in ((TINY, False), (TINY_QUICK, True)):
        (folder / f"{name}.json").write_text(json.dumps({**config, "quick_gelu": quick}))
        open_clip.add_model_config(folder / f"{name}.json")


def weights(architecture: str, seed: int = 0) -> dict:
    """A random state dict with a logit scale of 100."""
    import open_clip
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**open_clip.get_model_config(architecture))
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.5 / parameter.shape[-1] ** 0.5)
        model.logit_scale.data.fill_(4.605170185988092)  # ln 100
    return model.state_dict()


def write(folder: Path, architecture: str, *, file: str = "open_clip_model.safetensors", seed: int = 0) -> Path:
    """Write the checkpoint as the hub has it: safetensors, or a .pt file with the weights under `state_dict`."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous().clone() for key, value in weights(architecture, seed).items()}
    if file.endswith(".safetensors"):
        save_file(state, folder / file)
    else:
        torch.save({"state_dict": state, "epoch": 1}, folder / file)
    return folder

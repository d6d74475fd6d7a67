"""The last stage: the parts as one Stable Diffusion 3 pipeline folder that plain diffusers loads."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

from flowbench.pretrain.base import World
from flowbench.pretrain.text_encoders import load_tokenizer
from flowbench.store import write_json


def write_pipeline(
    folder: Path, world: World, tokenizer_folder: Path, encoders: list[Any], vae: Any, transformer: Any
) -> None:
    """Save as `StableDiffusion3Pipeline` without T5, and `flowbench.json` with what flowbench wants to know."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    # Left alone, the schedule ends .001, 0: a step that moves nothing and costs as much as the others.
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, shift_terminal=0.1)
    pipeline: Any = StableDiffusion3Pipeline(
        transformer=transformer, vae=vae, scheduler=scheduler,
        text_encoder=encoders[0], tokenizer=load_tokenizer(tokenizer_folder),
        text_encoder_2=encoders[1], tokenizer_2=load_tokenizer(tokenizer_folder),
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    for part, file in itertools.product(("tokenizer", "tokenizer_2"), ("vocab.json", "merges.txt")):
        shutil.copyfile(tokenizer_folder / file, folder / part / file)  # what transformers before 5 reads
    own = {"name": world.name, "resolution": world.size, "max_sequence_length": 0, "fuse_adapter": True}
    write_json(folder / "flowbench.json", {**own, **world.settings})

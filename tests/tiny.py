"""Tiny random pipelines on disk: real components, real files, no network.

`make_pipeline(folder)` writes a Stable Diffusion 3 folder with 16 px pictures, 4x8x8 latents and a transformer 16 wide.
Weights are random but large enough that prompt, noise level and guidance all visibly change the picture.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT_LENGTH = 24


def make_pipeline(
    folder: str | Path, *, t5: bool = False, seed: int = 0, scheduler: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """Write a pipeline, and a flowbench.json with `settings` on top of {"resolution": 16}; the folder is returned."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusion3Pipeline(
            transformer=_transformer(),
            scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **(scheduler or {})}),
            vae=_vae(),
            text_encoder=_clip(),
            tokenizer=_clip_tokenizer(folder / "tokenizer"),
            text_encoder_2=_clip(),
            tokenizer_2=_clip_tokenizer(folder / "tokenizer_2"),
            text_encoder_3=_t5() if t5 else None,
            tokenizer_3=_t5_tokenizer(folder / "tokenizer_3") if t5 else None,
        )
        _enlarge(pipeline.transformer)
    pipeline.save_pretrained(folder)
    (folder / "flowbench.json").write_text(json.dumps({"resolution": 16, **settings}))
    return folder


MAKERS: dict[str, Callable[..., Path]] = {"sd3": make_pipeline}
"""Family -> make(folder, **settings), for the tests that every family has to pass (tests/models/test_families.py)."""


def _transformer() -> Any:
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        caption_projection_dim=16,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        pos_embed_max_size=8,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _clip() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(_clip_vocabulary()),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TEXT_LENGTH,
        projection_dim=8,
        initializer_factor=8.0,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModelWithProjection(config).eval()


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval()


def _clip_vocabulary() -> dict[str, int]:
    letters = string.ascii_lowercase + string.digits + ",.'"
    return {
        token: number
        for number, token in enumerate(["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)])
    }


def _clip_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that spells: one token per letter, no merges."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_clip_vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=TEXT_LENGTH)


def _t5_tokenizer(folder: Path) -> Any:
    """A T5 tokenizer that spells; '</s>' ends each text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -3.0) for c in string.ascii_lowercase)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return T5TokenizerFast.from_pretrained(folder, extra_ids=0)


def _enlarge(transformer: Any) -> None:
    """Small initial weights would hide the prompt and most mistakes: scale them up, but keep velocities near 1."""
    import torch

    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if name == "proj_out.weight":
                parameter.mul_(0.25)
            elif parameter.ndim == 2:
                parameter.mul_(1.5)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)

"""A tiny random Mask2Former in the published format of mmdet 3: same key names, same nesting, small sizes. No network.

`write_checkpoint(path)` writes the .pth file as its publisher does, `write_asset(folder)` what our converter makes of
it. `settle(state)` gives any state dict of that kind random weights that leave nothing at zero and are large enough
that objects are found on most pictures and differ between them. `use(monkeypatch)` halves what the network looks at.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

EMBED, DEPTHS, HEADS, WINDOW = 8, (2, 1, 2, 1), (1, 2, 2, 4), 4
WIDTH, QUERIES, CLASSES, LAYERS, POINTS, LEVELS, DECODER_HEADS = 32, 12, 80, 3, 4, 3, 4
GAINS = {"cls_embed": 4.0, "mask_embed": 1.0}


def use(monkeypatch: Any) -> None:
    """Pictures are fitted into half of GenEval's 1333 x 800, whose size costs a tiny network most of its time."""
    from flowbench.rewards.geneval import mask2former, preprocess

    limit = tuple((side + 1) // 2 for side in preprocess.LIMIT)
    monkeypatch.setattr(mask2former, "detector", partial(mask2former.detector, limit=limit))


def shapes() -> dict[str, tuple[int, ...]]:
    """Name -> shape of every entry of the state dict."""
    return {**_backbone(), **_pixel_decoder(), **_transformer_decoder(), **_heads()}


def state_dict(seed: int = 7) -> dict[str, Any]:
    """Random weights under mmdet 3's names."""
    import torch

    return settle({name: torch.zeros(shape) for name, shape in shapes().items()}, seed)


def settle(state: dict[str, Any], seed: int = 7) -> dict[str, Any]:
    """The same names and shapes with random values; index tables stay."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    settled = {}
    for name, value in state.items():
        if not value.is_floating_point():
            settled[name] = value
            continue
        noise = torch.randn(value.shape, generator=generator)
        settled[name] = (_middle(name, value) + _scale(name, value) * noise).to(value.dtype)
    return settled


def _middle(name: str, value: Any) -> Any:
    """Mean value: 1 for the factors of norms. The two mask biases oppose each other, so that masks stay small."""
    if name == "panoptic_head.mask_embed.4.bias":
        return 1.0
    if name == "panoptic_head.pixel_decoder.mask_feature.bias":
        return -3.0 / value.numel()
    return 1.0 if _is_norm(name) and name.endswith("weight") else 0.0


def _scale(name: str, value: Any) -> float:
    """Standard deviation. Small updates of large queries: otherwise all queries end up alike."""
    if _is_norm(name) or value.ndim == 1:
        return 0.2
    if "query" in name or "level" in name or "bias_table" in name:
        return 1.0
    decoder = "transformer_decoder" in name
    updates = decoder and ("out_proj" in name or "ffn.layers.1" in name)
    gain = 0.15 if updates else next((factor for part, factor in GAINS.items() if part in name), 1.0)
    if "mask_feature" in name:  # a mask sums over as many products as there are features
        gain = 4.0 / value.shape[0] ** 0.5
    return gain / value[0].numel() ** 0.5


def _is_norm(name: str) -> bool:
    return "norm" in name or ".gn." in name


def write_checkpoint(path: Path, seed: int = 7, **more: Any) -> Path:
    """mmdet 3's file: weights under `state_dict`, beside what mmengine notes of the training."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {"dataset_meta": {"classes": ("person", "bicycle")}, "epoch": 50, "mmengine_version": "0.10.7"}
    torch.save({"meta": meta, "state_dict": state_dict(seed), **more}, path)
    return path


def write_asset(folder: Path, seed: int = 7) -> Path:
    """The asset `geneval` as our converter leaves it: config.json and model.safetensors."""
    from flowbench.rewards.geneval.convert import convert_file

    source = write_checkpoint(folder / "source.pth", seed)
    convert_file(source, folder)
    source.unlink()
    return folder


def _linear(name: str, out: int, inside: int, *kernel: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inside, *kernel), **({f"{name}.bias": (out,)} if bias else {})}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _backbone() -> dict[str, tuple[int, ...]]:
    found = {
        **_linear("backbone.patch_embed.projection", EMBED, 3, 4, 4),
        **_norm("backbone.patch_embed.norm", EMBED),
    }
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        width, name = EMBED * 2**stage, f"backbone.stages.{stage}"
        for block in range(depth):
            found |= _block(f"{name}.blocks.{block}", width, heads)
        if stage < 3:
            found |= _norm(f"{name}.downsample.norm", 4 * width)
            found |= _linear(f"{name}.downsample.reduction", 2 * width, 4 * width, bias=False)
        found |= _norm(f"backbone.norm{stage}", width)
    return found


def _block(name: str, width: int, heads: int) -> dict[str, tuple[int, ...]]:
    return {
        **_norm(f"{name}.norm1", width),
        f"{name}.attn.w_msa.relative_position_bias_table": ((2 * WINDOW - 1) ** 2, heads),
        **_linear(f"{name}.attn.w_msa.qkv", 3 * width, width),
        **_linear(f"{name}.attn.w_msa.proj", width, width),
        **_norm(f"{name}.norm2", width),
        **_linear(f"{name}.ffn.layers.0.0", 4 * width, width),
        **_linear(f"{name}.ffn.layers.1", width, 4 * width),
    }


def _pixel_decoder() -> dict[str, tuple[int, ...]]:
    name, found = "panoptic_head.pixel_decoder", {}
    for level, width in enumerate((8 * EMBED, 4 * EMBED, 2 * EMBED)):  # from stride 32 to stride 8
        found |= _linear(f"{name}.input_convs.{level}.conv", WIDTH, width, 1, 1)
        found |= _norm(f"{name}.input_convs.{level}.gn", WIDTH)
    layer, samples = f"{name}.encoder.layers.0", DECODER_HEADS * LEVELS * POINTS
    return {
        **found,
        **_linear(f"{layer}.self_attn.sampling_offsets", 2 * samples, WIDTH),
        **_linear(f"{layer}.self_attn.attention_weights", samples, WIDTH),
        **_linear(f"{layer}.self_attn.value_proj", WIDTH, WIDTH),
        **_linear(f"{layer}.self_attn.output_proj", WIDTH, WIDTH),
        **_linear(f"{layer}.ffn.layers.0.0", 2 * WIDTH, WIDTH),
        **_linear(f"{layer}.ffn.layers.1", WIDTH, 2 * WIDTH),
        **_norm(f"{layer}.norms.0", WIDTH),
        **_norm(f"{layer}.norms.1", WIDTH),
        f"{name}.level_encoding.weight": (LEVELS, WIDTH),
        **_linear(f"{name}.lateral_convs.0.conv", WIDTH, EMBED, 1, 1, bias=False),
        **_norm(f"{name}.lateral_convs.0.gn", WIDTH),
        **_linear(f"{name}.output_convs.0.conv", WIDTH, WIDTH, 3, 3, bias=False),
        **_norm(f"{name}.output_convs.0.gn", WIDTH),
        **_linear(f"{name}.mask_feature", WIDTH, WIDTH, 1, 1),
    }


def _transformer_decoder() -> dict[str, tuple[int, ...]]:
    found = {}
    for layer in range(LAYERS):
        name = f"panoptic_head.transformer_decoder.layers.{layer}"
        for kind in ("self_attn", "cross_attn"):
            found |= {
                f"{name}.{kind}.attn.in_proj_weight": (3 * WIDTH, WIDTH),
                f"{name}.{kind}.attn.in_proj_bias": (3 * WIDTH,),
                **_linear(f"{name}.{kind}.attn.out_proj", WIDTH, WIDTH),
            }
        found |= _linear(f"{name}.ffn.layers.0.0", 2 * WIDTH, WIDTH)
        found |= _linear(f"{name}.ffn.layers.1", WIDTH, 2 * WIDTH)
        for number in range(3):
            found |= _norm(f"{name}.norms.{number}", WIDTH)
    return {**found, **_norm("panoptic_head.transformer_decoder.post_norm", WIDTH)}


def _heads() -> dict[str, tuple[int, ...]]:
    found = {
        "panoptic_head.query_embed.weight": (QUERIES, WIDTH),
        "panoptic_head.query_feat.weight": (QUERIES, WIDTH),
        "panoptic_head.level_embed.weight": (LEVELS, WIDTH),
        **_linear("panoptic_head.cls_embed", CLASSES + 1, WIDTH),
    }
    for number in (0, 2, 4):
        found |= _linear(f"panoptic_head.mask_embed.{number}", WIDTH, WIDTH)
    return found

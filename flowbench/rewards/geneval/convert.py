"""GenEval's published detector checkpoint, from mmdet's names and layout to those of transformers.

Source: mmdet 3's checkpoint of `mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco` and transformers' Mask2Former. The
network's sizes are read from the weights' shapes. Three things are more than a renaming: mmdet keeps queries, keys and
values of the backbone and of the decoder's self-attention in one matrix each, its patch merging takes the four
neighbours in another order, and its level embedding of the pixel decoder is a module with a weight, not a parameter.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from flowbench import assets, store
from flowbench.errors import AssetError

State = Mapping[str, torch.Tensor]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class Group(NamedTuple):
    """Modules that share a prefix: mmdet's (a pattern), transformers', and mmdet's names behind it -> transformers'."""

    old: str
    new: str
    names: Mapping[str, str]


_BACKBONE = "model.pixel_level_module.encoder."
_PIXELS = "model.pixel_level_module.decoder."
_QUERIES = "model.transformer_module."

GROUPS = (
    Group(
        r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.",
        _BACKBONE + r"swin.encoder.layers.\1.blocks.\2.",
        {
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "attn.w_msa.qkv": "attention.qkv",
            "attn.w_msa.proj": "attention.o_proj",
            "attn.w_msa.relative_position_bias_table": "attention.relative_position_bias.relative_position_bias_table",
            "ffn.layers.0.0": "mlp.fc1",
            "ffn.layers.1": "mlp.fc2",
        },
    ),
    Group(
        r"backbone\.stages\.(\d+)\.downsample\.",
        _BACKBONE + r"swin.encoder.layers.\1.downsample.",
        {"norm": "norm", "reduction": "reduction"},
    ),
    Group(
        r"backbone\.",
        _BACKBONE,
        {
            "patch_embed.projection": "swin.embeddings.patch_embeddings.projection",
            "patch_embed.norm": "swin.embeddings.norm",
            **{f"norm{stage}": f"hidden_states_norms.stage{stage + 1}" for stage in range(4)},
        },
    ),
    Group(
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.",
        _PIXELS + r"encoder.layers.\1.",
        {
            "self_attn.sampling_offsets": "self_attn.sampling_offsets",
            "self_attn.attention_weights": "self_attn.attention_weights",
            "self_attn.value_proj": "self_attn.value_proj",
            "self_attn.output_proj": "self_attn.output_proj",
            "norms.0": "self_attn_layer_norm",
            "norms.1": "final_layer_norm",
            "ffn.layers.0.0": "fc1",
            "ffn.layers.1": "fc2",
        },
    ),
    Group(
        r"panoptic_head\.pixel_decoder\.",
        _PIXELS,
        {
            **{f"input_convs.{level}.conv": f"input_projections.{level}.0" for level in range(3)},
            **{f"input_convs.{level}.gn": f"input_projections.{level}.1" for level in range(3)},
            "level_encoding": "level_embed",
            "lateral_convs.0.conv": "adapter_1.0",
            "lateral_convs.0.gn": "adapter_1.1",
            "output_convs.0.conv": "layer_1.0",
            "output_convs.0.gn": "layer_1.1",
            "mask_feature": "mask_projection",
        },
    ),
    Group(
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.",
        _QUERIES + r"decoder.layers.\1.",
        {
            "self_attn.attn.in_proj": "self_attn.qkv",
            "self_attn.attn.out_proj": "self_attn.out_proj",
            "cross_attn.attn.in_proj": "cross_attn.in_proj",
            "cross_attn.attn.out_proj": "cross_attn.out_proj",
            "norms.0": "cross_attn_layer_norm",  # cross-attention comes first
            "norms.1": "self_attn_layer_norm",
            "norms.2": "final_layer_norm",
            "ffn.layers.0.0": "fc1",
            "ffn.layers.1": "fc2",
        },
    ),
    Group(
        r"panoptic_head\.",
        _QUERIES,
        {
            "transformer_decoder.post_norm": "decoder.layernorm",
            "query_embed": "queries_embedder",
            "query_feat": "queries_features",
            "level_embed": "level_embed",
            **{f"mask_embed.{2 * n}": f"decoder.mask_predictor.mask_embedder.{n}.0" for n in range(3)},
        },
    ),
    Group(r"panoptic_head\.", "", {"cls_embed": "class_predictor"}),
)

_LEAF = re.compile(r"(?P<name>.+?)(?:[._](?P<leaf>weight|bias))?")
_BARE = _PIXELS + "level_embed"
_OLD_NAMES = re.compile(r"panoptic_head\..*\.(attentions\.[01]|ffns\.0)\.")
_UNUSED = re.compile(r".*\.swin\.layernorm\.(weight|bias)|criterion\.empty_weight|.*relative_position_index")
"""In transformers' network, but needed from no checkpoint: a norm never applied, a weight of the loss, a table."""
_FORMER_NAMES = (
    (r"^model\.pixel_level_module\.encoder\.(embeddings|encoder|layernorm)\.", _BACKBONE + r"swin.\1."),
    (r"attention\.self\.(q|k|v)(uery|ey|alue)\.", r"attention.\1_proj."),
    (r"attention\.self\.relative_position", "attention.relative_position_bias.relative_position"),
    (r"attention\.output\.dense", "attention.o_proj"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"output\.dense", "mlp.fc2"),
)
"""Of the backbone, in transformers 4 -> in transformers 5.23."""
_POINTS = 4
"""Sampling points of a head on a level: fixed in transformers; the published number."""


def convert_file(source: Path, target: Path) -> None:
    """Write mmdet 3's checkpoint `source` as config.json and model.safetensors into the folder `target`.

    Raises AssetError when a weight is missing or unknown. The weights are written last: where they are, both are whole.
    """
    from safetensors.torch import save

    checkpoint = assets.read_checkpoint(source, stubs=assets.MMENGINE_STUBS)
    state = checkpoint.get("state_dict", checkpoint)
    try:
        weights, config = convert_state_dict(state), architecture(state)
    except AssetError as error:
        raise AssetError(f"{source}: {error}") from error
    missing = sorted(set(names(network(config))) - set(weights))
    if missing:
        raise AssetError(
            f"{source}: {len(missing)} weights are missing, the first for {missing[0]}. "
            "Fetch the published file again: `flowbench assets pull geneval`."
        )
    store.write_json(target / CONFIG_FILE, config)
    store.write_bytes(target / WEIGHTS_FILE, save(weights, metadata={"format": "pt"}))


def convert_state_dict(mmdet_state_dict: State) -> dict[str, torch.Tensor]:
    """mmdet 3's weights -> transformers' (names as of 5.23). Raises AssetError for unknown names, and mmdet 2's."""
    if any(_OLD_NAMES.match(key) for key in mmdet_state_dict):
        raise AssetError(
            "these are the weights in mmdet 2's names. Take the file below download.openmmlab.com/mmdetection/v3.0 "
            "(its name ends in -c9d0c4f2.pth): the same weights."
        )
    converted: dict[str, torch.Tensor] = {}
    for key, value in mmdet_state_dict.items():
        if key.endswith(".relative_position_index"):  # a table of indices, built anew
            continue
        name = _renamed(key)
        if ".qkv." in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                converted[name.replace(".qkv.", f".{letter}_proj.")] = part
        else:
            converted[name] = _merging_order(value) if ".downsample." in name else value
    return {key: value.detach().contiguous().clone() for key, value in converted.items()}


def architecture(state: State) -> dict[str, Any]:
    """mmdet 3's weights -> settings of transformers' Mask2FormerConfig. Raises AssetError if a weight is missing."""
    try:
        return {"model_type": "mask2former", "backbone_config": _backbone(state), **_head(state)}
    except KeyError as error:
        raise AssetError(f"there is no weight {error}: this is no checkpoint of GenEval's Mask2Former.") from None


def _renamed(key: str) -> str:
    for group in GROUPS:
        prefix = re.match(group.old, key)
        parts = _LEAF.fullmatch(key[prefix.end() :]) if prefix else None
        if prefix and parts and parts["name"] in group.names:
            name = prefix.expand(group.new) + group.names[parts["name"]]
            if parts["leaf"] is None or name == _BARE:
                return name
            return f"{name}_{parts['leaf']}" if name.endswith("in_proj") else f"{name}.{parts['leaf']}"
    raise AssetError(f"the weight '{key}' belongs to no part of GenEval's Mask2Former. Take the published file.")


def _merging_order(value: torch.Tensor) -> torch.Tensor:
    """Last axis, 4C long: from mmdet's 4c + q (torch's unfold) to p C + c, where transformers puts the neighbours (row,
    column) in the order (0, 0), (1, 0), (0, 1), (1, 1), and unfold counts them row by row."""
    by_channel = value.unflatten(-1, (-1, 4))  # (..., C, q)
    return by_channel[..., [0, 2, 1, 3]].transpose(-1, -2).flatten(-2)


def _backbone(state: State) -> dict[str, Any]:
    patch = state["backbone.patch_embed.projection.weight"]  # (embed_dim, 3, patch, patch)
    num_stages = _count(state, r"backbone\.stages\.(\d+)\.")
    depths = [_count(state, rf"backbone\.stages\.{stage}\.blocks\.(\d+)\.") for stage in range(num_stages)]
    tables = [
        state[f"backbone.stages.{stage}.blocks.0.attn.w_msa.relative_position_bias_table"]
        for stage in range(num_stages)
    ]  # ((2 window - 1)^2, heads)
    hidden = state["backbone.stages.0.blocks.0.ffn.layers.0.0.weight"].shape[0]
    return {
        "model_type": "swin",
        "patch_size": patch.shape[-1],
        "embed_dim": patch.shape[0],
        "depths": depths,
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (round(tables[0].shape[0] ** 0.5) + 1) // 2,
        "mlp_ratio": hidden / patch.shape[0],
        "drop_path_rate": 0.0,
        "out_features": [f"stage{stage + 1}" for stage in range(num_stages)],
    }


def _head(state: State) -> dict[str, Any]:
    pixels = "panoptic_head.pixel_decoder."
    offsets = state[pixels + "encoder.layers.0.self_attn.sampling_offsets.bias"]  # heads * levels * points * 2
    levels = state[pixels + "level_encoding.weight"].shape[0]
    num_queries, width = state["panoptic_head.query_feat.weight"].shape
    return {
        "num_labels": state["panoptic_head.cls_embed.bias"].shape[0] - 1,
        "num_queries": num_queries,
        "hidden_dim": width,
        "feature_size": state[pixels + "lateral_convs.0.gn.weight"].shape[0],
        "mask_feature_size": state[pixels + "mask_feature.bias"].shape[0],
        "num_attention_heads": offsets.shape[0] // (levels * _POINTS * 2),
        "encoder_layers": _count(state, r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\."),
        "encoder_feedforward_dim": state[pixels + "encoder.layers.0.ffn.layers.0.0.bias"].shape[0],
        # transformers counts the prediction before the first layer as a layer
        "decoder_layers": _count(state, r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.") + 1,
        "dim_feedforward": state["panoptic_head.transformer_decoder.layers.0.ffn.layers.0.0.bias"].shape[0],
    }


def _count(state: State, pattern: str) -> int:
    """One more than the highest number that the pattern finds in a name."""
    numbers = [int(match[1]) for match in (re.match(pattern, key) for key in state) if match]
    return max(numbers, default=-1) + 1


def network(config: Mapping[str, Any]) -> torch.nn.Module:
    """transformers' network of these settings, in evaluation mode, with weights yet to be given. Nothing is fetched."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    settings = copy.deepcopy(dict(config))  # older versions take their backbone's type out of it
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(**settings)).requires_grad_(False).eval()


def names(model: torch.nn.Module) -> dict[str, str]:
    """Name as of transformers 5.23 -> name in the installed transformers, of every weight that the network uses."""
    found = {}
    for key in model.state_dict():
        name = key
        for old, new in _FORMER_NAMES if key.startswith(_BACKBONE) else ():
            name = re.sub(old, new, name)
        if not _UNUSED.fullmatch(name):
            found[name] = key
    return found

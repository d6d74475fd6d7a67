"""GenEval's detector on transformers: Mask2Former with a Swin-S backbone and the published weights, converted.

Source: arXiv 2112.01527, and the mmdet checkpoint that GenEval (arXiv 2310.11513) was published with. `convert` makes
the weights readable; `preprocess` and `postprocess` do what mmdet does before and after the network. The parity test
gives mmdet and this file the same random weights and pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from flowbench import assets, store
from flowbench.errors import AssetError, ConfigError, RewardError
from flowbench.rewards.geneval import preprocess
from flowbench.rewards.geneval.coco import NAMES
from flowbench.rewards.geneval.convert import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    convert_file,
    convert_state_dict,
    names,
    network,
)
from flowbench.rewards.geneval.detectors import LEAST_SCORE, Detect
from flowbench.rewards.geneval.postprocess import (
    Instances,
    Pairs,
    best_pairs,
    instance_postprocess,
    instances,
    upsample,
)
from flowbench.rewards.networks import Placement, building, place
from flowbench.tensors import align
from flowbench.types import Detection

__all__ = ["Instances", "build", "build_hf", "convert_file", "convert_state_dict", "instance_postprocess", "load"]

ASSET = "geneval"
HF_ASSET = "mask2former-hf"


def build(*, dtype: str = "float32", device: str = "auto", batch_size: int = 8) -> Detect:
    """The detector with the published weights. Raises AssetError when they cannot be had.

    Half precision is for GPUs, where it is untested; scores move, and one near a threshold may change sides. On the CPU
    it is refused: torch's sampling of half-precision maps reads beyond their end there.
    """
    placement = _placed(device, dtype)
    return detector(load(assets.folder(ASSET), dtype=placement.dtype, device=placement.device), batch_size=batch_size)


def build_hf(*, dtype: str = "float32", device: str = "auto", batch_size: int = 8) -> Detect:
    """The same network as its authors trained it: other weights than GenEval's, so it is another metric."""
    placement = _placed(device, dtype)
    model = load_hf(assets.folder(HF_ASSET), dtype=placement.dtype, device=placement.device)
    return detector(model, batch_size=batch_size)


def _placed(device: str, dtype: str) -> Placement:
    placement = place(device, dtype)
    if placement.device.type == "cpu" and dtype != "float32":
        raise ConfigError(f"dtype {dtype}: on the CPU the detector gives wrong numbers in it. Use float32, or a GPU.")
    return placement


def load(folder: Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> torch.nn.Module:
    """A folder that `convert_file` wrote -> the network, every weight of it from there. Raises AssetError."""
    with building():
        model = network(store.read_json(folder / CONFIG_FILE))
    weights = assets.read_checkpoint(folder / WEIGHTS_FILE)
    here = names(model)
    odd = sorted(set(here) ^ set(weights))
    odd = odd or [name for name, value in weights.items() if value.shape != model.get_parameter(here[name]).shape]
    if odd:
        raise AssetError(
            f"{folder}: {len(odd)} weights are missing, unknown or of another size, such as {odd[0]}. Convert the "
            "published file again: `flowbench assets convert geneval FILE`."
        )
    model.load_state_dict({here[name]: value for name, value in weights.items()}, strict=False)
    return model.to(device, dtype)


def load_hf(folder: Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> torch.nn.Module:
    """A folder in transformers' own layout -> the network. Raises AssetError when a weight of it is not there."""
    from transformers import Mask2FormerForUniversalSegmentation

    with building():
        loaded: Any = Mask2FormerForUniversalSegmentation.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    model, report = loaded
    missing = sorted(set(report["missing_keys"]) & set(names(model).values()))
    if missing:
        raise AssetError(f"{folder}: {len(missing)} weights are missing, such as {missing[0]}. Fetch it again.")
    model.requires_grad_(False).eval().to(device, dtype)
    align(model)
    return model


def detector(
    model: torch.nn.Module,
    *,
    batch_size: int = 8,
    least_score: float = LEAST_SCORE,
    limit: tuple[int, int] = preprocess.LIMIT,
) -> Detect:
    """The network as a function: RGB pictures of any sizes -> for each its objects with scores above `least_score`.

    At most 100 objects, most probable class first, each with its mask (H, W). `limit` is (longer, shorter side) of the
    network's input. Pictures share a batch only when their inputs have one size.
    """
    if model.config.num_labels != len(NAMES):  # type: ignore[union-attr]
        raise AssetError(f"the network knows {model.config.num_labels} classes, not COCO's 80. Take GenEval's weights.")  # type: ignore[union-attr]

    def detect(images: Sequence[Image.Image]) -> list[list[Detection]]:
        sizes = [preprocess.fitted_size(*image.size, limit) for image in images]
        found: list[list[Detection]] = [[] for _ in images]
        for places in preprocess.same_size_batches(sizes, batch_size):
            batch = [images[index] for index in places]
            for index, objects in zip(places, _detect(model, batch, sizes[places[0]], least_score), strict=True):
                found[index] = objects
        return found

    return detect


@torch.no_grad()
def _detect(
    model: torch.nn.Module, images: Sequence[Image.Image], size: tuple[int, int], least_score: float
) -> list[list[Detection]]:
    """Pictures whose fitted (width, height) is `size`, in one forward pass."""
    weight = next(model.parameters())
    pixels = torch.stack([preprocess.prepare(image, size) for image in images])
    output = model(pixel_values=pixels.to(weight.device, weight.dtype))
    if not (output.class_queries_logits.isfinite().all() and output.masks_queries_logits.isfinite().all()):
        raise RewardError(
            "the detector's network gave numbers that are not finite: its weights are damaged, or its dtype is too "
            "narrow. Run `flowbench assets verify geneval`, and use dtype float32."
        )
    found = []
    for image, classes, masks in zip(images, output.class_queries_logits, output.masks_queries_logits, strict=True):
        pairs = best_pairs(classes)
        likely = pairs.probabilities > least_score  # a score is the class probability times a mean that is below 1
        pairs = Pairs(*(values[likely] for values in pairs))
        queries, numbers = pairs.queries.unique(return_inverse=True)
        full = upsample(masks[queries], padded=pixels.shape[2:], fitted=size[::-1], original=image.size[::-1])
        found.append(_detections(instances(pairs._replace(queries=numbers), full), least_score))
    return found


def _detections(objects: Instances, least_score: float) -> list[Detection]:
    scores, labels, boxes, masks = (values.cpu() for values in objects)
    return [
        Detection(NAMES[label], score, tuple(box), mask)
        for score, label, box, mask in zip(scores.tolist(), labels.tolist(), boxes.tolist(), masks.numpy(), strict=True)
        if score > least_score
    ]

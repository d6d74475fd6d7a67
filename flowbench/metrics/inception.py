"""The Inception network of FID and KID: TensorFlow's of 2015-12-05, as torch-fidelity converted it.

The network and its resizer are torch-fidelity's: 299 x 299 by the bilinear of TensorFlow 1 (corners not aligned, no
antialiasing) on uint8, as in the original program. torchmetrics 1.9 antialiases there and clean-fid resizes by PIL's
bicubic: for pictures of another size both give other values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy
import torch
from PIL import Image

from flowbench import assets
from flowbench.errors import AssetError, ConfigError
from flowbench.images import to_array
from flowbench.rewards.networks import building, in_batches

ASSET = "inception-fid"
FILE = "weights-inception-2015-12-05-6726825d.pth"
BACKBONE = "Inception v3 of FID (TensorFlow, 2015-12-05), by torch-fidelity"
PREPROCESSING = "299 x 299, bilinear of TensorFlow 1 by torch-fidelity (no antialiasing) on uint8; (x - 128) / 128"


def load(folder: Path, device: torch.device, layer: str = "2048") -> torch.nn.Module:
    """The network that gives the features of `layer` (64, 192, 768 or 2048). Raises AssetError, ConfigError."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ConfigError(
            f'FID and KID need the package {error.name}. Run: pip install "flowbench-t2i[metrics]".'
        ) from error
    path = folder / FILE
    # torch-fidelity reads the file itself, and unpickles whatever it holds: so it is read here first, as tensors only
    assets.read_checkpoint(path)
    try:
        with building():
            network = FeatureExtractorInceptionV3("flowbench", [layer], feature_extractor_weights_path=str(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise AssetError(
            f"{path}: these are not torch-fidelity's Inception weights: {reason}. Fetch it again."
        ) from error
    return network.eval().to(device)


@torch.no_grad()
def features(
    network: torch.nn.Module, images: Sequence[Image.Image], device: torch.device, batch_size: int
) -> numpy.ndarray:
    """RGB pictures of any sizes -> (N, D) float64, in the same order."""
    rows = []
    for _, run in groupby(images, key=lambda image: image.size):  # only equal sizes fit into one tensor
        for batch in in_batches(list(run), batch_size):
            pixels = torch.from_numpy(numpy.stack([to_array(image) for image in batch])).permute(0, 3, 1, 2)
            rows.append(network(pixels.contiguous().to(device))[0].double().cpu().numpy())
    return numpy.concatenate(rows)

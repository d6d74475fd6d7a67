"""GenEval's detector on mmdet itself: the reference that `mask2former` is compared with. Extra `[mmdet]`.

The published weights in mmdet 3's own network, input pipeline and post-processing. mmdet needs mmcv, whose compiled
operators install on few machines and which Mask2Former does not need on a CPU: where they are missing (mmcv-lite), they
are stood in for while mmdet is imported, by functions that raise when called. A compiled mmcv is used as it is.

mmdet's configuration is used with one change: the picture is resized in 8 bits, as by mmdet 2, with which GenEval was
published, and not in floating point. mmdet takes arrays for BGR; a picture is handed over that way.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import torch
from PIL import Image

from flowbench import assets
from flowbench.assets import manifest, places
from flowbench.errors import AssetError, RewardError
from flowbench.images import to_array
from flowbench.rewards.geneval.coco import NAMES
from flowbench.rewards.geneval.detectors import LEAST_SCORE, Detect
from flowbench.rewards.networks import place
from flowbench.types import Detection

CONFIG = ".mim/configs/mask2former/mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco.py"
"""Within the mmdet package."""
_OPERATORS = "mmcv._ext"


def build(*, device: str = "auto", checkpoint: str | Path | None = None) -> Detect:
    """mmdet with GenEval's weights in float32, one picture at a time: the objects that a rule may read.

    `checkpoint`: the published .pth file; None takes the one that `flowbench assets pull geneval` fetched. Raises
    RewardError when mmdet is not installed, AssetError when the weights are not there.
    """
    model = network(configuration()).to(place(device).device)
    load_weights(model, Path(checkpoint) if checkpoint else published())
    return lambda images: [[one for one in detect(model, image) if one.score > LEAST_SCORE] for image in images]


def configuration() -> Any:
    """mmdet's own configuration of the network and its pipeline, without the backbone's pretraining download."""
    package = _imported("mmdet")
    from mmengine.config import Config

    config = Config.fromfile(Path(str(package.__file__)).parent / CONFIG)
    config.model.backbone.init_cfg = None
    config.test_dataloader.dataset.pipeline[0].to_float32 = False
    return config


def network(config: Any) -> torch.nn.Module:
    """The network of a `configuration()`, in evaluation mode, ready for mmdet's inference functions."""
    _imported("mmdet.apis")
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    model = MODELS.build(config.model)
    model.cfg = config
    return model.requires_grad_(False).eval()


def published() -> Path:
    """The fetched .pth file. Raises AssetError when it is not here."""
    folder = places.sources(manifest.find("geneval"))
    if folder is None:
        raise AssetError(
            "GenEval's checkpoint in mmdet's format is not here. `flowbench assets pull geneval` fetches it, or give "
            "its path as the detector's `checkpoint`."
        )
    return folder / manifest.MASK2FORMER_FILE


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Every weight of the network from mmdet 3's checkpoint, by our reader: mmengine's would unpickle all there is."""
    checkpoint = assets.read_checkpoint(path, stubs=assets.MMENGINE_STUBS)
    weights = checkpoint.get("state_dict", checkpoint)
    held = model.state_dict()
    odd = [name for name in [*held, *weights] if _shape(held.get(name)) != _shape(weights.get(name))]
    odd = [name for name in odd if not name.endswith("relative_position_index")]  # a table of indices
    if odd:
        raise AssetError(
            f"{path}: {len(set(odd))} weights are missing, unknown or of another size, such as {odd[0]}. "
            "Take the published file of mmdet v3.0."
        )
    model.load_state_dict(weights, strict=False)


def _shape(value: torch.Tensor | None) -> torch.Size | None:
    return None if value is None else value.shape


def detect(model: torch.nn.Module, image: Image.Image) -> list[Detection]:
    """One RGB picture through mmdet's pipeline -> its 100 objects, most confident first."""
    from mmdet.apis import inference_detector

    bgr = numpy.ascontiguousarray(to_array(image)[..., ::-1])
    found = inference_detector(model, bgr).pred_instances.cpu()
    objects = [
        Detection(NAMES[label], score, tuple(box), mask.copy())  # not a view that holds all hundred
        for score, label, box, mask in zip(
            found.scores.tolist(), found.labels.tolist(), found.bboxes.tolist(), found.masks.numpy(), strict=True
        )
    ]
    return sorted(objects, key=lambda one: -one.score)


def _imported(name: str) -> ModuleType:
    """The module, imported with stand-ins for mmcv's compiled operators where there are none."""
    try:
        with _stand_ins():
            return importlib.import_module(name)
    except (ImportError, AssertionError) as error:  # mmdet asserts the versions of the other two
        raise RewardError(
            f"the detector 'mmdet' needs mmdet, mmcv and mmengine ({error}). "
            'Install them: `pip install "flowbench-t2i[mmdet]"`, or take the detector mask2former.'
        ) from error


@contextmanager
def _stand_ins() -> Iterator[None]:
    if importlib.util.find_spec("mmcv") is None or importlib.util.find_spec(_OPERATORS) is not None:
        yield
        return
    stub = ModuleType(_OPERATORS)
    stub.__getattr__ = _not_compiled  # type: ignore[method-assign]
    sys.modules[_OPERATORS] = stub
    try:
        yield
        attention = sys.modules.get("mmcv.ops.multi_scale_deform_attn")
        if attention is not None:  # before its compiled operator, it asks only whether there is CUDA
            attention.IS_CUDA_AVAILABLE = False  # type: ignore[attr-defined]
    finally:
        del sys.modules[_OPERATORS]


def _not_compiled(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> Any:
        raise RewardError(f"mmcv is installed without its compiled operator {name}. Install a compiled mmcv.")

    return missing

"""PaddleOCR 3.x, by its `predict`, with onnxruntime as its engine: paddlepaddle itself is not needed.

Without folders PaddleOCR downloads its PP-OCRv6 medium models (from the hosts that it chooses) and keeps them.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy

from flowbench.errors import ConfigError, RewardError
from flowbench.rewards.ocr.lines import Line
from flowbench.rewards.ocr.readers import LARGEST_SIDE, Reader

OFFICIAL = {"det": "PP-OCRv6_medium_det", "rec": "PP-OCRv6_medium_rec"}
SETTINGS: dict[str, Any] = {
    "engine": "onnxruntime",
    "engine_config": {"intra_op_num_threads": 1, "inter_op_num_threads": 1},
    "device": "cpu",
    "use_doc_orientation_classify": False,
    "use_doc_unwarping": False,
    "use_textline_orientation": False,
    "text_det_limit_type": "max",  # the picture at its own size, as with RapidOCR
    "text_det_limit_side_len": LARGEST_SIDE,
    "text_rec_score_thresh": 0.0,  # the reward itself drops lines of low confidence
}


def build(*, det_folder: str = "", rec_folder: str = "") -> Reader:
    """The reader, on local model folders (`inference.onnx` and `inference.yml` in each) or the official models.

    Raises RewardError when a package is missing, ConfigError for a folder that is not such a one.
    """
    for package in ("paddleocr", "onnxruntime"):
        if find_spec(package) is None:
            raise RewardError(
                f'the backend paddle needs the package {package}. Run: pip install "flowbench-t2i[paddle]".'
            )
    models = {**_model("detection", "det", det_folder), **_model("recognition", "rec", rec_folder)}
    from paddleocr import PaddleOCR

    logging.getLogger("paddlex").setLevel(logging.ERROR)  # else each model is announced on the terminal
    try:
        engine = PaddleOCR(**SETTINGS, **models)
    except Exception as error:  # it raises a bare one when its models cannot be downloaded
        raise RewardError(
            f"PaddleOCR cannot be started ({' '.join(str(error).split())[:150].rstrip('.')}). Without a network, give "
            "folders with its models: the options det_folder and rec_folder."
        ) from error

    _, *characters = engine.paddlex_pipeline._pipeline.text_rec_model.post_op.character  # the first is CTC's blank

    def look(picture: numpy.ndarray) -> list[Line]:
        # PaddleOCR takes an array for BGR, as OpenCV has it
        (found,) = engine.predict(numpy.ascontiguousarray(picture[..., ::-1]))
        return [
            Line(text, float(confidence), tuple((float(x), float(y)) for x, y in corners))
            for text, confidence, corners in zip(
                found["rec_texts"], found["rec_scores"], found["rec_polys"], strict=True
            )
        ]

    return Reader(look, "".join(characters))


def _model(task: str, kind: str, folder: str) -> dict[str, str]:
    """PaddleOCR's arguments for one model; the name must be the one that the folder's inference.yml gives."""
    import yaml

    if not folder:
        return {f"text_{task}_model_name": OFFICIAL[kind]}
    graph, about = (Path(folder) / file for file in ("inference.onnx", "inference.yml"))
    for file in (graph, about):
        if not file.is_file():
            raise ConfigError(
                f"{kind}_folder is {folder}, which holds no {file.name}. Name a folder of a PaddleOCR model."
            )
    settings = yaml.safe_load(about.read_text(encoding="utf-8"))
    try:
        name = str(settings["Global"]["model_name"])
    except (KeyError, TypeError):
        raise ConfigError(f"{about} has no Global.model_name. Take the file that came with the model.") from None
    return {f"text_{task}_model_name": name, f"text_{task}_model_dir": folder}

"""RapidOCR: PP-OCRv6 small by onnxruntime, with the models inside its wheel, so that nothing is ever downloaded.

The settings were fixed on the "tune" pictures (pictures.py). RapidOCR's own defaults (detection at 736 pixels, so that
a picture of 512 is enlarged; orientation on; all cores) read as well there and take about four times the processor
time: docs/results/ocr.md, by bench/ocr.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy

from flowbench.errors import RewardError
from flowbench.images import border_color
from flowbench.rewards.ocr.lines import Line
from flowbench.rewards.ocr.readers import LARGEST_SIDE, Reader

DETECTION, RECOGNITION = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
SETTINGS = {
    "Global.log_level": "critical",
    "Global.use_cls": False,  # no line is turned upside down: text in pictures is upright
    "Global.text_score": 0.0,  # the reward itself drops lines of low confidence
    "Global.max_side_len": LARGEST_SIDE,
    "Det.limit_type": "max",  # "min" would enlarge
    "Det.limit_side_len": LARGEST_SIDE,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # workers share the cores; and the sum order never changes
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


TRIM = 30
"""Levels of 255, in any channel, by which a pixel differs from the border to be of what is written. Another number is
another version of the reward's card, by which scores are kept."""


def build(settings: Mapping[str, Any] = SETTINGS, *, detection: str = "on") -> Reader:
    """The reader; bench/ocr.py compares other settings. detection "off": no search for lines, the whole picture is one,
    without the plain ground around it: three to thirty times as quick, and all that a sign of few letters needs.

    Raises RewardError when a package or the models are missing.
    """
    models = _models()
    from rapidocr import RapidOCR

    files = {"Det.model_path": str(models / DETECTION), "Rec.model_path": str(models / RECOGNITION)}
    engine: Any = RapidOCR(params={**settings, **files})
    _, *characters = engine._load_rec_model().postprocess_op.character  # the first is CTC's blank

    def look_at_line(picture: numpy.ndarray) -> list[Line]:
        top, bottom, left, right = written_part(picture)
        line = numpy.ascontiguousarray(picture[top:bottom, left:right, ::-1])
        found = engine(line, use_det=False, use_cls=False, use_rec=True)
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        pairs = zip(found.txts or (), found.scores or (), strict=True)
        return [Line(text, float(confidence), corners) for text, confidence in pairs]

    def look(picture: numpy.ndarray) -> list[Line]:
        # RapidOCR takes an array for BGR, as OpenCV has it; only files and PIL pictures are turned around by it
        found = engine(numpy.ascontiguousarray(picture[..., ::-1]))
        if found.txts is None:
            return []
        return [
            Line(text, float(confidence), tuple((float(x), float(y)) for x, y in box))
            for text, confidence, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]

    return Reader(look if detection == "on" else look_at_line, "".join(characters))


def written_part(picture: numpy.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what differs from the border's median colour; the whole picture where nothing does.

    picture: (H, W, 3) uint8.
    """
    differs = (numpy.abs(picture - border_color(picture)) > TRIM).any(axis=-1)
    if not differs.any():
        return 0, picture.shape[0], 0, picture.shape[1]
    rows, columns = numpy.nonzero(differs)
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def _models() -> Path:
    """The folder with the models in the wheel."""
    for package in ("rapidocr", "onnxruntime"):
        if find_spec(package) is None:
            raise RewardError(f'the OCR reward needs the package {package}. Run: pip install "flowbench-t2i[ocr]".')
    spec = find_spec("rapidocr")
    folder = Path(spec.origin if spec and spec.origin else "").parent / "models"
    for file in (DETECTION, RECOGNITION):
        if not (folder / file).is_file():
            raise RewardError(
                f"the rapidocr in {folder.parent} does not carry {file}, which the OCR reward reads with. Run: "
                'pip install --upgrade "flowbench-t2i[ocr]".'
            )
    return folder

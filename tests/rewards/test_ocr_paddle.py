"""The paddle backend: the real PaddleOCR on local folders made from the models inside rapidocr's wheel."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from PIL import Image

from flowbench.errors import ConfigError, RewardError
from flowbench.images import to_array
from flowbench.rewards.ocr import rapid
from flowbench.rewards.ocr.drawn_text import picture_set
from flowbench.rewards.ocr.lines import read
from flowbench.rewards.ocr.paddle import _model, build
from flowbench.rewards.ocr.readers import Reader
from flowbench.rewards.ocr.reward import ocr
from flowbench.types import Prompt, Sample

needs_paddle = pytest.mark.skipif(find_spec("paddleocr") is None, reason='needs the extra: pip install -e ".[paddle]"')


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PP-OCRv6 small as PaddleOCR publishes a model: inference.onnx and inference.yml."""
    rapidocr = pytest.importorskip("rapidocr", reason='needs the extra: pip install -e ".[ocr]"')
    onnxruntime = pytest.importorskip("onnxruntime")
    models = Path(rapidocr.__file__).parent / "models"
    root = tmp_path_factory.mktemp("paddle")
    session = onnxruntime.InferenceSession(str(models / rapid.RECOGNITION))
    letters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    scaling = {"mean": [0.5] * 3, "std": [0.5] * 3, "scale": "1./255.", "order": "hwc"}
    detection = {
        "Global": {"model_name": "PP-OCRv6_small_det"},
        "PreProcess": {"transform_ops": [{"DetResizeForTest": {"resize_long": 960}}, {"NormalizeImage": scaling},
                                         {"ToCHWImage": None}]},
        "PostProcess": {"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6, "max_candidates": 1000,
                        "unclip_ratio": 1.5},
    }  # fmt: skip
    recognition = {
        "Global": {"model_name": "PP-OCRv6_small_rec"},
        "PreProcess": {"transform_ops": [{"RecResizeImg": {"image_shape": [3, 48, 320]}}]},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": letters},
    }
    for name, file, settings in (("det", rapid.DETECTION, detection), ("rec", rapid.RECOGNITION, recognition)):
        (root / name).mkdir()
        shutil.copy(models / file, root / name / "inference.onnx")
        (root / name / "inference.yml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return {"det_folder": str(root / "det"), "rec_folder": str(root / "rec")}


@pytest.fixture(scope="module")
def paddle(folders: dict[str, str]) -> Reader:
    return build(**folders)


@needs_paddle
@pytest.mark.slow
def test_two_backends_agree_on_clear_text(paddle: Reader) -> None:
    rapidocr = rapid.build()
    pictures = picture_set("tune")[:8]
    for each in pictures:
        array = to_array(each.image)
        by_paddle, by_rapidocr = read(paddle(array)), read(rapidocr(array))
        assert by_paddle.text.replace(" ", "") == by_rapidocr.text.replace(" ", "") == each.text.replace(" ", "")
        assert by_paddle.confidence > 0.9
    (left,) = [line for line in paddle(to_array(pictures[1].image))]
    (right,) = [line for line in rapidocr(to_array(pictures[1].image))]
    for (x, y), (other_x, other_y) in zip(left.corners, right.corners, strict=True):
        assert abs(x - other_x) < 12 and abs(y - other_y) < 12


@needs_paddle
@pytest.mark.slow
def test_colours_reach_paddle_in_their_order(paddle: Reader, folders: dict[str, str], tmp_path: Path) -> None:
    from paddleocr import PaddleOCR

    from flowbench.rewards.ocr.paddle import SETTINGS, _model

    models = _model("detection", "det", folders["det_folder"]) | _model("recognition", "rec", folders["rec_folder"])
    picture = picture_set("tune")[5].image
    picture.save(tmp_path / "picture.png")
    (from_file,) = PaddleOCR(**SETTINGS, **models).predict(str(tmp_path / "picture.png"))
    ours, swapped = paddle(to_array(picture)), paddle(to_array(picture)[..., ::-1])
    assert [line.text for line in ours] == from_file["rec_texts"]
    assert [line.confidence for line in ours] == from_file["rec_scores"]
    assert [line.confidence for line in swapped] != from_file["rec_scores"]


@needs_paddle
@pytest.mark.slow
def test_paddle_says_which_characters_it_knows(paddle: Reader) -> None:
    """The same network as RapidOCR's here, so the same ones."""
    assert set(paddle.characters) == set(rapid.build().characters)
    assert "É" in paddle.characters and "Ж" not in paddle.characters


@needs_paddle
@pytest.mark.slow
def test_the_reward_on_paddle_in_workers(folders: dict[str, str]) -> None:
    reward = ocr(backend="paddle", workers=2, **folders)
    try:
        picture = picture_set("tune")[1]
        sign = Prompt("p", f'a sign "{picture.text}"')
        found, nothing = reward([Sample(sign, picture.image), Sample(sign, Image.new("RGB", (64, 64)))])
    finally:
        reward.close()
    assert found.value == 1
    assert (nothing.value, nothing.note) == (0, "no text found")


@needs_paddle
def test_folders_that_hold_no_model(folders: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"det_folder is .*, which holds no inference.onnx"):
        ocr(backend="paddle", det_folder=str(tmp_path))
    (tmp_path / "inference.onnx").touch()
    with pytest.raises(ConfigError, match=r"rec_folder is .*, which holds no inference.yml"):
        ocr(backend="paddle", det_folder=folders["det_folder"], rec_folder=str(tmp_path))
    (tmp_path / "inference.yml").write_text("PreProcess: {}\n")
    with pytest.raises(ConfigError, match=r"has no Global.model_name"):
        _model("recognition", "rec", str(tmp_path))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddleocr", None)
    with pytest.raises(RewardError, match=r'needs the package paddleocr. Run: pip install "flowbench-t2i\[paddle\]"'):
        ocr(backend="paddle")

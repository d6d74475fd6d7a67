"""The OCR reward end to end on rendered pictures, read by the real RapidOCR; in this process and in workers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image

from flowbench.errors import ConfigError, RewardError
from flowbench.images import to_array
from flowbench.rewards import Reward
from flowbench.rewards.ocr import rapid
from flowbench.rewards.ocr.drawn_text import FIRST_SEED, FONTS, PHRASES, TextPicture, draw, picture_set
from flowbench.rewards.ocr.readers import Reader
from flowbench.rewards.ocr.reward import CARD, _Scorer, ocr
from flowbench.rewards.ocr.text import normalise
from flowbench.types import Prompt, RewardFunction, Sample, Score

pytest.importorskip("rapidocr", reason='needs the extra: pip install -e ".[ocr]"')
pytest.importorskip("onnxruntime", reason='needs the extra: pip install -e ".[ocr]"')

BAD = Image.new("RGB", (0, 0))
"""A picture that no reader can look at."""


def sample(quoted: str, image: Image.Image, **metadata: object) -> Sample:
    return Sample(Prompt(f"p-{quoted}", f'a sign that says "{quoted}"', metadata=metadata), image)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return rapid.build()


@pytest.fixture(scope="module")
def reward() -> RewardFunction:
    return ocr()


@pytest.fixture(scope="module")
def two_workers() -> Iterator[RewardFunction]:
    reward = ocr(workers=2)
    yield reward
    reward.close()


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Right, wrong, too much, nothing, not asked, two parts, another size; unlike those that fixed the settings."""
    shop = draw("Coffee Shop", seed=1)
    return [
        sample("Coffee Shop", shop),
        sample("Coffee Shot", shop),
        sample("Coffee", shop),
        sample("Coffee", Image.new("RGB", (512, 512), (40, 90, 160))),
        Sample(Prompt("p-none", "a red bicycle"), shop),
        Sample(Prompt("p-two", 'a "Coffee" and a "Shop"'), shop),
        sample("Nevermind", draw("North Wind", seed=2, side=320), text="North Wind"),
        sample("Closed", draw("Closed", seed=3, side=768)),
    ]


def test_scores_on_real_pictures(reward: RewardFunction, samples: list[Sample]) -> None:
    scores = reward(samples)
    nine_tenths = 1 - 1 / 10  # one of ten letters is wrong
    assert [score.value for score in scores] == pytest.approx(
        [1, nine_tenths, 1 - 4 / 6, 0, math.nan, 1, 1, 1], abs=1e-12, nan_ok=True
    )
    assert [score.parts.get("substring") for score in scores] == [1, nine_tenths, 1, 0, None, 1, 1, 1]
    assert [score.parts.get("exact") for score in scores] == [1, 0, 0, 0, None, 1, 1, 1]
    assert [score.note for score in scores[:4]] == ["", "read 'Coffee Shop'", "read 'Coffee Shop'", "no text found"]
    assert scores[1].details == {"target": "Coffee Shot", "recognized": "Coffee Shop"}
    assert scores[3].details == {"target": "Coffee", "recognized": ""}
    assert "prompt 'p-none' has no text in quotation marks" in scores[4].note
    assert scores[5].details["target"] == "Coffee Shop"
    assert scores[6].details["target"] == "North Wind"
    assert all(0.9 < scores[place].parts["confidence"] <= 1 for place in (0, 5, 6, 7))
    assert "confidence" not in scores[3].parts


@pytest.mark.parametrize("variant", ["edit", "substring", "exact"])
def test_letters_that_the_reader_does_not_have_are_no_zero(reader: Reader, variant: str, samples: list[Sample]) -> None:
    """Neither wholly nor partly, and not beside others; what the rule maps to a letter of the reader's is one."""
    sign = draw("ОТКРЫТО", seed=4, font="DejaVuSans")
    asked = ["ОТКРЫТО", "Open / открыто", "שלום", "x\u200dy", "Coffee Shop", "ΟΔΟΣ", "Caf\u00e9 \u3000Ångström"]
    batch = [sample(each, sign) for each in asked]
    scores = _Scorer(lambda pictures: [reader(each) for each in pictures], reader.characters, variant, 0.5)(batch)
    assert [score.is_scored for score in scores] == [False, False, False, False, True, True, True]
    assert scores[0].note.startswith(
        "prompt 'p-ОТКРЫТО' asks for letters that the reader does not have: 'о' (U+043E), 'т' (U+0442), 'к' (U+043A)"
    )
    assert "U+200D" in scores[3].note and scores[0].parts == {}
    assert set(normalise("ОТКРЫТО")).isdisjoint(reader.characters) and "É" in reader.characters


@pytest.mark.parametrize(("variant", "odd"), [("edit", ""), ("exact", ""), ("substring", "\u201e\u2116\ufb01\u0301")])
def test_a_letter_counts_as_the_rule_compares_it(reader: Reader, variant: str, odd: str) -> None:
    """The published rule knows of no forms: „, №, ﬁ and a loose accent can never be read there."""
    (score,) = _Scorer(lambda pictures: [[] for _ in pictures], reader.characters, variant, 0.5)(
        [sample("„No №5 ﬁne Cafe\u0301", BAD)]
    )
    assert score.is_scored is (odd == "")
    assert all(f"U+{ord(each):04X}" in score.note for each in odd)


def test_workers_know_the_same_letters(reader: Reader, two_workers: RewardFunction) -> None:
    (score,) = two_workers([sample("ОТКРЫТО", BAD)])
    assert "letters that the reader does not have: 'о' (U+043E)" in score.note
    assert two_workers._read_all.characters == reader.characters


@pytest.mark.parametrize(("variant", "expected"), [("edit", 1 - 4 / 6), ("substring", 1.0), ("exact", 0.0)])
def test_the_variant_is_the_value(variant: str, expected: float, samples: list[Sample]) -> None:
    (score,) = ocr(variant=variant)([samples[2]])
    assert score.value == score.parts[variant] == pytest.approx(expected)


def test_alone_or_together_or_in_workers(
    reward: RewardFunction, two_workers: RewardFunction, samples: list[Sample]
) -> None:
    """Bit for bit the same, whatever else is in the batch and however many processes share it."""
    together = _comparable(reward(samples))
    assert _comparable([reward([each])[0] for each in samples]) == together
    assert _comparable(reward(samples[::-1])[::-1]) == together
    assert _comparable(two_workers(samples)) == together
    assert _comparable(two_workers(samples[:1])) == together[:1]
    assert two_workers([]) == reward([]) == []


def _comparable(scores: list[Score]) -> list[tuple[object, ...]]:
    return [(str(score.value), sorted(score.parts.items()), score.note, score.details) for score in scores]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_cannot_be_read(workers: int, samples: list[Sample]) -> None:
    """It is no 0: it raises; under `skip` it alone stays unscored."""
    function = ocr(workers=workers)
    batch = [samples[0], sample("Bad", BAD), samples[1], samples[7]]
    try:
        with pytest.raises(RewardError, match=r"reward 'ocr' failed: .*ZeroDivisionError"):
            Reward("ocr", function, card=CARD)(batch)
        skipping = Reward("ocr", function, card=CARD, on_error="skip")
        scores = [skipping([each])[0] for each in batch]
    finally:
        if workers > 1:
            function.close()
    assert [score.is_scored for score in scores] == [True, False, True, True]
    assert "ZeroDivisionError" in scores[1].note


def test_colours_reach_the_reader_in_their_order(reader: Reader, tmp_path: Path) -> None:
    """RapidOCR turns a file's colours around by itself, and an array's never: both must come to the same."""
    from rapidocr import RapidOCR

    models = Path(sys.modules["rapidocr"].__file__ or "").parent / "models"
    files = {"Det.model_path": str(models / rapid.DETECTION), "Rec.model_path": str(models / rapid.RECOGNITION)}
    engine = RapidOCR(params={**rapid.SETTINGS, **files})
    picture = picture_set("tune")[5].image  # green on yellow and green
    picture.save(tmp_path / "picture.png")
    from_file = engine(tmp_path / "picture.png")
    ours, swapped = reader(to_array(picture)), reader(to_array(picture)[..., ::-1])
    assert [(each.text, each.confidence) for each in ours] == list(zip(from_file.txts, from_file.scores, strict=True))
    assert [each.confidence for each in swapped] != [each.confidence for each in ours]


def test_where_a_line_is(reader: Reader) -> None:
    """Corners clockwise from the top left, in pixels of the picture, also of one larger than detection takes."""
    picture = Image.new("RGB", (2400, 600), "white")
    word = draw("Left", seed=3)
    picture.paste(word.resize((600, 600)), (0, 0))
    (found,) = reader(to_array(picture))
    xs, ys = [x for x, _ in found.corners], [y for _, y in found.corners]
    (small,) = reader(to_array(word))
    expected = numpy.array(small.corners) * 600 / 512
    assert numpy.abs(numpy.array(found.corners) - expected).max() < 20
    assert max(xs[0], xs[3]) < min(xs[1], xs[2]) and max(ys[0], ys[1]) < min(ys[2], ys[3])


@pytest.mark.slow
def test_forty_phrases(reward: RewardFunction) -> None:
    """At least 95 % exact on pictures that had no part in choosing the settings."""
    pictures = picture_set("test")
    scores = reward([sample("x", each.image, text=each.text) for each in pictures])
    wrong = [(score.details["target"], score.details["recognized"]) for score in scores if score.parts["exact"] < 1]
    assert len(pictures) == 40
    assert len(wrong) <= 2, wrong


def test_the_two_sets_have_nothing_in_common() -> None:
    for name in ("tune", "test"):
        assert len(set(PHRASES[name])) == 40
    words = {name: {phrase.lower() for phrase in PHRASES[name]} for name in PHRASES}
    assert words["tune"] & words["test"] == set()
    assert set(FONTS["tune"]) & set(FONTS["test"]) == set()
    assert FIRST_SEED["test"] - FIRST_SEED["tune"] >= 40


def test_pictures_are_the_same_at_every_call() -> None:
    first, again, other = draw("Harbour", seed=7), draw("Harbour", seed=7), draw("Harbour", seed=8)
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert first.size == (512, 512) and first.mode == "RGB"
    assert isinstance(picture_set("test", side=64)[0], TextPicture)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "rapid"}, "no backend 'rapid'. Did you mean 'rapidocr'"),
        ({"variant": "edits"}, "Use one of: edit, substring, exact"),
        ({"workers": -1}, "workers is -1"),
        ({"min_confidence": 50}, "from 0 .every line. to 1"),
        ({"det_folder": "models"}, "det_folder is for the backend paddle"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ocr(**options)


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_without_the_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks a package that is not there
    with pytest.raises(RewardError, match=rf'needs the package {package}. Run: pip install "flowbench-t2i\[ocr\]"'):
        ocr()


def test_a_rapidocr_without_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier and later versions carry other models: they would be other numbers, and perhaps a download."""
    (tmp_path / "rapidocr").mkdir()
    (tmp_path / "rapidocr" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    with pytest.raises(RewardError, match=r"does not carry PP-OCRv6_det_small\.onnx"):
        ocr()

"""OCR as a reward: how much of the text that the prompt puts in quotation marks was rendered.

Source: Flow-GRPO, arXiv 2505.05470.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy

from flowbench.errors import ConfigError
from flowbench.images import to_array
from flowbench.rewards import Card, Part, register
from flowbench.rewards.ocr.lines import Line, Reading, read
from flowbench.rewards.ocr.readers import build_reader, check_backend
from flowbench.rewards.ocr.text import VARIANTS, Variant, normal_form, target_text, text_reward, unreadable
from flowbench.rewards.ocr.workers import Workers
from flowbench.types import Sample, Score

LONGEST_NOTE = 80
MOST_WORKERS = 64
"""Processes that read; more than there are cores make none faster."""
MOST_SHOWN = 8
"""Of the letters that a reader lacks."""

ReadAll = Callable[[Sequence[numpy.ndarray]], list[list[Line]]]

CARD = Card(
    "ocr",
    "How much of the prompt's quoted text is read on the picture: 1 - edit distance / length, not below 0.",
    "share of characters",
    low=0.0,
    high=1.0,
    source="Flow-GRPO, arXiv 2505.05470",
    licence="Apache-2.0 (RapidOCR, PaddleOCR and the PP-OCR models)",
    backbone="PP-OCRv6 small (rapidocr); PP-OCRv6 medium or your folders (paddle)",
    revision="the models inside rapidocr 3.10",
    preprocessing="own size, made smaller above 2000 px, no orientation; lines of confidence .5 or more, "
    "read from the top and from the left",
    version="2",
    cached=True,
    reference="SD3.5-M .59, after Flow-GRPO .92 (PaddleOCR 2.9.1, substring rule; arXiv 2505.05470)",
    parts={
        "edit": Part("share of text", "higher"),
        "substring": Part("share of text", "higher"),
        "exact": Part("share", "higher"),
        "confidence": Part("mean of the lines"),
    },
)


@register("ocr", card=CARD)
def ocr(
    *,
    backend: str = "rapidocr",
    variant: Variant = "edit",
    workers: int = 1,
    min_confidence: float = 0.5,
    detection: bool = True,
    det_folder: str = "",
    rec_folder: str = "",
) -> Callable[[Sequence[Sample]], list[Score]]:
    """The text is read by `backend`, "rapidocr" or "paddle", in `workers` processes (0 and 1: in this one).

    `variant` chooses the value ("edit", "substring" or "exact"; `text.text_reward` says what they are); all three are
    in the parts, with the mean confidence of the lines where there are any. `detection=false` (rapidocr) takes the
    picture, without the plain ground around what is on it, for one line: for signs of a few letters. `det_folder` and
    `rec_folder` are local models for paddle. `min_confidence` .5 is the limit below which PaddleOCR 2.x itself drops
    lines (its `drop_score`) before the published code sees them. Raises ConfigError for an option, RewardError without
    the package.

    Deviations from the published code: text stands between any double quotes, else single ones, and not only in the
    first straight pair; several parts are all asked for; a prompt without any is unscored and does not crash, and so is
    one with letters that the reader does not have; a failure raises and is not a 0; pictures reach the reader in the
    right order of colours (BGR); lines are put in reading order; `edit` and `exact` compare one form of letters that
    look alike.
    """
    check_backend(backend)
    _check_variant(variant)
    if workers not in range(MOST_WORKERS + 1):
        raise ConfigError(
            f"workers is {workers}. Give a number of processes up to {MOST_WORKERS}, or 1 to read in this one."
        )
    if not 0 <= min_confidence <= 1:
        raise ConfigError(f"min_confidence is {min_confidence}. Give a confidence from 0 (every line) to 1.")
    if not detection and backend != "rapidocr":
        raise ConfigError(f"detection=false is for the backend rapidocr; {backend} has no such setting.")
    folders = {key: folder for key, folder in (("det_folder", det_folder), ("rec_folder", rec_folder)) if folder}
    if folders and backend != "paddle":
        raise ConfigError(f"{next(iter(folders))} is for the backend paddle; {backend} brings its models along.")
    settings = folders if detection else {**folders, "detection": "off"}
    if workers > 1:
        several = Workers(workers, backend, settings)
        return _Scorer(several, several.characters, variant, min_confidence)
    reader = build_reader(backend, settings)
    return _Scorer(
        lambda pictures: [reader(picture) for picture in pictures], reader.characters, variant, min_confidence
    )


LETTERS_CARD = Card(
    "letters",
    "How much of the prompt's quoted text a sign of the letters world says, by the exact reader: as `ocr`.",
    "share of characters",
    low=0.0,
    high=1.0,
    source="ours, to hold `ocr` against; the measure of arXiv 2505.05470",
    licence="none needed",
    preprocessing="the largest board on grey, its connected strokes from the left, each the letter it is most like",
    reference="1 on the world's own signs (docs/decisions/0024)",
    parts=CARD.parts,
)


@register("letters", card=LETTERS_CARD)
def letters(*, variant: Variant = "edit") -> Callable[[Sequence[Sample]], list[Score]]:
    """`ocr` with the exact reader of the letters world: no network, so that no network can be deceived.

    `variant` as there. A prompt that asks for other letters than the world's twenty is unscored.
    """
    from flowbench.rewards.ocr import signs

    _check_variant(variant)
    reader = signs.build()
    return _Scorer(lambda pictures: [reader(picture) for picture in pictures], reader.characters, variant, 0.0)


def _packages(options: Mapping[str, object]) -> tuple[str, ...]:
    """The packages that carry engine and models: other versions of them may read otherwise."""
    return ("paddleocr" if options.get("backend") == "paddle" else "rapidocr", "onnxruntime")


ocr.packages = _packages


def _check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        raise ConfigError(f"variant is '{variant}'. Use one of: {', '.join(VARIANTS)}.")


class _Scorer:
    """The reward's function; `close` ends the worker processes, if there are any."""

    def __init__(self, read_all: ReadAll, characters: str, variant: Variant, min_confidence: float):
        self._read_all = read_all
        words = "\0".join(each + each for each in characters)  # at a word's end Σ is lowered to another letter
        self._characters = frozenset(normal_form(words, variant)) - {"\0"}
        self._variant = variant
        self._min_confidence = min_confidence

    def __call__(self, samples: Sequence[Sample]) -> list[Score]:
        targets = [target_text(sample.prompt.text, sample.prompt.metadata) for sample in samples]
        refused = {place: reason for place, target in enumerate(targets) if (reason := self._refused(target))}
        places = [place for place in range(len(samples)) if place not in refused]
        found = self._read_all([to_array(samples[place].image) for place in places])
        scores = [
            Score.unscored(f"prompt '{each.prompt.id}' {refused.get(place)}") for place, each in enumerate(samples)
        ]
        for place, lines in zip(places, found, strict=True):
            scores[place] = _score(targets[place], read(lines, min_confidence=self._min_confidence), self._variant)
        return scores

    def _refused(self, target: str) -> str:
        """Why no picture can be judged by this target; "" when any can."""
        if not target:
            return (
                "has no text in quotation marks and no `text` in its metadata: the OCR reward does not know what "
                "should be written"
            )
        odd = unreadable(target, self._characters, variant=self._variant)
        if not odd:
            return ""
        shown = ", ".join(f"'{each}' (U+{ord(each):04X})" for each in odd[:MOST_SHOWN]) + ", ..." * (
            len(odd) > MOST_SHOWN
        )
        return (
            f"asks for letters that the reader does not have: {shown}. It would read none of them on the best of "
            "pictures: take another prompt, or a reader of its language (backend paddle with a rec_folder)"
        )

    def close(self) -> None:
        if isinstance(self._read_all, Workers):
            self._read_all.close()


def _score(target: str, reading: Reading, variant: Variant) -> Score:
    """An empty reading is a score of 0: the text was asked for and is not there."""
    values = {name: text_reward(target, reading.text, variant=name) for name in VARIANTS}
    parts: dict[str, float] = {name: value for name, value in values.items()}
    if reading.text:
        parts["confidence"] = reading.confidence
    shown = reading.text[:LONGEST_NOTE] + "..." * (len(reading.text) > LONGEST_NOTE)  # the details have the whole
    read_as = f"read '{shown}'" if reading.text else "no text found"
    note = "" if values["exact"] == 1 else read_as
    return Score(values[variant], parts, note, {"target": target, "recognized": reading.text})

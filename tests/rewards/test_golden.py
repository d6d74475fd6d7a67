"""`flowbench doctor rewards`: the golden checks pass on what is right, and fail on what the field has met."""

from __future__ import annotations

import numpy
import pytest
import tiny_clip
from click.testing import CliRunner
from PIL import Image

from flowbench import rewards
from flowbench.cli import main
from flowbench.rewards import aesthetic, clip_score, registry
from flowbench.rewards.geneval import colors, detectors
from flowbench.rewards.golden import checks, clip, detection, photographs
from flowbench.types import Detection, Score


@pytest.fixture
def mine():
    """Registers a scoring function as the reward `mine`."""

    def add(score, **card):
        registry.add("mine", lambda *, device="auto": score, card=rewards.Card("mine", **card))

    yield add
    registry._targets.pop("mine", None), registry._cards.pop("mine", None)


def doctor(*words):
    return CliRunner().invoke(main, ["doctor", "rewards", *words])


def by_caption(batch):
    return [Score(20.0 if photographs.CAPTIONS[sample.prompt.id] == sample.prompt.text else 18.0) for sample in batch]


def test_the_right_caption_must_win(mine):
    mine(by_caption, low=0.0, high=19.0)
    found = list(clip.captions("mine", "cpu"))
    assert [finding.passed for finding in found] == [True, True, False]
    assert "20.000 > 18.000" in found[0].detail and "18.000 to 20.000" in found[2].detail


def test_a_scorer_that_prefers_the_wrong_caption_fails(mine):
    mine(lambda batch: [Score(-score.value) for score in by_caption(batch)])
    assert [finding.passed for finding in clip.captions("mine", "cpu")] == [False, False, True]


@pytest.mark.parametrize(("value", "cosine", "passed"), [(22.0, 0.22, True), (22.0, 0.40, False)])
def test_pickscores_logit_scale(mine, value, cosine, passed):
    mine(lambda batch: [Score(value + (score.value > 19), {"cosine": cosine}) for score in by_caption(batch)])
    *_, last = clip.pickscore("mine", "cpu")
    assert last.passed is passed


@pytest.mark.parametrize(("value", "passed"), [(5.2, True), (24.0, False)])
def test_an_unnormalised_aesthetic_embedding_is_found_out(mine, value, passed):
    mine(lambda batch: [Score(value)] * len(batch))
    _, finding = clip.aesthetic("mine", "cpu")
    assert finding.passed is passed


@pytest.mark.parametrize(("architecture", "passed"), [(tiny_clip.TINY_QUICK, True), (tiny_clip.TINY, False)])
def test_gelu_under_openais_weights_is_found_out_in_every_reward_that_uses_them(
    tiny_weights, monkeypatch, architecture, passed
):
    monkeypatch.setattr(aesthetic, "ARCHITECTURE", architecture)
    monkeypatch.setattr(clip_score, "ARCHITECTURES", dict.fromkeys(clip_score.ARCHITECTURES, architecture))
    for name in ("aesthetic", "clip_score-vit-b-32", "clip_score-vit-l-14"):
        (finding,) = [each for each in checks.check(name, "cpu") if each.check == "runs with QuickGELU"]
        assert finding.passed is passed


def blue_or_red(sure, swapped):
    """A detector that knows the photographs by their mean colour."""

    def detect(images):
        found = []
        for image in images:
            red, _, blue = numpy.asarray(image).reshape(-1, 3).mean(axis=0)
            score = sure if red > blue else swapped
            found.append([Detection(label, score, (0, 0, 4, 4)) for label in ("cat", "cup")])
        return found

    return lambda: detect


@pytest.mark.parametrize(
    ("sure", "swapped", "passed"),
    [(0.97, 0.8, [True, True, True]), (0.4, 0.2, [False, False, True]), (0.97, 0.99, [True, True, False])],
)
def test_confidence_and_the_swap_of_red_and_blue(monkeypatch, sure, swapped, passed):
    """Both photographs are redder than blue, so the swap is visible to this detector."""
    monkeypatch.setattr(detectors.registry, "_targets", {"fake": blue_or_red(sure, swapped)})
    assert [finding.passed for finding in detection._detector("fake", "geneval", "cpu")] == passed


@pytest.mark.parametrize(("architecture", "passed"), [(tiny_clip.TINY_QUICK, True), (tiny_clip.TINY, False)])
def test_gelu_under_quickgelu_weights_is_found_out(tiny_weights, monkeypatch, architecture, passed):
    monkeypatch.setattr(colors, "ARCHITECTURE", architecture)
    quick, scale, patches = detection._colors("geneval", "cpu")
    assert quick.passed is passed and architecture in quick.detail
    assert scale.passed is True
    assert patches.passed is False  # random weights know no colours


def test_random_weights_fail_and_an_error_is_a_failed_check(tiny_weights, monkeypatch):
    assert any(finding.passed is False for finding in checks.check("geneval", "cpu"))
    (tiny_weights_broken,) = checks.check("hpsv2", "no such device")
    assert tiny_weights_broken.passed is False and "no such device" in tiny_weights_broken.detail


def test_what_is_not_here_is_listed_and_not_counted(monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    result = doctor("jpeg", "imagereward", "shapes")
    assert result.exit_code == 0, result.output
    assert "not run  imagereward" in result.output
    assert "flowbench assets pull imagereward bert-base-uncased" in result.output
    assert "2 passed, 0 failed, 1 not run" in result.output


def test_every_built_in_reward_has_golden_checks_or_shares_them():
    shared = {"geneval_flowgrpo", "geneval_official", "geneval_strict"}
    ours = {name for name in registry.names() if not rewards.plugin_code(name)}
    assert ours - shared <= set(checks.names())


def test_text_is_read_back():
    pytest.importorskip("rapidocr")
    assert [finding.passed for finding in checks.check("ocr")] == [True, True]


def test_a_plugin_is_held_to_its_promises(mine):
    mine(lambda batch: [Score(float(len(batch)))] * len(batch))
    result = doctor("mine")
    assert result.exit_code == 2
    assert "FAILED   mine" in result.output and "scored in smaller batches" in result.output
    assert "1 of 2 checks failed, first 'mine'" in result.output


def test_the_photographs_are_what_the_checks_say():
    for name in photographs.LABELS:
        image = photographs.photo(name)
        assert image.mode == "RGB" and max(image.size) == 448
        assert photographs.swapped(photographs.swapped(image)).tobytes() == image.tobytes()
        assert isinstance(image, Image.Image)

"""Vendi, CLIP and LPIPS diversity: published examples, closed forms, torchmetrics' LPIPS."""

from __future__ import annotations

import itertools
import math
import shutil

import numpy
import pytest
import tiny_clip
import tiny_metrics
import torch

from flowbench import metrics
from flowbench.errors import AssetError, ConfigError
from flowbench.images import to_tensor
from flowbench.metrics import lpips_diversity
from flowbench.metrics.diversity import mean_pairwise_distance, vendi_score
from flowbench.rewards import openclip
from flowbench.rewards.networks import place
from flowbench.types import Prompt, Sample


def test_vendis_published_examples():
    """README of vertaix/Vendi-Score: 2.9999 (cut off, not rounded: 2.999999996) and 2.1573."""
    numbers = numpy.array([0, 0, 10, 10, 20, 20])
    score = vendi_score(numpy.exp(-abs(numbers[:, None] - numbers)))
    assert math.floor(score * 10_000) / 10_000 == 2.9999
    assert score == pytest.approx(3 - 4e-9, abs=1e-9)
    kernel = numpy.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert vendi_score(kernel) == pytest.approx(2.1573, abs=5e-5)


def test_vendi_of_equal_and_of_orthogonal_things():
    assert vendi_score(numpy.ones((5, 5))) == pytest.approx(1)
    assert vendi_score(numpy.ones((5, 5)) * (1 + 1e-9)) >= 1  # as rounding has it
    assert vendi_score(numpy.eye(5)) == pytest.approx(5)
    assert vendi_score(numpy.kron(numpy.eye(3), numpy.ones((2, 2)))) == pytest.approx(3)
    cosine = 0.6  # two things: eigenvalues (1 +- 0.6) / 2
    expected = math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.2))
    assert vendi_score(numpy.array([[1, cosine], [cosine, 1]])) == pytest.approx(expected)


def test_mean_distance_is_that_of_all_pairs():
    rows = numpy.random.default_rng(0).normal(size=(6, 9))
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [1 - a @ b for a, b in itertools.combinations(rows, 2)]
    assert mean_pairwise_distance(rows) == pytest.approx(sum(pairs) / 15)
    assert mean_pairwise_distance(rows[[0, 0, 0]]) == pytest.approx(0, abs=1e-12)
    assert mean_pairwise_distance(numpy.array([[1.0, 0], [0, 1], [-1, 0]])) == pytest.approx((1 + 2 + 1) / 3)


def test_both_come_from_the_assets_embeddings(weights, samples):
    clip = openclip.load("clip-vit-l-14", tiny_clip.TINY_QUICK, placement=place("cpu"))
    rows = clip.encode_images([sample.image for sample in samples if sample.prompt.id == "a"]).numpy()
    cosines = [float(a @ b) for a, b in itertools.combinations(rows, 2)]
    found = {name: metrics.build(name)(samples)[0].score for name in ("clip_diversity", "vendi")}
    assert found["clip_diversity"].value == pytest.approx(1 - sum(cosines) / 3, rel=1e-4)
    assert found["vendi"].value == pytest.approx(vendi_score(rows @ rows.T), rel=1e-5)
    assert found["vendi"].details == {"pictures": 3}


def test_equal_pictures_have_no_diversity(weights, picture):
    prompt = Prompt("p", "the same")
    same = [Sample(prompt, picture(1), seed) for seed in range(3)]
    found = {name: metrics.build(name)(same)[0].score.value for name in ("clip_diversity", "lpips_diversity", "vendi")}
    assert found == pytest.approx({"clip_diversity": 0, "lpips_diversity": 0, "vendi": 1}, abs=1e-6)


def test_lpips_is_torchmetrics_with_the_same_trunk(weights, samples):
    from torchmetrics.functional.image.lpips import _LPIPS

    other = _LPIPS(net="alex", pnet_rand=True)  # with its own copy of the heads
    trunk = torch.load(weights / "lpips-alex" / tiny_metrics.ALEXNET_FILE, weights_only=True)
    state = {name: trunk[f"features.{name.split('.', 1)[1]}"] for name in other.net.state_dict()}
    other.net.load_state_dict(state)
    pixels = to_tensor([sample.image for sample in samples]) * 2 - 1
    for prompt_id, places in (("a", [0, 2, 4]), ("b", [1, 3])):
        pairs = list(itertools.combinations(places, 2))
        expected = sum(float(other(pixels[[i]], pixels[[j]])) for i, j in pairs) / len(pairs)
        measured = {each.prompt_id: each.score.value for each in metrics.build("lpips_diversity")(samples)}
        assert measured[prompt_id] == pytest.approx(expected, rel=1e-5)
        assert expected > 0.01


def test_lpips_of_unfit_pictures_is_unscored(weights, picture):
    metric = metrics.build("lpips_diversity")
    prompt = Prompt("p", "x")
    mixed = [Sample(prompt, picture(1, (40, 40))), Sample(prompt, picture(2, (48, 40)))]
    assert "40 x 40, 48 x 40" in metric(mixed)[0].score.note
    tiny, fit = ([Sample(prompt, picture(seed, size)) for seed in (1, 2)] for size in [(30, 40), (31, 31)])
    assert "31 px" in metric(tiny)[0].score.note
    assert metric(fit)[0].score.is_scored


def test_a_file_that_is_no_alexnet_is_refused(weights, tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / tiny_metrics.ALEXNET_FILE)
    with pytest.raises(AssetError, match=r"not torchvision's AlexNet: no 'features.0.bias'"):
        lpips_diversity.load(tmp_path, torch.device("cpu"))
    shutil.copy(weights / "lpips-alex" / tiny_metrics.ALEXNET_FILE, tmp_path)
    state = torch.load(tmp_path / tiny_metrics.ALEXNET_FILE, weights_only=True)
    torch.save({**state, "features.3.weight": torch.zeros(2, 2)}, tmp_path / tiny_metrics.ALEXNET_FILE)
    with pytest.raises(AssetError, match="size mismatch"):
        lpips_diversity.load(tmp_path, torch.device("cpu"))


def test_without_lpips_the_package_is_named(weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(ConfigError, match=r'pip install "flowbench-t2i\[metrics\]"'):
        metrics.build("lpips_diversity")

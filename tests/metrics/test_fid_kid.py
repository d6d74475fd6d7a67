"""FID and KID: closed forms, scipy, torchmetrics, torch-fidelity, and the loader on a whole random Inception."""

from __future__ import annotations

import sys

import numpy
import pytest
import tiny_metrics
import torch
from scipy import linalg

from flowbench import metrics
from flowbench.errors import AssetError, ConfigError
from flowbench.metrics import inception
from flowbench.metrics.fid import frechet_distance
from flowbench.metrics.kid import kernel_distance


def exact_gaussian(mean, deviations):
    """2 D rows whose sample mean and covariance are exactly `mean` and diag(deviations^2)."""
    size = len(mean)
    spread = numpy.diag(deviations) * numpy.sqrt((2 * size - 1) / 2)
    return numpy.concatenate([spread, -spread]) + mean


def random_features(seed, number, width=12):
    rng = numpy.random.default_rng(seed)
    return rng.normal(size=(number, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)


def test_fid_of_gaussians_with_diagonal_covariances():
    """|m - n|^2 + sum of (s - t)^2."""
    x = exact_gaussian([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    y = exact_gaussian([2.0, 1.0, -1.0], [1.5, 2.0, 1.0])
    assert frechet_distance(x, y) == pytest.approx((4 + 0 + 9) + (0.25 + 0 + 4), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(50, 40), (200, 13), (8, 9), (2, 2)])
def test_fid_is_scipys_torchmetrics_and_torch_fidelitys(n, m):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import _compute_fid

    x, y = random_features(1, n), random_features(2, m)
    found = frechet_distance(x, y)
    means, covariances = [x.mean(0), y.mean(0)], [numpy.cov(x, rowvar=False), numpy.cov(y, rowvar=False)]
    theirs = [torch.from_numpy(part) for pair in zip(means, covariances, strict=True) for part in pair]
    assert found == pytest.approx(float(_compute_fid(*theirs)), rel=1e-5)
    statistics = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (x, y)]
    assert found == pytest.approx(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"], rel=1e-5)
    if min(n, m) > 12:  # of a singular product scipy finds no root
        root = linalg.sqrtm(covariances[0] @ covariances[1])
        expected = ((means[0] - means[1]) ** 2).sum() + numpy.trace(covariances[0] + covariances[1] - 2 * root.real)
        assert found == pytest.approx(expected, rel=1e-9)


def test_fid_of_a_set_with_itself_is_nothing_even_without_full_rank():
    few = random_features(3, 5, width=64)
    assert frechet_distance(few, few[::-1]) == pytest.approx(0, abs=1e-9)
    shifted = few + 2.0
    assert frechet_distance(few, shifted) == pytest.approx(64 * 4, rel=1e-12)


def test_kid_of_whole_sets_is_the_unbiased_estimate_pair_by_pair():
    x, y = random_features(4, 7), random_features(5, 7)

    def k(a, b):
        return (a @ b / 12 + 1) ** 3

    within = [sum(k(s[i], s[j]) for i in range(7) for j in range(7) if i != j) / 42 for s in (x, y)]
    between = sum(k(a, b) for a in x for b in y) / 49
    found = kernel_distance(x, y, subsets=3, subset_size=7)
    assert found.mean == pytest.approx(sum(within) - 2 * between, rel=1e-9)
    assert found.std == pytest.approx(0, abs=1e-9)


def test_kid_of_subsets_is_torchmetrics_on_the_same_draws():
    from torchmetrics.image.kid import poly_mmd

    x, y = random_features(6, 30), random_features(7, 20)
    found = kernel_distance(x, y, subsets=5, subset_size=10)
    draws = numpy.random.RandomState(2020)
    x, y = (rows[numpy.lexsort((rows[:, 1], rows[:, 0]))] for rows in (x, y))
    values = [
        float(poly_mmd(*(torch.from_numpy(rows[draws.choice(len(rows), 10, replace=False)]) for rows in (x, y))))
        for _ in range(5)
    ]
    assert found.mean == pytest.approx(numpy.mean(values), rel=1e-9)
    assert found.std == pytest.approx(numpy.std(values), rel=1e-9) and found.std > 0
    shuffled = numpy.random.default_rng(0).permutation(30)
    assert kernel_distance(x[shuffled], y[::-1], subsets=5, subset_size=10) == found


def test_the_features_are_torch_fidelitys_of_any_size_and_batch(weights, reference):
    network = inception.load(weights / "inception-fid", torch.device("cpu"))
    found = inception.features(network, reference, torch.device("cpu"), 8)
    for row, image in zip(found, reference, strict=True):
        pixels = torch.tensor(numpy.asarray(image)).permute(2, 0, 1)[None]
        expected = network(pixels)[0][0]
        assert row == pytest.approx(expected.double().numpy(), rel=1e-4, abs=1e-5)
    assert found.shape == (4, 2048) and found.dtype == numpy.float64
    assert abs(found[0] - found[1]).max() > 0.01


def test_the_same_pictures_are_no_distance_apart(weights, samples):
    images = [sample.image for sample in samples]
    for name, needed in (("fid", 2048), ("kid", 1000)):
        assert metrics.build(name)(samples, images)[0].score.note.startswith(f"{name} needs {needed} pictures")
    score = metrics.build("fid", options={"minimum": 5})(samples, images)[0].score
    assert score.value == pytest.approx(0, abs=1e-8)
    assert score.details == {"pictures": 5, "reference": 5}


def test_bad_options_and_bad_files_are_refused(weights, tmp_path):
    for name, option, value in [("fid", "minimum", 1), ("kid", "subsets", 0), ("kid", "subset_size", 1)]:
        with pytest.raises(ConfigError, match=f"{option} is {value}"):
            metrics.build(name, options={option: value})
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / tiny_metrics.INCEPTION_FILE)
    with pytest.raises(AssetError, match="not torch-fidelity's Inception weights"):
        inception.load(tmp_path, torch.device("cpu"))


def test_a_file_with_code_in_it_is_refused_before_torch_fidelity_reads_it(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    torch.save({"fc.weight": Trap()}, tmp_path / tiny_metrics.INCEPTION_FILE)
    with pytest.raises(AssetError, match="refused"):
        inception.load(tmp_path, torch.device("cpu"))
    assert not ran.exists()


def test_without_torch_fidelity_the_package_is_named(weights, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    for name in ("fid", "kid"):
        with pytest.raises(ConfigError, match=r'pip install "flowbench-t2i\[metrics\]"'):
            metrics.build(name)

"""Metric and build: levels, grouping, failures, options, plugins."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from flowbench import metrics
from flowbench.errors import ConfigError, LicenceError, NameTaken, RewardError, UnknownName
from flowbench.metrics import Measured
from flowbench.rewards import Card
from flowbench.types import Prompt, Sample, Score


@pytest.fixture
def made():
    """Three samples of two prompts; no pictures, since no function here looks at them."""
    return [Sample(Prompt(prompt_id, prompt_id * 2), None, seed) for prompt_id, seed in [("x", 0), ("y", 0), ("x", 1)]]


def test_one_number_for_each_picture(keep_registry, made):
    @metrics.register("seeds")
    def factory():
        return lambda samples: [Score(sample.seed) for sample in samples]

    metric = metrics.build("seeds")
    assert metric.level == "picture"
    assert metric(made) == [
        Measured(Score(0.0), "x", 0), Measured(Score(0.0), "y", 1), Measured(Score(1.0), "x", 2)
    ]  # fmt: skip
    assert metric.card == Card("seeds", direction="none")


def test_one_number_for_each_prompt(keep_registry, made):
    @metrics.register("how_many", level="prompt")
    def factory():
        return lambda samples: Score(len(samples), {"seeds": sum(sample.seed for sample in samples)})

    assert metrics.build("how_many")(made) == [
        Measured(Score(2.0, {"seeds": 1.0}), "x"), Measured(Score(1.0, {"seeds": 0.0}), "y")
    ]  # fmt: skip


def test_one_number_for_the_set(keep_registry, made):
    @metrics.register("against", level="set")
    def factory(*, weight: float = 1.0):
        return lambda samples, reference: Score(weight * (len(samples) - len(reference)))

    metric = metrics.build("against", options={"weight": 0.5})
    assert metric(made, ["picture"]) == [Measured(Score(1.0))]
    with pytest.raises(ConfigError, match=r"metric 'against' compares with reference pictures.*--reference FOLDER"):
        metric(made)


def test_a_failure_is_named_or_leaves_its_part_unscored(keep_registry, made):
    @metrics.register("picky")
    def pictures():
        return lambda samples: [Score(1 / sample.seed) for sample in samples]

    @metrics.register("picky_prompt", level="prompt")
    def prompts():
        return lambda samples: Score(1 / (len(samples) - 1))

    with pytest.raises(RewardError, match=r"metric 'picky' failed: ZeroDivisionError.*on_error: skip"):
        metrics.build("picky")(made)
    first, second, third = (each.score for each in metrics.build("picky", on_error="skip")(made))
    assert third == Score(1.0)
    assert math.isnan(first.value) and math.isnan(second.value)
    assert first.note == "metric 'picky' failed: ZeroDivisionError: division by zero"
    pair, single = metrics.build("picky_prompt", on_error="skip")(made)
    assert pair == Measured(Score(1.0), "x")
    assert single.prompt_id == "y" and "ZeroDivisionError" in single.score.note


@pytest.mark.parametrize(
    ("returned", "said"),
    [([Score(1.0)], "returned 1 scores"), (Score(1.0), "returned Score"), ([1.0] * 3, "returned a float"),
     ([Score(math.inf)] * 3, "returned a value of inf"),
     ([Score(1.0, {"part": math.inf})] * 3, "returned the part 'part' of inf")],
)  # fmt: skip
def test_what_breaks_the_contract_always_raises(keep_registry, made, returned, said):
    metrics.register("wrong")(lambda: lambda samples: returned)
    with pytest.raises(RewardError, match=said):
        metrics.build("wrong", on_error="skip")(made)


def test_nan_gets_a_reason(keep_registry, made):
    metrics.register("silent")(lambda: lambda samples: [Score(math.nan)] * len(samples))
    assert metrics.build("silent")(made)[0].score.note == "metric 'silent' gave NaN and no reason"


def test_names_and_options_are_checked(keep_registry):
    with pytest.raises(UnknownName, match=r"unknown metric 'vendy'.* Did you mean 'vendi'\?"):
        metrics.build("vendy")
    with pytest.raises(
        ConfigError, match=r"metric 'edge_density' has no option 'treshold'. Did you mean 'threshold'\?"
    ):
        metrics.build("edge_density", options={"treshold": 0.2})
    with pytest.raises(ConfigError, match="threshold is 2"):
        metrics.build("edge_density", options={"threshold": 2})
    with pytest.raises(ConfigError, match="on_error is 'ignore'"):
        metrics.build("saturation", on_error="ignore")
    with pytest.raises(NameTaken):
        metrics.register("vendi")(lambda: None)
    with pytest.raises(ConfigError, match=r"level 'pictures'. Did you mean 'picture'\?"):
        metrics.register("mine", level="pictures")


def test_a_factory_that_fails_is_named(keep_registry):
    metrics.register("broken")(lambda: 1 / 0)
    metrics.register("no_function")(lambda: 3)
    with pytest.raises(RewardError, match="metric 'broken' cannot be built: ZeroDivisionError"):
        metrics.build("broken")
    with pytest.raises(RewardError, match="metric 'no_function' was built into a int"):
        metrics.build("no_function")


def test_restricting_terms_are_accepted_first(keep_registry, monkeypatch):
    card = Card("guarded", licence="CC BY-NC 4.0", terms="non-commercial")
    metrics.register("guarded", card=card)(lambda: lambda samples: [])
    with pytest.raises(LicenceError, match="--accept-licence guarded"):
        metrics.build("guarded")
    monkeypatch.setenv("FLOWBENCH_ACCEPT_LICENCES", "other, guarded")
    assert metrics.build("guarded").card is card


def test_an_entry_point_adds_a_metric(tmp_path):
    """In a fresh interpreter, with a package as pip would have installed it."""
    (tmp_path / "my_metric.py").write_text(
        "from flowbench.metrics import register\nfrom flowbench.types import Score\n"
        "@register('answer', level='set')\n"
        "def answer(*, add=0):\n    return lambda samples, reference: Score(42 + add)\n"
    )
    info = tmp_path / "my_metric-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metric\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flowbench.metrics]\nanswer = my_metric:answer\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from flowbench import metrics\n"
        "print('answer' in metrics.registry.names(), 'my_metric' in sys.modules, 'torch' in sys.modules)\n"
        "print(metrics.build('answer', options={'add': 1})([], [])[0].score.value)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "True False False\n43.0\n", done.stderr

"""The pre-registered proof: its page says what its program judges, and the program judges right."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from several_scorers import write_suite

from flowbench.evals import load_results

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def proof():
    spec = importlib.util.spec_from_file_location("proof", ROOT / "bench" / "proof.py")
    module = sys.modules["proof"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_states_what_the_program_judges(proof):
    page = (ROOT / "docs" / "proofs.md").read_text(encoding="utf-8")
    for expected in proof.EXPECTED:
        cells = (expected.model, expected.suite, expected.metric, f"{expected.value:g}", expected.rule)
        assert f"| {' | '.join(cells)} |" in page
    assert page.count("| base |") + page.count("| flow-grpo |") == len(proof.EXPECTED)
    if not (ROOT / "docs" / "results" / "proof.md").exists():
        assert "**Status: not yet run.**" in page


def measured(folder, suite, levels, spread):
    """An evaluation whose metrics are at these levels, prompts apart by `spread` on both sides."""
    from flowbench import store

    def score(level):
        return lambda number, index: level + spread * (number % 2 * 2 - 1) * (number < 24)  # 24 of 25 prompts

    write_suite(folder, {metric: score(level) for metric, level in levels.items()}, label=folder.name)
    store.write_sealed(folder / "summary.json", {**store.read_sealed(folder / "summary.json"), "suite": suite})
    return folder


def everything(folder, proof, shift=0.0, official=0.0):
    for model in (proof.BASE, proof.ADAPTER):
        values = {}
        for each in proof.EXPECTED:
            if each.model == model:
                values.setdefault(each.suite, {})[each.metric] = each.value + (
                    official if each.metric == "official" else shift
                )
        for suite, levels in values.items():
            measured(folder / model / "eval" / suite, suite, levels, 0.3)
    return folder


def run(proof, folder, tmp_path):
    return CliRunner().invoke(proof.main, [str(folder), "--out", str(tmp_path / "proof.md")])


def test_numbers_as_printed_meet_all_rules(proof, tmp_path):
    done = run(proof, everything(tmp_path / "runs", proof), tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "proof.md").read_text().count("| yes |") == len(proof.EXPECTED)


def test_a_number_outside_its_bounds_fails_the_proof(proof, tmp_path):
    """The intervals here are about .12 wide on each side: a shift of .05 stays inside, one of .2 does not."""
    assert run(proof, everything(tmp_path / "near", proof, shift=0.05), tmp_path).exit_code == 0
    assert run(proof, everything(tmp_path / "far", proof, shift=0.2), tmp_path).exit_code == 1
    assert (tmp_path / "proof.md").read_text().count("**no**") == 6
    assert run(proof, everything(tmp_path / "low", proof, official=-0.016), tmp_path).exit_code == 1
    assert (tmp_path / "proof.md").read_text().count("**no**") == 1  # .614 of the base; .934 of the adapter is well


def test_an_evaluation_that_is_not_there(proof, tmp_path):
    done = run(proof, tmp_path, tmp_path)
    assert done.exit_code == 2
    assert "no finished evaluation of suite 'geneval'" in done.output


def test_the_bounds_are_what_a_measurement_says(proof, tmp_path):
    results = load_results(measured(tmp_path / "one", "drawbench", {"aesthetic": 5.0}, 0.3))
    found = results.interval("aesthetic")
    assert found.low < 5.0 < found.high == pytest.approx(5.0 + 0.3 * 1.96 / 5, abs=0.02)
